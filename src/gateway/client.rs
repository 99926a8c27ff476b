//! A client as a request's handler sees it: who it is, how it has come, whether it is still there, and what exactly it
//! has written.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use http::HeaderValue;

use crate::app::clock::{self, Millis};
use crate::gateway::inbound::Inbound;
use crate::gateway::line::Line;
use crate::gateway::socket::Socket;

/// How a client has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Way {
    /// By TLS.
    pub secure: bool,
    /// Many requests at once on one connection: HTTP/2.
    pub multiplexed: bool,
}

/// One client's connection.
#[derive(Debug)]
pub struct Client {
    line: Arc<Line>,
    peer: Option<SocketAddr>,
    reached: Option<SocketAddr>,
    way: Way,
    trusted: bool,
    /// What it has sent, where it speaks HTTP/1.
    inbound: Mutex<Inbound>,
    /// Since when no request of HTTP/1 is being answered, in milliseconds of the clock; 0: one is, and a further one that
    /// has begun to come may take its time.
    quiet_since: AtomicU64,
    /// It is no HTTP any more.
    switched: AtomicBool,
    /// It was silent between two requests for too long.
    idle: AtomicBool,
    /// Its address as a header's value.
    address: OnceLock<HeaderValue>,
}

impl Client {
    /// A client whose first request is awaited. `peer` is the other end of its connection, where that has an address;
    /// `reached` this one's, where a proxy before this one has told it. `trusted`: what it says of others is true.
    /// `longest`: bytes that a head may have.
    #[must_use]
    pub fn new(
        line: Arc<Line>,
        peer: Option<SocketAddr>,
        reached: Option<SocketAddr>,
        way: Way,
        trusted: bool,
        longest: usize,
    ) -> Arc<Self> {
        let inbound = Mutex::new(Inbound::new(longest));
        let quiet_since = AtomicU64::new(clock::coarse().0);
        let (switched, idle, address) = Default::default();
        Arc::new(Self { line, peer, reached, way, trusted, inbound, quiet_since, switched, idle, address })
    }

    /// Who speaks to us, the client itself or a proxy before this one. Who has come by a Unix socket is on this host.
    #[must_use]
    pub fn ip(&self) -> IpAddr {
        self.peer.map_or(IpAddr::V4(Ipv4Addr::LOCALHOST), |peer| peer.ip().to_canonical())
    }

    /// The same as a header's value.
    pub fn address(&self) -> &HeaderValue {
        // An address is visible ASCII.
        let address = || HeaderValue::try_from(self.ip().to_string()).unwrap_or(HeaderValue::from_static(""));
        self.address.get_or_init(address)
    }

    /// Whether what it says of others is taken for true.
    #[must_use]
    pub fn is_trusted(&self) -> bool {
        self.trusted
    }

    /// Whether it has come by a Unix socket.
    #[must_use]
    pub fn is_local(&self) -> bool {
        self.peer.is_none()
    }

    /// What its connection runs on.
    #[must_use]
    pub fn socket(&self) -> &Socket {
        self.line.socket()
    }

    /// Whether it was given up, since it took nothing of what was written.
    #[must_use]
    pub fn is_stalled(&self) -> bool {
        self.line.is_stalled()
    }

    /// How long it has been taking nothing of what is to be written.
    #[must_use]
    pub fn blocked_for(&self) -> Duration {
        self.line.blocked_for()
    }

    /// Whether it is no HTTP any more.
    #[must_use]
    pub fn has_switched(&self) -> bool {
        self.switched.load(Ordering::Relaxed)
    }

    /// Where it may be saying something still that nobody reads: see [`Line::linger`].
    pub async fn linger(&self) {
        let midway = self.inbound().is_midway();
        if midway && !self.is_stalled() {
            // Apart, so that what is served does not keep the place for it.
            Box::pin(self.line.linger()).await;
        }
    }

    /// How it has come.
    #[must_use]
    pub fn way(&self) -> Way {
        self.way
    }

    /// The address that the client has reached, as a `Host`.
    #[must_use]
    pub fn reached(&self) -> HeaderValue {
        let address = self.reached.or_else(|| self.socket().local());
        let address = address.map(|address| address.to_string()).unwrap_or_default();
        // An address is visible ASCII; where there is none the Host is empty, as it may be.
        HeaderValue::from_str(&address).unwrap_or(HeaderValue::from_static(""))
    }

    /// A request of HTTP/1 has been read. Says why it is refused, where it is: two could read its bytes in two ways.
    pub fn begins(&self) -> Option<&'static str> {
        self.quiet_since.store(0, Ordering::Relaxed);
        self.inbound().next_head().err()
    }

    /// A request of HTTP/1 has been answered.
    pub fn ends(&self) {
        self.quiet_since.store(clock::coarse().0, Ordering::Relaxed);
    }

    /// Whether no request of HTTP/1 of it is being answered.
    fn is_quiet(&self) -> bool {
        self.quiet_since.load(Ordering::Relaxed) > 0
    }

    /// Since when nothing is going on with HTTP/1; `None`: something is. An answer may have been handed out that is still
    /// to be taken, or a body may go on that nobody has waited for.
    #[must_use]
    pub fn quiet_since(&self) -> Option<Millis> {
        let since = self.quiet_since.load(Ordering::Relaxed);
        let quiet = since > 0 && self.blocked_for().is_zero() && !self.has_switched();
        (quiet && !self.inbound().is_midway()).then_some(Millis(since))
    }

    /// It has taken something of what is written.
    pub fn takes(&self) {
        if self.is_quiet() {
            self.ends();
        }
    }

    /// It was silent between two requests for too long.
    pub fn falls_idle(&self) {
        self.idle.store(true, Ordering::Relaxed);
    }

    /// Whether it was.
    #[must_use]
    pub fn has_fallen_idle(&self) -> bool {
        self.idle.load(Ordering::Relaxed)
    }

    /// It is no HTTP from now on.
    pub fn switches(&self) {
        self.switched.store(true, Ordering::Relaxed);
        self.inbound().forget();
    }

    /// Whether the head of a request is awaited of which a part is there.
    #[must_use]
    pub fn is_amid_head(&self) -> bool {
        self.is_quiet() && self.inbound().is_partial()
    }

    /// What it has sent so far.
    pub fn inbound(&self) -> MutexGuard<'_, Inbound> {
        self.inbound.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Resolves when the client has closed its end. Of one whose requests share a connection, the connection's own task
    /// sees it and drops them.
    pub async fn gone(&self) {
        if self.way.multiplexed {
            return std::future::pending().await;
        }
        self.line.gone().await;
    }
}
