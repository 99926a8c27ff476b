//! Decisions as scenarios: a timeline of what is seen, and what is decided.

use super::*;
use crate::control::observe::Gauge;

const fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn spec() -> AutoscaleSpec {
    AutoscaleSpec {
        min: 0,
        max: 10,
        metric: Metric::Rps,
        target: 10.0,
        stable_window: secs(60),
        panic_window: secs(6),
        idle: secs(60),
        freeze_after: None,
        remove_after: secs(24 * 60 * 60),
        warm_pool: 0,
        idle_below: 0.0,
        scale_down_delay: Duration::ZERO,
    }
}

fn seen() -> Observation {
    Observation {
        ready: 1,
        starting: 0,
        needed: false,
        in_flight: 0,
        held: 0,
        stable: Some(0.0),
        panic: Some(0.0),
        rps: 0.0,
        first_ready: Some(Millis(0)),
        last_ended: None,
    }
}

/// The same rate in both windows.
fn load(ready: u32, rps: f64) -> Observation {
    Observation { ready, in_flight: 1, stable: Some(rps), panic: Some(rps), rps, ..seen() }
}

struct Life {
    spec: AutoscaleSpec,
    state: State,
}

impl Life {
    fn of(spec: AutoscaleSpec) -> Self {
        Self { spec, state: State::default() }
    }

    fn at(&mut self, seconds: u64, seen: &Observation) -> Decision {
        let decision = decide(&self.spec, &self.state, seen, Millis(seconds * 1000));
        self.state = decision.next.clone();
        decision
    }
}

#[test]
fn the_rate_over_the_target_rounded_up() {
    for (rps, desired) in [(0.5, 1), (10.0, 1), (10.1, 2), (37.0, 4), (43.0, 5), (99.9, 10), (5000.0, 10)] {
        let decision = Life::of(spec()).at(1, &load(5, rps));
        assert_eq!(decision.desired, desired, "{rps}");
    }
    let decision = Life::of(spec()).at(1, &load(5, 43.0));
    assert_eq!(decision.to_string(), "rps 43.0 / target 10 → 5");
}

#[test]
fn a_sum_that_is_whole_but_for_rounding_is_whole() {
    let mut life = Life::of(AutoscaleSpec { target: 0.1, ..spec() });
    assert_eq!(life.at(1, &load(3, 0.1 + 0.2)).desired, 3);
}

#[test]
fn the_bounds_hold_whatever_is_seen() {
    let bounded = AutoscaleSpec { min: 2, max: 3, ..spec() };
    for rps in [0.0, 5.0, 1e12, f64::INFINITY, f64::NAN] {
        let desired = Life::of(bounded.clone()).at(1, &load(2, rps)).desired;
        assert!((2..=3).contains(&desired), "{rps}: {desired}");
    }
}

#[test]
fn nobody_has_asked_yet() {
    let unborn = Observation { ready: 0, first_ready: None, ..seen() };
    let decision = Life::of(spec()).at(1000, &unborn);
    assert_eq!((decision.desired, decision.reason), (0, Reason::Out));
    let min = AutoscaleSpec { min: 2, ..spec() };
    assert_eq!(Life::of(min).at(1000, &unborn).desired, 2);
}

#[test]
fn a_held_request_wakes() {
    for metric in [Metric::Rps, Metric::Concurrency, Metric::Cpu, Metric::Memory] {
        let mut life = Life::of(AutoscaleSpec { metric, ..spec() });
        let waiting =
            Observation { ready: 0, held: 1, first_ready: None, stable: None, panic: None, ..seen() };
        assert_eq!(life.at(5, &waiting).desired, 1);
    }
}

#[test]
fn a_slow_start_is_not_idleness() {
    let mut life = Life::of(AutoscaleSpec { idle: secs(2), ..spec() });
    let starting = Observation { ready: 0, held: 1, first_ready: None, ..seen() };
    assert_eq!(life.at(5, &starting).desired, 1);
    // The client has left long ago, but what was started for it comes to its end.
    let deserted = Observation { held: 0, starting: 1, ..starting };
    assert_eq!(life.at(30, &deserted).desired, 1);
    assert_eq!(life.at(31, &Observation { starting: 0, ..deserted }).reason, Reason::Out, "it has failed");
    // Ready at last: the clock starts now.
    let ready = Observation { first_ready: Some(Millis(40_000)), ..seen() };
    assert_eq!(life.at(41, &ready).desired, 1);
    assert_eq!(life.at(42, &ready).desired, 0);
}

