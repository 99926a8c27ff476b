//! What a supervisor shows of its app: a snapshot that others read, and nobody waits for.

use std::sync::Arc;

use crate::app::clock::Millis;
use crate::app::replica::Replica;
use crate::control::observe::Lit;
use crate::runtime::Revision;

/// One app as of its supervisor's last look.
#[derive(Debug, Clone, Default)]
pub struct Status {
    /// Replicas wanted.
    pub desired: u32,
    /// Why, or what is in the way.
    pub reason: String,
    /// Replicas that take requests.
    pub ready: u32,
    /// Replicas on the way there.
    pub starting: u32,
    /// Replicas on the way out.
    pub draining: u32,
    /// Replicas that are paused.
    pub frozen: u32,
    /// Since when the one of those that has rested longest has had nothing to do.
    pub frozen_since: Option<Millis>,
    /// Replicas that are stopped and kept.
    pub stopped: u32,
    /// Those that run, for what they are doing at the moment of reading.
    pub running: Vec<Arc<Replica>>,
    /// What is run; `None` until it is known.
    pub revision: Option<Arc<Revision>>,
    /// Since when the app is not out, if it is not.
    pub lit: Option<Lit>,
}

impl Status {
    /// Requests under way now.
    #[must_use]
    pub fn in_flight(&self) -> u32 {
        self.running.iter().map(|replica| replica.gate().inside()).sum()
    }

    /// Replicas that are passed over now because requests to them fail.
    #[must_use]
    pub fn ejected(&self) -> u32 {
        let out = |replica: &&Arc<Replica>| replica.ejection().is_out() && !replica.gate().is_closed();
        u32::try_from(self.running.iter().filter(out).count()).unwrap_or(u32::MAX)
    }
}
