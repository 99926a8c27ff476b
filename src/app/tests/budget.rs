//! The budget of repeated requests, over time.

use crate::app::budget::Budget;
use crate::app::clock::Millis;

/// Spends all there is.
fn spend(budget: &Budget, now: u64) -> u32 {
    let mut spent = 0;
    while budget.spend(Millis(now)) {
        spent += 1;
    }
    spent
}

fn requests(budget: &Budget, now: u64, count: u32) {
    for _ in 0..count {
        budget.request(Millis(now));
    }
}

#[test]
fn a_fifth_and_ten_more() {
    let budget = Budget::default();
    assert_eq!(spend(&budget, 5_000), 10, "there is always some");
    requests(&budget, 5_000, 4);
    assert_eq!(spend(&budget, 5_000), 0, "four are no fifth");
    requests(&budget, 5_000, 96);
    assert_eq!(spend(&budget, 5_000), 20);
    assert_eq!(spend(&budget, 9_999), 0);
}

#[test]
fn what_is_long_ago_counts_neither_way() {
    let budget = Budget::default();
    requests(&budget, 5_000, 1_000);
    assert_eq!(spend(&budget, 15_000), 210, "the stretch before counts");
    assert_eq!(spend(&budget, 25_000), 0, "those repeated, too");
    assert_eq!(spend(&budget, 35_000), 10, "and no longer");
    requests(&budget, 35_000, 1_000);
    assert_eq!(spend(&budget, 1_000_000), 10, "after a silence");
}
