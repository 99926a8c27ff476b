//! The one word that decides whether a request may use a replica: open or closed, which generation, how many
//! are inside. Whoever stops a replica closes the gate first and waits for zero, so no request can slip in
//! between, whatever snapshot its worker still holds.

use crate::sync::{AtomicU64, Ordering, fence_for_models};

const CLOSED: u64 = 1 << 63;
const GENERATION_SHIFT: u32 = 32;
const GENERATION: u64 = !CLOSED & !COUNT;
const COUNT: u64 = (1 << GENERATION_SHIFT) - 1;

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
            if word & CLOSED != 0 || word & COUNT >= u64::from(limit) {
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
        let before = self.0.fetch_sub(1, Ordering::SeqCst);
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

    /// Closes only if nobody is inside; whether it did.
    pub fn close_if_empty(&self) -> bool {
        let close = |word| (word & (CLOSED | COUNT) == 0).then_some(word | CLOSED);
        self.0.fetch_update(Ordering::SeqCst, Ordering::SeqCst, close).is_ok()
    }

    /// Lets requests in again, in a new generation: connections of an older one are not to be used.
    pub fn reopen(&self) {
        let open = |word: u64| {
            let next = (word + (1 << GENERATION_SHIFT)) & GENERATION;
            Some(next | (word & COUNT))
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

    /// The generation that would be entered now.
    pub fn generation(&self) -> u32 {
        generation(self.0.load(Ordering::Relaxed))
    }
}

fn count(word: u64) -> u32 {
    u32::try_from(word & COUNT).expect("32 bits")
}

fn generation(word: u64) -> u32 {
    u32::try_from((word & GENERATION) >> GENERATION_SHIFT).expect("31 bits")
}
