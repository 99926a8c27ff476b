//! One client's connection, spoken to in HTTP/2: many requests at once, each in a task of its own.
//!
//! Owns the bounds of what such a client may have us do: streams, windows, resets, how long it may be silent, and how
//! long it may leave an answer untaken.

use std::cell::Cell;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use http::Request;
use hyper::body::Incoming as Parsed;
use hyper::rt::Executor;
use hyper::server::conn::http2;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::sync::Notify;
use tokio::time::Instant;

use crate::config::spec::ClientsSpec;
use crate::gateway::client::Client;
use crate::gateway::connections::End;
use crate::gateway::forward;
use crate::gateway::stall::Stall;
use crate::gateway::transport::Transport;
use crate::gateway::upload::Incoming;
use crate::gateway::worker::{Stopping, Worker};

/// Requests of one connection that are answered at once; the client waits with more.
const STREAMS: u32 = 100;

/// Bytes that a client may send of one request's body before the replica takes any.
const STREAM_WINDOW: u32 = 256 * 1024;

/// The same of all its requests together.
const CONNECTION_WINDOW: u32 = 1024 * 1024;

/// Bytes of an answer that wait for the client, for each request.
const SEND_BUFFER: usize = 128 * 1024;

/// Requests that a client may have taken back before anybody has looked at them; more, and the connection ends
/// (CVE-2023-44487).
const PENDING_RESETS: usize = 20;

/// Requests that were reset because the client has broken the rules; more, and the connection ends.
const ERROR_RESETS: usize = 64;

/// How often a silent client is asked whether it is there, and how long it may take to say so at least.
const PING: (Duration, Duration) = (Duration::from_secs(30), Duration::from_secs(20));

/// Serves requests until the connection ends.
pub async fn serve(
    worker: &Rc<Worker>,
    client: Arc<Client>,
    transport: Transport,
    spec: &ClientsSpec,
    stopping: Stopping,
) {
    let streams = Rc::new(Streams::new(worker, &client, spec));
    let service = service_fn(|request: Request<Parsed>| {
        streams.count();
        let (head, body) = request.into_parts();
        forward::answer(Rc::clone(worker), Arc::clone(&client), head, Incoming::Parsed(body))
    });
    let connection = http2::Builder::new(Spawn(Rc::clone(&streams)))
        .timer(TokioTimer::new())
        .enable_connect_protocol()
        .max_concurrent_streams(STREAMS)
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_send_buf_size(SEND_BUFFER)
        .max_pending_accept_reset_streams(PENDING_RESETS)
        .max_local_error_reset_streams(ERROR_RESETS)
        .max_header_list_size(u32::try_from(spec.header_bytes).unwrap_or(u32::MAX))
        .keep_alive_interval(PING.0)
        // One that does not read for a while is no more gone than one of HTTP/1.
        .keep_alive_timeout(PING.1.max(spec.write_timeout))
        .serve_connection(TokioIo::new(transport), service);
    let mut connection = pin!(connection);
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = stopping => {
            connection.as_mut().graceful_shutdown();
            leave(connection, &streams, spec.write_timeout).await
        }
        end = streams.enough(spec.idle_timeout) => {
            connection.as_mut().graceful_shutdown();
            let ended = leave(connection, &streams, spec.write_timeout).await;
            if !client.is_stalled() {
                worker.note_end(end);
            }
            ended
        }
    };
    if client.is_stalled() {
        worker.note_end(End::Stalled);
    }
    if let Err(error) = ended {
        tracing::debug!(peer = %client.ip(), %error, "connection ended");
    }
}

/// Waits until the client has taken leave, and what it has asked for; where it does not, until all requests are done and
/// it has had its time.
async fn leave(
    connection: impl Future<Output = hyper::Result<()>>,
    streams: &Streams,
    patience: Duration,
) -> hyper::Result<()> {
    streams.quiet_since.set(Instant::now());
    tokio::select! {
        biased;
        ended = connection => ended,
        () = streams.quiet(patience) => Ok(()),
    }
}

