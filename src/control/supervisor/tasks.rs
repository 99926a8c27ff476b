//! The calls that a supervisor makes of its runtime, as tasks: each does one thing to one replica and reports.
//! They change no books; the supervisor does.

use std::sync::Arc;
use std::time::Duration;

use tokio::net::UnixStream;
use tokio::sync::{Notify, OnceCell, oneshot};
use tokio::time::Instant;

use crate::app::App;
use crate::app::replica::Replica;
use crate::app::scout::Offer;
use crate::config::spec::{HealthSpec, Workload};
use crate::control::backoff::Backoff;
use crate::control::listening;
use crate::control::probe::{self, Lost, NotReady, StartError, Tried, Unseen};
use crate::runtime::{
    Address, Endpoint, Exit, MemoryUse, Proof, ReplicaId, Revision, Runtime, RuntimeError, StartOrder,
    Started, Status, Unreached, reach,
};

/// How many lines of a failed replica's output are logged.
const TAIL: usize = 20;

/// How often a failed stop is tried again before it is left to the next look at all that exists.
const STOP_ATTEMPTS: u32 = 8;

/// Failed health checks in a row before a replica is replaced.
pub const UNHEALTHY: u32 = 3;

/// What a task has to say. The first number is the slot's.
#[derive(Debug)]
pub enum Report {
    /// The revision that a workload makes is known, or cannot be.
    Prepared(Arc<Workload>, Result<Revision, RuntimeError>),
    /// A start has come to its end; how long it took where it was a good one.
    Started(u64, Result<(Started, Took), Failed>),
    /// What was kept of a replica has not come up again; nothing is left of it.
    Stale(u64),
    /// A start was given up; what is left of it where it could not be stopped.
    Cancelled(u64, Option<ReplicaId>),
    /// A replica is stopped and removed, or cannot be for now.
    Stopped(u64, ReplicaId, Result<(), RuntimeError>),
    /// A replica, if there was one, is stopped: what is kept, if anything is.
    Rested(u64, Option<ReplicaId>, Result<Option<ReplicaId>, RuntimeError>),
    /// A replica has no CPU any more, or cannot be frozen.
    Frozen(u64, Result<(), RuntimeError>),
    /// A replica has its CPU again and answers, or does not.
    Thawed(u64, Result<Took, StartError>),
    /// A replica that could not be reached: where it answers, or how it ended.
    Verified(u64, Result<Endpoint, Lost>),
    /// What has become of a replica that did not look as it should; the generation in which that was asked, and what was
    /// heard of its end.
    Checked(u64, u32, Option<Exit>, Result<Status, RuntimeError>),
    /// A replica passes its health checks again, or does not any more.
    Health(u64, bool),
    /// A replica's boost is over, or cannot be ended.
    Settled(ReplicaId, Result<(), RuntimeError>),
    /// What earlier revisions have left is removed, as far as it could be.
    Tidied,
    /// CPU time of the ready replicas.
    CpuTimes(Vec<(ReplicaId, Duration)>),
    /// Memory that the ready replicas hold; `None` where one could not be asked.
    Memory(Option<Vec<MemoryUse>>),
}

/// Where the time of a start or a thaw went, after its queue.
#[derive(Debug, Clone, Copy)]
pub struct Took {
    /// When it began.
    pub began: Instant,
    /// The runtime's call, with [`Started::created`] of it.
    pub call: Duration,
    /// From there to the first good answer, less what is below.
    pub application: Duration,
    /// Of that, how long it was not looked whether there is one.
    pub probe: Unseen,
}

impl Took {
    fn new(began: Instant, call: Duration, probe: Unseen) -> Self {
        Self { began, call, application: began.elapsed().saturating_sub(call + probe), probe }
    }
}

/// A start that failed, and what the replica said last.
#[derive(Debug, Clone)]
pub struct Failed {
    /// Why.
    pub why: StartError,
    /// Its last lines.
    pub output: Vec<String>,
    /// What is left of it, where it could not be stopped.
    pub left: Option<ReplicaId>,
}

