//! The tally and its histograms.

use std::time::Duration;

use crate::app::histogram::{BOUNDS, Histogram, Times};
use crate::app::tally::{Counts, Cut, Refusal, STATUSES, Tally};

#[test]
fn a_bound_belongs_to_its_bucket_and_a_nanosecond_more_to_the_next() {
    for (at, bound) in BOUNDS.into_iter().enumerate() {
        let histogram = Histogram::default();
        histogram.record(bound);
        histogram.record(bound + Duration::from_nanos(1));
        let mut expected = Times { sum: bound * 2, ..Times::default() };
        (expected.buckets[at], expected.buckets[at + 1]) = (1, 1);
        assert_eq!(histogram.read(), expected, "{bound:?}");
    }
}

#[test]
fn the_shortest_and_the_longest_have_buckets_too() {
    let histogram = Histogram::default();
    histogram.record(Duration::ZERO);
    histogram.record(Duration::from_hours(24 * 365));
    let times = histogram.read();
    assert_eq!((times.buckets[0], times.buckets[BOUNDS.len()], times.count()), (1, 1, 2));
    assert!(BOUNDS.is_sorted());
}

#[test]
fn every_status_has_a_class() {
    let tally = Tally::default();
    assert_eq!(tally.read(), None, "nobody has asked yet");
    let writer = tally.writer();
    for status in [None, Some(101), Some(200), Some(304), Some(404), Some(599), Some(999), Some(42)] {
        writer.ended(status, Duration::ZERO);
    }
    let counts = tally.read().expect("somebody has");
    assert_eq!(counts.statuses, [1, 2, 1, 1, 1, 2], "{STATUSES:?}");
    assert_eq!(counts.took.count(), 8);
}

#[test]
fn what_has_names_is_counted_by_its_place() {
    let tally = Tally::default();
    for (at, refusal) in Refusal::ALL.into_iter().enumerate() {
        let writer = tally.writer();
        (0..=at).for_each(|_| writer.refused(refusal));
    }
    tally.writer().cut(Cut::Client);
    let counts = tally.read().expect("there are some");
    assert_eq!(counts.refusals, [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16]);
    assert_eq!(counts.cuts.map(|count| count == 1), Cut::ALL.map(|cut| cut == Cut::Client));
}

/// A worker drops its writer with a stale route table, and takes one with the next.
#[test]
fn what_a_writer_has_left_stays_counted() {
    let tally = Tally::default();
    let (kept, left) = (tally.writer(), tally.writer());
    kept.held(Duration::from_secs(1));
    left.held(Duration::from_secs(2));
    drop(left);
    let held = |tally: &Tally| tally.read().map(|Counts { held, .. }| (held.count(), held.sum));
    assert_eq!(held(&tally), Some((2, Duration::from_secs(3))));
    tally.writer().held(Duration::from_secs(4));
    kept.held(Duration::from_secs(8));
    assert_eq!(held(&tally), Some((4, Duration::from_secs(15))));
}
