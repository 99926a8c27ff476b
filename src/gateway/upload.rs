//! A request's body on its way to the replica: streamed as it comes, no further than it may be long, and no longer than
//! the client may be silent. What has become of it is told to who waits for the answer.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::{Version, request};
use http_body::{Body as HttpBody, Frame, SizeHint};
use hyper::body::Incoming as Parsed;
use hyper::upgrade::OnUpgrade;

use crate::app::clock::{self, Millis};
use crate::gateway::respond::Reject;
use crate::gateway::stall::Stall;
use crate::gateway::upgrade::Switching;
use crate::gateway::{headers, inbound};

/// A request's body as it comes from its client.
#[derive(Debug)]
pub enum Incoming {
    /// By HTTP/1, taken off the connection.
    Own(inbound::Body),
    /// By HTTP/2, whose parser hands it out.
    Parsed(Parsed),
}

impl Incoming {
    /// How the request's connection becomes something else than HTTP, where that is asked for.
    pub fn switching(&self, head: &mut request::Parts) -> Option<Switching> {
        match self {
            // HTTP/1.0 has none, RFC 9110 section 7.8, and the replica is not to take it for one.
            Self::Own(_) if head.version == Version::HTTP_10 => None,
            Self::Own(body) => Some(Switching::Own(body.switching())),
            Self::Parsed(_) => head.extensions.remove::<OnUpgrade>().map(Switching::Parsed),
        }
    }

    fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Broken>>> {
        match self {
            Self::Own(body) => Pin::new(body).poll_frame(cx).map(|frame| frame.map(|frame| Ok(frame?))),
            Self::Parsed(body) => Pin::new(body).poll_frame(cx).map(|frame| frame.map(|frame| Ok(frame?))),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Own(body) => body.is_end_stream(),
            Self::Parsed(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Own(body) => body.size_hint(),
            Self::Parsed(body) => body.size_hint(),
        }
    }
}

/// What a body may be.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Bytes; `None`: no limit.
    pub most: Option<u64>,
    /// How long the client may send nothing, until the answer begins; `None`: as long as it likes.
    pub patience: Option<Duration>,
}

/// A request's body on its way to the replica.
#[derive(Debug)]
pub struct Upload(Option<Box<Stream>>);

#[derive(Debug)]
struct Stream {
    incoming: Incoming,
    progress: Arc<Progress>,
    /// Bytes that may still come.
    left: u64,
    silence: Option<Stall>,
}

/// Why a body has no end.
#[derive(Debug, thiserror::Error)]
pub enum Broken {
    /// The client has broken it off, or sends what is no body.
    #[error("the client's body broke off")]
    Client(#[from] inbound::Broken),
    /// The client has broken it off, as its parser says.
    #[error("the client's body broke off")]
    Parser(#[from] hyper::Error),
    /// It is longer than it may be.
    #[error("the client's body is too large")]
    TooLarge,
    /// It has stopped.
    #[error("the client's body has stopped")]
    Stopped,
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
    /// Nobody takes any more of it.
    over: AtomicBool,
    /// The answer has begun: from now on the two go on side by side.
    answered: AtomicBool,
    /// Why it has no end, by its place in [`ENDS`]; 0: nothing is known of that.
    broken: AtomicU64,
}

/// What a client is told whose body has no end.
const ENDS: [Reject; 4] =
    [Reject::ClientGone, Reject::BadRequest("a malformed body"), Reject::BodyTooLarge, Reject::BodyTimeout];

impl Progress {
    /// Whether the whole body has been handed on.
    #[must_use]
    pub fn done(&self) -> bool {
        self.done.load(Ordering::Relaxed)
    }

    /// Whether nobody takes any more of it, be it whole or not.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.over.load(Ordering::Relaxed)
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

    /// The answer has begun.
    pub fn answer_begins(&self) {
        self.answered.store(true, Ordering::Relaxed);
    }

    /// What the client is told where the body has no end.
    #[must_use]
    pub fn broken(&self) -> Option<Reject> {
        let end = usize::try_from(self.broken.load(Ordering::Relaxed)).ok()?.checked_sub(1)?;
        ENDS.get(end).cloned()
    }

    fn note(&self, now: Millis, ended: bool) {
        if self.first.load(Ordering::Relaxed) == 0 {
            self.first.store(now.0, Ordering::Relaxed);
        }
        self.last.store(now.0, Ordering::Relaxed);
        self.done.store(ended, Ordering::Relaxed);
    }

    fn break_off(&self, broken: &Broken) {
        let end = match broken {
            Broken::Client(inbound::Broken::Malformed(_)) => 2,
            Broken::Client(inbound::Broken::Gone(_)) | Broken::Parser(_) => 1,
            Broken::TooLarge => 3,
            Broken::Stopped => 4,
        };
        self.broken.store(end, Ordering::Relaxed);
    }
}

impl Upload {
    /// The body of a request.
    ///
    /// # Errors
    /// Where it says itself that it is too large.
    pub fn new(incoming: Incoming, limits: Limits) -> Result<(Self, Option<Arc<Progress>>), Reject> {
        if incoming.is_end_stream() {
            return Ok((Self::none(), None));
        }
        let left = limits.most.unwrap_or(u64::MAX);
        if incoming.size_hint().lower() > left {
            return Err(Reject::BodyTooLarge);
        }
        let progress = Arc::new(Progress::default());
        let silence = limits.patience.map(Stall::new);
        let stream = Stream { incoming, progress: Arc::clone(&progress), left, silence };
        Ok((Self(Some(Box::new(stream))), Some(progress)))
    }

    /// The body of a request that has none.
    #[must_use]
    pub const fn none() -> Self {
        Self(None)
    }
}

impl Stream {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Broken>>> {
        let Poll::Ready(frame) = self.incoming.poll_frame(cx) else {
            return self.poll_silent(cx);
        };
        let Some(frame) = frame else { return Poll::Ready(None) };
        let mut frame = frame?;
        if let Some(data) = frame.data_ref() {
            let Some(left) = self.left.checked_sub(data.len() as u64) else {
                return Poll::Ready(Some(Err(Broken::TooLarge)));
            };
            self.left = left;
        } else if let Some(trailers) = frame.trailers_mut() {
            headers::prepare_trailers(trailers);
        }
        if let Some(silence) = &mut self.silence {
            silence.moved();
        }
        Poll::Ready(Some(Ok(frame)))
    }

    /// Nothing comes. Once the answer has begun, the client may have all its time.
    fn poll_silent(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Broken>>> {
        if self.progress.answered.load(Ordering::Relaxed) {
            self.silence = None;
        }
        match &mut self.silence {
            Some(silence) => silence.poll_over(cx).map(|()| Some(Err(Broken::Stopped))),
            None => Poll::Pending,
        }
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        self.progress.over.store(true, Ordering::Relaxed);
    }
}

impl HttpBody for Upload {
    type Data = Bytes;
    type Error = Broken;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Broken>>> {
        let Some(stream) = &mut self.get_mut().0 else { return Poll::Ready(None) };
        let frame = std::task::ready!(stream.poll(cx));
        if let Some(Err(broken)) = &frame {
            stream.progress.break_off(broken);
        }
        let ended = frame.is_none() || stream.incoming.is_end_stream();
        stream.progress.note(clock::coarse(), ended);
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.0.as_ref().is_none_or(|stream| stream.incoming.is_end_stream())
    }

    fn size_hint(&self) -> SizeHint {
        self.0.as_ref().map_or_else(|| SizeHint::with_exact(0), |stream| stream.incoming.size_hint())
    }
}