#[test]
fn idle_counts_from_the_end_of_the_last_request() {
    let mut life = Life::of(spec());
    let long = Observation { in_flight: 1, ..seen() };
    assert_eq!(life.at(10_000, &long).desired, 1, "a request under way");
    let over = Observation { last_ended: Some(Millis(10_001_000)), ..seen() };
    assert_eq!(life.at(10_060, &over).desired, 1);
    let decision = life.at(10_061, &over);
    assert_eq!((decision.desired, decision.to_string()), (0, "idle for 60 s → 0".to_owned()));
}

#[test]
fn zero_is_never_chosen_by_a_window() {
    let mut life = Life::of(spec());
    let calm = Observation { last_ended: Some(Millis(100_000)), ..seen() };
    assert_eq!(life.at(101, &calm).desired, 1);
}

#[test]
fn a_rate_below_idle_below_is_idle() {
    let mut life = Life::of(AutoscaleSpec { idle_below: 1.0, ..spec() });
    let visit = |ended| Observation { last_ended: Some(Millis(ended)), rps: 0.2, ..load(1, 0.2) };
    let quiet = |ended| Observation { in_flight: 0, ..visit(ended) };
    assert_eq!(life.at(100, &quiet(99_000)).desired, 1, "the rate has only just fallen");
    assert_eq!(life.at(155, &visit(154_000)).desired, 1);
    assert_eq!(life.at(160, &visit(154_000)).desired, 1, "not while one is under way");
    assert_eq!(life.at(161, &quiet(160_500)).desired, 0, "a visitor now and then does not keep it lit");

    let mut steady = Life::of(spec());
    assert_eq!(steady.at(100, &quiet(99_000)).desired, 1);
    assert_eq!(steady.at(161, &quiet(160_500)).desired, 1, "by default it does");
}

#[test]
fn a_rise_starts_the_clock_of_idle_below_anew() {
    let mut life = Life::of(AutoscaleSpec { idle_below: 1.0, idle: secs(10), ..spec() });
    let rate = |rps, ended| Observation { in_flight: 0, last_ended: Some(Millis(ended)), ..load(1, rps) };
    assert_eq!(life.at(100, &rate(0.5, 99_000)).desired, 1);
    assert_eq!(life.at(105, &rate(3.0, 104_900)).desired, 1);
    assert_eq!(life.at(112, &rate(0.5, 111_900)).desired, 1);
    assert_eq!(life.at(121, &rate(0.5, 120_900)).desired, 1);
    assert_eq!(life.at(122, &rate(0.5, 121_900)).desired, 0);
}

#[test]
fn a_rush_is_met_by_the_panic_window() {
    let mut life = Life::of(spec());
    let rush = Observation { panic: Some(80.0), stable: Some(8.0), ..load(1, 80.0) };
    let decision = life.at(10, &rush);
    assert_eq!((decision.desired, decision.to_string()), (8, "rps 80.0 / target 10 (panic) → 8".to_owned()));
    // It is over, but nothing goes down before a stable window has passed.
    let over = Observation { panic: Some(0.0), stable: Some(8.0), ..load(8, 0.0) };
    for second in 11..=70 {
        assert_eq!(life.at(second, &over).desired, 8, "at {second}");
    }
    assert_eq!(life.at(71, &over).desired, 1);
}

#[test]
fn less_than_twice_what_is_ready_is_no_panic() {
    let mut life = Life::of(spec());
    let rise = Observation { panic: Some(70.0), stable: Some(41.0), ..load(4, 70.0) };
    assert_eq!(life.at(10, &rise).desired, 5);
    let sharp = Observation { panic: Some(71.0), stable: Some(41.0), ..load(4, 71.0) };
    assert_eq!(life.at(11, &sharp).desired, 8);
}

