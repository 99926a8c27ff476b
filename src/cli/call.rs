//! A single GET of a server on this machine, to its end: what `status` asks the admin API, and `demo` its own app.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Request, StatusCode};
use http_body_util::{BodyExt, Empty, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

use crate::admin::apps::AppView;

/// A loopback connection is there at once, or never.
const CONNECT: Duration = Duration::from_secs(5);

/// Most of an answer that is read: ten thousand apps are a tenth of it.
const LARGEST: usize = 64 << 20;

/// A whole answer.
#[derive(Debug, Clone)]
pub struct Answer {
    /// Its status.
    pub status: StatusCode,
    /// Its headers.
    pub headers: HeaderMap,
    /// Its body.
    pub body: Bytes,
}

impl Answer {
    /// One header; empty where there is none, or none that is text.
    #[must_use]
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
    }
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum CallError {
    /// Nobody is there.
    #[error("nothing answers at {0}: {1}")]
    Connect(SocketAddr, std::io::Error),
    /// It broke off, or is no HTTP.
    #[error("{0} gives no answer: {1}")]
    Broken(SocketAddr, Box<dyn std::error::Error + Send + Sync>),
    /// It took too long.
    #[error("{0} has not answered within {1:?}")]
    TimedOut(SocketAddr, Duration),
    /// An answer, but not what was asked for.
    #[error("{0} is not the admin API of a pilotlight of this version: {1}")]
    Stranger(SocketAddr, String),
}

/// `GET path` on a connection of its own; the whole of it within `limit`.
///
/// # Errors
/// See [`CallError`].
pub async fn get(address: SocketAddr, path: &str, limit: Duration) -> Result<Answer, CallError> {
    let connecting = tokio::time::timeout(CONNECT.min(limit), TcpStream::connect(address)).await;
    let stream = connecting
        .map_err(|_elapsed| CallError::Connect(address, std::io::ErrorKind::TimedOut.into()))?
        .map_err(|error| CallError::Connect(address, error))?;
    let exchange = tokio::time::timeout(limit, exchange(stream, address, path)).await;
    exchange.map_err(|_elapsed| CallError::TimedOut(address, limit))?
}

async fn exchange(stream: TcpStream, address: SocketAddr, path: &str) -> Result<Answer, CallError> {
    let broken = |error: hyper::Error| CallError::Broken(address, error.into());
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(broken)?;
    let request = Request::get(path)
        .header(http::header::HOST, address.to_string())
        .header(http::header::USER_AGENT, concat!("pilotlight/", env!("CARGO_PKG_VERSION")))
        .body(Empty::<Bytes>::new())
        .map_err(|error| CallError::Broken(address, error.into()))?;
    // Ends with the sender: at the latest when this call is dropped.
    let _connection = tokio::spawn(connection);
    let (head, body) = sender.send_request(request).await.map_err(broken)?.into_parts();
    let body = Limited::new(body, LARGEST).collect().await;
    let body = body.map_err(|error| CallError::Broken(address, error))?.to_bytes();
    Ok(Answer { status: head.status, headers: head.headers, body })
}

/// What the admin API at `address` says of all apps, as it came.
///
/// # Errors
/// See [`CallError`].
pub async fn apps_json(address: SocketAddr) -> Result<Bytes, CallError> {
    let answer = get(address, "/api/apps", Duration::from_secs(10)).await?;
    if answer.status != StatusCode::OK {
        return Err(CallError::Stranger(address, format!("it answers {}", answer.status)));
    }
    Ok(answer.body)
}

/// What the admin API at `address` says of all apps.
///
/// # Errors
/// See [`CallError`].
pub async fn apps(address: SocketAddr) -> Result<Vec<AppView>, CallError> {
    let json = apps_json(address).await?;
    serde_json::from_slice(&json).map_err(|error| CallError::Stranger(address, error.to_string()))
}
