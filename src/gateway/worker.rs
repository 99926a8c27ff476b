//! A worker: one thread with a runtime, a socket at each address, a pool and shards of its own. It accepts,
//! serves, and when told to stop lets what runs finish.

use std::cell::{Cell, RefCell};
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use arc_swap::{ArcSwap, Cache};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use socket2::{SockRef, TcpKeepalive};
use tokio::net::TcpStream;
use tokio::sync::{Notify, watch};
use tokio::task::LocalSet;
use tokio::time::Instant;

use crate::app::tally::{self, Tally};
use crate::app::{clock, meter};
use crate::gateway::client::{Client, ClientStream};
use crate::gateway::forward;
use crate::gateway::inbound::MAX_HEAD;
use crate::gateway::listener::BACKLOG;
use crate::gateway::pool::{Pool, Shared};
use crate::gateway::route::RouteTable;

/// From the moment in which a head is awaited to its end, so also how long a connection may be idle between two
/// requests: longer than the 60 s after which common load balancers give theirs up.
const HEADER_TIMEOUT: Duration = Duration::from_secs(75);

/// How long a connection that was accepted in the last moment before a stop, or after it, has for its first request.
const LAST_CHANCE: Duration = Duration::from_secs(1);

/// Asked of a client that has been silent for long, so that one that is gone without a word gives its claim back.
const KEEPALIVE: TcpKeepalive = TcpKeepalive::new()
    .with_time(Duration::from_secs(30))
    .with_interval(Duration::from_secs(10))
    .with_retries(3);

/// After a failure to accept, such as too many open files.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// What all workers of a proxy share.
#[derive(Debug, Clone)]
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
}

/// Clients' connections at all workers. A worker stays until none is open, since another may use upstream
/// connections that live on its thread.
#[derive(Debug, Default)]
pub struct Connections {
    open: AtomicUsize,
    accepted: AtomicU64,
    emptied: Notify,
}

impl Connections {
    /// How many are open now, those included that have become something else than HTTP.
    #[must_use]
    pub fn open(&self) -> usize {
        self.open.load(Ordering::Relaxed)
    }

    /// How many were ever accepted.
    #[must_use]
    pub fn accepted(&self) -> u64 {
        self.accepted.load(Ordering::Relaxed)
    }
}

/// One worker's own.
pub struct Worker {
    routes: RefCell<Cache<Arc<ArcSwap<RouteTable>>, Arc<RouteTable>>>,
    local: RefCell<Rc<LocalRoutes>>,
    /// Its upstream connections.
    pub pool: Rc<Pool>,
    /// Its shard of what becomes of requests that belong to no app.
    pub unrouted: Rc<tally::Writer>,
    open: Cell<usize>,
    connections: Arc<Connections>,
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
}

impl LocalRoutes {
    fn new(table: Arc<RouteTable>) -> Rc<Self> {
        let writers = (0..table.len()).map(|_| RefCell::new(None)).collect();
        Rc::new(Self { table, writers })
    }

    /// Counts a request of the app at `entry`; gives where to count what becomes of it.
    #[must_use]
    pub fn record(&self, entry: usize, now: u64) -> Rc<tally::Writer> {
        let mut writers = self.writers[entry].borrow_mut();
        let writers = writers.get_or_insert_with(|| {
            let entry = self.table.entry(entry);
            Writers { meter: entry.policy.meter.writer(), tally: Rc::new(entry.app.tally().writer()) }
        });
        writers.meter.record(now);
        Rc::clone(&writers.tally)
    }
}

/// Starts a worker on a thread of its own; the thread's result is how many connections it had to cut.
///
/// # Errors
/// Where the system gives no thread or no event queue.
pub fn spawn(index: usize, gateway: Gateway, listeners: Vec<TcpListener>) -> io::Result<JoinHandle<usize>> {
    let mut builder = tokio::runtime::Builder::new_current_thread();
    let runtime = builder.enable_all().on_thread_unpark(clock::refresh).build()?;
    std::thread::Builder::new()
        .name(format!("worker-{index}"))
        .spawn(move || LocalSet::new().block_on(&runtime, run(gateway, listeners)))
}

