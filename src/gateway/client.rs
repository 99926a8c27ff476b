//! A client as a request's handler sees it: who it is, how it has come, and whether it is still there.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use http::HeaderValue;

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
    /// Its address as a header's value.
    address: OnceLock<HeaderValue>,
}

impl Client {
    /// A client whose first request is awaited. `peer` is the other end of its connection, where that has an address;
    /// `reached` this one's, where a proxy before this one has told it. `trusted`: what it says of others is true.
    #[must_use]
    pub fn new(
        line: Arc<Line>,
        peer: Option<SocketAddr>,
        reached: Option<SocketAddr>,
        way: Way,
        trusted: bool,
    ) -> Arc<Self> {
        Arc::new(Self { line, peer, reached, way, trusted, address: OnceLock::new() })
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

    /// See [`Line::linger`].
    pub async fn linger(&self) {
        self.line.linger().await;
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

    /// Resolves when the client has closed its end. Of one whose requests share a connection, the connection's own task
    /// sees it and drops them.
    pub async fn gone(&self) {
        if self.way.multiplexed {
            return std::future::pending().await;
        }
        self.line.gone().await;
    }
}
