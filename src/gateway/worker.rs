//! A worker: one thread with a runtime, a socket at each address, a pool and shards of its own. It accepts,
//! serves, and when told to stop lets what runs finish.

use std::cell::{Cell, RefCell};
use std::io;
use std::net::SocketAddr;
use std::os::unix::net::UnixListener;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use arc_swap::{ArcSwap, Cache};
use tokio::net::{TcpListener, TcpStream, UnixStream};
use tokio::runtime::{LocalOptions, LocalRuntime};
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_rustls::TlsAcceptor;

use crate::app::affinity::Secret;
use crate::app::budget::Budget;
use crate::app::clock::Millis;
use crate::app::tally::{self, Tally};
use crate::app::{clock, meter};
use crate::config::spec::ClientsSpec;
use crate::gateway::access_log::{AccessLog, Journal};
use crate::gateway::arrive::{Absent, arrive};
use crate::gateway::client::Client;
use crate::gateway::connections::{Connections, End, Full};
use crate::gateway::listener::{Accepting, BACKLOG};
use crate::gateway::pool::{Pool, Shared};
use crate::gateway::respond::{self, Reject};
use crate::gateway::route::RouteTable;
use crate::gateway::socket::Socket;
use crate::gateway::{http2, inbound};

/// How long a connection that was accepted in the last moment before a stop, or after it, has for its first request.
const LAST_CHANCE: Duration = Duration::from_secs(1);

/// After a failure to accept, such as too many open files.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// What all workers of a proxy share.
#[derive(Clone)]
pub struct Gateway {
    /// The routes of the moment.
    pub routes: Arc<ArcSwap<RouteTable>>,
    /// Idle connections to replicas whose concurrency is bounded.
    pub shared: Shared,
    /// When to stop, and how long what runs may take.
    pub stop: watch::Receiver<Option<Instant>>,
    /// Clients' connections at all workers.
    pub connections: Arc<Connections>,
    /// What becomes of requests that belong to no app.
    pub unrouted: Arc<Tally>,
    /// Speaks TLS, where that is spoken.
    pub tls: Option<TlsAcceptor>,
    /// What clients' tokens of their replicas are made with.
    pub secret: Secret,
    /// Where a line for each request goes.
    pub access_log: Option<AccessLog>,
}

/// A worker's socket at one address.
#[derive(Debug)]
pub struct Door {
    /// The socket.
    pub socket: Accepting,
    /// Whether TLS is spoken there.
    pub secure: bool,
}

/// Resolves when a connection is to take no further request.
pub type Stopping = Pin<Box<dyn Future<Output = ()>>>;

/// One worker's own.
pub struct Worker {
    routes: RefCell<Cache<Arc<ArcSwap<RouteTable>>, Arc<RouteTable>>>,
    local: RefCell<Rc<LocalRoutes>>,
    /// Its upstream connections.
    pub pool: Rc<Pool>,
    /// Its shard of what becomes of requests that belong to no app.
    pub unrouted: Rc<tally::Writer>,
    /// What clients' tokens of their replicas are made with.
    pub secret: Secret,
    /// Its part of the access log.
    pub journal: Option<Rc<Journal>>,
    open: Cell<usize>,
    connections: Arc<Connections>,
    stop: watch::Receiver<Option<Instant>>,
    tls: Option<TlsAcceptor>,
    /// Connections for which there is room, where the file does not say.
    room: usize,
}

/// A route table with this worker's shards of each app's counts, made on first use.
pub struct LocalRoutes {
    /// The table.
    pub table: Arc<RouteTable>,
    writers: Vec<RefCell<Option<Writers>>>,
}

struct Writers {
    meter: meter::Writer,
    /// Shared with the exchanges under way, which may outlive the table.
    tally: Rc<tally::Writer>,
    budget: Budget,
}

impl LocalRoutes {
    fn new(table: Arc<RouteTable>) -> Rc<Self> {
        let writers = (0..table.len()).map(|_| RefCell::new(None)).collect();
        Rc::new(Self { table, writers })
    }