async fn run(gateway: Gateway, listeners: Vec<TcpListener>) -> usize {
    let mut cache = Cache::new(Arc::clone(&gateway.routes));
    let local = LocalRoutes::new(Arc::clone(cache.load()));
    let worker = Rc::new(Worker {
        routes: RefCell::new(cache),
        local: RefCell::new(local),
        pool: Pool::new(gateway.shared.clone()),
        unrouted: Rc::new(gateway.unrouted.writer()),
        open: Cell::new(0),
        connections: Arc::clone(&gateway.connections),
    });
    let mut accepting = tokio::task::JoinSet::new();
    for listener in listeners {
        accepting.spawn_local(Rc::clone(&worker).accept(listener, gateway.stop.clone()));
    }
    let deadline = stopped(gateway.stop.clone()).await;
    while accepting.join_next().await.is_some() {}
    let all_closed = async {
        loop {
            // Listening first: what becomes empty after the look is heard.
            let emptied = gateway.connections.emptied.notified();
            if gateway.connections.open.load(Ordering::SeqCst) == 0 {
                return;
            }
            emptied.await;
        }
    };
    let _in_time = tokio::time::timeout_at(deadline, all_closed).await;
    worker.open.get()
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

    async fn accept(self: Rc<Self>, listener: TcpListener, stop: watch::Receiver<Option<Instant>>) {
        let listener = match tokio::net::TcpListener::from_std(listener) {
            Ok(listener) => listener,
            Err(error) => {
                tracing::error!(%error, "cannot accept at a socket");
                return;
            }
        };
        let mut stopping = std::pin::pin!(stopped(stop.clone()));
        let mut failing = false;
        loop {
            let accepted = tokio::select! {
                accepted = listener.accept() => accepted,
                _ = &mut stopping => break,
            };
            match accepted {
                Ok((stream, peer)) => {
                    failing = false;
                    self.welcome(stream, peer, &stop);
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
        let Ok(listener) = listener.into_std() else { return };
        for _ in 0..BACKLOG {
            let Ok((stream, peer)) = listener.accept() else { return };
            if let Ok(stream) = stream.set_nonblocking(true).and_then(|()| TcpStream::from_std(stream)) {
                self.welcome(stream, peer, &stop);
            }
        }
    }

    fn welcome(
        self: &Rc<Self>,
        stream: TcpStream,
        peer: SocketAddr,
        stop: &watch::Receiver<Option<Instant>>,
    ) {
        let _best_effort = stream.set_nodelay(true);
        let _best_effort = SockRef::from(&stream).set_tcp_keepalive(&KEEPALIVE);
        // Beside the count of those that are open: no further cache line is shared for it.
        self.connections.accepted.fetch_add(1, Ordering::Relaxed);
        let client = Client::new(stream, peer);
        tokio::task::spawn_local(Rc::clone(self).serve(client, stop.clone()));
    }

    async fn serve(self: Rc<Self>, client: Arc<Client>, stop: watch::Receiver<Option<Instant>>) {
        let _open = self.keep_open();
        let service = service_fn(|request| {
            let (worker, client) = (Rc::clone(&self), Arc::clone(&client));
            forward::answer(worker, client, request)
        });
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(HEADER_TIMEOUT)
            .max_header_size(MAX_HEAD)
            .max_buf_size(MAX_HEAD + 8 * 1024)
            .serve_connection(TokioIo::new(ClientStream::new(Arc::clone(&client))), service)
            .with_upgrades();
        let mut connection = std::pin::pin!(connection);
        // Told to end before it has read anything, the parser would close without a word.
        let chance = Instant::now() + LAST_CHANCE;
        let mut stopping = std::pin::pin!(async {
            stopped(stop).await;
            tokio::time::sleep_until(chance).await;
        });
        let ended = tokio::select! {
            ended = connection.as_mut() => ended,
            () = &mut stopping => {
                connection.as_mut().graceful_shutdown();
                connection.await
            }
        };
        if let Err(error) = ended {
            tracing::debug!(peer = %client.peer, %error, "connection ended");
        }
    }

    /// Keeps the worker alive for as long as it lives, as an open connection does.
    pub fn keep_open(self: &Rc<Self>) -> Open {
        self.open.set(self.open.get() + 1);
        self.connections.open.fetch_add(1, Ordering::SeqCst);
        Open(Rc::clone(self))
    }
}

/// An open connection.
pub struct Open(Rc<Worker>);

impl Drop for Open {
    fn drop(&mut self) {
        self.0.open.set(self.0.open.get() - 1);
        let connections = &self.0.connections;
        if connections.open.fetch_sub(1, Ordering::SeqCst) == 1 {
            connections.emptied.notify_waiters();
        }
    }
}