/// What a start needs.
pub struct Launch {
    /// Which slot.
    pub slot: u64,
    /// Whose.
    pub runtime: Arc<dyn Runtime>,
    /// What.
    pub order: StartOrder,
    /// When it is ready.
    pub health: HealthSpec,
    /// How long it may take to stop where it failed.
    pub stop_grace: Duration,
    /// Told once the start call has returned.
    pub id: Arc<OnceCell<ReplicaId>>,
    /// Something has happened to the replica.
    pub nudge: Arc<Notify>,
    /// Whose request may find out that it is ready, where one may.
    pub ahead: Option<Ahead>,
    /// Resolves when the start is not wanted any more.
    pub cancelled: oneshot::Receiver<()>,
}

impl Launch {
    /// Starts, waits until ready; leaves nothing behind where that fails.
    pub async fn run(self) -> Report {
        let (slot, began) = (self.slot, Instant::now());
        let started = match self.runtime.start(&self.order).await {
            Ok(started) => started,
            Err(RuntimeError::Stale(exit)) => {
                tracing::warn!(app = self.order.app, %exit, "a replica that was kept does not start again; making another");
                return Report::Stale(slot);
            }
            Err(RuntimeError::Exited { exit, output }) => {
                return Report::Started(
                    slot,
                    Err(Failed { why: NotReady::Exited(exit).into(), output, left: None }),
                );
            }
            Err(why) => {
                return Report::Started(
                    slot,
                    Err(Failed { why: why.into(), output: Vec::new(), left: None }),
                );
            }
        };
        let call = began.elapsed();
        let id = self.id.get_or_init(|| std::future::ready(started.id.clone())).await;
        let tried = Tried { id, endpoint: &started.endpoint, health: &self.health, proof: Proof::Connection };
        let ready = tokio::select! {
            biased;
            // First: what is not wanted any more is offered to nobody.
            _ = self.cancelled => {
                let stopped = stop(&*self.runtime, id, self.stop_grace).await;
                return Report::Cancelled(slot, stopped.is_err().then(|| id.clone()));
            }
            ready = probe::until_ready(&*self.runtime, tried, &self.nudge) => ready,
            unseen = go_ahead(&*self.runtime, tried, self.ahead.as_ref()) => Ok(unseen),
        };
        if let (Err(_), Some(ahead)) = (&ready, &self.ahead)
            && let Some(offer) = ahead.offer.get()
        {
            offer.withdraw();
        }
        match ready {
            // Whatever is wrong with what it has left behind, a new one has not got it.
            Err(NotReady::Exited(exit)) if started.kept => {
                tracing::warn!(app = self.order.app, replica = %id, %exit, "a replica that was kept does not start again; making another");
                let _logged = stop(&*self.runtime, id, self.stop_grace).await;
                Report::Stale(slot)
            }
            Ok(unseen) => Report::Started(slot, Ok((started, Took::new(began, call, unseen)))),
            Err(why) => {
                let why = explain(&*self.runtime, &started, &self.order.revision, why).await;
                let output = last_words(&*self.runtime, id).await;
                let stopped = stop(&*self.runtime, id, self.stop_grace).await;
                let left = stopped.is_err().then(|| id.clone());
                Report::Started(slot, Err(Failed { why: why.into(), output, left }))
            }
        }
    }
}

/// To whom a replica is offered before it is known to be ready, and where the supervisor finds that.
pub struct Ahead {
    /// Whose requests.
    pub app: Arc<App>,
    /// What was offered, once it is.
    pub offer: Arc<OnceCell<Arc<Offer>>>,
}

