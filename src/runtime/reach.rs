//! Reaching a replica once: a connection, and where a health path is given an answer that is good.

use std::io;

use bytes::Bytes;
use http::Request;
use http_body_util::Empty;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};

use crate::config::spec::HealthSpec;
use crate::runtime::{Address, Endpoint};

/// Why a replica was not reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unreached {
    /// What the attempt met with, for people.
    pub why: String,
    /// Whether that was a shortage of our own, which says nothing of the replica.
    pub ours: bool,
}

impl From<String> for Unreached {
    fn from(why: String) -> Self {
        Self { why, ours: false }
    }
}

/// One attempt, as a client that asks for `host`.
///
/// # Errors
/// See [`Unreached`].
pub async fn once(endpoint: &Endpoint, health: &HealthSpec, host: &str) -> Result<(), Unreached> {
    tokio::time::timeout(health.timeout, attempt(endpoint, health.path.as_deref(), host))
        .await
        .unwrap_or_else(
            |_| Err(format!("no answer from {} in {:?}", endpoint.address, health.timeout).into()),
        )
}

/// Whether the failure to connect is the replica's. A shortage of our own (files, ports, memory) is not.
#[must_use]
pub fn is_replicas(error: &io::Error) -> bool {
    use io::ErrorKind::{
        ConnectionAborted, ConnectionRefused, ConnectionReset, HostUnreachable, NetworkUnreachable, NotFound,
        TimedOut,
    };
    matches!(
        error.kind(),
        ConnectionAborted
            | ConnectionRefused
            | ConnectionReset
            | HostUnreachable
            | NetworkUnreachable
            | NotFound
            | TimedOut
    )
}

async fn attempt(endpoint: &Endpoint, path: Option<&str>, host: &str) -> Result<(), Unreached> {
    let refused = |error: io::Error| {
        let ours = !is_replicas(&error);
        let what = if ours { "cannot connect to" } else { "nothing listens at" };
        Unreached { why: format!("{what} {}: {error}", endpoint.address), ours }
    };
    match &endpoint.address {
        Address::Tcp(address) => ask(TcpStream::connect(address).await.map_err(refused)?, path, host).await,
        Address::Unix(socket) => ask(UnixStream::connect(socket).await.map_err(refused)?, path, host).await,
    }
}

async fn ask(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    path: Option<&str>,
    host: &str,
) -> Result<(), Unreached> {
    let Some(path) = path else { return Ok(()) };
    let bad = |error: &dyn std::fmt::Display| Unreached::from(format!("GET {path}: {error}"));
    let (mut sender, connection) =
        http1::handshake(TokioIo::new(stream)).await.map_err(|error| bad(&error))?;
    let request = Request::get(path)
        .header(http::header::HOST, host)
        .header(http::header::USER_AGENT, "pilotlight-probe")
        .body(Empty::<Bytes>::new())
        .map_err(|error| bad(&error))?;
    let response = tokio::select! {
        biased;
        response = sender.send_request(request) => response.map_err(|error| bad(&error))?,
        _ = connection => return Err(bad(&"the connection ended")),
    };
    match response.status() {
        status if status.is_success() || status.is_redirection() => Ok(()),
        status => Err(bad(&status)),
    }
}
