//! A replica's failures, step by step.

use std::time::Duration;

use crate::app::ejection::{Ejection, TimeOut};

fn fail(ejection: &Ejection, times: usize) -> Option<TimeOut> {
    let mut out = None;
    for _ in 0..times {
        out = ejection.failed(|| true);
    }
    out
}

fn seconds(out: Option<TimeOut>) -> Option<u64> {
    out.map(|out| out.time.as_secs())
}

#[test]
fn three_failures_in_a_row_take_it_out() {
    let ejection = Ejection::new();
    assert_eq!(fail(&ejection, 2), None);
    ejection.answered(false);
    assert_eq!(fail(&ejection, 2), None, "a success in between begins anew");
    assert!(!ejection.is_out());
    assert_eq!(seconds(fail(&ejection, 1)), Some(1));
    assert!(ejection.is_out());
}

#[test]
fn each_time_out_is_twice_as_long_up_to_a_minute() {
    let ejection = Ejection::new();
    let mut out = fail(&ejection, 3);
    let mut times = Vec::new();
    for _ in 0..300 {
        let TimeOut { round, time } = out.expect("it has failed again");
        times.push(time.as_secs());
        assert!(ejection.end(round));
        // On probation: the first failure will do.
        out = fail(&ejection, 1);
    }
    assert_eq!(times[..8], [1, 2, 4, 8, 16, 32, 60, 60]);
    assert_eq!(times.iter().max(), Some(&60));
}

#[test]
fn a_success_forgets_how_often_it_was_out() {
    let ejection = Ejection::new();
    for _ in 0..3 {
        let out = fail(&ejection, 3).expect("out");
        assert_eq!(out.time, Duration::from_secs(1));
        assert!(ejection.end(out.round));
        ejection.answered(false);
    }
    assert_eq!(fail(&ejection, 2), None);
}

#[test]
fn the_last_one_is_never_taken_out() {
    let ejection = Ejection::new();
    for _ in 0..300 {
        assert_eq!(ejection.failed(|| false), None);
    }
    assert!(!ejection.is_out());
    assert_eq!(seconds(ejection.failed(|| true)), Some(1), "as soon as there is another");
}

/// What was sent before it was out says nothing of it now; what was sent for want of others does.
#[test]
fn only_a_trial_counts_while_it_is_out() {
    let ejection = Ejection::new();
    let first = fail(&ejection, 3).expect("out");
    assert_eq!(fail(&ejection, 9), None, "not longer, and not anew");
    ejection.answered(false);
    assert!(ejection.is_out());
    ejection.answered(true);
    assert!(!ejection.is_out());
    let second = fail(&ejection, 3).expect("out again");
    assert_eq!(second.time, first.time);
    assert!(!ejection.end(first.round), "the end of a time out that a success has ended");
    assert!(ejection.is_out());
    assert!(ejection.end(second.round));
}
