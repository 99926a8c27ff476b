//! Whether a replica is passed over because requests to it keep failing: its failures in a row, and how often that has
//! taken it out already, in one word.
//!
//! Owns the word and when it turns. That somebody has to be left, and who ends the time out, is the caller's business.

use std::time::Duration;

use crate::sync::{AtomicU64, Ordering, fence_for_models};

/// Failures in a row that take a replica out.
pub const FAILURES: u64 = 3;

/// The first time out; each further one without a success in between is twice as long.
const FIRST: Duration = Duration::from_secs(1);

/// The longest time out.
const LONGEST: Duration = Duration::from_mins(1);

const OUT: u64 = 1 << 63;
const ROUND_SHIFT: u32 = 16;
const ROUND: u64 = !OUT & !(TIMES | COUNT);
const TIMES_SHIFT: u32 = 8;
const TIMES: u64 = 0xff << TIMES_SHIFT;
const COUNT: u64 = 0xff;

/// What has become of one replica's requests of late.
#[derive(Debug)]
pub struct Ejection(AtomicU64);

/// A time out that has just begun.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TimeOut {
    /// Which one it is, so that its end does not end the next one.
    pub round: u64,
    /// How long it lasts.
    pub time: Duration,
}

impl Ejection {
    /// A replica of which nothing is known.
    #[must_use]
    #[allow(clippy::new_without_default, reason = "a clean slate is a decision, not a default")]
    pub fn new() -> Self {
        Self(AtomicU64::new(0))
    }

    /// Whether it is passed over now.
    #[inline]
    pub fn is_out(&self) -> bool {
        // SeqCst: pairs with `end` as a gate's word does with a leaver's, see `Gate::enter`.
        self.0.load(Ordering::SeqCst) & OUT != 0
    }

    /// A request has failed. The last of [`FAILURES`] in a row takes it out, unless it is the only one left: `others` is
    /// asked only then, and the next failure asks again.
    pub fn failed(&self, others: impl Fn() -> bool) -> Option<TimeOut> {
        let mut word = self.0.load(Ordering::SeqCst);
        loop {
            if word & OUT != 0 {
                // Sent before it was out: nothing new.
                return None;
            }
            let failures = (word & COUNT) + 1;
            let out = (failures >= FAILURES && others()).then(|| out(word));
            let counted = (word & !COUNT) | failures.min(FAILURES);
            let next = out.map_or(counted, |(next, _)| next);
            match self.0.compare_exchange_weak(word, next, Ordering::SeqCst, Ordering::SeqCst) {
                Ok(_) => return out.map(|(_, time_out)| time_out),
                Err(now) => word = now,
            }
        }
    }

    /// A request was answered: all is forgotten. While it is out that counts only of one that was sent meanwhile, as a
    /// `trial` for want of others.
    #[inline]
    pub fn answered(&self, trial: bool) {
        // The word is that of a replica in good health for nearly every request: one look, and no store.
        if self.0.load(Ordering::Relaxed) & !ROUND != 0 {
            self.forget(trial);
        }
    }

    #[cold]
    fn forget(&self, trial: bool) {
        let clean = |word: u64| (word & OUT == 0 || trial).then_some(word & ROUND);
        let _kept = self.0.fetch_update(Ordering::SeqCst, Ordering::SeqCst, clean);
    }

    /// Ends the time out that was the `round`th, if it has not ended by a success; whether it has. One more failure
    /// begins the next.
    pub fn end(&self, round: u64) -> bool {
        let on_probation = |word: u64| {
            let is_it = word & OUT != 0 && round_of(word) == round;
            is_it.then_some((word & (ROUND | TIMES)) | (FAILURES - 1))
        };
        let ended = self.0.fetch_update(Ordering::SeqCst, Ordering::SeqCst, on_probation).is_ok();
        fence_for_models();
        ended
    }
}

/// The word of one that is taken out now, and for how long.
fn out(word: u64) -> (u64, TimeOut) {
    let times = ((word & TIMES) >> TIMES_SHIFT).saturating_add(1).min(TIMES >> TIMES_SHIFT);
    let round = (round_of(word) + 1) & (ROUND >> ROUND_SHIFT);
    let doubled =
        u32::try_from(times - 1).ok().and_then(|shift| 1_u32.checked_shl(shift)).unwrap_or(u32::MAX);
    let time = FIRST.saturating_mul(doubled).min(LONGEST);
    (OUT | (round << ROUND_SHIFT) | (times << TIMES_SHIFT), TimeOut { round, time })
}

fn round_of(word: u64) -> u64 {
    (word & ROUND) >> ROUND_SHIFT
}
