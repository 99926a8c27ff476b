//! How much the engine is asked to do at once. A host has few cores, and an engine that does fifty things at a time
//! does each of them late: what is over the bound waits for its turn, and its time limits begin with that.
//!
//! Owns the bounds alone. Pulls and builds do not wait for each other, so that a registry that is slow holds up no
//! build.

use tokio::sync::{Semaphore, SemaphorePermit};

/// Looks at images: at the proxy's start each app takes one at once.
const LOOKS: usize = 16;
/// Images pulled: more only share the line.
const PULLS: usize = 4;
/// Images built: each may take a core and more.
const BUILDS: usize = 2;

/// Replicas that rest given what they are kept in: nobody waits for that.
const RESTS: usize = 2;

/// Turns at the engine, one for each thing that it does at once. Who waits longest is next.
#[derive(Debug)]
pub(super) struct Turns {
    /// To look at an image.
    pub(super) looks: Semaphore,
    /// To pull one.
    pub(super) pulls: Semaphore,
    /// To build one.
    pub(super) builds: Semaphore,
    /// To keep what is stopped.
    pub(super) rests: Semaphore,
    /// To start a replica.
    starts: Semaphore,
    /// To start one that nobody waits for: half of the turns at most, so that there is always one for who waits.
    unawaited: Semaphore,
}

impl Turns {
    /// With so many starts at once; at least one.
    pub(super) fn new(starts: usize) -> Self {
        Self {
            looks: Semaphore::new(LOOKS),
            pulls: Semaphore::new(PULLS),
            builds: Semaphore::new(BUILDS),
            rests: Semaphore::new(RESTS),
            starts: Semaphore::new(starts.max(1)),
            unawaited: Semaphore::new((starts / 2).max(1)),
        }
    }

    /// Waits for a turn to start a replica.
    pub(super) async fn to_start(&self, awaited: bool) -> (SemaphorePermit<'_>, Option<SemaphorePermit<'_>>) {
        let unawaited = if awaited { None } else { Some(take(&self.unawaited).await) };
        (take(&self.starts).await, unawaited)
    }
}

/// Waits for a turn, which ends when what this gives is dropped.
pub(super) async fn take(turns: &Semaphore) -> SemaphorePermit<'_> {
    turns.acquire().await.expect("turns are never closed")
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    #[test]
    fn who_waits_goes_before_who_does_not() {
        let turns = Turns::new(4);
        let early: Vec<_> = (0..2).map(|_| turns.to_start(false).now_or_never().expect("a turn")).collect();
        assert!(turns.to_start(false).now_or_never().is_none(), "half of them at most");
        let awaited: Vec<_> = (0..2).map(|_| turns.to_start(true).now_or_never().expect("a turn")).collect();
        assert!(turns.to_start(true).now_or_never().is_none());
        drop((early, awaited));
        assert!(turns.to_start(false).now_or_never().is_some());
    }
}
