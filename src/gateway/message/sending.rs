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

#[cfg(test)]
mod tests {
    use std::task::Waker;

    use futures_util::stream;
    use http_body_util::StreamBody;

    use super::*;

    const SMALL: &[u8] = b"piece";

    /// Too large to be put between the frames.
    const LARGE: &[u8] = &[b'x'; 10_000];

    const HEAD: &[u8] = b"head ";

    /// A message of whose body this is all that comes before it breaks off.
    fn broken(piece: &'static [u8]) -> Sending<impl Body<Data = Bytes, Error = &'static str> + Unpin> {
        let pieces = [Ok(Frame::data(Bytes::from_static(piece))), Err("broken off")];
        Sending::new(StreamBody::new(stream::iter(pieces)), Framing::Length(1_000_000))
    }

    /// Whether it has ended, and with what.
    type Sent<B> = Poll<Result<(), Unsent<<B as Body>::Error>>>;

    /// Whether the message has ended at all, and with what, while nothing of it can be written.
    fn blocked<B>(sending: &mut Sending<B>, outbox: &mut Outbox) -> Sent<B>
    where
        B: Body<Data = Bytes> + Unpin,
    {
        sending.poll(outbox, |_, _| Poll::Pending, &mut Context::from_waker(Waker::noop()))
    }

    /// The same while all of it can be, and what that is.
    fn written<B>(sending: &mut Sending<B>, outbox: &mut Outbox) -> (Sent<B>, Vec<u8>)
    where
        B: Body<Data = Bytes> + Unpin,
    {
        let mut written = Vec::new();
        let sent = sending.poll(
            outbox,
            |outbox, cx| outbox.poll_flush(&mut written, cx),
            &mut Context::from_waker(Waker::noop()),
        );
        (sent, written)
    }

    #[test]
    fn what_has_come_of_a_body_is_written_before_it_breaks_off() {
        for piece in [SMALL, LARGE] {
            let (mut sending, mut outbox) = (broken(piece).to_the_last(), Outbox::with(HEAD.to_vec()));
            for _ in 0..3 {
                assert!(blocked(&mut sending, &mut outbox).is_pending(), "{} bytes", piece.len());
            }
            let (sent, written) = written(&mut sending, &mut outbox);
            assert!(matches!(sent, Poll::Ready(Err(Unsent::Body("broken off")))), "{sent:?}");
            assert!(written == [HEAD, piece].concat(), "{} of {} bytes", written.len(), piece.len());
        }
    }

    #[test]
    fn a_body_that_breaks_off_waits_for_nothing_else() {
        let (mut sending, mut outbox) = (broken(SMALL), Outbox::with(HEAD.to_vec()));
        let sent = blocked(&mut sending, &mut outbox);
        assert!(matches!(sent, Poll::Ready(Err(Unsent::Body("broken off")))), "{sent:?}");
    }

    #[test]
    fn who_takes_nothing_any_more_is_told_of_first() {
        let (mut sending, mut outbox) = (broken(SMALL).to_the_last(), Outbox::with(HEAD.to_vec()));
        let gone = |_: &mut Outbox, _: &mut Context<'_>| Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        let sent = sending.poll(&mut outbox, gone, &mut Context::from_waker(Waker::noop()));
        assert!(matches!(sent, Poll::Ready(Err(Unsent::Socket(_)))), "{sent:?}");
    }
}
