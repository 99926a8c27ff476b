//! One worker's connections of HTTP/2 to replicas, each of which carries many requests at once. Closes them when they
//! have carried none for long enough.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::fmt;
use std::io;
use std::rc::Rc;
use std::time::Duration;

use hyper::client::conn::http2::SendRequest;
use tokio::sync::OnceCell;
use tokio::time::Instant;

use crate::app::replica::Claim;
use crate::gateway::sender::{self, Many};
use crate::gateway::upload::Upload;

/// Most requests at once on one connection, and fewer where the replica says so; more are opened beyond. Servers commonly
/// allow so many, RFC 9113 section 6.5.2.
const STREAMS: usize = 100;

/// The connections, by the replica's key.
#[derive(Debug, Default)]
pub struct Multiplexed(RefCell<HashMap<u64, Vec<Rc<Shared>>>>);

/// One connection, or one that is being made.
struct Shared {
    generation: u32,
    sender: OnceCell<Many>,
    /// Requests that are on it, or wait for it to stand.
    open: Cell<usize>,
    /// Those that are on it.
    carried: Cell<usize>,
    /// One of them found it unusable.
    broken: Cell<bool>,
    until: Cell<Instant>,
}

/// A request's place on a connection.
#[derive(Debug)]
pub struct Stream {
    shared: Rc<Shared>,
    sender: SendRequest<Upload>,
    keep: Duration,
}

/// A request's place on a connection that may not stand yet.
#[derive(Debug)]
pub struct Place(Rc<Shared>, Duration);

impl Multiplexed {
    /// A place on a connection to the claimed replica. The connection may be idle for `keep` afterwards.
    #[must_use]
    pub fn place(&self, claim: &Claim, keep: Duration) -> Place {
        let mut connections = self.0.borrow_mut();
        let of_replica = connections.entry(claim.replica().key).or_default();
        let fit = |shared: &&Rc<Shared>| {
            shared.generation == claim.generation()
                && !shared.is_closed()
                && shared.open.get() < shared.room()
        };
        let shared = of_replica.iter().find(fit).cloned().unwrap_or_else(|| {
            let shared = Rc::new(Shared {
                generation: claim.generation(),
                sender: OnceCell::new(),
                open: Cell::new(0),
                carried: Cell::new(0),
                broken: Cell::new(false),
                until: Cell::new(Instant::now() + keep),
            });
            of_replica.push(Rc::clone(&shared));
            shared
        });
        shared.open.set(shared.open.get() + 1);
        Place(shared, keep)
    }

    /// Lets go of what is closed or has been idle for long enough.
    pub fn sweep(&self, now: Instant) {
        self.0.borrow_mut().retain(|_, of_replica| {
            of_replica
                .retain(|shared| shared.open.get() > 0 || (!shared.is_closed() && shared.until.get() > now));
            !of_replica.is_empty()
        });
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.borrow().is_empty()
    }
}

impl Shared {
    fn is_closed(&self) -> bool {
        self.broken.get() || self.sender.get().is_some_and(|many| many.sender.is_closed())
    }

    /// Requests that it takes at once. One that takes none for now is asked all the same, so that there are never more
    /// connections than requests.
    fn room(&self) -> usize {
        self.sender.get().map_or(STREAMS, |many| many.room().clamp(1, STREAMS))
    }
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared")
            .field("generation", &self.generation)
            .field("open", &self.open)
            .finish_non_exhaustive()
    }
}

impl Place {
    /// Whether the connection has carried a request before.
    #[must_use]
    pub fn is_old(&self) -> bool {
        self.0.sender.initialized()
    }

    /// The stream, when the connection stands. Of those that wait for one connection, one makes it. `None`: others have
    /// taken all that it turned out to have.
    ///
    /// # Errors
    /// The system's, where it cannot be made.
    pub async fn stream(self, endpoint: &crate::runtime::Endpoint) -> io::Result<Option<Stream>> {
        let many = self.0.sender.get_or_try_init(|| sender::connect_http2(endpoint)).await?;
        let sender = many.sender.clone();
        if self.0.carried.get() >= self.0.room() {
            return Ok(None);
        }
        Ok(Some(Stream { shared: Rc::clone(&self.0), sender, keep: self.1 }.instead_of(self)))
    }
}

impl Stream {
    /// What it is sent by.
    pub fn sender(&mut self) -> &mut SendRequest<Upload> {
        &mut self.sender
    }

    /// Nobody is to use the connection from now on.
    pub fn give_up_connection(&self) {
        self.shared.broken.set(true);
    }

    /// The place is the stream's from now on.
    fn instead_of(self, place: Place) -> Self {
        self.shared.open.set(self.shared.open.get() + 1);
        self.shared.carried.set(self.shared.carried.get() + 1);
        drop(place);
        self
    }
}

fn leave(shared: &Shared, keep: Duration) {
    shared.open.set(shared.open.get() - 1);
    shared.until.set(Instant::now() + keep);
}

impl Drop for Place {
    fn drop(&mut self) {
        leave(&self.0, self.1);
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        self.shared.carried.set(self.shared.carried.get() - 1);
        leave(&self.shared, self.keep);
    }
}
