//! A response's body on its way to the client: streamed as it comes, with what has to be given back at its end.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::{Body as HttpBody, Frame, SizeHint};
use hyper::body::Incoming;

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
