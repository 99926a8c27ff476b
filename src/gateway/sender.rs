//! The sending side of a connection to a replica, in either HTTP, and how one is made.

use std::cell::Cell;
use std::future::poll_fn;
use std::io;
use std::rc::Rc;
use std::time::Duration;

use futures_util::future::Either;
use http::{Request, Response};
use hyper::body::Incoming;
use hyper::client::conn::{TrySendError, http1, http2};
use hyper::rt::{Executor, Read, Write};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::sync::oneshot;
use tokio::time::interval;

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

/// How long a replica may take to say how many streams it has, which is the first that it says, RFC 9113 section 3.4; of
/// one that has not by then it is not waited for. Far shorter than a request may take: who gives up makes no connection.
const SETTINGS_TIMEOUT: Duration = Duration::from_millis(250);

/// How often it is looked whether it has.
const SETTINGS_LOOK: Duration = Duration::from_millis(1);

/// Streams of a replica that has not said how many it has: more than it could say, and less than if it had none to say.
const UNTOLD: usize = usize::MAX - 1;

/// The sending side of a connection for many requests at once.
#[derive(Debug)]
pub struct Many {
    /// By which they are sent.
    pub sender: http2::SendRequest<Upload>,
    /// Streams, as the replica has last said.
    room: Rc<Cell<usize>>,
}

impl Many {
    /// Requests that the replica takes at once, as it has last said.
    #[must_use]
    pub fn room(&self) -> usize {
        self.room.get()
    }
}

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

/// A new connection for many requests at once, when the replica has said how many, if it does. Whether it speaks HTTP/2
/// at all shows with the first.
///
/// # Errors
/// The system's.
pub async fn connect_http2(endpoint: &Endpoint) -> io::Result<Many> {
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

async fn handshake_http2<S>(stream: S) -> io::Result<Many>
where
    S: Read + Write + Unpin + Send + 'static,
{
    let mut builder = http2::Builder::new(OnThisThread);
    builder
        .initial_stream_window_size(WINDOWS.0)
        .initial_connection_window_size(WINDOWS.1)
        .initial_max_send_streams(UNTOLD)
        .max_send_buf_size(SEND_BUFFER)
        .max_header_list_size(HEADERS);
    let (sender, connection) = builder.handshake(stream).await.map_err(io::Error::other)?;
    let room = Rc::new(Cell::new(UNTOLD));
    let (told, settings) = oneshot::channel::<()>();
    let (mut connection, mut told, seen) = (Box::pin(connection), Some(told), Rc::clone(&room));
    let mut look = interval(SETTINGS_LOOK);
    tokio::task::spawn_local(async move {
        let ended = poll_fn(|cx| {
            let polled = connection.as_mut().poll(cx);
            // It is not woken when the replica says so: what reads is a task of its own.
            while told.is_some() && look.poll_tick(cx).is_ready() {
                if connection.current_max_send_streams() != UNTOLD {
                    // Who waits for it hears that it is gone.
                    told = None;
                }
                told = told.take().filter(|told| !told.is_closed());
            }
            seen.set(connection.current_max_send_streams());
            polled
        });
        if let Err(error) = ended.await {
            tracing::trace!(%error, "upstream connection ended");
        }
    });
    let _late_or_told = tokio::time::timeout(SETTINGS_TIMEOUT, settings).await;
    Ok(Many { sender, room })
}

/// Runs what hyper spawns beside the worker's own tasks.
#[derive(Debug, Clone, Copy)]
struct OnThisThread;

impl<F: Future<Output = ()> + 'static> Executor<F> for OnThisThread {
    fn execute(&self, future: F) {
        tokio::task::spawn_local(future);
    }
}
