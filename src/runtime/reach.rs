//! Reaching a replica once: a connection, and where a health path is given an answer that is good.

use std::io;
use std::task::Poll;

use bytes::Bytes;
use http::{Request, StatusCode};
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
    let mut answer = std::pin::pin!(sender.send_request(request));
    let response = tokio::select! {
        biased;
        response = &mut answer => response.map_err(|error| bad(&error))?,
        // An answer without a body, of a server that closes behind it, comes with the end of the connection.
        _ = connection => match futures_util::poll!(answer) {
            Poll::Ready(response) => response.map_err(|error| bad(&error))?,
            Poll::Pending => return Err(bad(&"the connection ended")),
        },
    };
    match response.status() {
        status if status.is_success() || status.is_redirection() => Ok(()),
        status => Err(bad(&format_args!("{status}; {}", advice(status)))),
    }
}

/// What to do about an app that answers its check like this.
fn advice(status: StatusCode) -> &'static str {
    match status {
        StatusCode::NOT_FOUND | StatusCode::METHOD_NOT_ALLOWED => {
            "set `health.path` to one that the app has, or leave it out"
        }
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => "set `health.path` to one that needs no login",
        _ => "its health check must answer 2xx or 3xx",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runtime::Protocol;
    use std::time::Duration;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    /// As a server does that closes each connection behind its answer.
    #[tokio::test]
    async fn an_empty_answer_that_ends_its_connection_is_one() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = Address::Tcp(listener.local_addr().unwrap());
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let _head = stream.read(&mut [0; 1024]).await;
                let _sent = stream.write_all(b"HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n").await;
            }
        });
        let endpoint = Endpoint { address, protocol: Protocol::Http1 };
        let (path, timeout) = (Some("/health".to_owned()), Duration::from_secs(30));
        let health = HealthSpec { path, interval: timeout, timeout, start_timeout: timeout };
        for _ in 0..20 {
            assert_eq!(once(&endpoint, &health, "a").await, Ok(()));
        }
    }
}
