//! A response's body on its way to the client: streamed as it comes, with what has to be given back at its end.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::{Body as HttpBody, Frame, SizeHint};
use hyper::body::Incoming;

use crate::gateway::message::coming::Framing;
use crate::gateway::outbound::Failure;
use crate::gateway::pool::Lease;

/// A response's body.
#[derive(Debug)]
pub enum Body {
    /// Text of the proxy's own.
    Whole(Option<Bytes>),
    /// The replica's answer, which a parser hands out.
    Parsed {
        /// What arrives.
        incoming: Incoming,
        /// Connection and claim, given back after the last byte.
        lease: Option<Lease>,
    },
    /// The replica's answer, taken off its connection, which is given back after the last byte; until then the lease is
    /// that of a connection of our own.
    Own(Option<Lease>),
}

/// An answer whose head has arrived, as far as its body is concerned.
#[derive(Debug)]
pub enum Answer {
    /// A parser hands it out.
    Parsed(Incoming),
    /// It is taken off the connection.
    Own,
}

/// Why an answer breaks off.
#[derive(Debug, thiserror::Error)]
pub enum Broken {
    /// As a parser says.
    #[error(transparent)]
    Parser(#[from] hyper::Error),
    /// As the connection says.
    #[error(transparent)]
    Connection(#[from] Failure),
}

impl Body {
    /// A body that is here already.
    #[must_use]
    pub fn whole(bytes: Bytes) -> Self {
        Self::Whole(Some(bytes).filter(|bytes| !bytes.is_empty()))
    }

    /// The replica's answer; an empty one gives its lease back at once.
    #[must_use]
    pub fn upstream(answer: Answer, lease: Lease) -> Self {
        let mut body = match answer {
            Answer::Parsed(incoming) => Self::Parsed { incoming, lease: Some(lease) },
            Answer::Own => Self::Own(Some(lease)),
        };
        body.give_back_if_ended();
        body
    }

    /// Whether it is a replica's answer of which more is to come.
    #[must_use]
    pub fn is_under_way(&self) -> bool {
        matches!(self, Self::Parsed { lease: Some(_), .. } | Self::Own(Some(_)))
    }

    fn lease(&mut self) -> Option<&mut Option<Lease>> {
        match self {
            Self::Whole(_) => None,
            Self::Parsed { lease, .. } | Self::Own(lease) => Some(lease),
        }
    }

    fn give_back_if_ended(&mut self) {
        if self.is_end_stream()
            && let Some(lease) = self.lease().and_then(Option::take)
        {
            lease.give_back();
        }
    }

    fn poll_piece(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Broken>>> {
        match self {
            Self::Whole(bytes) => Poll::Ready(bytes.take().map(|bytes| Ok(Frame::data(bytes)))),
            Self::Parsed { incoming, .. } => {
                Pin::new(incoming).poll_frame(cx).map(|frame| frame.map(|frame| Ok(frame?)))
            }
            Self::Own(lease) => match lease.as_mut().and_then(Lease::connection) {
                Some(connection) => connection.poll_body(cx).map(|frame| frame.map(|frame| Ok(frame?))),
                None => Poll::Ready(None),
            },
        }
    }
}

impl HttpBody for Body {
    type Data = Bytes;
    type Error = Broken;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Broken>>> {
        let this = self.get_mut();
        let frame = ready!(this.poll_piece(cx));
        match &frame {
            // Broken off: the connection is of no more use and goes with its lease.
            Some(Err(error)) => {
                if let Some(lease) = this.lease().and_then(Option::take) {
                    let (app, endpoint) = (lease.app(), lease.endpoint());
                    tracing::warn!(app, %endpoint, %error, "an answer broke off half-way");
                }
            }
            Some(Ok(_)) => this.give_back_if_ended(),
            None => {
                if let Some(lease) = this.lease().and_then(Option::take) {
                    lease.give_back();
                }
            }
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Whole(bytes) => bytes.is_none(),
            Self::Parsed { incoming, .. } => incoming.is_end_stream(),
            Self::Own(lease) => {
                lease.as_ref().is_none_or(|lease| lease.framing().is_none_or(Framing::is_ended))
            }
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Whole(bytes) => SizeHint::with_exact(bytes.as_ref().map_or(0, |b| b.len() as u64)),
            Self::Parsed { incoming, .. } => incoming.size_hint(),
            Self::Own(lease) => {
                let framing = lease.as_ref().and_then(Lease::framing);
                framing.map_or_else(|| SizeHint::with_exact(0), Framing::size_hint)
            }
        }
    }
}
