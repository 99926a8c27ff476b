//! The sending side of a connection to a replica, in either HTTP, and how one is made.

use std::io;

use futures_util::future::Either;
use http::{Request, Response};
use hyper::body::Incoming;
use hyper::client::conn::{TrySendError, http1, http2};
use hyper::rt::{Executor, Read, Write};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

use crate::gateway::multiplexed::Stream;
use crate::gateway::upload::Upload;
use crate::runtime::{Address, Endpoint, unix};

/// Bytes of one answer that a replica may send before the client takes any, and of all answers of a connection.
const WINDOWS: (u32, u32) = (256 * 1024, 4 * 1024 * 1024);

/// Bytes of one request's body that wait for the replica.
const SEND_BUFFER: usize = 128 * 1024;

/// Bytes of an answer's headers.
const HEADERS: u32 = 64 * 1024;

/// Bytes of an answer in HTTP/1 that wait for the client, of a body that wait for the replica, and of a head: the parser's
/// own bound would be six times as many, and each slow client costs them.
const BUFFER: usize = 64 * 1024;

/// A connection's sending side, or one stream's place on it.
#[derive(Debug)]
pub enum Sender {
    /// One request at a time.
    Http1(http1::SendRequest<Upload>),
    /// One of many at a time.
    Http2(Stream),
}

impl Sender {
    /// Sends a request. One that was not sent comes back with the error.
    pub fn send(
        &mut self,
        request: Request<Upload>,
    ) -> impl Future<Output = Result<Response<Incoming>, TrySendError<Request<Upload>>>> {
        match self {
            Self::Http1(sender) => Either::Left(sender.try_send_request(request)),
            Self::Http2(stream) => Either::Right(stream.sender().try_send_request(request)),
        }
    }
}

/// A new connection for one request after the other. `keep_case`: header names go as their sender has written them.
///
/// # Errors
/// The system's.
pub async fn connect_http1(endpoint: &Endpoint, keep_case: bool) -> io::Result<http1::SendRequest<Upload>> {
    match &endpoint.address {
        Address::Tcp(address) => {
            let stream = TcpStream::connect(address).await?;
            stream.set_nodelay(true)?;
            handshake_http1(TokioIo::new(stream), keep_case).await
        }
        Address::Unix(path) => handshake_http1(TokioIo::new(unix::connect(path).await?), keep_case).await,
    }
}

/// A new connection for many requests at once. Whether the replica speaks HTTP/2 at all shows with the first.
///
/// # Errors
/// The system's.
pub async fn connect_http2(endpoint: &Endpoint) -> io::Result<http2::SendRequest<Upload>> {
    match &endpoint.address {
        Address::Tcp(address) => {
            let stream = TcpStream::connect(address).await?;
            stream.set_nodelay(true)?;
            handshake_http2(TokioIo::new(stream)).await
        }
        Address::Unix(path) => handshake_http2(TokioIo::new(unix::connect(path).await?)).await,
    }
}

async fn handshake_http1<S>(stream: S, keep_case: bool) -> io::Result<http1::SendRequest<Upload>>
where
    S: Read + Write + Unpin + Send + 'static,
{
    let handshake =
        http1::Builder::new().preserve_header_case(keep_case).max_buf_size(BUFFER).handshake(stream).await;
    let (sender, connection) = handshake.map_err(io::Error::other)?;
    // Ends when the sender is dropped or the replica closes, whichever comes first.
    tokio::task::spawn_local(async move {
        if let Err(error) = connection.with_upgrades().await {
            tracing::trace!(%error, "upstream connection ended");
        }
    });
    Ok(sender)
}

async fn handshake_http2<S>(stream: S) -> io::Result<http2::SendRequest<Upload>>
where
    S: Read + Write + Unpin + Send + 'static,
{
    let mut builder = http2::Builder::new(OnThisThread);
    builder
        .initial_stream_window_size(WINDOWS.0)
        .initial_connection_window_size(WINDOWS.1)
        .max_send_buf_size(SEND_BUFFER)
        .max_header_list_size(HEADERS);
    let (sender, connection) = builder.handshake(stream).await.map_err(io::Error::other)?;
    tokio::task::spawn_local(async move {
        if let Err(error) = connection.await {
            tracing::trace!(%error, "upstream connection ended");
        }
    });
    Ok(sender)
}

/// Runs what hyper spawns beside the worker's own tasks.
#[derive(Debug, Clone, Copy)]
struct OnThisThread;

impl<F: Future<Output = ()> + 'static> Executor<F> for OnThisThread {
    fn execute(&self, future: F) {
        tokio::task::spawn_local(future);
    }
}
