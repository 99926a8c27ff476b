//! Where clients come in, what they may do there, and what the proxy answers by itself.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use http::{HeaderValue, StatusCode};
use ipnet::IpNet;

use super::RouteSpec;

/// What the proxy answers by itself. Like the apps, it changes with a reload.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct EdgeSpec {
    /// In the order of the file. No route of theirs is an app's.
    pub redirects: Vec<RedirectSpec>,
    /// For a host that no route names.
    pub unknown_host: UnknownHost,
    /// What is said to clients because TLS is spoken.
    pub https: HttpsSpec,
    /// What clients may do, and who speaks for others.
    pub clients: Arc<ClientsSpec>,
}

/// What is said to clients because TLS is spoken.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct HttpsSpec {
    /// Clients that come without TLS are sent to this port.
    pub redirect: Option<u16>,
    /// `Strict-Transport-Security` of answers that go out by TLS, RFC 6797.
    pub hsts: Option<HeaderValue>,
}

/// What clients may do, and who speaks for others. A connection keeps what held when it was accepted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientsSpec {
    /// Whose connections begin with a PROXY header.
    pub proxy_protocol: Peers,
    /// Whose word on the client is taken.
    pub trusted_proxies: Peers,
    /// Whether the case of HTTP/1 header names is kept.
    pub preserve_header_case: bool,
    /// Bytes of a head, at least 1024.
    pub header_bytes: usize,
    /// Fields of a head, at least one.
    pub headers: usize,
    /// Bytes of a request's target, at least 16.
    pub uri_bytes: usize,
    /// From the first byte of a head to its last; and for a TLS handshake.
    pub header_timeout: Duration,
    /// Between two requests of a connection.
    pub idle_timeout: Duration,
    /// How long a client may take nothing of what is written to it.
    pub write_timeout: Duration,
    /// Connections at once; `None`: as many as half of the limit on open files.
    pub connections: Option<usize>,
    /// Connections at once of one client; `None`: no limit.
    pub connections_per_client: Option<usize>,
    /// Requests of one connection; `None`: no limit. At least one.
    pub requests: Option<u64>,
}

impl Default for ClientsSpec {
    fn default() -> Self {
        Self {
            proxy_protocol: Peers::default(),
            trusted_proxies: Peers::default(),
            preserve_header_case: false,
            header_bytes: 64 << 10,
            headers: 100,
            uri_bytes: 16 << 10,
            header_timeout: Duration::from_secs(15),
            // Longer than the 60 s after which common load balancers give theirs up.
            idle_timeout: Duration::from_secs(75),
            // Ample for a client that reads at all, however slowly: the system says so after a third of its buffer at
            // the latest.
            write_timeout: Duration::from_mins(3),
            connections: None,
            connections_per_client: None,
            requests: None,
        }
    }
}

/// Those who speak to the proxy, by address.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Peers {
    /// Networks; one address is a network of one.
    pub networks: Vec<IpNet>,
    /// Whoever comes by a Unix socket.
    pub local: bool,
}

impl Peers {
    /// Whether one that has this address is among them; `None` came by a Unix socket.
    #[must_use]
    pub fn contains(&self, peer: Option<SocketAddr>) -> bool {
        peer.map_or(self.local, |peer| self.has(peer.ip()))
    }

    /// Whether this address is among them.
    #[must_use]
    pub fn has(&self, ip: IpAddr) -> bool {
        let ip = ip.to_canonical();
        self.networks.iter().any(|network| network.contains(&ip))
    }
}

/// What a client gets that asks for a host that no route names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UnknownHost {
    /// This status, 400 to 599.
    Status(StatusCode),
    /// Nothing: its connection is closed.
    Close,
}

impl Default for UnknownHost {
    fn default() -> Self {
        Self::Status(StatusCode::NOT_FOUND)
    }
}

/// Something that has moved.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RedirectSpec {
    /// What has.
    pub from: RouteSpec,
    /// Scheme, host and port to go to: `https://example.com`.
    pub origin: String,
    /// Takes the place of the path in `from`; empty for `/`, and without a slash at its end.
    pub path: String,
    /// 301, 302, 303, 307 or 308.
    pub status: StatusCode,
}

/// Where clients come in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ListenAddress {
    /// An address and a port; port 0 is any that is free.
    Tcp(SocketAddr),
    /// A Unix socket's path, absolute.
    Unix(PathBuf),
}

/// TLS towards clients.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsSpec {
    /// Public addresses at which it is spoken; at least one.
    pub listen: Vec<ListenAddress>,
    /// Where the certificates are.
    pub certificates: Certificates,
}

/// Where certificates are, each with its key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Certificates {
    /// One, for every name.
    Pair {
        /// PEM, with what leads to its authority behind it; absolute.
        cert: PathBuf,
        /// PEM; absolute.
        key: PathBuf,
    },
    /// A folder of pairs, absolute: `NAME.crt` or `NAME.pem`, beside `NAME.key`.
    Folder(PathBuf),
}
