//! Turns counts and samples into the figures that a decision is made on: rates from the meter, averages of what
//! can only be sampled. Knows windows; decides nothing.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use crate::app::clock::{Millis, millis};
use crate::app::meter::Meter;
use crate::runtime::{MemoryUse, ReplicaId};

/// A rate over less than this is a guess: one request after a millisecond is not a thousand a second.
pub const SHORTEST: Duration = Duration::from_secs(1);

/// The beginning of a time in which an app is not out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lit {
    /// When the first request of it came.
    pub since: Millis,
    /// What the meter had counted before: the bucket of the first request may hold some of that.
    pub before: u64,
}

/// Requests per second over `window`, of which only what came since the app was lit counts.
#[must_use]
pub fn rate(meter: &Meter, window: Duration, lit: Lit, now: Millis) -> f64 {
    let since = lit.since.max(now.before(window));
    let sum = meter.sum(since.0, now.0);
    let count = sum.count.min(meter.total().saturating_sub(lit.before));
    let covered = sum.covered_ms.min(millis(now.since(lit.since))).max(millis(SHORTEST.min(window)));
    count as f64 * 1000.0 / covered as f64
}

/// Samples of a value over time.
#[derive(Debug, Default)]
pub struct Gauge(VecDeque<(Millis, f64)>);

impl Gauge {
    /// Adds a sample and forgets those older than `longest`.
    pub fn push(&mut self, now: Millis, value: f64, longest: Duration) {
        self.0.push_back((now, value));
        while self.0.front().is_some_and(|(at, _)| now.since(*at) > longest) {
            self.0.pop_front();
        }
    }

    /// The average since `since`; `None` where there is no sample.
    #[must_use]
    pub fn average(&self, since: Millis) -> Option<f64> {
        let (count, sum) =
            self.recent(since).fold((0_u32, 0.0), |(count, sum), value| (count + 1, sum + value));
        (count > 0).then(|| sum / f64::from(count))
    }

    /// The highest since `since`; `None` where there is no sample.
    #[must_use]
    pub fn highest(&self, since: Millis) -> Option<f64> {
        self.recent(since).reduce(f64::max)
    }

    /// A window shorter than the time between two samples has the last one.
    fn recent(&self, since: Millis) -> impl Iterator<Item = f64> {
        let newest_first = self.0.iter().rev().enumerate();
        newest_first.take_while(move |(n, (at, _))| *n == 0 || *at >= since).map(|(_, (_, value))| *value)
    }

    /// Forgets everything.
    pub fn clear(&mut self) {
        self.0.clear();
    }
}

/// CPU time of each replica as it was last read.
#[derive(Debug, Default)]
pub struct CpuUse(HashMap<ReplicaId, (Millis, Duration)>);

impl CpuUse {
    /// Takes a reading of all replicas; gives the sum of their use since the one before, in per cent of the `cpu_millis`
    /// that each may use. `boosted`: some may use more while they start, which is no load. `None` where no replica was read
    /// twice.
    pub fn take(
        &mut self,
        now: Millis,
        readings: Vec<(ReplicaId, Duration)>,
        cpu_millis: u32,
        boosted: bool,
    ) -> Option<f64> {
        let most = if boosted { 100.0 } else { f64::INFINITY };
        let mut before = std::mem::take(&mut self.0);
        let mut sum = None;
        for (id, used) in readings {
            if let Some((at, used_then)) = before.remove(&id) {
                let passed = now.since(at).as_secs_f64().max(0.001);
                let cores = used.saturating_sub(used_then).as_secs_f64() / passed;
                *sum.get_or_insert(0.0) += (cores * 100_000.0 / f64::from(cpu_millis)).min(most);
            }
            self.0.insert(id, (now, used));
        }
        sum
    }
}

/// What replicas hold together, in per cent of what each may: of its own limit where it has one (a host smaller than
/// the instance sets a lower one), else of `instance`, in bytes.
#[must_use]
pub fn memory_percent(replicas: &[MemoryUse], instance: u64) -> f64 {
    let percent = |it: &MemoryUse| it.held as f64 * 100.0 / it.limit.unwrap_or(instance) as f64;
    replicas.iter().map(percent).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn secs(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn a_steady_rate_is_that_rate_from_the_first_second_on() {
        let meter = Meter::new(1000, 60_000);
        let writer = meter.writer();
        let lit = Lit { since: Millis(5_300), before: 0 };
        let mut next = lit.since.0;
        for now in (next..next + 90_000).step_by(100) {
            while next <= now {
                writer.record(next);
                next += 27; // 37 a second
            }
            if now >= lit.since.0 + 1000 {
                for window in [6, 60] {
                    let rate = rate(&meter, secs(window), lit, Millis(now));
                    assert!((36.0..39.0).contains(&rate), "{rate} over {window} s at {now}");
                }
            }
        }
    }

    #[test]
    fn what_was_before_the_wake_does_not_count() {
        let meter = Meter::new(1000, 60_000);
        let writer = meter.writer();
        (0..5000).for_each(|i| writer.record(15_200 + i));
        let lit = Lit { since: Millis(20_500), before: meter.total() };
        writer.record(20_500);
        let rate = rate(&meter, secs(60), lit, Millis(20_600));
        assert!((rate - 1.0).abs() < 1e-9, "{rate}");
    }

    #[test]
    fn no_sample_is_not_zero() {
        let mut gauge = Gauge::default();
        assert_eq!(gauge.average(Millis(0)), None);
        gauge.push(Millis(1000), 4.0, secs(60));
        gauge.push(Millis(2000), 0.0, secs(60));
        assert_eq!(gauge.average(Millis(0)), Some(2.0));
        assert_eq!(gauge.average(Millis(1500)), Some(0.0));
        assert_eq!(gauge.average(Millis(2500)), Some(0.0), "the last one, where the window has none");
        assert_eq!(gauge.highest(Millis(0)), Some(4.0));
        assert_eq!(gauge.highest(Millis(1500)), Some(0.0));
        assert_eq!(gauge.highest(Millis(2500)), Some(0.0));
        gauge.push(Millis(100_000), 1.0, secs(60));
        assert_eq!(gauge.average(Millis(0)), Some(1.0), "the old ones are forgotten");
    }

    #[test]
    fn cpu_is_per_cent_of_the_instance() {
        let mut cpu = CpuUse::default();
        let (a, b) = (ReplicaId("a".into()), ReplicaId("b".into()));
        assert_eq!(cpu.take(Millis(0), vec![(a.clone(), secs(1))], 500, false), None);
        let used = vec![(a.clone(), secs(1) + Duration::from_millis(250)), (b.clone(), secs(9))];
        let percent = cpu.take(Millis(1000), used, 500, false).expect("a was read twice");
        assert!((percent - 50.0).abs() < 1e-9, "{percent}");
        let used = vec![(a, secs(3)), (b, secs(9) + Duration::from_millis(100))];
        let percent = cpu.take(Millis(2000), used, 500, true).expect("both were read twice");
        assert!((percent - 120.0).abs() < 1e-9, "{percent}: the start of one is no load");
    }

    #[test]
    fn memory_is_per_cent_of_what_limits_it() {
        let bound = MemoryUse { held: 30, limit: Some(50) };
        let free = MemoryUse { held: 30, limit: None };
        let percent = memory_percent(&[bound, free], 200);
        assert!((percent - 75.0).abs() < 1e-9, "{percent}");
    }
}
