//! A replica as the data plane sees it: an endpoint behind a gate, and the claim that lets one request use it.
//! Starting and stopping it is the supervisor's business alone.

use crate::app::App;
use crate::app::clock::{self, Millis};
use crate::app::gate::{Gate, Left};
use crate::runtime::Endpoint;
use crate::sync::{Arc, AtomicU64, Ordering};

/// One running instance of an app that may be given requests while its gate is open.
#[derive(Debug)]
pub struct Replica {
    /// Never used twice in the life of a process, so that a pool can be keyed by it.
    pub key: u64,
    /// Where its requests go.
    pub endpoint: Endpoint,
    gate: Gate,
    /// When a request last ended here, in [`Millis`]; 0: none has. Written beside the gate's word, whose cache
    /// line the leaver owns anyway.
    last_ended: AtomicU64,
}

static NEXT_KEY: AtomicU64 = AtomicU64::new(1);

impl Replica {
    /// A replica with an open gate.
    #[must_use]
    pub fn new(endpoint: Endpoint) -> Arc<Self> {
        let key = NEXT_KEY.fetch_add(1, Ordering::Relaxed);
        Arc::new(Self { key, endpoint, gate: Gate::new(), last_ended: AtomicU64::new(0) })
    }

    /// Its admission word.
    #[must_use]
    pub fn gate(&self) -> &Gate {
        &self.gate
    }

    /// When a request last ended here.
    #[must_use]
    pub fn last_ended(&self) -> Option<Millis> {
        match self.last_ended.load(Ordering::Relaxed) {
            0 => None,
            at => Some(Millis(at)),
        }
    }
}

/// The right of one request to use one replica, given back when dropped.
#[derive(Debug)]
pub struct Claim {
    app: Arc<App>,
    replica: Arc<Replica>,
    generation: u32,
}

impl Claim {
    /// Enters the replica's gate, unless it is closed or `limit` are inside.
    #[must_use]
    pub fn take(app: &Arc<App>, replica: &Arc<Replica>, limit: u32) -> Option<Self> {
        let generation = replica.gate.enter(limit)?;
        Some(Self { app: Arc::clone(app), replica: Arc::clone(replica), generation })
    }

    /// What is claimed.
    #[must_use]
    pub fn replica(&self) -> &Arc<Replica> {
        &self.replica
    }

    /// Whose it is.
    #[must_use]
    pub fn app(&self) -> &Arc<App> {
        &self.app
    }

    /// Connections made in another generation are not to be used.
    #[must_use]
    pub fn generation(&self) -> u32 {
        self.generation
    }

    /// Closes the replica's gate because it cannot be reached, and asks the supervisor to look.
    pub fn report_unreachable(&self) {
        self.replica.gate.close();
        self.app.call();
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        self.replica.last_ended.store(clock::coarse().0, Ordering::Relaxed);
        match self.replica.gate.leave() {
            Left::Room => self.app.pass_on(),
            Left::Closing => {}
            Left::Empty => self.app.call(),
        }
    }
}
