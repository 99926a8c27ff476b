//! One replica in its supervisor's books: which, of what revision, and where it is in its life.

use std::sync::Arc;

use tokio::sync::{Notify, OnceCell, oneshot};
use tokio::task::AbortHandle;

use crate::app::clock::Millis;
use crate::app::replica::Replica;
use crate::runtime::ReplicaId;

/// One replica.
#[derive(Debug)]
pub struct Slot {
    /// Never used twice by a supervisor, so that a task's report finds its slot or none.
    pub number: u64,
    /// What the runtime names it by; no two slots of a revision have the same.
    pub index: u32,
    /// [`crate::runtime::Revision::hash`].
    pub revision: String,
    /// Where it is in its life.
    pub phase: Phase,
}

/// Where a replica is in its life: `Starting → Ready ⇄ Draining → Stopping`, then the slot is gone. A Ready one that
/// cannot be reached is Suspect until it is known whether it still runs.
#[derive(Debug)]
pub enum Phase {
    /// Being created, started and probed by a task of its own.
    Starting(Starting),
    /// Takes requests.
    Ready(Running),
    /// A worker could not reach it and has closed its gate; a task looks whether it still runs.
    Suspect(Running),
    /// Takes no new requests; those it has may end.
    Draining {
        /// What is drained.
        running: Running,
        /// When it is stopped whatever it still does; `None`: never, the autoscaler has time.
        deadline: Option<Millis>,
        /// Whether it may go back to Ready when load returns.
        returns: bool,
    },
    /// Being stopped and removed by a task of its own.
    Stopping,
}

/// A start under way.
#[derive(Debug)]
pub struct Starting {
    /// Known once the start call has returned.
    pub id: Arc<OnceCell<ReplicaId>>,
    /// Makes the probe look at once whether the replica still runs.
    pub nudge: Arc<Notify>,
    /// Dropping it ends the start, whose task then stops what it has started.
    pub cancel: oneshot::Sender<()>,
    /// When it began.
    pub since: Millis,
}

/// A replica that runs.
#[derive(Debug)]
pub struct Running {
    /// As the runtime knows it.
    pub id: ReplicaId,
    /// As the data plane knows it.
    pub replica: Arc<Replica>,
    /// When it became ready.
    pub since: Millis,
    /// Checks its health for as long as it runs; ends with the slot.
    pub health: Option<Owned>,
    /// Who says that it is not well.
    pub unwell: Unwell,
}

/// Who says that a replica is not well. It is replaced, and serves until something better does.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Unwell {
    /// `health.path`, several times in a row.
    pub by_path: bool,
    /// The image's HEALTHCHECK.
    pub by_image: bool,
    /// Since when either does.
    pub since: Option<Millis>,
}

/// A task that ends with its owner.
#[derive(Debug)]
pub struct Owned(pub AbortHandle);

impl Drop for Owned {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Slot {
    /// As the runtime knows it, once it does.
    #[must_use]
    pub fn id(&self) -> Option<&ReplicaId> {
        match &self.phase {
            Phase::Starting(starting) => starting.id.get(),
            Phase::Ready(running) | Phase::Suspect(running) | Phase::Draining { running, .. } => {
                Some(&running.id)
            }
            Phase::Stopping => None,
        }
    }

    /// What runs, unless it is being started or stopped.
    #[must_use]
    pub fn running(&self) -> Option<&Running> {
        match &self.phase {
            Phase::Ready(running) | Phase::Suspect(running) | Phase::Draining { running, .. } => {
                Some(running)
            }
            Phase::Starting(_) | Phase::Stopping => None,
        }
    }

    /// The same, to be changed.
    pub fn running_mut(&mut self) -> Option<&mut Running> {
        match &mut self.phase {
            Phase::Ready(running) | Phase::Suspect(running) | Phase::Draining { running, .. } => {
                Some(running)
            }
            Phase::Starting(_) | Phase::Stopping => None,
        }
    }

    /// Whether it takes requests.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        matches!(self.phase, Phase::Ready(_))
    }

    /// Whether it counts towards what is wanted: it takes requests, or soon will.
    #[must_use]
    pub fn is_live(&self) -> bool {
        matches!(self.phase, Phase::Starting(_) | Phase::Ready(_) | Phase::Suspect(_))
    }

    /// Whether it runs and nobody says that it is not well.
    #[must_use]
    pub fn is_well(&self) -> bool {
        self.running().is_none_or(|running| running.unwell.since.is_none())
    }

    /// How many requests it has, without sockets that do not count.
    #[must_use]
    pub fn in_flight(&self) -> u32 {
        self.running().map_or(0, |running| running.replica.gate().busy())
    }

    /// How many requests and sockets it carries.
    #[must_use]
    pub fn inside(&self) -> u32 {
        self.running().map_or(0, |running| running.replica.gate().inside())
    }
}
