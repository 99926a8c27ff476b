//! One replica in its supervisor's books: which, of what revision, and where it is in its life.

use std::sync::Arc;

use tokio::sync::{Notify, OnceCell, oneshot};
use tokio::task::AbortHandle;

use crate::app::clock::Millis;
use crate::app::replica::Replica;
use crate::app::scout::Offer;
use crate::runtime::{Endpoint, ReplicaId};

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

/// Where a replica is in its life: `Starting → Ready ⇄ Draining → Stopping`, then the slot is gone, or Stopped, if what a
/// start begins with is kept. A Ready one that cannot be reached is Suspect until it is known whether it still runs. One
/// that is to rest without ending goes `Draining → Freezing → Frozen → Thawing → Ready`.
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
    /// Its CPU is being taken away by a task.
    Freezing {
        /// What is frozen.
        running: Running,
        /// Since when it has had nothing to do.
        since: Millis,
        /// Whether it is to be thawed as soon as it is frozen.
        recalled: bool,
    },
    /// Has its memory, and no CPU.
    Frozen {
        /// What is frozen.
        running: Running,
        /// Since when it has had nothing to do.
        since: Millis,
    },
    /// Being given its CPU back, and tried, by a task of its own.
    Thawing {
        /// What is thawed.
        running: Running,
        /// When that began.
        since: Millis,
        /// The task.
        task: Owned,
    },
    /// Being stopped by a task of its own, which removes it or keeps what can be kept.
    Stopping,
    /// Does not run; what a start begins with is kept.
    Stopped {
        /// As the runtime knows it.
        id: ReplicaId,
        /// When it was stopped.
        since: Millis,
    },
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
    /// What of it was offered to a request before it was known to be ready.
    pub offered: Offered,
    /// When it began.
    pub since: Millis,
    /// Whether what was kept of one before has not come up.
    pub instead_of_kept: bool,
}

/// An offer that may be made yet; withdrawn with its start.
#[derive(Debug, Default)]
pub struct Offered(pub Arc<OnceCell<Arc<Offer>>>);

impl Offered {
    /// How many requests have gone ahead and are under way.
    fn in_flight(&self) -> u32 {
        self.0.get().map_or(0, |offer| offer.replica().gate().busy())
    }

    /// Lets nobody go ahead any more; not where somebody has, who is under way.
    #[must_use]
    pub fn close_if_idle(&self) -> bool {
        let Some(offer) = self.0.get() else { return true };
        let gate = offer.replica().gate();
        gate.close_if_idle() || (gate.is_closed() && gate.busy() == 0)
    }

    /// What was offered, which stays as it is.
    pub fn keep(&mut self) -> Option<Arc<Offer>> {
        std::mem::take(&mut self.0).get().cloned()
    }
}

impl Drop for Offered {
    fn drop(&mut self) {
        if let Some(offer) = self.0.get() {
            offer.withdraw();
        }
    }
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
    /// Whether it has ended before under the same name: news of its end may be old.
    pub reused: bool,
    /// Ends what boost its start has given it; ends with the slot.
    pub settling: Option<Owned>,
    /// Checks its health for as long as it runs; ends with the slot.
    pub health: Option<Owned>,
    /// Who says that it is not well.
    pub unwell: Unwell,
}

impl Running {
    /// One of which nothing is known but that it runs there: it takes no requests until it has answered.
    #[must_use]
    pub fn unproved(id: ReplicaId, endpoint: Endpoint, reused: bool, since: Millis) -> Self {
        let replica = Replica::new(endpoint);
        replica.gate().close();
        Self { id, replica, since, reused, settling: None, health: None, unwell: Unwell::default() }
    }
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
            Phase::Stopped { id, .. } => Some(id),
            _ => self.running().map(|running| &running.id),
        }
    }

    /// What has been started and not ended, frozen or not, unless it is being started or stopped.
    #[must_use]
    pub fn running(&self) -> Option<&Running> {
        match &self.phase {
            Phase::Ready(running)
            | Phase::Suspect(running)
            | Phase::Draining { running, .. }
            | Phase::Freezing { running, .. }
            | Phase::Frozen { running, .. }
            | Phase::Thawing { running, .. } => Some(running),
            Phase::Starting(_) | Phase::Stopping | Phase::Stopped { .. } => None,
        }
    }

    /// The same, to be changed.
    pub fn running_mut(&mut self) -> Option<&mut Running> {
        match &mut self.phase {
            Phase::Ready(running)
            | Phase::Suspect(running)
            | Phase::Draining { running, .. }
            | Phase::Freezing { running, .. }
            | Phase::Frozen { running, .. }
            | Phase::Thawing { running, .. } => Some(running),
            Phase::Starting(_) | Phase::Stopping | Phase::Stopped { .. } => None,
        }
    }

    /// What runs and has its CPU.
    #[must_use]
    pub fn serving(&self) -> Option<&Running> {
        match &self.phase {
            Phase::Ready(running) | Phase::Suspect(running) | Phase::Draining { running, .. } => {
                Some(running)
            }
            _ => None,
        }
    }

    /// Rises with each time that it takes requests again.
    #[must_use]
    pub fn generation(&self) -> u32 {
        // What rests is in none of those that a replica can be in: those have 15 bits.
        self.running().map_or(u32::MAX, |running| running.replica.gate().generation())
    }

    /// Whether it takes requests.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        matches!(self.phase, Phase::Ready(_))
    }

    /// Whether it counts towards what is wanted: it takes requests, or soon will.
    #[must_use]
    pub fn is_live(&self) -> bool {
        self.is_ready() || self.is_coming() || matches!(self.phase, Phase::Suspect(_))
    }

    /// Whether it is on its way to taking requests.
    #[must_use]
    pub fn is_coming(&self) -> bool {
        matches!(
            self.phase,
            Phase::Starting(_) | Phase::Thawing { .. } | Phase::Freezing { recalled: true, .. }
        )
    }

    /// Whether it rests: nothing happens to it until somebody wants it, or its time is up.
    #[must_use]
    pub fn is_dormant(&self) -> bool {
        matches!(self.phase, Phase::Frozen { .. } | Phase::Stopped { .. })
    }

    /// Whether a call of the runtime is under way that makes it, stops it or freezes it.
    #[must_use]
    pub fn is_changing(&self) -> bool {
        match &self.phase {
            Phase::Starting(starting) => starting.id.get().is_none(),
            Phase::Stopping | Phase::Freezing { .. } => true,
            _ => false,
        }
    }

    /// Whether it is frozen, or soon will be.
    #[must_use]
    pub fn is_frozen(&self) -> bool {
        matches!(self.phase, Phase::Frozen { .. } | Phase::Freezing { recalled: false, .. })
    }

    /// Whether it runs and nobody says that it is not well.
    #[must_use]
    pub fn is_well(&self) -> bool {
        self.running().is_none_or(|running| running.unwell.since.is_none())
    }

    /// How many requests it has, without sockets that do not count.
    #[must_use]
    pub fn in_flight(&self) -> u32 {
        if let Phase::Starting(starting) = &self.phase {
            return starting.offered.in_flight();
        }
        self.running().map_or(0, |running| running.replica.gate().busy())
    }

    /// How many requests and sockets it carries.
    #[must_use]
    pub fn inside(&self) -> u32 {
        self.running().map_or(0, |running| running.replica.gate().inside())
    }
}