/// Offers a replica to a request as soon as it takes connections; resolves when that has a good answer. Nothing that has
/// happened to the replica ends it: who looks at its health hears of that.
async fn go_ahead(runtime: &dyn Runtime, tried: Tried<'_>, ahead: Option<&Ahead>) -> Unseen {
    let Some(Ahead { app, offer }) = ahead else { return std::future::pending().await };
    let accepts = HealthSpec { path: None, ..tried.health.clone() };
    let accepting = Tried { health: &accepts, ..tried };
    let Ok(unseen) = probe::until_ready(runtime, accepting, &Notify::new()).await else {
        return std::future::pending().await;
    };
    // Where others serve, those who wait need no scout.
    if app.serves() || offer.set(Offer::new(Replica::new(tried.endpoint.clone()))).is_err() {
        return std::future::pending().await;
    }
    let offered = offer.get().expect("set above");
    app.offer(Arc::clone(offered));
    offered.answered().await;
    unseen
}

/// What a thaw needs.
pub struct Thaw {
    /// Which slot.
    pub slot: u64,
    /// Whose.
    pub runtime: Arc<dyn Runtime>,
    /// Which.
    pub id: ReplicaId,
    /// Where it was before it was frozen.
    pub endpoint: Endpoint,
    /// When it answers.
    pub health: HealthSpec,
}

impl Thaw {
    /// Thaws, waits until the app answers: that its socket takes connections shows nothing, since it did so all along.
    pub async fn run(self) -> Report {
        let began = Instant::now();
        if let Err(error) = self.runtime.thaw(&self.id).await {
            return Report::Thawed(self.slot, Err(error.into()));
        }
        let call = began.elapsed();
        let Self { slot, runtime, id, endpoint, health } = self;
        // It is up already: one that says nothing for so long is replaced while people still wait.
        let patience = HealthSpec { start_timeout: probe::VERIFY.min(health.start_timeout), ..health };
        let tried = Tried { id: &id, endpoint: &endpoint, health: &patience, proof: Proof::Answer };
        let ready = probe::until_ready(&*runtime, tried, &Notify::new()).await;
        let took = ready.map(|unseen| Took::new(began, call, unseen));
        Report::Thawed(slot, took.map_err(StartError::from))
    }
}

/// Says of one that was tried in vain where it does listen, as far as the runtime can tell.
async fn explain(runtime: &dyn Runtime, started: &Started, revision: &Revision, why: NotReady) -> NotReady {
    let NotReady::TimedOut { after, .. } = why else { return why };
    let advice = match &started.endpoint.address {
        Address::Tcp(wanted) => {
            let found = runtime.listening(&started.id).await;
            found.and_then(|found| listening::advice(*wanted, revision.port == 0, &found))
        }
        // Where it is known that nobody listens there, it need not be seen what does elsewhere. One whose queue is full does.
        Address::Unix(path) => match UnixStream::connect(path).await {
            Err(error) if reach::is_replicas(&error) => {
                let found = runtime.listening(&started.id).await.unwrap_or_default();
                Some(listening::advice_of_socket(&found))
            }
            Ok(_) | Err(_) => None,
        },
    };
    match advice {
        Some(last) => NotReady::TimedOut { after, last },
        None => why,
    }
}

/// The last lines of a replica; none where they cannot be had.
pub async fn last_words(runtime: &dyn Runtime, id: &ReplicaId) -> Vec<String> {
    runtime.tail(id, TAIL).await.unwrap_or_else(|error| {
        tracing::debug!(replica = %id, %error, "cannot read a replica's output");
        Vec::new()
    })
}

/// Stops a replica, trying again for a while where the runtime cannot.
///
/// # Errors
/// The runtime's last.
pub async fn stop(runtime: &dyn Runtime, id: &ReplicaId, grace: Duration) -> Result<(), RuntimeError> {
    let mut backoff = Backoff::new(Duration::from_millis(200), Duration::from_secs(5));
    loop {
        match runtime.stop(id, grace).await {
            Ok(()) => return Ok(()),
            Err(error) if backoff.failures() + 1 >= STOP_ATTEMPTS => return Err(error),
            Err(error) => {
                tracing::warn!(replica = %id, %error, "cannot stop a replica; trying again");
                tokio::time::sleep(backoff.fail()).await;
            }
        }
    }
}

