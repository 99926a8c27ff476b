//! What happens when nobody is ready: requests wait here, in the order in which they came.
//!
//! A queue of tickets with a bound. A grant (a claim on a replica) goes to the oldest ticket whose waiter is
//! still there. Newcomers never overtake a ticket, and a grant that appears while a ticket is being queued is
//! not missed, since queueing tries once more under the queue's lock. The queue knows nothing of replicas: how
//! a grant is come by is the caller's closure.

use std::collections::VecDeque;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use crate::sync::{Arc, AtomicUsize, Mutex, Ordering};

/// The waiting requests of one app. `G` is what they wait for, `E` why they may wait in vain.
#[derive(Debug)]
pub struct Hold<G, E> {
    queue: Mutex<Queue<G, E>>,
    /// Tickets that still wait; read without the lock by newcomers and by whoever gives a claim back.
    waiting: AtomicUsize,
}

#[derive(Debug)]
struct Queue<G, E> {
    tickets: VecDeque<Arc<Slot<G, E>>>,
    /// How many of `tickets` have no waiter any more; they are swept when they are the majority.
    gone: usize,
}

#[derive(Debug)]
struct Slot<G, E>(Mutex<State<G, E>>);

#[derive(Debug)]
enum State<G, E> {
    Waiting(Option<Waker>),
    Settled(Result<G, E>),
    Gone,
}

/// A place in the queue. Resolves to the grant, or to why there is none; dropping it leaves the queue.
#[derive(Debug)]
pub struct Ticket<'a, G, E> {
    hold: &'a Hold<G, E>,
    slot: Option<Arc<Slot<G, E>>>,
}

/// The queue is at its bound.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct QueueFull;

impl<G, E> Default for Hold<G, E> {
    fn default() -> Self {
        Self { queue: Mutex::new(Queue { tickets: VecDeque::new(), gone: 0 }), waiting: AtomicUsize::new(0) }
    }
}

impl<G, E> Hold<G, E> {
    /// How many wait.
    pub fn waiting(&self) -> usize {
        // SeqCst: pairs with the gate's word, see `Gate::enter`.
        self.waiting.load(Ordering::SeqCst)
    }

    /// Takes a ticket, unless `max` wait already. `claim` is tried for the tickets in turn, so the caller may
    /// find its own settled at once.
    ///
    /// # Errors
    /// [`QueueFull`] where `max` wait.
    pub fn enqueue(&self, max: usize, claim: impl Fn() -> Option<G>) -> Result<Ticket<'_, G, E>, QueueFull> {
        let mut queue = self.queue.lock();
        if self.waiting.load(Ordering::SeqCst) >= max {
            return Err(QueueFull);
        }
        let slot = Arc::new(Slot(Mutex::new(State::Waiting(None))));
        queue.tickets.push_back(Arc::clone(&slot));
        self.waiting.fetch_add(1, Ordering::SeqCst);
        let spare = self.settle(&mut queue, &claim);
        drop(queue);
        drop(spare);
        Ok(Ticket { hold: self, slot: Some(slot) })
    }

    /// Gives grants to the tickets, oldest first, for as long as `claim` yields any.
    pub fn dispatch(&self, claim: impl Fn() -> Option<G>) {
        let mut queue = self.queue.lock();
        let spare = self.settle(&mut queue, &claim);
        drop(queue);
        // Only now: giving a grant back may dispatch again.
        drop(spare);
    }

    /// Tells all that wait why they wait in vain.
    pub fn fail_all(&self, why: impl Fn() -> E) {
        let mut queue = self.queue.lock();
        for slot in std::mem::take(&mut queue.tickets) {
            if slot.settle(Err(why())).is_ok() {
                self.waiting.fetch_sub(1, Ordering::SeqCst);
            }
        }
        queue.gone = 0;
    }

    /// Settles from the front. Gives back a grant that found no waiter, to be dropped without the lock.
    fn settle(&self, queue: &mut Queue<G, E>, claim: &impl Fn() -> Option<G>) -> Option<G> {
        let mut grant = None;
        while !queue.tickets.is_empty() {
            grant = match grant.or_else(claim) {
                Some(grant) => Some(grant),
                None => return None,
            };
            let Some(slot) = queue.tickets.pop_front() else { break };
            match slot.settle(Ok(grant.take().expect("claimed above"))) {
                Ok(()) => {
                    self.waiting.fetch_sub(1, Ordering::SeqCst);
                }
                Err(unused) => {
                    queue.gone -= 1;
                    grant = unused.ok();
                }
            }
        }
        grant
    }
}

impl<G, E> Slot<G, E> {
    /// Settles a waiting slot and wakes its waiter, or gives the outcome back where the waiter has gone.
    fn settle(&self, outcome: Result<G, E>) -> Result<(), Result<G, E>> {
        let mut state = self.0.lock();
        if !matches!(*state, State::Waiting(_)) {
            return Err(outcome);
        }
        let State::Waiting(waker) = std::mem::replace(&mut *state, State::Settled(outcome)) else {
            unreachable!("matched above")
        };
        drop(state);
        if let Some(waker) = waker {
            waker.wake();
        }
        Ok(())
    }
}

impl<G, E> Future for Ticket<'_, G, E> {
    type Output = Result<G, E>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let slot = self.slot.as_ref().expect("not polled after it was ready");
        let mut state = slot.0.lock();
        if let State::Waiting(waker) = &mut *state {
            if !waker.as_ref().is_some_and(|waker| waker.will_wake(cx.waker())) {
                *waker = Some(cx.waker().clone());
            }
            return Poll::Pending;
        }
        let State::Settled(outcome) = std::mem::replace(&mut *state, State::Gone) else {
            unreachable!("a ticket that is gone has no waiter")
        };
        drop(state);
        self.slot = None;
        Poll::Ready(outcome)
    }
}

impl<G, E> Drop for Ticket<'_, G, E> {
    fn drop(&mut self) {
        let Some(slot) = self.slot.take() else { return };
        let mut queue = self.hold.queue.lock();
        let left = std::mem::replace(&mut *slot.0.lock(), State::Gone);
        if matches!(left, State::Waiting(_)) {
            self.hold.waiting.fetch_sub(1, Ordering::SeqCst);
            queue.gone += 1;
            if queue.gone * 2 > queue.tickets.len() {
                queue.tickets.retain(|slot| !matches!(*slot.0.lock(), State::Gone));
                queue.gone = 0;
            }
        }
        drop(queue);
        // A grant that came too late goes back now, and with it to the next ticket.
        drop(left);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::FutureExt;
    use std::cell::{Cell, RefCell};

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
        let granted: Vec<_> =
            tickets.into_iter().map(|ticket| ticket.now_or_never().unwrap().unwrap()).collect();
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
        assert!(hold.queue.lock().tickets.len() < 6);
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
}
