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
/// Replicas created and started.
const STARTS: usize = 8;

/// Turns at the engine, one for each thing that it does at once. Who waits longest is next.
#[derive(Debug)]
pub(super) struct Turns {
    /// To look at an image.
    pub(super) looks: Semaphore,
    /// To pull one.
    pub(super) pulls: Semaphore,
    /// To build one.
    pub(super) builds: Semaphore,
    /// To start a replica.
    pub(super) starts: Semaphore,
}

impl Turns {
    pub(super) fn new() -> Self {
        Self {
            looks: Semaphore::new(LOOKS),
            pulls: Semaphore::new(PULLS),
            builds: Semaphore::new(BUILDS),
            starts: Semaphore::new(STARTS),
        }
    }
}

/// Waits for a turn, which ends when what this gives is dropped.
pub(super) async fn take(turns: &Semaphore) -> SemaphorePermit<'_> {
    turns.acquire().await.expect("turns are never closed")
}
