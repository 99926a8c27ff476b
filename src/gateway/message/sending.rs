//! A message on its way out, its body included.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::HeaderMap;
use http_body::{Body, Frame};

use crate::gateway::message::going::{Framing, OtherLength};
use crate::gateway::message::outbox::Outbox;

/// Why a message was not sent to its end.
#[derive(Debug)]
pub enum Unsent<E> {
    /// As the socket says.
    Socket(io::Error),
    /// As the body says.
    Body(E),
    /// See there.
    Length(OtherLength),
}

impl<E> From<OtherLength> for Unsent<E> {
    fn from(other: OtherLength) -> Self {
        Self::Length(other)
    }
}

/// A message on its way out, whose head is in the outbox.
#[derive(Debug)]
pub struct Sending<B: Body> {
    body: B,
    framing: Framing,
    /// All of the body is in the outbox.
    ended: bool,
    /// The body has broken off, and what came of it is in the outbox.
    broken: Option<B::Error>,
    /// That is to be written first.
    to_the_last: bool,
}

impl<B: Body<Data = Bytes> + Unpin> Sending<B> {
    /// A message with this body.
    pub fn new(body: B, framing: Framing) -> Self {
        let ended = framing == Framing::Length(0) && body.is_end_stream();
        Self { body, framing, ended, broken: None, to_the_last: false }
    }

    /// A message of which the head is all, whatever body there would be.
    pub fn head_alone(body: B) -> Self {
        Self { body, framing: Framing::Length(0), ended: true, broken: None, to_the_last: false }
    }

    /// What has come of a body is written before it is told that it has broken off.
    #[must_use]
    pub fn to_the_last(self) -> Self {
        Self { to_the_last: true, ..self }
    }

    /// Ready when all of it is written, which `flush` does with what is in the outbox.
    ///
    /// # Errors
    /// [`Unsent`].
    pub fn poll(
        &mut self,
        outbox: &mut Outbox,
        mut flush: impl FnMut(&mut Outbox, &mut Context<'_>) -> Poll<io::Result<()>>,
        cx: &mut Context<'_>,
    ) -> Poll<Result<(), Unsent<B::Error>>> {
        loop {
            let mut waits = false;
            while !self.ended && self.broken.is_none() && outbox.has_room() {
                match Pin::new(&mut self.body).poll_frame(cx) {
                    Poll::Ready(Some(Ok(frame))) => self.put(frame, outbox)?,
                    Poll::Ready(Some(Err(broken))) => self.broken = Some(broken),
                    Poll::Ready(None) => self.end(None, outbox)?,
                    Poll::Pending => {
                        waits = true;
                        break;
                    }
                }
            }
            let flushed = flush(outbox, cx).map_err(Unsent::Socket)?;
            if let Some(broken) = self.broken.take_if(|_| flushed.is_ready() || !self.to_the_last) {
                return Poll::Ready(Err(Unsent::Body(broken)));
            }
            ready!(flushed);
            if self.ended {
                return Poll::Ready(Ok(()));
            }
            if waits {
                return Poll::Pending;
            }
        }
    }

    fn put(&mut self, frame: Frame<Bytes>, outbox: &mut Outbox) -> Result<(), OtherLength> {
        match frame.into_data() {
            // As a chunk it would be the last one.
            Ok(piece) if piece.is_empty() => {}
            Ok(piece) => {
                self.framing.before(&piece, &mut outbox.text)?;
                outbox.put(piece, self.framing.behind());
            }
            Err(frame) => return self.end(frame.into_trailers().ok().as_ref(), outbox),
        }
        // Behind a large piece there is no place for the end yet.
        if !outbox.has_piece() && self.body.is_end_stream() { self.end(None, outbox) } else { Ok(()) }
    }

    fn end(&mut self, trailers: Option<&HeaderMap>, outbox: &mut Outbox) -> Result<(), OtherLength> {
        self.ended = true;
        self.framing.end(trailers, &mut outbox.text)
    }
}
