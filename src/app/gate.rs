//! The one word that decides whether a request may use a replica: open or closed, which generation, how many
//! are inside, and how many of those stand aside: they use the replica for as long as it is there, and keep nobody from
//! stopping it. Whoever stops a replica closes the gate first and waits for zero, so no request can slip in between,
//! whatever snapshot its worker still holds.

use crate::sync::{AtomicU64, Ordering, fence_for_models};

const CLOSED: u64 = 1 << 63;
const GENERATION_SHIFT: u32 = 48;
const GENERATION: u64 = !CLOSED & !(ONE_GENERATION - 1);
const ONE_GENERATION: u64 = 1 << GENERATION_SHIFT;
const ASIDE_SHIFT: u32 = 24;
const ASIDE: u64 = COUNT << ASIDE_SHIFT;
const ONE_ASIDE: u64 = 1 << ASIDE_SHIFT;
/// More have no place in the word, nor as many sockets on a host.
const COUNT: u64 = (1 << ASIDE_SHIFT) - 1;

/// Admission to one replica.
#[derive(Debug)]
pub struct Gate(AtomicU64);

/// What leaving a gate has brought about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Left {
    /// The gate is open: there is room for another.
    Room,
    /// The gate is closed and others are still inside.
    Closing,
    /// The gate is closed and this was the last.
    Empty,
}

impl Gate {
    /// An open gate with nobody inside.
    #[must_use]
    #[allow(clippy::new_without_default, reason = "an open gate is a decision, not a default")]
    pub fn new() -> Self {
        Self(AtomicU64::new(0))
    }

    /// Enters unless the gate is closed or `limit` are inside; gives the generation that was entered.
    pub fn enter(&self, limit: u32) -> Option<u32> {
        // SeqCst: a ticket that is queued before the attempt and a leaver that looks for tickets after leaving
        // must not both miss each other.
        let mut word = self.0.load(Ordering::SeqCst);
        loop {
            if word & CLOSED != 0 || word & COUNT >= u64::from(limit).min(COUNT) {
                return None;
            }
            match self.0.compare_exchange_weak(word, word + 1, Ordering::SeqCst, Ordering::SeqCst) {
                Ok(_) => return Some(generation(word)),
                Err(now) => word = now,
            }
        }
    }

    /// Leaves; once for each time entered.
    pub fn leave(&self) -> Left {
        self.subtract(1)
    }

    /// One of those inside stands aside from now on.
    pub fn step_aside(&self) {
        self.0.fetch_add(ONE_ASIDE, Ordering::SeqCst);
    }

    /// The same as [`Self::leave`] for who stands aside.
    pub fn leave_aside(&self) -> Left {
        self.subtract(1 + ONE_ASIDE)
    }

    fn subtract(&self, what: u64) -> Left {
        let before = self.0.fetch_sub(what, Ordering::SeqCst);
        fence_for_models();
        match (before & CLOSED != 0, before & COUNT) {
            (false, _) => Left::Room,
            (true, 1) => Left::Empty,
            (true, _) => Left::Closing,
        }
    }

    /// Lets nobody in any more; gives how many are inside.
    pub fn close(&self) -> u32 {
        count(self.0.fetch_or(CLOSED, Ordering::SeqCst))
    }

    /// Lets nobody in any more; whether it did until now.
    pub fn close_first(&self) -> bool {
        self.0.fetch_or(CLOSED, Ordering::SeqCst) & CLOSED == 0
    }

    /// Closes only if nobody is inside but those who stand aside; whether it did.
    pub fn close_if_idle(&self) -> bool {
        let close = |word: u64| (word & CLOSED == 0 && busy(word) == 0).then_some(word | CLOSED);
        self.0.fetch_update(Ordering::SeqCst, Ordering::SeqCst, close).is_ok()
    }

    /// Lets requests in again, in a new generation: connections of an older one are not to be used.
    pub fn reopen(&self) {
        let open = |word: u64| {
            let next = word.wrapping_add(ONE_GENERATION) & GENERATION;
            Some(next | (word & (ASIDE | COUNT)))
        };
        let _always = self.0.fetch_update(Ordering::SeqCst, Ordering::SeqCst, open);
    }

    /// Whether nobody is let in.
    pub fn is_closed(&self) -> bool {
        self.0.load(Ordering::SeqCst) & CLOSED != 0
    }

    /// How many are inside.
    pub fn inside(&self) -> u32 {
        count(self.0.load(Ordering::SeqCst))
    }

    /// How many are inside and do not stand aside.
    pub fn busy(&self) -> u32 {
        busy(self.0.load(Ordering::SeqCst))
    }

    /// The generation that would be entered now.
    pub fn generation(&self) -> u32 {
        generation(self.0.load(Ordering::Relaxed))
    }
}

fn count(word: u64) -> u32 {
    u32::try_from(word & COUNT).expect("24 bits")
}

fn busy(word: u64) -> u32 {
    count(word) - count(word >> ASIDE_SHIFT)
}

fn generation(word: u64) -> u32 {
    u32::try_from((word & GENERATION) >> GENERATION_SHIFT).expect("15 bits")
}
