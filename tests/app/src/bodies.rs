//! Response bodies: those that are made piece by piece, and the wrapper that tells the journal how each ended.

use std::convert::Infallible;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::{Body, Frame, SizeHint};

use crate::journal::OpenRequest;

/// Any body.
pub(crate) type AnyBody = UnsyncBoxBody<Bytes, io::Error>;

/// A body that is there already.
pub(crate) fn whole(bytes: impl Into<Bytes>) -> AnyBody {
    Full::new(bytes.into()).map_err(|never: Infallible| match never {}).boxed_unsync()
}

/// `chunks` pieces of `size` bytes, the first at once, the others `every` so long.
pub(crate) fn paced(chunks: u64, every: Duration, size: usize) -> AnyBody {
    let piece = Bytes::from(vec![b'.'; size]);
    let pieces = stream::unfold(0, move |sent| {
        let piece = piece.clone();
        async move {
            if sent == chunks {
                return None;
            }
            if sent > 0 && !every.is_zero() {
                tokio::time::sleep(every).await;
            }
            Some((Ok(Frame::data(piece)), sent + 1))
        }
    });
    StreamBody::new(pieces).boxed_unsync()
}

/// `left` bytes, in pieces that fit a socket's buffer.
pub(crate) struct Zeros {
    left: u64,
}

impl Zeros {
    /// A body of `length` bytes, which it says beforehand.
    pub(crate) fn boxed(length: u64) -> AnyBody {
        Self { left: length }.boxed_unsync()
    }
}

impl Body for Zeros {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        static PIECE: [u8; 65536] = [b'0'; 65536];
        if self.left == 0 {
            return Poll::Ready(None);
        }
        let length = usize::try_from(self.left).map_or(PIECE.len(), |left| left.min(PIECE.len()));
        self.left -= length as u64;
        Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(&PIECE[..length])))))
    }

    fn is_end_stream(&self) -> bool {
        self.left == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left)
    }
}

/// Promises twice what it sends, then breaks off.
pub(crate) struct Broken {
    half: Option<Bytes>,
    promised: u64,
    flushed: bool,
}

impl Broken {
    /// A body that promises `length` bytes.
    pub(crate) fn boxed(length: usize) -> AnyBody {
        let half = Bytes::from(vec![b'x'; length / 2]);
        Self { half: Some(half), promised: length as u64, flushed: false }.boxed_unsync()
    }
}

impl Body for Broken {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        if let Some(half) = self.half.take() {
            return Poll::Ready(Some(Ok(Frame::data(half))));
        }
        if !self.flushed {
            // hyper flushes when the body has nothing for now, and throws its buffer away when the body fails.
            self.flushed = true;
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        Poll::Ready(Some(Err(io::Error::other("broken off on purpose"))))
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.promised)
    }
}

/// A body that keeps its request open until hyper is done with it.
pub(crate) struct Tracked {
    inner: AnyBody,
    request: OpenRequest,
}

impl Tracked {
    /// `inner`, which ends `request`. `bodyless` where hyper sends none of it, as for HEAD.
    pub(crate) fn boxed(inner: AnyBody, mut request: OpenRequest, bodyless: bool) -> AnyBody {
        if bodyless || inner.is_end_stream() {
            request.finish();
        }
        Self { inner, request }.boxed_unsync()
    }
}

impl Body for Tracked {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        let polled = Pin::new(&mut self.inner).poll_frame(cx);
        let ended = match &polled {
            Poll::Ready(None) => true,
            Poll::Ready(Some(Ok(_))) => self.inner.is_end_stream(),
            _ => false,
        };
        if ended {
            self.request.finish();
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}
