//! Reaching a replica once: a connection, and where a health path is given an answer that is good.

use bytes::Bytes;
use http::Request;
use http_body_util::Empty;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};

use crate::config::spec::HealthSpec;
use crate::runtime::{Address, Endpoint};

/// One attempt, as a client that asks for `host`.
///
/// # Errors
/// What it met with, for people.
pub async fn once(endpoint: &Endpoint, health: &HealthSpec, host: &str) -> Result<(), String> {
    tokio::time::timeout(health.timeout, attempt(endpoint, health.path.as_deref(), host))
        .await
        .unwrap_or_else(|_| Err(format!("no answer from {} in {:?}", endpoint.address, health.timeout)))
}

async fn attempt(endpoint: &Endpoint, path: Option<&str>, host: &str) -> Result<(), String> {
    let refused = |error: std::io::Error| format!("nothing listens at {}: {error}", endpoint.address);
    match &endpoint.address {
        Address::Tcp(address) => ask(TcpStream::connect(address).await.map_err(refused)?, path, host).await,
        Address::Unix(socket) => ask(UnixStream::connect(socket).await.map_err(refused)?, path, host).await,
    }
}

async fn ask(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    path: Option<&str>,
    host: &str,
) -> Result<(), String> {
    let Some(path) = path else { return Ok(()) };
    let bad = |error: &dyn std::fmt::Display| format!("GET {path}: {error}");
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
