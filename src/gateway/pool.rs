//! Upstream connections that wait for their next request, HTTP/1.1: those of HTTP/2 are in `multiplexed`, and how one is
//! spoken to in `outbound`.
//!
//! Each worker keeps its own. Only where an app bounds the requests on a replica do the workers share what is
//! idle: a connection is then opened only when none is idle, so there are never more of them than claims, and a
//! server that handles one connection at a time is never occupied by a silent one.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::Duration;

use foldhash::fast::FixedState;
use tokio::time::Instant;

use crate::app::App;
use crate::app::clock::{self, Millis};
use crate::app::replica::{Claim, Replica};
use crate::gateway::message::coming::Framing;
use crate::gateway::message::switched::Switched;
use crate::gateway::multiplexed::Multiplexed;
use crate::gateway::outbound::{Connection, Stream};
use crate::gateway::sender::Sender;
use crate::gateway::upload::Progress;
use crate::runtime::Address;

/// Most idle connections a worker keeps to one replica; what is above closes.
const MAX_IDLE: usize = 1024;

/// How often expired connections are looked for, while there are any.
const SWEEP: Duration = Duration::from_secs(1);

/// Idle connections of one replica, the freshest last.
type Idle = Vec<Parked>;

#[derive(Debug)]
struct Parked {
    connection: Box<Connection>,
    generation: u32,
    until: Millis,
}

/// By the replica's key, which we give ourselves.
type ByReplica<T> = HashMap<u64, T, FixedState>;

/// The connections that workers share, each on the shelf of the pool that has used it last. Who has none there takes
/// another's; beside that nobody else's lock is touched.
#[derive(Debug, Clone, Default)]
pub struct Shared(Arc<RwLock<Vec<Arc<Shelf>>>>);

/// One pool's part of those.
#[derive(Debug, Default)]
struct Shelf(Mutex<ByReplica<Idle>>);

impl Shelf {
    fn open(&self) -> MutexGuard<'_, ByReplica<Idle>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A worker's own connections to one replica.
#[derive(Debug)]
struct Own {
    app: Arc<App>,
    idle: Idle,
}

/// One worker's pool.
#[derive(Debug)]
pub struct Pool {
    /// Tells it from other workers'.
    id: u64,
    own: RefCell<ByReplica<Own>>,
    shelf: Arc<Shelf>,
    shared: Shared,
    multiplexed: Multiplexed,
    sweeping: Cell<bool>,
}

/// What a request has borrowed for as long as its answer lasts: the claim, and the connection.
#[derive(Debug)]
pub struct Lease {
    pool: Rc<Pool>,
    sender: Sender,
    upload: Option<Arc<Progress>>,
    keep: Duration,
    /// Last: what it lets in next must find the connection in the pool.
    claim: Claim,
}

impl Pool {
    /// A pool that shares with the other workers' where it has to.
    #[must_use]
    pub fn new(shared: Shared) -> Rc<Self> {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let (id, shelf) = (NEXT.fetch_add(1, Ordering::Relaxed), Arc::<Shelf>::default());
        shared.0.write().unwrap_or_else(PoisonError::into_inner).push(Arc::clone(&shelf));
        let (own, multiplexed, sweeping) = Default::default();
        Rc::new(Self { id, own, shelf, shared, multiplexed, sweeping })
    }

    /// What tells it from other workers'.
    #[must_use]
    pub fn id(&self) -> u64 {
        self.id
    }

    /// This worker's connections of HTTP/2.
    #[must_use]
    pub fn multiplexed(self: &Rc<Self>) -> &Multiplexed {
        self.keep_swept();
        &self.multiplexed
    }

    /// An idle connection for this claim, the freshest first, and those of this worker before others. It may turn out to
    /// be closed.
    #[must_use]
    pub fn take(&self, claim: &Claim) -> Option<Box<Connection>> {
        let key = claim.replica().key;
        let now = clock::coarse();
        let take = |idle: &mut Idle| {
            while let Some(last) = idle.len().checked_sub(1) {
                let ours = idle.iter().rposition(|parked| parked.connection.home == self.id);
                let mut parked = idle.remove(ours.unwrap_or(last));
                if parked.generation == claim.generation() && parked.until > now && parked.connection.is_fit()
                {
                    return Some(parked.connection);
                }
            }
            None
        };
        if !is_shared(claim.app()) {
            return take(&mut self.own.borrow_mut().get_mut(&key)?.idle);
        }
        let ours = self.shelf.open().get_mut(&key).and_then(take);
        ours.or_else(|| {
            let shelves = self.shared.0.read().unwrap_or_else(PoisonError::into_inner);
            // All at once, or one that is given back meanwhile, and lets another claim in, would be missed.
            let mut all: Vec<_> = shelves.iter().map(|shelf| shelf.open()).collect();
            all.iter_mut().find_map(|shelf| shelf.get_mut(&key).and_then(take))
        })
    }

