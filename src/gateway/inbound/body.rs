//! The body of a client's request, taken off its connection by whoever sends it on.

use std::cell::{RefCell, RefMut};
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body as HttpBody, Frame, SizeHint};
use tokio::sync::oneshot;

use crate::gateway::inbound::inlet::Inlet;
use crate::gateway::message::switched::Switched;
use crate::gateway::transport::Transport;

/// A request's body.
#[derive(Debug)]
pub struct Body {
    inlet: Rc<RefCell<Inlet>>,
    /// Which request of its connection it belongs to: it may be kept until there is another.
    turn: u64,
}

/// Why a body has no end.
#[derive(Debug, thiserror::Error)]
pub enum Broken {
    /// The client has left.
    #[error(transparent)]
    Gone(#[from] io::Error),
    /// What it sends is no body.
    #[error("{0}")]
    Malformed(&'static str),
}

impl Body {
    /// What comes of the request that has just begun there.
    pub(super) fn new(inlet: &Rc<RefCell<Inlet>>) -> Self {
        Self { inlet: Rc::clone(inlet), turn: inlet.borrow().turn() }
    }

    /// The connection is to become something else, should that be agreed on.
    #[must_use]
    pub fn switching(&self) -> oneshot::Receiver<Switched<Transport>> {
        self.inlet.borrow_mut().switching()
    }

    /// The connection, while it is at this body.
    fn inlet(&self) -> Option<RefMut<'_, Inlet>> {
        let inlet = self.inlet.borrow_mut();
        (inlet.turn() == self.turn).then_some(inlet)
    }
}

impl HttpBody for Body {
    type Data = Bytes;
    type Error = Broken;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Broken>>> {
        self.inlet().map_or(Poll::Ready(None), |mut inlet| inlet.poll_body(cx))
    }

    fn is_end_stream(&self) -> bool {
        self.inlet().is_none_or(|inlet| inlet.framing().is_ended())
    }

    fn size_hint(&self) -> SizeHint {
        self.inlet().map_or_else(|| SizeHint::with_exact(0), |inlet| inlet.framing().size_hint())
    }
}

impl Drop for Body {
    fn drop(&mut self) {
        if let Some(mut inlet) = self.inlet() {
            inlet.give_back();
        }
    }
}
