//! The meter against a plain list.

use proptest::prelude::*;

use crate::app::meter::{Meter, Sum};

#[test]
fn every_worker_counts() {
    let meter = Meter::new(100, 1000);
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                let writer = meter.writer();
                (0..10_000).for_each(|i| writer.record(5_000 + i / 100));
            });
        }
    });
    assert_eq!(meter.total(), 40_000);
    assert_eq!(meter.sum(4_500, 5_100), Sum { count: 40_000, covered_ms: 600 });
}

#[test]
fn a_shard_is_used_again() {
    let meter = Meter::new(100, 1000);
    for _ in 0..5 {
        meter.writer().record(1);
    }
    let shards = || meter.shards();
    assert_eq!(shards(), 1);
    assert_eq!(meter.total(), 5);
    let (_one, _other) = (meter.writer(), meter.writer());
    assert_eq!(shards(), 2);
}

proptest! {
    /// Against a plain list of times: exact but for the bucket in which the window begins.
    #[test]
    fn agrees_with_a_list(
        bucket in 1_u64..500,
        window in 1_u64..5_000,
        steps in prop::collection::vec((0_usize..3, 0_u64..400), 1..200),
    ) {
        let meter = Meter::new(bucket, window);
        let writers = [meter.writer(), meter.writer(), meter.writer()];
        let (mut now, mut times) = (0, Vec::new());
        for (writer, pause) in steps {
            now += pause;
            writers[writer].record(now);
            times.push(now);
            let since = now.saturating_sub(window);
            let edge = since / bucket * bucket;
            let exact = times.iter().filter(|at| **at >= edge).count() as u64;
            let within = times.iter().filter(|at| **at >= since + bucket).count() as u64;
            let sum = meter.sum(since, now);
            prop_assert!((within..=exact).contains(&sum.count), "{sum:?} not in {within}..={exact}");
            prop_assert!(sum.covered_ms <= window + bucket);
            prop_assert_eq!(meter.total(), times.len() as u64);
        }
    }
}