    fn put(self: &Rc<Self>, claim: &Claim, mut connection: Box<Connection>, keep: Duration) {
        if !connection.is_through() || claim.replica().gate().generation() != claim.generation() {
            return;
        }
        let until = clock::coarse().after(keep);
        let key = claim.replica().key;
        let parked = Parked { connection, generation: claim.generation(), until };
        let park = |idle: &mut Idle| {
            if idle.len() < MAX_IDLE {
                idle.push(parked);
            }
        };
        if is_shared(claim.app()) {
            park(self.shelf.open().entry(key).or_default());
        } else {
            let mut own = self.own.borrow_mut();
            let new = || Own { app: Arc::clone(claim.app()), idle: Idle::new() };
            park(&mut own.entry(key).or_insert_with(new).idle);
        }
        self.keep_swept();
    }

    fn keep_swept(self: &Rc<Self>) {
        if !self.sweeping.replace(true) {
            tokio::task::spawn_local(Rc::clone(self).sweep());
        }
    }

    /// Closes what has expired, for as long as there is anything.
    async fn sweep(self: Rc<Self>) {
        loop {
            tokio::time::sleep(SWEEP).await;
            let now = clock::coarse();
            let keep = |idle: &mut Idle| {
                idle.retain_mut(|parked| {
                    parked.connection.slim();
                    parked.until > now && parked.connection.is_fit()
                });
                !idle.is_empty()
            };
            // Of an app whose requests a reload has bounded nobody would take them, and they would occupy it.
            self.own.borrow_mut().retain(|_, own| !is_shared(&own.app) && keep(&mut own.idle));
            self.shelf.open().retain(|_, idle| keep(idle));
            self.multiplexed.sweep(Instant::now());
            if self.own.borrow().is_empty() && self.shelf.open().is_empty() && self.multiplexed.is_empty() {
                self.sweeping.set(false);
                return;
            }
        }
    }
}

fn is_shared(app: &App) -> bool {
    app.limit() != u32::MAX
}

impl Lease {
    /// Binds the two together. `keep` is how long the connection may be idle afterwards.
    #[must_use]
    pub fn new(
        pool: Rc<Pool>,
        claim: Claim,
        sender: Sender,
        upload: Option<Arc<Progress>>,
        keep: Duration,
    ) -> Self {
        if let Some(upload) = &upload {
            upload.answer_begins();
        }
        Self { pool, sender, upload, keep, claim }
    }

    /// The answer is complete: the connection can be used again, then the claim. An answer that came before the
    /// end of its request leaves the connection in the middle of an upload, of no more use.
    pub fn give_back(mut self) {
        if let Some(connection) = self.connection() {
            connection.let_go();
        }
        if let Sender::Http1(connection) = self.sender
            && self.upload.is_none_or(|upload| upload.done())
        {
            self.pool.put(&self.claim, connection, self.keep);
        }
        drop(self.claim);
    }

    /// The connection that the answer comes by, where the answer's parser does not have it.
    #[must_use]
    pub fn connection(&mut self) -> Option<&mut Connection> {
        match &mut self.sender {
            Sender::Http1(connection) => Some(connection),
            Sender::Http2(_) => None,
        }
    }

    /// What is still to come of the answer, where that is known here.
    #[must_use]
    pub fn framing(&self) -> Option<&Framing> {
        match &self.sender {
            Sender::Http1(connection) => Some(connection.framing()),
            Sender::Http2(_) => None,
        }
    }

    /// Whose answer it is.
    #[must_use]
    pub fn app(&self) -> &str {
        &self.claim.app().name
    }

    /// The app whose answer it is, which its request may have waited for.
    #[must_use]
    pub fn waited_for(&self) -> &App {
        self.claim.app()
    }

    /// Whose answer it is, among the app's replicas.
    #[must_use]
    pub fn replica(&self) -> &Replica {
        self.claim.replica()
    }

    /// Where it comes from.
    #[must_use]
    pub fn endpoint(&self) -> &Address {
        &self.claim.replica().endpoint.address
    }

    /// The connection has become something else, where it can; the claim goes with it.
    #[must_use]
    pub fn switch(self) -> (Claim, Option<Switched<Stream>>) {
        let replica = match self.sender {
            Sender::Http1(connection) => connection.switch(),
            Sender::Http2(_) => None,
        };
        (self.claim, replica)
    }
}