    /// Counts a request of the app at `entry`; gives where to count what becomes of it.
    #[must_use]
    pub fn record(&self, entry: usize, now: Millis) -> Rc<tally::Writer> {
        self.with_writers(entry, |writers| {
            writers.meter.record(now.0);
            writers.budget.request(now);
            Rc::clone(&writers.tally)
        })
    }

    /// Where to count what becomes of a request of the app at `entry` that is none to scale by.
    #[must_use]
    pub fn unrecorded(&self, entry: usize) -> Rc<tally::Writer> {
        self.with_writers(entry, |writers| Rc::clone(&writers.tally))
    }

    fn with_writers<T>(&self, entry: usize, act: impl FnOnce(&mut Writers) -> T) -> T {
        act(self.writers[entry].borrow_mut().get_or_insert_with(|| {
            let entry = self.table.entry(entry);
            let (meter, tally) = (entry.policy.meter.writer(), Rc::new(entry.app.tally().writer()));
            Writers { meter, tally, budget: Budget::default() }
        }))
    }

    /// Whether a request of the app at `entry` that was recorded may be sent a second time, see [`Budget`].
    #[must_use]
    pub fn may_repeat(&self, entry: usize, now: Millis) -> bool {
        self.writers[entry].borrow().as_ref().is_some_and(|writers| writers.budget.spend(now))
    }
}

/// How many tasks have their turn before it is looked what else has happened, where so many are ready. What is ready has its
/// turn in order, so nobody waits longer for that; with hundreds of connections at once, each look costs less per request.
const TURNS: u32 = 512;

/// Starts a worker on a thread of its own; the thread's result is how many connections it had to cut.
///
/// # Errors
/// Where the system gives no thread or no event queue.
pub fn spawn(index: usize, gateway: Gateway, doors: Vec<Door>) -> io::Result<JoinHandle<usize>> {
    let (tell, told) = std::sync::mpsc::sync_channel(1);
    let thread = std::thread::Builder::new().name(format!("worker-{index}")).spawn(move || {
        // It belongs to the thread that makes it.
        let (runtime, made) = match runtime() {
            Ok(runtime) => (Some(runtime), Ok(())),
            Err(error) => (None, Err(error)),
        };
        let _whoever_spawned_waits = tell.send(made);
        runtime.map_or(0, |runtime| runtime.block_on(run(gateway, doors)))
    })?;
    told.recv().map_err(io::Error::other)??;
    Ok(thread)
}

fn runtime() -> io::Result<LocalRuntime> {
    let mut builder = tokio::runtime::Builder::new_current_thread();
    builder.enable_all().event_interval(TURNS).on_thread_unpark(clock::refresh);
    builder.build_local(LocalOptions::default())
}

async fn run(gateway: Gateway, doors: Vec<Door>) -> usize {
    let mut cache = Cache::new(Arc::clone(&gateway.routes));
    let local = LocalRoutes::new(Arc::clone(cache.load()));
    let worker = Rc::new(Worker {
        routes: RefCell::new(cache),
        local: RefCell::new(local),
        pool: Pool::new(gateway.shared.clone()),
        unrouted: Rc::new(gateway.unrouted.writer()),
        secret: gateway.secret,
        journal: gateway.access_log.clone().map(Journal::new),
        open: Cell::new(0),
        connections: Arc::clone(&gateway.connections),
        stop: gateway.stop.clone(),
        tls: gateway.tls.clone(),
        room: room(),
    });
    let mut accepting = tokio::task::JoinSet::new();
    for door in doors {
        accepting.spawn_local(Rc::clone(&worker).accept(door));
    }
    let deadline = stopped(gateway.stop.clone()).await;
    while accepting.join_next().await.is_some() {}
    let _in_time = tokio::time::timeout_at(deadline, gateway.connections.emptied()).await;
    worker.open.get()
}