/// Ends a replica's boost, trying again for a while where the runtime cannot.
///
/// # Errors
/// The runtime's last.
pub async fn settle(runtime: &dyn Runtime, id: &ReplicaId, cpu_millis: u32) -> Result<(), RuntimeError> {
    let mut backoff = Backoff::new(Duration::from_millis(200), Duration::from_secs(5));
    loop {
        match runtime.settle(id, cpu_millis).await {
            // One that has ended meanwhile has no boost either.
            Ok(()) | Err(RuntimeError::Exited { .. }) => return Ok(()),
            Err(error) if backoff.failures() + 1 >= STOP_ATTEMPTS => return Err(error),
            Err(_) => tokio::time::sleep(backoff.fail()).await,
        }
    }
}

/// Stops a replica and keeps what a start by `order` begins with. What cannot be kept is removed.
///
/// # Errors
/// The runtime's last, where it could not even be removed.
pub async fn rest(
    runtime: &dyn Runtime,
    id: &ReplicaId,
    order: &StartOrder,
    grace: Duration,
) -> Result<Option<ReplicaId>, RuntimeError> {
    match runtime.rest(id, order, grace).await {
        Ok(kept) => Ok(kept),
        Err(error) => {
            tracing::warn!(app = order.app, replica = %id, %error, "cannot keep a replica that is stopped; removing it");
            stop(runtime, id, grace).await.map(|()| None)
        }
    }
}

/// What a health watch needs.
pub struct Watch {
    /// Which slot.
    pub slot: u64,
    /// Whose.
    pub runtime: Arc<dyn Runtime>,
    /// Of which app.
    pub app: Arc<App>,
    /// Who is watched.
    pub replica: Arc<Replica>,
    /// How.
    pub health: HealthSpec,
}

impl Watch {
    /// Resolves when a replica that was well has failed several checks in a row, or one that was not passes one.
    pub async fn run(self, was_well: bool) -> Report {
        let mut failures = 0;
        loop {
            tokio::time::sleep(self.health.interval).await;
            // Where it takes no further request it has no answer for a check either, and is busy, not ill.
            if self.replica.gate().inside() >= self.app.limit() {
                continue;
            }
            match self.runtime.reach(&self.replica.endpoint, &self.health, Proof::Connection).await {
                Ok(()) if was_well => failures = 0,
                Ok(()) => return Report::Health(self.slot, true),
                Err(_) if !was_well => {}
                Err(Unreached { why, ours: true }) => {
                    tracing::warn!(app = self.app.name, why, "a health check could not be made");
                }
                Err(Unreached { why, ours: false }) => {
                    failures += 1;
                    let endpoint = &self.replica.endpoint.address;
                    tracing::warn!(app = self.app.name, %endpoint, failures, why, "health check failed");
                    if failures == UNHEALTHY {
                        return Report::Health(self.slot, false);
                    }
                }
            }
        }
    }
}

/// Reads the CPU time of each.
pub async fn cpu_times(runtime: Arc<dyn Runtime>, ids: Vec<ReplicaId>) -> Report {
    let read = ids.into_iter().map(|id| {
        let runtime = Arc::clone(&runtime);
        async move { runtime.cpu_time(&id).await.ok().map(|used| (id, used)) }
    });
    let times = futures_util::future::join_all(read).await;
    Report::CpuTimes(times.into_iter().flatten().collect())
}

/// Reads what memory each holds. Of some of them alone it would look as if the others held none.
pub async fn memory(runtime: Arc<dyn Runtime>, ids: Vec<ReplicaId>) -> Report {
    let read = ids.iter().map(|id| runtime.memory(id));
    Report::Memory(futures_util::future::try_join_all(read).await.ok())
}
