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

use crate::sync::{Arc, AtomicUsize, Mutex, Ordering, fence_for_models};

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
        fence_for_models();
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

    /// Places in the queue, those whose waiter has left included.
    #[cfg(test)]
    pub(crate) fn queued(&self) -> usize {
        self.queue.lock().tickets.len()
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
