//! One worker's connections of HTTP/2 to replicas, each of which carries many requests at once. Closes them when they
//! have carried none for long enough.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::fmt;
use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::{LocalBoxFuture, Shared};
use hyper::client::conn::http2::SendRequest;
use tokio::time::{Instant, timeout};

use crate::app::replica::Claim;
use crate::gateway::sender::{self, CONNECT_TIMEOUT, Many};
use crate::gateway::upload::{Progress, Upload};
use crate::runtime::Endpoint;

/// Most requests at once on one connection, and fewer where the replica says so; more are opened beyond. Servers commonly
/// allow so many, RFC 9113 section 6.5.2.
const STREAMS: usize = 100;

/// The connections, by the replica's key.
#[derive(Debug, Default)]
pub struct Multiplexed(RefCell<HashMap<u64, OfReplica>>);

/// The connections to one replica.
#[derive(Debug)]
struct OfReplica {
    connections: Vec<Rc<Connection>>,
    /// Requests that the last one to stand takes at once: what is made next will take no more.
    usual: Rc<Cell<usize>>,
}

/// What the making of a connection comes to. Of those who wait for it, whoever is there carries it on.
type Making = Shared<LocalBoxFuture<'static, Result<Rc<Many>, Rc<io::Error>>>>;

/// One connection, or one that is being made.
struct Connection {
    generation: u32,
    making: Making,
    usual: Rc<Cell<usize>>,
    /// Requests that are on it, or wait for it to stand.
    open: Cell<usize>,
    /// Those that are on it.
    carried: Cell<usize>,
    /// Bodies that go on although their answers have ended: they keep their place.
    uploads: RefCell<Vec<Arc<Progress>>>,
    /// One of them found it unusable, or nobody was left to make it.
    broken: Cell<bool>,
    until: Cell<Instant>,
}

/// A request's place on a connection.
#[derive(Debug)]
pub struct Stream {
    connection: Rc<Connection>,
    sender: SendRequest<Upload>,
    upload: Option<Arc<Progress>>,
    keep: Duration,
}

/// A request's place on a connection that may not stand yet.
#[derive(Debug)]
pub struct Place(Rc<Connection>, Duration);

impl Multiplexed {
    /// A place on a connection to the claimed replica. The connection may be idle for `keep` afterwards.
    #[must_use]
    pub fn place(&self, claim: &Claim, keep: Duration) -> Place {
        let mut replicas = self.0.borrow_mut();
        let of_replica = replicas
            .entry(claim.replica().key)
            .or_insert_with(|| OfReplica { connections: Vec::new(), usual: Rc::new(Cell::new(STREAMS)) });
        let fit = |connection: &&Rc<Connection>| {
            connection.generation == claim.generation()
                && !connection.is_closed()
                && connection.open.get() + connection.uploads() < connection.room()
        };
        let fitting = of_replica.connections.iter().find(fit).cloned();
        let connection = fitting.unwrap_or_else(|| {
            let connection = Rc::new(Connection {
                generation: claim.generation(),
                making: make(claim.replica().endpoint.clone()),
                usual: Rc::clone(&of_replica.usual),
                open: Cell::new(0),
                carried: Cell::new(0),
                uploads: RefCell::default(),
                broken: Cell::new(false),
                until: Cell::new(Instant::now() + keep),
            });
            // Those that could not be made would wait for the sweep, with their sockets.
            of_replica.connections.retain(|other| other.open.get() > 0 || !other.is_closed());
            of_replica.connections.push(Rc::clone(&connection));
            connection
        });
        connection.enter();
        Place(connection, keep)
    }

    /// Lets go of what is closed or has been idle for long enough.
    pub fn sweep(&self, now: Instant) {
        let is_kept = |connection: &Rc<Connection>| {
            let is_used = || connection.uploads() > 0 || connection.until.get() > now;
            connection.open.get() > 0 || (!connection.is_closed() && is_used())
        };
        self.0.borrow_mut().retain(|_, of_replica| {
            of_replica.connections.retain(is_kept);
            !of_replica.connections.is_empty()
        });
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.borrow().is_empty()
    }
}

fn make(endpoint: Endpoint) -> Making {
    let making = async move {
        let made = timeout(CONNECT_TIMEOUT, sender::connect_http2(&endpoint)).await;
        made.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into())).map(Rc::new).map_err(Rc::new)
    };
    making.boxed_local().shared()
}

impl Connection {
    fn is_closed(&self) -> bool {
        let made = self.making.peek();
        self.broken.get() || made.is_some_and(|made| made.as_ref().map_or(true, |it| it.sender.is_closed()))
    }

    /// Requests that it takes at once.
    fn room(&self) -> usize {
        match self.making.peek() {
            Some(Ok(many)) => many.room().min(STREAMS),
            _ => self.usual.get(),
        }
    }

    /// How many bodies go on although their answers have ended.
    fn uploads(&self) -> usize {
        let mut uploads = self.uploads.borrow_mut();
        uploads.retain(|upload| !upload.is_over());
        uploads.len()
    }

    fn enter(&self) {
        self.open.set(self.open.get() + 1);
    }

    fn leave(&self, keep: Duration) {
        self.open.set(self.open.get() - 1);
        self.until.set(Instant::now() + keep);
        if self.open.get() == 0 && self.making.peek().is_none() {
            self.broken.set(true);
        }
    }
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection")
            .field("generation", &self.generation)
            .field("open", &self.open)
            .finish_non_exhaustive()
    }
}

impl Place {
    /// Whether the connection has stood before.
    #[must_use]
    pub fn is_old(&self) -> bool {
        self.0.making.peek().is_some()
    }

    /// The stream of a request with this body, when the connection stands. `None`: others have taken all that it turned
    /// out to have.
    ///
    /// # Errors
    /// Where it cannot be made, see [`sender::connect_http2`].
    pub async fn stream(self, upload: Option<Arc<Progress>>) -> io::Result<Option<Stream>> {
        let Self(connection, keep) = &self;
        let many = connection.making.clone().await.map_err(|error| alike(&error))?;
        if many.room() > 0 {
            connection.usual.set(many.room().min(STREAMS));
        }
        if connection.carried.get() + connection.uploads() >= connection.room() {
            return Ok(None);
        }
        connection.enter();
        connection.carried.set(connection.carried.get() + 1);
        let (connection, sender) = (Rc::clone(connection), many.sender.clone());
        Ok(Some(Stream { connection, sender, upload, keep: *keep }))
    }
}

/// The same error for one more of those who have waited.
fn alike(error: &io::Error) -> io::Error {
    match error.raw_os_error() {
        Some(code) => io::Error::from_raw_os_error(code),
        None => io::Error::new(error.kind(), error.to_string()),
    }
}

impl Stream {
    /// What it is sent by.
    pub fn sender(&mut self) -> &mut SendRequest<Upload> {
        &mut self.sender
    }

    /// Nobody is to use the connection from now on.
    pub fn give_up_connection(&self) {
        self.connection.broken.set(true);
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.leave(self.1);
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        let connection = &self.connection;
        connection.carried.set(connection.carried.get() - 1);
        if let Some(upload) = self.upload.take_if(|upload| !upload.is_over()) {
            connection.uploads.borrow_mut().push(upload);
        }
        connection.leave(self.keep);
    }
}
