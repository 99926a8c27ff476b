//! The sending side of a connection to a replica: our own for HTTP/1.1, and hyper's for HTTP/2; and how that is made.

use std::cell::{Cell, RefCell};
use std::error::Error;
use std::fmt;
use std::future::poll_fn;
use std::io;
use std::rc::Rc;
use std::task::Poll;
use std::time::Duration;

use h2::Reason;
use hyper::client::conn::http2;
use hyper::rt::Executor;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::task::AbortHandle;
use tokio::time::{interval, timeout};

use crate::gateway::multiplexed::Stream;
use crate::gateway::outbound::Connection;
use crate::gateway::upload::Upload;
use crate::runtime::{Address, Endpoint, unix};

/// Bytes of one answer that a replica may send before the client takes any, and of all answers of a connection.
const WINDOWS: (u32, u32) = (256 * 1024, 4 * 1024 * 1024);

/// Bytes of one request's body that wait for the replica.
const SEND_BUFFER: usize = 128 * 1024;

/// Bytes of an answer's headers.
const HEADERS: u32 = 64 * 1024;

/// A replica is on this host or on a network of it: one that has not accepted by then cannot be reached.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);

/// The kind of error where a replica does not speak HTTP/2.
pub const NO_HTTP2: io::ErrorKind = io::ErrorKind::InvalidData;

/// The kind of error where a replica closes a connection of HTTP/2 before it has a request, as some do that do not speak
/// it, and others that are ending.
pub const ENDED: io::ErrorKind = io::ErrorKind::UnexpectedEof;

/// How long a replica may take to say how many streams it has, which is the first that it says, RFC 9113 section 3.4; of
/// one that has not by then it is not waited for, and one that takes none is as good as none.
const SETTINGS_TIMEOUT: Duration = Duration::from_millis(250);

/// How often it is looked whether it has.
const SETTINGS_LOOK: Duration = Duration::from_millis(1);

/// Streams of a replica that has not said how many it has: more than it could say, and less than if it had none to say.
const UNTOLD: usize = usize::MAX - 1;

/// The sending side of a connection for many requests at once. Dropping it ends the connection, whatever waits on it.
pub struct Many {
    /// By which they are sent.
    pub sender: http2::SendRequest<Upload>,
    room: Box<dyn Fn() -> usize>,
    driver: AbortHandle,
}

impl Many {
    /// Requests that the replica takes at once, as it has last said.
    #[must_use]
    pub fn room(&self) -> usize {
        (self.room)()
    }

    /// Resolves when the replica has said how many requests it takes, and takes one.
    async fn told(&self) {
        // Nobody tells: what reads is a task of the parser's own.
        let mut look = interval(SETTINGS_LOOK);
        while matches!(self.room(), UNTOLD | 0) && !self.sender.is_closed() {
            look.tick().await;
        }
    }
}

impl Drop for Many {
    fn drop(&mut self) {
        // While it waits for room to send a request, the parser hears nothing else.
        self.driver.abort();
    }
}

impl fmt::Debug for Many {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Many").field("room", &self.room()).finish_non_exhaustive()
    }
}

/// A connection's sending side, or one stream's place on it.
#[derive(Debug)]
pub enum Sender {
    /// One request at a time.
    Http1(Box<Connection>),
    /// One of many at a time.
    Http2(Stream),
}

/// A new connection for many requests at once, when the replica has said how many, if it does.
///
/// # Errors
/// The system's; [`NO_HTTP2`], [`ENDED`]; and where it takes no request.
pub async fn connect_http2(endpoint: &Endpoint) -> io::Result<Many> {
    match &endpoint.address {
        Address::Tcp(address) => {
            let stream = TcpStream::connect(address).await?;
            stream.set_nodelay(true)?;
            handshake_http2(stream).await
        }
        Address::Unix(path) => handshake_http2(unix::connect(path).await?).await,
    }
}

async fn handshake_http2<S>(stream: S) -> io::Result<Many>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let mut builder = http2::Builder::new(OnThisThread);
    builder
        .initial_stream_window_size(WINDOWS.0)
        .initial_connection_window_size(WINDOWS.1)
        .initial_max_send_streams(UNTOLD)
        .max_send_buf_size(SEND_BUFFER)
        .max_header_list_size(HEADERS);
    let (sender, connection) = builder.handshake(TokioIo::new(stream)).await.map_err(io::Error::other)?;
    let connection = Rc::new(RefCell::new(Some(Box::pin(connection))));
    let (shared, is_other) = (Rc::clone(&connection), Rc::new(Cell::new(false)));
    let note_other = Rc::clone(&is_other);
    let driver = tokio::task::spawn_local(async move {
        let ended = poll_fn(|cx| match shared.borrow_mut().as_mut() {
            Some(connection) => connection.as_mut().poll(cx),
            None => Poll::Ready(Ok(())),
        });
        if let Err(error) = ended.await {
            note_other.set(speaks_another(&error));
            tracing::trace!(%error, "upstream connection ended");
        }
        // Who would send on it learns that it has ended.
        drop(shared.take());
    });
    let room = move || connection.borrow().as_ref().map_or(0, |it| it.current_max_send_streams());
    let many = Many { sender, room: Box::new(room), driver: driver.abort_handle() };
    let _late_or_told = timeout(SETTINGS_TIMEOUT, many.told()).await;
    if many.sender.is_closed() {
        return Err(if is_other.get() { NO_HTTP2 } else { ENDED }.into());
    }
    if many.room() == 0 {
        return Err(io::Error::other("it takes no requests"));
    }
    Ok(many)
}

/// Whether the other side does not speak HTTP/2, or breaks its rules.
#[must_use]
pub fn speaks_another(error: &hyper::Error) -> bool {
    let source = error.source().and_then(|source| source.downcast_ref::<h2::Error>());
    let reason = source.filter(|error| error.is_go_away() || error.is_library()).and_then(h2::Error::reason);
    matches!(reason, Some(Reason::PROTOCOL_ERROR | Reason::FRAME_SIZE_ERROR | Reason::COMPRESSION_ERROR))
}

/// Runs what hyper spawns beside the worker's own tasks.
#[derive(Debug, Clone, Copy)]
struct OnThisThread;

impl<F: Future<Output = ()> + 'static> Executor<F> for OnThisThread {
    fn execute(&self, future: F) {
        tokio::task::spawn_local(future);
    }
}