/// The requests of one connection.
struct Streams {
    worker: Rc<Worker>,
    client: Arc<Client>,
    open: Cell<usize>,
    /// When the last one that was alone has ended.
    quiet_since: Cell<Instant>,
    /// How many more there may be.
    left: Cell<u64>,
    spent: Notify,
    patience: Duration,
}

impl Streams {
    fn new(worker: &Rc<Worker>, client: &Arc<Client>, spec: &ClientsSpec) -> Self {
        Self {
            worker: Rc::clone(worker),
            client: Arc::clone(client),
            open: Cell::new(0),
            quiet_since: Cell::new(Instant::now()),
            left: Cell::new(spec.requests.unwrap_or(u64::MAX)),
            spent: Notify::new(),
            patience: spec.write_timeout,
        }
    }

    fn count(&self) {
        let left = self.left.get().saturating_sub(1);
        self.left.set(left);
        if left == 0 {
            self.spent.notify_one();
        }
    }

    /// Resolves when there has been no request for `idle`, or as many as one connection may carry.
    async fn enough(&self, idle: Duration) -> End {
        tokio::select! {
            () = self.quiet(idle) => End::Idle,
            () = self.spent.notified() => End::Requests,
        }
    }

    /// Resolves when there has been no request for `idle`.
    async fn quiet(&self, idle: Duration) {
        loop {
            let end = self.quiet_since.get() + idle;
            if self.open.get() > 0 {
                tokio::time::sleep(idle).await;
            } else if Instant::now() >= end {
                return;
            } else {
                tokio::time::sleep_until(end).await;
            }
        }
    }
}

/// hyper's executor: each request is a task of this thread.
#[derive(Clone)]
struct Spawn(Rc<Streams>);

impl<F: Future<Output = ()> + 'static> Executor<F> for Spawn {
    fn execute(&self, stream: F) {
        let open = OpenStream::new(Rc::clone(&self.0));
        let stall = Stall::new(self.0.patience);
        let watched = Watched { stream: Box::pin(stream), waiting: false, stall };
        tokio::task::spawn_local(async move {
            let ended = watched.await;
            // Where the whole connection is not read, that is told once, and not for each: its own time began a little
            // later.
            if ended == Ended::Untaken && open.0.client.blocked_for() < open.0.patience / 2 {
                open.0.worker.note_end(End::StalledStream);
            }
        });
    }
}

struct OpenStream(Rc<Streams>);

impl OpenStream {
    fn new(streams: Rc<Streams>) -> Self {
        streams.open.set(streams.open.get() + 1);
        Self(streams)
    }
}

impl Drop for OpenStream {
    fn drop(&mut self) {
        let open = self.0.open.get() - 1;
        self.0.open.set(open);
        if open == 0 {
            self.0.quiet_since.set(Instant::now());
        }
    }
}

/// The task of one stream, which ends where its client leaves an answer untaken: its window may be closed while the
/// connection's socket takes whatever else there is.
struct Watched<F> {
    stream: Pin<Box<F>>,
    /// The last piece of the answer waits to be taken.
    waiting: bool,
    stall: Stall,
}

thread_local! {
    /// Whether the answer of the stream that is polled now has last handed out a piece; `None`: it was not asked.
    static HANDED_OUT: Cell<Option<bool>> = const { Cell::new(None) };
}

/// The answer that is polled now has handed out a piece, or has none yet.
pub fn note_answer(handed_out: bool) {
    HANDED_OUT.set(Some(handed_out));
}

/// How a stream's task has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ended {
    /// By itself.
    Done,
    /// An answer was left untaken.
    Untaken,
}

impl<F: Future<Output = ()>> Future for Watched<F> {
    type Output = Ended;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Ended> {
        HANDED_OUT.set(None);
        if self.stream.as_mut().poll(cx).is_ready() {
            return Poll::Ready(Ended::Done);
        }
        if let Some(handed_out) = HANDED_OUT.get() {
            self.waiting = handed_out;
            self.stall.moved();
        }
        if self.waiting {
            ready!(self.stall.poll_over(cx));
            tracing::debug!("an answer was left untaken");
            return Poll::Ready(Ended::Untaken);
        }
        Poll::Pending
    }
}
