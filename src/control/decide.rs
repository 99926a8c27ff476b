//! How many replicas an app should have, and why. Pure: no clock, no I/O, no runtime; the supervisor observes
//! and acts.
//!
//! From one up, two windows choose, as in Knative's autoscaler: the stable one in calm weather, the panic one
//! while it asks for twice what is ready, and then never down until a stable window has passed below that.
//! Zero is chosen by idleness alone.

use std::collections::VecDeque;
use std::fmt;
use std::time::Duration;

use crate::app::clock::Millis;
use crate::config::spec::{AutoscaleSpec, Metric};

#[cfg(test)]
mod tests;

/// The panic window takes over where it asks for this many times the ready replicas (Knative's default: 200 %).
const PANIC_FACTOR: u32 = 2;

/// A whole number of replicas less this is still that number: a rate is a quotient, and 30.0 may come out as
/// 30.000000000000004.
const ROUNDING: f64 = 1e-9;

/// What the supervisor saw.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Observation {
    /// Replicas that take requests, those included that could not be reached just now and are looked after.
    pub ready: u32,
    /// Replicas on their way.
    pub starting: u32,
    /// Whether another app needs this one to be up.
    pub needed: bool,
    /// Requests under way.
    pub in_flight: u64,
    /// Requests that wait.
    pub held: u64,
    /// The metric over the stable window, summed over replicas; `None`: nothing is known, which is not zero.
    pub stable: Option<f64>,
    /// The same over the panic window.
    pub panic: Option<f64>,
    /// Requests per second over the panic window, whatever the metric.
    pub rps: f64,
    /// When a replica was first ready since the app was last out; `None`: none has been yet.
    pub first_ready: Option<Millis>,
    /// When a request last ended.
    pub last_ended: Option<Millis>,
}

/// What the decisions of before have left.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct State {
    panic: Option<Panic>,
    /// What the windows asked for within `scale_down_delay`: times ascend, counts descend.
    recent: VecDeque<(Millis, u32)>,
    below_since: Option<Millis>,
    /// What was decided last.
    desired: Option<u32>,
}

#[derive(Debug, Clone, Copy, PartialEq)]
struct Panic {
    /// When the panic window last asked for so much more than there was.
    last: Millis,
    most: u32,
}

/// How many replicas, and why.
#[derive(Debug, Clone, PartialEq)]
pub struct Decision {
    /// Between `min` and `max`; 0 only where the app is idle.
    pub desired: u32,
    /// For an operator.
    pub reason: Reason,
    /// For the next decision.
    pub next: State,
}

/// Why a decision is as it is.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Reason {
    /// Quiet for so long.
    Idle(Duration),
    /// Never asked for, or gone out before.
    Out,
    /// Requests wait and there is no figure yet.
    Woken(u64),
    /// The metric's value, its target, and what that makes before the bounds.
    Window {
        /// What is measured.
        metric: Metric,
        /// Its value over all replicas.
        value: f64,
        /// Its target for one.
        target: f64,
        /// Whether the panic window decided.
        panic: bool,
    },
    /// Other apps need it, and nothing else asks for more.
    Needed,
    /// Nothing is known of the metric; as many as there are, or as were wanted last.
    NoData,
    /// A lower count has not been right for long enough.
    Delayed,
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Idle(quiet) => write!(f, "idle for {:.0} s", quiet.as_secs_f64()),
            Self::Out => f.write_str("no request yet"),
            Self::Woken(held) => write!(f, "woken by {held} held"),
            Self::Window { metric, value, target, panic } => {
                let name = match metric {
                    Metric::Rps => "rps",
                    Metric::Concurrency => "concurrency",
                    Metric::Cpu => "cpu %",
                    Metric::Memory => "memory %",
                };
                write!(f, "{name} {value:.1} / target {target}")?;
                if *panic { f.write_str(" (panic)") } else { Ok(()) }
            }
            Self::Needed => f.write_str("needed by another app"),
            Self::NoData => f.write_str("no data yet"),
            Self::Delayed => f.write_str("scale_down_delay"),
        }
    }
}

impl fmt::Display for Decision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} → {}", self.reason, self.desired)
    }
}