#[test]
fn panic_from_zero_counts_as_if_one_were_ready() {
    let mut life = Life::of(spec());
    let one = Observation { held: 1, first_ready: None, ..load(0, 7.0) };
    assert!(!life.at(1, &one).to_string().contains("panic"));
    let many = Observation { held: 20, first_ready: None, ..load(0, 20.0) };
    let decision = life.at(2, &many);
    assert_eq!(decision.desired, 2);
    assert!(decision.to_string().contains("panic"));
}

#[test]
fn no_data_is_not_zero() {
    let mut life = Life::of(AutoscaleSpec { metric: Metric::Cpu, target: 70.0, ..spec() });
    let blind = Observation { ready: 4, in_flight: 1, stable: None, panic: None, ..seen() };
    let decision = life.at(10, &blind);
    assert_eq!((decision.desired, decision.reason), (4, Reason::NoData));
    let fewer = Observation { ready: 2, ..blind };
    assert_eq!(life.at(11, &fewer).desired, 4, "those on their way are not given up");
}

#[test]
fn cpu_of_all_replicas_over_the_target_of_one() {
    let mut life = Life::of(AutoscaleSpec { metric: Metric::Cpu, target: 70.0, ..spec() });
    let warm = Observation { ready: 2, stable: Some(150.0), panic: Some(150.0), in_flight: 1, ..seen() };
    let decision = life.at(10, &warm);
    assert_eq!((decision.desired, decision.to_string()), (3, "cpu % 150.0 / target 70 → 3".to_owned()));
}

#[test]
fn a_lower_count_waits_for_scale_down_delay() {
    let mut life = Life::of(AutoscaleSpec { scale_down_delay: secs(30), ..spec() });
    assert_eq!(life.at(0, &load(5, 50.0)).desired, 5);
    let decision = life.at(10, &load(5, 20.0));
    assert_eq!((decision.desired, decision.reason), (5, Reason::Delayed));
    assert_eq!(life.at(30, &load(5, 30.0)).desired, 5);
    assert_eq!(life.at(31, &load(5, 20.0)).desired, 3, "thirty seconds after the five, the highest since");
    assert_eq!(life.at(61, &load(3, 20.0)).desired, 2);
    assert_eq!(life.at(62, &load(2, 80.0)).desired, 8, "up at once");
}

/// What a replica held leaves the sum with it, long before the others have grown into its work.
#[test]
fn by_memory_replicas_go_a_window_apart() {
    let spec = AutoscaleSpec { metric: Metric::Memory, target: 70.0, stable_window: secs(10), ..spec() };
    let mut life = Life::of(spec.clone());
    let (mut gauge, mut ready, mut changes) = (Gauge::default(), 6, Vec::new());
    for second in 1..=40 {
        let now = Millis(second * 1000);
        gauge.push(now, f64::from(ready) * 25.0, spec.stable_window);
        let highest = |window| gauge.highest(now.before(window));
        let (stable, panic) = (highest(spec.stable_window), highest(spec.panic_window));
        let desired = life.at(second, &Observation { ready, in_flight: 1, stable, panic, ..seen() }).desired;
        if desired != ready {
            changes.push((second, desired));
            ready = desired;
        }
    }
    assert_eq!(changes, [(1, 3), (12, 2), (23, 1)]);
}

/// The file may change under the counts that the delay remembers.
#[test]
fn the_delay_brings_nothing_back_that_was_given_up() {
    let mut life = Life::of(AutoscaleSpec { scale_down_delay: secs(30), ..spec() });
    assert_eq!(life.at(0, &load(5, 80.0)).desired, 8);
    life.spec.max = 4;
    assert_eq!(life.at(5, &load(8, 20.0)).desired, 4, "delayed, and still no more than may be");
    life.spec.max = 10;
    assert_eq!(life.at(6, &load(4, 20.0)).desired, 4, "as many as were wanted last, not the eight before");
    assert_eq!(life.at(30, &load(4, 20.0)).desired, 4);
    assert_eq!(life.at(31, &load(4, 20.0)).desired, 2, "the eight are over");
}
