//! How many replicas: the autoscaler's keys, filled in and checked against each other.
//!
//! Owns the defaults that depend on other keys. Decides about no replica.

use std::time::Duration;

use super::diagnostic::Span;
use super::reader::Reader;
use super::resolve::time;
use super::schema::AppFile;
use super::slot::Slot;
use super::spec::{AutoscaleSpec, Metric};
use super::units::format_duration;
use super::value::{Int, Number, Time};

const MIN: u64 = 1;
const MAX: u64 = 10;
/// The same for what nobody asks anything through the proxy: it is up while others need it, and once, since it may be a
/// database.
const UNROUTED: (u64, u64) = (0, 1);
/// Seconds for which what is stopped is kept: an app that is used once a day finds its container again.
const KEPT: u64 = 24 * 60 * 60;
/// Requests are counted in pieces of a sixth of the panic window for as long as the stable one: more pieces than this
/// makes of them would take memory for nothing.
const PANIC_FINEST: u32 = 600;
/// The panic window is never shorter: below, a single request would look like a rush.
const PANIC_LEAST: Duration = Duration::from_millis(100);

/// Fills in and checks. `unrouted`: no request comes to it.
pub(crate) fn resolve(app: &AppFile, unrouted: bool, reader: &mut Reader) -> AutoscaleSpec {
    let (least, most) = if unrouted { UNROUTED } else { (MIN, MAX) };
    check_replicas(app, most, reader);
    let (min, max) = app.replicas();
    let (min, max) = (min.clone().or(Int(least)).u32(), max.clone().or(Int(most)).u32());
    let file = app.autoscale.clone().or_default();
    let metric = file.metric.clone().or(Metric::Cpu);
    let share = match metric {
        Metric::Cpu => Some(("cpu", "CPU")),
        Metric::Memory => Some(("memory", "memory")),
        Metric::Rps | Metric::Concurrency => None,
    };
    if let (Some(at), Some((word, what)), false) = (file.target.given(), share, file.metric.is_bad())
        && at.value.0 > 100.0
    {
        let message = format!("`{}` is out of range", at.value.0);
        let help = format!(
            "with `metric: {word}` the target is in per cent of the instance's {what}: write a number up to 100"
        );
        reader.mistake(at.span, message, help);
    }
    let stable_window = time(file.stable_window.clone(), 60);
    let panic_window = file.panic_window.clone().or(Time((stable_window / 10).max(PANIC_LEAST))).0;
    if let Some(at) =
        file.panic_window.given().filter(|_| panic_window > stable_window && !file.stable_window.is_bad())
    {
        let message =
            format!("the panic window is longer than the stable window, {}", format_duration(stable_window));
        reader.mistake(at.span, message, "write a shorter one, or leave it out: a tenth of `stable_window`");
    }
    if let Some(at) =
        file.panic_window.given().filter(|_| stable_window > panic_window.saturating_mul(PANIC_FINEST))
    {
        let message = format!(
            "the panic window is less than a {PANIC_FINEST}th of the stable window, {}",
            format_duration(stable_window)
        );
        reader.mistake(at.span, message, "write a longer one, or leave it out: a tenth of `stable_window`");
    }
    let idle = time(file.idle.clone(), 60);
    if let Some(at) = file.freeze_after.given().filter(|at| at.value.0 >= idle && !file.idle.is_bad()) {
        let message = format!("`freeze_after` is not shorter than `idle`, {}", format_duration(idle));
        reader.mistake(
            at.span,
            message,
            "write a shorter one, or a longer `idle`: what is stopped cannot be paused",
        );
    }
    AutoscaleSpec {
        min,
        max,
        metric,
        target: file.target.or(Number(default_target(metric))).0,
        stable_window,
        panic_window,
        idle,
        freeze_after: file.freeze_after.given().map(|at| at.value.0),
        remove_after: time(file.remove_after, KEPT),
        warm_pool: file.warm_pool.or(Int(0)).u32(),
        idle_below: file.idle_below.or(Number(0.0)).0,
        scale_down_delay: time(file.scale_down_delay, 0),
    }
}

/// Takes out of an app's keys how many replicas there are, where that is said for all apps and not by itself.
pub(crate) fn forget_common_bounds(app: &mut AppFile, says: impl Fn(Span) -> bool) {
    fn keep_own<T>(slot: &mut Slot<T>, says: impl Fn(Span) -> bool) {
        if slot.key().is_some_and(|key| !says(key)) {
            *slot = Slot::Absent;
        }
    }
    keep_own(&mut app.autoscale_min, &says);
    keep_own(&mut app.autoscale_max, &says);
    if let Slot::Given(autoscale) = &mut app.autoscale {
        keep_own(&mut autoscale.value.min, &says);
        keep_own(&mut autoscale.value.max, &says);
    }
}

/// In the schema's words: from 0, and from 1.
type Replicas<'a> = (&'a Slot<Int<0, 10_000>>, &'a Slot<Int<1, 10_000>>);

impl AppFile {
    /// Fewest and most replicas, in either spelling.
    fn replicas(&self) -> Replicas<'_> {
        static NONE: (Slot<Int<0, 10_000>>, Slot<Int<1, 10_000>>) = (Slot::Absent, Slot::Absent);
        let (min, max) =
            self.autoscale.get().map_or((&NONE.0, &NONE.1), |autoscale| (&autoscale.min, &autoscale.max));
        let either = (!self.autoscale_min.is_absent(), !self.autoscale_max.is_absent());
        (if either.0 { &self.autoscale_min } else { min }, if either.1 { &self.autoscale_max } else { max })
    }
}

fn default_target(metric: Metric) -> f64 {
    match metric {
        Metric::Rps => 10.0,
        Metric::Concurrency => 100.0,
        Metric::Cpu | Metric::Memory => 70.0,
    }
}

fn check_replicas(app: &AppFile, most: u64, reader: &mut Reader) {
    match app.replicas() {
        (Slot::Given(min), Slot::Given(max)) if min.value.0 > max.value.0 => {
            let message = format!("`min` {} is above `max` {}", min.value.0, max.value.0);
            reader.conflict(min.span, message, (max.span, "`max`"), "raise `max`, or lower `min`");
        }
        (Slot::Given(min), Slot::Absent) if min.value.0 > most => {
            let message =
                format!("`min` {} is above `max`, which is {most} where it is not written", min.value.0);
            reader.mistake(min.span, message, "write `max` as well");
        }
        _ => {}
    }
}