/// Half of the files that may be open: a request needs one for its client and one for its replica.
fn room() -> usize {
    let files = rustix::process::getrlimit(rustix::process::Resource::Nofile).current;
    files.map_or(usize::MAX, |files| usize::try_from(files / 2).unwrap_or(usize::MAX).max(1))
}

/// Resolves to the deadline when the proxy is told to stop.
async fn stopped(mut stop: watch::Receiver<Option<Instant>>) -> Instant {
    match stop.wait_for(Option::is_some).await {
        Ok(deadline) => deadline.unwrap_or_else(Instant::now),
        // The control plane is gone; nobody could tell any more.
        Err(_) => Instant::now(),
    }
}

impl Worker {
    /// The routes of the moment.
    pub fn routes(&self) -> Rc<LocalRoutes> {
        let mut cache = self.routes.borrow_mut();
        let table = cache.load();
        let mut local = self.local.borrow_mut();
        if !Arc::ptr_eq(&local.table, table) {
            *local = LocalRoutes::new(Arc::clone(table));
        }
        Rc::clone(&local)
    }

    async fn accept(self: Rc<Self>, door: Door) {
        let secure = door.secure;
        let listener = match Listening::new(door.socket) {
            Ok(listener) => listener,
            Err(error) => {
                tracing::error!(%error, "cannot accept at a socket");
                return;
            }
        };
        let mut stopping = std::pin::pin!(stopped(self.stop.clone()));
        let mut failing = false;
        loop {
            let accepted = tokio::select! {
                accepted = listener.accept() => accepted,
                _ = &mut stopping => break,
            };
            match accepted {
                Ok((socket, peer)) => {
                    failing = false;
                    self.welcome(socket, peer, secure);
                }
                Err(error) => {
                    // Out of files there are twenty a second: the first is for the operator.
                    if std::mem::replace(&mut failing, true) {
                        tracing::debug!(%error, "cannot accept a connection");
                    } else {
                        tracing::warn!(%error, "cannot accept a connection");
                    }
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
        // Closing the socket would reset what waits in it.
        for (socket, peer) in listener.rest() {
            self.welcome(socket, peer, secure);
        }
    }

    fn welcome(self: &Rc<Self>, socket: Socket, peer: Option<SocketAddr>, secure: bool) {
        self.connections.accept();
        let most = self.routes().table.edge().clients.connections;
        if self.connections.open() >= most.unwrap_or(self.room) {
            self.turn_away(&socket, secure, Full::All);
            return;
        }
        tokio::task::spawn_local(Rc::clone(self).serve(socket, peer, secure, self.keep_open()));
    }

    /// Closes a connection for which there is no room, with a word where that can be said without waiting.
    fn turn_away(&self, socket: &Socket, secure: bool, full: Full) {
        self.connections.refuse(full);
        if !secure {
            let _best_effort = socket.try_write(respond::FULL);
        }
        tracing::debug!(bound = full.name(), "a connection too many");
    }

    async fn serve(self: Rc<Self>, socket: Socket, peer: Option<SocketAddr>, secure: bool, open: Open) {
        let _open = open;
        let spec: Arc<ClientsSpec> = Arc::clone(&self.routes().table.edge().clients);
        // Told to end before it has read anything, it would close without a word.
        let chance = Instant::now() + LAST_CHANCE;
        let stop = self.stop.clone();
        let mut stopping: Stopping = Box::pin(async move {
            stopped(stop).await;
            tokio::time::sleep_until(chance).await;
        });
        let tls = self.tls.as_ref().filter(|_| secure);
        let arrived = tokio::select! {
            // Apart, so that an idle connection does not keep the place for it.
            arrived = Box::pin(arrive(socket, peer, tls, &spec)) => arrived,
            () = &mut stopping => return,
        };
        let (client, transport) = match arrived {
            Ok(arrived) => arrived,
            Err(error) => {
                match error {
                    Absent::Silent => self.note_end(End::Idle),
                    Absent::Late => self.note_end(End::Handshake),
                    Absent::Broken(_) => {}
                }
                tracing::debug!(?peer, %error, "a connection ended before it was one");
                return;
            }
        };
        let of_client = match spec.connections_per_client {
            Some(most) if !client.is_local() => match self.connections.of_client(client.ip(), most) {
                Some(counted) => Some(counted),
                None => return self.turn_away(client.socket(), secure, Full::Client),
            },
            _ => None,
        };
        if client.way().multiplexed {
            Box::pin(http2::serve(&self, client, transport, &spec, stopping)).await;
        } else {
            inbound::serve(&self, client, transport, &spec, stopping).await;
        }
        drop(of_client);
    }

    /// Whether the worker is to stop, by now or in a moment.
    #[must_use]
    pub fn is_told_to_stop(&self) -> bool {
        // What was told before it began counts, so nothing of it is ever marked as seen.
        self.stop.has_changed().unwrap_or(true)
    }

    /// A request that could not be read was refused.
    pub fn note_unread(&self, client: &Client, reject: &Reject) {
        let Some(why) = reject.refusal() else { return };
        let (status, ..) = reject.row();
        self.unrouted.refused(why);
        self.unrouted.ended(Some(status.as_u16()), Duration::ZERO);
        if let Some(journal) = &self.journal {
            journal.note_unread(client.ip(), status, why.name());
        }
    }

    /// Counts a client's connection that is ended for this reason.
    pub fn note_end(&self, why: End) {
        self.connections.end(why);
    }

    /// Keeps the worker alive for as long as it lives, as an open connection does.
    pub fn keep_open(self: &Rc<Self>) -> Open {
        self.open.set(self.open.get() + 1);
        self.connections.enter();
        Open(Rc::clone(self))
    }
}

/// An open connection.
pub struct Open(Rc<Worker>);

impl Drop for Open {
    fn drop(&mut self) {
        self.0.open.set(self.0.open.get() - 1);
        self.0.connections.leave();
    }
}

/// A socket that connections are accepted from.
enum Listening {
    Tcp(TcpListener),
    Unix(tokio::net::UnixListener),
}

impl Listening {
    fn new(socket: Accepting) -> io::Result<Self> {
        match socket {
            Accepting::Tcp(socket) => TcpListener::from_std(socket).map(Self::Tcp),
            Accepting::Unix(socket) => tokio::net::UnixListener::from_std(socket).map(Self::Unix),
        }
    }

    async fn accept(&self) -> io::Result<(Socket, Option<SocketAddr>)> {
        match self {
            Self::Tcp(listener) => {
                listener.accept().await.map(|(stream, peer)| (Socket::Tcp(stream), Some(peer)))
            }
            Self::Unix(listener) => listener.accept().await.map(|(stream, _)| (Socket::Unix(stream), None)),
        }
    }

    /// What waits to be accepted.
    fn rest(self) -> Vec<(Socket, Option<SocketAddr>)> {
        let tcp = |(stream, peer): (std::net::TcpStream, _)| {
            stream.set_nonblocking(true).and_then(|()| TcpStream::from_std(stream)).map(|it| (it, peer))
        };
        let unix = |stream: std::os::unix::net::UnixStream| {
            stream.set_nonblocking(true).and_then(|()| UnixStream::from_std(stream))
        };
        let most = usize::try_from(BACKLOG).unwrap_or_default();
        match self {
            Self::Tcp(listener) => {
                let Ok(listener) = listener.into_std() else { return Vec::new() };
                let waiting = std::iter::from_fn(|| listener.accept().ok()).take(most);
                waiting
                    .filter_map(|it| tcp(it).ok())
                    .map(|(it, peer)| (Socket::Tcp(it), Some(peer)))
                    .collect()
            }
            Self::Unix(listener) => {
                let Ok(listener): io::Result<UnixListener> = listener.into_std() else { return Vec::new() };
                let waiting = std::iter::from_fn(|| listener.accept().ok()).take(most);
                waiting.filter_map(|(it, _)| unix(it).ok()).map(|it| (Socket::Unix(it), None)).collect()
            }
        }
    }
}
