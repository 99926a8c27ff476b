//! Reaching a replica once: a connection, and where a health path is given an answer that is good.

use std::io;
use std::task::Poll;

use bytes::Bytes;
use http::{Request, StatusCode, Uri};
use http_body_util::Empty;
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::config::spec::HealthSpec;
use crate::runtime::{Address, Endpoint, unix};

/// What a check calls itself.
const AGENT: &str = "pilotlight-probe";

/// What shows that a replica is there, where its app has no path to ask for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Proof {
    /// That it can be connected to.
    Connection,
    /// That it answers something. Of one that is frozen the kernel accepts connections all the same.
    Answer,
}

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
pub async fn once(
    endpoint: &Endpoint,
    health: &HealthSpec,
    host: &str,
    proof: Proof,
) -> Result<(), Unreached> {
    tokio::time::timeout(health.timeout, attempt(endpoint, health, host, proof)).await.unwrap_or_else(|_| {
        Err(format!("no answer from {} in {:?}", told(&endpoint.address), health.timeout).into())
    })
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

/// The address in words for visitors as well, whom the host's paths are nothing to.
fn told(address: &Address) -> String {
    match address {
        Address::Tcp(address) => address.to_string(),
        Address::Unix(_) => "its socket".to_owned(),
    }
}

async fn attempt(
    endpoint: &Endpoint,
    health: &HealthSpec,
    host: &str,
    proof: Proof,
) -> Result<(), Unreached> {
    let refused = |error: io::Error| {
        let ours = !is_replicas(&error);
        let what = if ours { "cannot connect to" } else { "nothing listens at" };
        Unreached { why: format!("{what} {}: {error}", told(&endpoint.address)), ours }
    };
    match &endpoint.address {
        Address::Tcp(address) => {
            ask(TcpStream::connect(address).await.map_err(refused)?, health, host, proof).await
        }
        Address::Unix(socket) => {
            ask(unix::connect(socket).await.map_err(refused)?, health, host, proof).await
        }
    }
}

async fn ask(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    health: &HealthSpec,
    host: &str,
    proof: Proof,
) -> Result<(), Unreached> {
    let Some(path) = health.path.as_deref() else {
        return if proof == Proof::Answer { says_anything(stream, host).await } else { Ok(()) };
    };
    let bad = |error: &dyn std::fmt::Display| Unreached::from(format!("GET {path}: {error}"));
    let status =
        if health.http2 { ask_http2(stream, path, host).await } else { ask_http1(stream, path, host).await };
    match status.map_err(|error| bad(&error))? {
        status if status.is_success() || status.is_redirection() => Ok(()),
        status => Err(bad(&format_args!("{status}; {}", advice(status)))),
    }
}

/// Whether the app does anything at all: whatever it answers, even by hanging up, it has read what it was sent. `OPTIONS *`
/// is about the server and no resource of it (RFC 9110, 9.3.7), and to one that speaks something else it is nonsense.
async fn says_anything(mut stream: impl AsyncRead + AsyncWrite + Unpin, host: &str) -> Result<(), Unreached> {
    let question =
        format!("OPTIONS * HTTP/1.1\r\nHost: {host}\r\nUser-Agent: {AGENT}\r\nConnection: close\r\n\r\n");
    if stream.write_all(question.as_bytes()).await.is_ok() {
        let _end_or_bytes = stream.read(&mut [0]).await;
    }
    Ok(())
}

/// What goes wrong with a check that has reached somebody.
type Failed = Box<dyn std::error::Error + Send + Sync>;

async fn ask_http2(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    path: &str,
    host: &str,
) -> Result<StatusCode, Failed> {
    let (mut sender, connection) = http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await?;
    let uri = Uri::builder().scheme("http").authority(host).path_and_query(path).build()?;
    let request = Request::get(uri).header(http::header::USER_AGENT, AGENT).body(Empty::<Bytes>::new())?;
    tokio::select! {
        response = sender.send_request(request) => Ok(response?.status()),
        ended = connection => Err(ended.err().map_or_else(|| "the connection ended".into(), Into::into)),
    }
}

async fn ask_http1(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    path: &str,
    host: &str,
) -> Result<StatusCode, Failed> {
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    let request = Request::get(path)
        .header(http::header::HOST, host)
        .header(http::header::USER_AGENT, AGENT)
        .body(Empty::<Bytes>::new())?;
    let mut answer = std::pin::pin!(sender.send_request(request));
    let response = tokio::select! {
        biased;
        response = &mut answer => response?,
        // An answer without a body, of a server that closes behind it, comes with the end of the connection.
        _ = connection => match futures_util::poll!(answer) {
            Poll::Ready(response) => response?,
            Poll::Pending => return Err("the connection ended".into()),
        },
    };
    Ok(response.status())
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
    use crate::config::spec::Probe;
    use std::time::Duration;
    use tokio::net::TcpListener;

    #[tokio::test]
    async fn a_socket_is_not_named_to_visitors() {
        let folder = tempfile::tempdir().unwrap();
        let endpoint = Endpoint { address: Address::Unix(folder.path().join("none.sock")) };
        let timeout = Duration::from_secs(30);
        let health = HealthSpec {
            http2: false,
            path: None,
            probe: Probe::Path,
            interval: timeout,
            timeout,
            start_timeout: timeout,
        };
        let unreached = once(&endpoint, &health, "a", Proof::Connection).await.unwrap_err();
        assert!(!unreached.ours);
        assert_eq!(unreached.why, "nothing listens at its socket: No such file or directory (os error 2)");
    }

    /// A socket takes connections and bytes whoever is asleep behind it; what an app does itself is an answer.
    #[tokio::test]
    async fn only_what_an_app_does_itself_is_an_answer() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let endpoint = Endpoint { address: Address::Tcp(listener.local_addr().unwrap()) };
        let within = |timeout| HealthSpec {
            http2: false,
            path: None,
            probe: Probe::Path,
            interval: timeout,
            timeout,
            start_timeout: timeout,
        };
        let (health, impatient) = (within(Duration::from_secs(30)), within(Duration::from_millis(50)));
        assert_eq!(once(&endpoint, &health, "a", Proof::Connection).await, Ok(()));
        assert!(once(&endpoint, &impatient, "a", Proof::Answer).await.is_err(), "nobody accepts");
        for answer in ["HTTP/1.1 501 Not Implemented\r\n\r\n", "\0\0\x12\x04", ""] {
            let serving = async {
                loop {
                    // Some of those in the queue have left.
                    let (mut stream, _) = listener.accept().await.unwrap();
                    let mut head = [0; 1024];
                    if stream
                        .read(&mut head)
                        .await
                        .is_ok_and(|length| head[..length].starts_with(b"OPTIONS * "))
                    {
                        let _sent = stream.write_all(answer.as_bytes()).await;
                    }
                }
            };
            let asked = tokio::select! {
                asked = once(&endpoint, &health, "a", Proof::Answer) => asked,
                () = serving => unreachable!("it goes on"),
            };
            assert_eq!(asked, Ok(()), "{answer:?}");
        }
    }

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
        let endpoint = Endpoint { address };
        let (path, timeout) = (Some("/health".to_owned()), Duration::from_secs(30));
        let health = HealthSpec {
            http2: false,
            path,
            probe: Probe::Path,
            interval: timeout,
            timeout,
            start_timeout: timeout,
        };
        for _ in 0..20 {
            assert_eq!(once(&endpoint, &health, "a", Proof::Connection).await, Ok(()));
        }
    }
}