/// Decides for one app at `now`.
#[must_use]
pub fn decide(spec: &AutoscaleSpec, state: &State, seen: &Observation, now: Millis) -> Decision {
    let mut next = state.clone();
    next.below_since = if spec.idle_below > 0.0 && seen.rps < spec.idle_below && !seen.needed {
        Some(state.below_since.unwrap_or(now))
    } else {
        None
    };
    let busy = seen.in_flight > 0 || seen.held > 0;
    if spec.min == 0
        && !busy
        && !seen.needed
        && let Some(reason) = rest(spec, &next, seen, now)
    {
        return Decision { desired: 0, reason, next: State::default() };
    }
    let floor = spec.min.max(1);
    let (wanted, reason) = from_windows(spec, &mut next, seen, now, floor);
    let desired = wanted.clamp(floor, spec.max.max(floor));
    let reason =
        if seen.needed && !busy && spec.min == 0 && wanted <= floor { Reason::Needed } else { reason };
    let (desired, reason) = hold_back(spec, &mut next, now, desired, reason);
    next.desired = Some(desired);
    Decision { desired, reason, next }
}

/// Why the app may be without a replica, if it may.
fn rest(spec: &AutoscaleSpec, next: &State, seen: &Observation, now: Millis) -> Option<Reason> {
    // A start comes to its end, though whom it was for has left: who comes again shall find it done.
    let Some(first_ready) = seen.first_ready else {
        return (seen.rps == 0.0 && seen.starting == 0).then_some(Reason::Out);
    };
    let silent_since = seen.last_ended.unwrap_or(first_ready);
    let since = next.below_since.map_or(silent_since, |below| below.min(silent_since));
    let quiet = now.since(since.max(first_ready));
    // Whether what rests is paused or stopped is for whoever acts: neither takes requests.
    let rest_after = spec.freeze_after.map_or(spec.idle, |freeze_after| freeze_after.min(spec.idle));
    (quiet >= rest_after).then_some(Reason::Idle(quiet))
}

fn from_windows(
    spec: &AutoscaleSpec,
    next: &mut State,
    seen: &Observation,
    now: Millis,
    floor: u32,
) -> (u32, Reason) {
    let (Some(stable), Some(panic)) = (seen.stable, seen.panic) else {
        return if seen.held > 0 && seen.ready == 0 {
            (floor, Reason::Woken(seen.held))
        } else {
            (seen.ready.max(next.desired.unwrap_or(0)).max(floor), Reason::NoData)
        };
    };
    let by_stable = replicas_for(stable, spec.target);
    let by_panic = replicas_for(panic, spec.target);
    if by_panic >= PANIC_FACTOR * seen.ready.max(1) {
        next.panic = Some(Panic { last: now, most: next.panic.map_or(0, |panic| panic.most) });
    } else if next.panic.is_some_and(|panic| now.since(panic.last) > spec.stable_window) {
        next.panic = None;
    }
    let window = |value, panic| Reason::Window { metric: spec.metric, value, target: spec.target, panic };
    match &mut next.panic {
        Some(state) => {
            state.most = state.most.max(by_panic).max(seen.ready.min(spec.max));
            (state.most, window(panic, true))
        }
        None => (by_stable, window(stable, false)),
    }
}

fn replicas_for(value: f64, target: f64) -> u32 {
    // Saturates, and what is not a number becomes 0: `max` and `min` bound the rest.
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "saturating is meant")]
    let replicas = (value / target - ROUNDING).ceil() as u32;
    replicas
}

/// A lower count is taken only where no higher one was asked for within `scale_down_delay`.
fn hold_back(
    spec: &AutoscaleSpec,
    next: &mut State,
    now: Millis,
    desired: u32,
    reason: Reason,
) -> (u32, Reason) {
    if spec.scale_down_delay.is_zero() {
        next.recent.clear();
        return (desired, reason);
    }
    while next.recent.front().is_some_and(|(at, _)| now.since(*at) > spec.scale_down_delay) {
        next.recent.pop_front();
    }
    while next.recent.back().is_some_and(|(_, count)| *count <= desired) {
        next.recent.pop_back();
    }
    next.recent.push_back((now, desired));
    // Never more than was wanted last, or than a new file allows: only going down is delayed.
    let highest = next.recent.front().map_or(desired, |(_, count)| *count);
    let kept = highest.min(next.desired.unwrap_or(desired)).min(spec.max);
    if kept > desired { (kept, Reason::Delayed) } else { (desired, reason) }
}
