//! Bodies on their way: the request's towards the replica, the response's towards the client. Both are
//! streamed as they come; the response's carries what has to be given back at its end.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body as HttpBody, Frame, SizeHint};
use hyper::body::Incoming;

use crate::app::clock::{self, Millis};
use crate::gateway::headers;
use crate::gateway::pool::Lease;

/// A response's body.
#[derive(Debug)]
pub enum Body {
    /// Text of the proxy's own.
    Whole(Option<Bytes>),
    /// The replica's answer.
    Upstream {
        /// What arrives.
        incoming: Incoming,
        /// Connection and claim, given back after the last byte.
        lease: Option<Lease>,
    },
}

impl Body {
    /// A body that is here already.
    #[must_use]
    pub fn whole(bytes: Bytes) -> Self {
        Self::Whole(Some(bytes).filter(|bytes| !bytes.is_empty()))
    }

    /// The replica's answer; an empty one gives its lease back at once.
    #[must_use]
    pub fn upstream(incoming: Incoming, lease: Lease) -> Self {
        if incoming.is_end_stream() {
            lease.give_back();
            return Self::Upstream { incoming, lease: None };
        }
        Self::Upstream { incoming, lease: Some(lease) }
    }

    /// Whether it is a replica's answer of which more is to come.
    #[must_use]
    pub fn is_under_way(&self) -> bool {
        matches!(self, Self::Upstream { lease: Some(_), .. })
    }
}

impl HttpBody for Body {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        match self.get_mut() {
            Self::Whole(bytes) => Poll::Ready(bytes.take().map(|bytes| Ok(Frame::data(bytes)))),
            Self::Upstream { incoming, lease } => {
                let frame = ready!(Pin::new(&mut *incoming).poll_frame(cx));
                match &frame {
                    // Broken off: the connection is of no more use and goes with its lease.
                    Some(Err(error)) => {
                        if let Some(lease) = lease.take() {
                            let (app, endpoint) = (lease.app(), lease.endpoint());
                            tracing::warn!(app, %endpoint, %error, "an answer broke off half-way");
                        }
                    }
                    Some(Ok(_)) if !incoming.is_end_stream() => {}
                    _ => {
                        if let Some(lease) = lease.take() {
                            lease.give_back();
                        }
                    }
                }
                Poll::Ready(frame)
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Whole(bytes) => bytes.is_none(),
            Self::Upstream { incoming, .. } => incoming.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Whole(bytes) => SizeHint::with_exact(bytes.as_ref().map_or(0, |b| b.len() as u64)),
            Self::Upstream { incoming, .. } => incoming.size_hint(),
        }
    }
}

/// A request's body on its way to the replica.
#[derive(Debug)]
pub struct Upload {
    incoming: Option<Incoming>,
    progress: Option<Arc<Progress>>,
}

/// How far an upload has come.
#[derive(Debug, Default)]
pub struct Progress {
    /// When the first piece was handed on; 0: none was.
    first: AtomicU64,
    /// When the last one was.
    last: AtomicU64,
    /// All has been handed on, with the trailers.
    done: AtomicBool,
}

impl Progress {
    /// Whether the whole body has been handed on.
    #[must_use]
    pub fn done(&self) -> bool {
        self.done.load(Ordering::Relaxed)
    }

    /// When a piece was last handed on, unless all of it has been or none.
    #[must_use]
    pub fn last(&self) -> Option<Millis> {
        let last = self.last.load(Ordering::Relaxed);
        (last > 0 && !self.done()).then_some(Millis(last))
    }

    /// How long it took from the first piece to the last so far.
    #[must_use]
    pub fn took(&self) -> Duration {
        let at = |time: &AtomicU64| Millis(time.load(Ordering::Relaxed));
        at(&self.last).since(at(&self.first))
    }

    fn note(&self, now: Millis, ended: bool) {
        if self.first.load(Ordering::Relaxed) == 0 {
            self.first.store(now.0, Ordering::Relaxed);
        }
        self.last.store(now.0, Ordering::Relaxed);
        self.done.store(ended, Ordering::Relaxed);
    }
}

impl Upload {
    /// The body of a request that has one.
    #[must_use]
    pub fn new(incoming: Incoming) -> (Self, Option<Arc<Progress>>) {
        if incoming.is_end_stream() {
            return (Self::none(), None);
        }
        let progress = Arc::new(Progress::default());
        (Self { incoming: Some(incoming), progress: Some(Arc::clone(&progress)) }, Some(progress))
    }

    /// The body of a request that has none.
    #[must_use]
    pub const fn none() -> Self {
        Self { incoming: None, progress: None }
    }
}

impl HttpBody for Upload {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let this = self.get_mut();
        let Some(incoming) = &mut this.incoming else { return Poll::Ready(None) };
        let mut frame = ready!(Pin::new(&mut *incoming).poll_frame(cx));
        if let Some(trailers) = frame.as_mut().and_then(|frame| frame.as_mut().ok()?.trailers_mut()) {
            headers::prepare_trailers(trailers);
        }
        if let Some(progress) = &this.progress {
            let ended = frame.is_none() || incoming.is_end_stream();
            progress.note(clock::coarse(), ended);
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.incoming.as_ref().is_none_or(HttpBody::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.incoming.as_ref().map_or_else(|| SizeHint::with_exact(0), HttpBody::size_hint)
    }
}
