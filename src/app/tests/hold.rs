//! The hold queue, step by step.

use std::cell::{Cell, RefCell};

use futures_util::FutureExt;

use crate::app::hold::{Hold, QueueFull};

/// Grants numbered from 1 up, as many as `left` says.
struct Tap {
    left: Cell<u32>,
    given: Cell<u32>,
}

impl Tap {
    const fn with(left: u32) -> Self {
        Self { left: Cell::new(left), given: Cell::new(0) }
    }

    fn draw(&self) -> Option<u32> {
        self.left.set(self.left.get().checked_sub(1)?);
        self.given.set(self.given.get() + 1);
        Some(self.given.get())
    }
}

type TestHold = Hold<u32, &'static str>;

#[test]
fn tickets_leave_in_the_order_in_which_they_came() {
    let (hold, tap) = (TestHold::default(), Tap::with(0));
    let tickets: Vec<_> = (0..5).map(|_| hold.enqueue(9, || tap.draw()).unwrap()).collect();
    tap.left.set(3);
    hold.dispatch(|| tap.draw());
    assert_eq!(hold.waiting(), 2);
    tap.left.set(9);
    hold.dispatch(|| tap.draw());
    let granted: Vec<_> = tickets.into_iter().map(|ticket| ticket.now_or_never().unwrap().unwrap()).collect();
    assert_eq!(granted, [1, 2, 3, 4, 5]);
}

#[test]
fn a_grant_that_appears_while_queueing_is_not_missed() {
    let (hold, tap) = (TestHold::default(), Tap::with(1));
    let ticket = hold.enqueue(9, || tap.draw()).unwrap();
    assert_eq!((ticket.now_or_never(), hold.waiting()), (Some(Ok(1)), 0));
}

#[test]
fn a_newcomer_does_not_take_what_an_older_ticket_waits_for() {
    let (hold, tap) = (TestHold::default(), Tap::with(0));
    let old = hold.enqueue(9, || tap.draw()).unwrap();
    tap.left.set(1);
    let new = hold.enqueue(9, || tap.draw()).unwrap();
    assert_eq!(old.now_or_never(), Some(Ok(1)));
    assert_eq!(new.now_or_never(), None);
}

#[test]
fn the_grant_of_one_who_has_left_passes_to_the_next() {
    let (hold, tap) = (TestHold::default(), Tap::with(0));
    let mut tickets: Vec<_> = (0..4).map(|_| hold.enqueue(9, || tap.draw()).unwrap()).collect();
    drop(tickets.remove(0));
    tap.left.set(1);
    hold.dispatch(|| tap.draw());
    assert_eq!(tickets.remove(0).now_or_never(), Some(Ok(1)));
    assert_eq!((hold.waiting(), tap.given.get()), (2, 1));
}

#[test]
fn a_grant_that_was_never_looked_at_goes_back() {
    struct Counted<'a>(&'a RefCell<u32>);
    impl Drop for Counted<'_> {
        fn drop(&mut self) {
            *self.0.borrow_mut() += 1;
        }
    }
    let back = RefCell::new(0);
    let hold: Hold<Counted<'_>, ()> = Hold::default();
    let ticket = hold.enqueue(9, || None).unwrap();
    hold.dispatch(|| Some(Counted(&back)));
    assert_eq!(*back.borrow(), 0);
    drop(ticket);
    assert_eq!(*back.borrow(), 1);
}

#[test]
fn the_bound_counts_those_who_wait_and_the_queue_stays_small() {
    let hold = TestHold::default();
    let kept = hold.enqueue(2, || None).unwrap();
    for _ in 0..1000 {
        drop(hold.enqueue(2, || None).unwrap());
    }
    let _second = hold.enqueue(2, || None).unwrap();
    assert_eq!(hold.enqueue(2, || None).err(), Some(QueueFull));
    assert_eq!(hold.enqueue(0, || None).err(), Some(QueueFull));
    assert!(hold.queued() < 6);
    drop(kept);
    assert_eq!(hold.waiting(), 1);
}

#[test]
fn all_are_told_why_they_wait_in_vain() {
    let hold = TestHold::default();
    let tickets: Vec<_> = (0..3).map(|_| hold.enqueue(9, || None).unwrap()).collect();
    hold.fail_all(|| "no engine");
    assert_eq!(hold.waiting(), 0);
    for ticket in tickets {
        assert_eq!(ticket.now_or_never(), Some(Err("no engine")));
    }
}
