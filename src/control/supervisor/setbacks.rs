//! What has gone wrong with an app lately, and when to try again. Knows times alone: it is told them, and says
//! others.

use std::time::Duration;

use crate::app::clock::Millis;
use crate::control::backoff::Backoff;
use crate::control::supervisor::{OUTAGE_GRACE, SETTLED};

/// Between two attempts at an engine that does not answer.
const OUTAGE_RETRY: Duration = Duration::from_millis(500);

/// What has gone wrong with an app lately.
#[derive(Debug)]
pub(super) struct Setbacks {
    backoff: Backoff,
    retry_at: Option<Millis>,
    /// When something last failed.
    failed_at: Option<Millis>,
    /// Since when the runtime has not answered.
    outage_since: Option<Millis>,
    /// When a replica that had just become ready last ended, unless one has lived long enough since.
    died_young: Option<Millis>,
}

impl Setbacks {
    /// Nothing has gone wrong, but the runtime has not answered yet either.
    #[must_use]
    pub(super) const fn new(now: Millis) -> Self {
        Self {
            backoff: Backoff::new(Duration::from_secs(1), Duration::from_mins(1)),
            retry_at: None,
            failed_at: None,
            outage_since: Some(now),
            died_young: None,
        }
    }

    /// Whether the next attempt has to wait.
    #[must_use]
    pub(super) const fn is_waiting(&self) -> bool {
        self.retry_at.is_some()
    }

    /// Failures since the last success.
    #[must_use]
    pub(super) const fn failures(&self) -> u32 {
        self.backoff.failures()
    }

    /// A start has failed; gives when to try again. Those that fail while that is awaited were begun together with
    /// it, and count once.
    pub(super) fn fail(&mut self, now: Millis) -> Millis {
        self.failed_at = Some(now);
        if let Some(at) = self.retry_at.filter(|at| now < *at) {
            return at;
        }
        let wait = self.backoff.fail();
        *self.retry_at.insert(now.after(wait))
    }

    /// The runtime does not answer; gives whether it has been away for long, and when to try again.
    pub(super) fn outage(&mut self, now: Millis) -> (bool, Millis) {
        self.failed_at = Some(now);
        self.outage_since.get_or_insert(now);
        let is_long = self.is_long_outage(now);
        let wait = if is_long { OUTAGE_RETRY * 4 } else { OUTAGE_RETRY };
        (is_long, *self.retry_at.insert(now.after(wait)))
    }

    /// Whether the runtime has been away for longer than one that restarts.
    #[must_use]
    pub(super) fn is_long_outage(&self, now: Millis) -> bool {
        self.outage_since.is_some_and(|since| now.since(since) >= OUTAGE_GRACE)
    }

    /// The runtime has answered, or nothing is asked of it any more.
    pub(super) const fn end_outage(&mut self) {
        self.outage_since = None;
    }

    /// Whether the runtime has not answered the last time.
    #[must_use]
    pub(super) const fn in_outage(&self) -> bool {
        self.outage_since.is_some()
    }

    /// Whether the wait is over just now.
    pub(super) fn is_due(&mut self, now: Millis) -> bool {
        self.retry_at.take_if(|at| now >= *at).is_some()
    }

    /// What has failed may have been put right: there is nothing to wait for.
    pub(super) const fn forgive(&mut self) {
        self.backoff.reset();
        self.retry_at = None;
    }

    /// Nothing more will be tried.
    pub(super) const fn give_up(&mut self) {
        self.retry_at = None;
    }

    /// A replica that was ready since then has ended by itself; gives whether that is the app's fault. One end, or
    /// several at once, may be anybody's doing; where what was started in its place ends as soon, it is.
    pub(super) fn died(&mut self, since: Millis, now: Millis) -> bool {
        if now.since(since) >= SETTLED {
            self.backoff.reset();
            self.died_young = None;
            return false;
        }
        let again = self.died_young.is_some_and(|before| since > before);
        if again || self.died_young.is_none() {
            self.died_young = Some(now);
        }
        again
    }

    /// A replica is ready since then. One that was there before the last failure proves nothing of what failed.
    pub(super) fn proved(&mut self, since: Millis, now: Millis) {
        let is_newer = self.failed_at.is_none_or(|failed_at| since >= failed_at);
        if self.retry_at.is_none() && is_newer && now.since(since) >= SETTLED {
            self.backoff.reset();
            self.died_young = None;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn at(seconds: u64) -> Millis {
        Millis(seconds * 1000)
    }

    #[test]
    fn starts_that_fail_together_are_one_failure() {
        let mut setbacks = Setbacks::new(at(0));
        for _ in 0..5 {
            assert_eq!(setbacks.fail(at(10)), at(11));
        }
        assert!(!setbacks.is_due(Millis(10_999)));
        assert!(setbacks.is_due(at(11)));
        assert_eq!(setbacks.fail(at(11)), at(13));
    }

    #[test]
    fn an_outage_is_long_after_its_grace() {
        let mut setbacks = Setbacks::new(at(0));
        setbacks.end_outage();
        assert_eq!(setbacks.outage(at(100)), (false, Millis(100_500)));
        assert_eq!(setbacks.outage(at(114)), (false, Millis(114_500)));
        assert_eq!(setbacks.outage(at(115)), (true, at(117)));
        setbacks.end_outage();
        assert_eq!(setbacks.outage(at(500)), (false, Millis(500_500)));
    }

    #[test]
    fn the_second_that_dies_young_is_a_failure_and_an_old_one_is_none() {
        let mut setbacks = Setbacks::new(at(0));
        assert!(!setbacks.died(at(1), at(2)), "the first may be anybody's doing");
        assert!(!setbacks.died(at(1), at(2)), "and so may its sister");
        assert!(setbacks.died(at(3), at(4)), "but not what came in their place");
        setbacks.fail(at(4));
        assert_eq!(setbacks.failures(), 1);
        assert!(!setbacks.died(at(6), at(66)), "this one has worked for a minute");
        assert_eq!(setbacks.failures(), 0);
        assert!(!setbacks.died(at(70), at(71)));
    }

    #[test]
    fn only_a_replica_newer_than_the_failure_proves_anything() {
        let mut setbacks = Setbacks::new(at(0));
        setbacks.fail(at(100));
        setbacks.proved(at(101), at(200));
        assert_eq!(setbacks.failures(), 1, "its wait is not over");
        assert!(setbacks.is_due(at(101)));
        setbacks.proved(at(50), at(200));
        setbacks.proved(at(195), at(200));
        assert_eq!(setbacks.failures(), 1);
        setbacks.proved(at(190), at(200));
        assert_eq!(setbacks.failures(), 0);
    }
}
