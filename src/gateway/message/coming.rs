//! A body that comes, taken off the bytes that are there of it.

use bytes::{Buf, Bytes, BytesMut};
use http_body::{Frame, SizeHint};

use crate::gateway::chunked::{Chunked, Step};

/// What is still to come of a body.
#[derive(Debug, Default, PartialEq, Eq)]
pub enum Framing {
    /// Nothing.
    #[default]
    Ended,
    /// So many bytes, at least one.
    Length(u64),
    /// Chunks.
    Chunked(Box<Chunked>),
    /// Whatever comes until the connection ends.
    Close,
}

/// What the bytes at hand are good for.
#[derive(Debug)]
pub enum Taken {
    /// A piece of the body, or its trailers.
    Frame(Frame<Bytes>),
    /// More is needed.
    More,
    /// The body has ended without a further piece.
    Nothing,
}

impl Framing {
    /// Whether nothing is to come.
    #[must_use]
    pub fn is_ended(&self) -> bool {
        *self == Self::Ended
    }

    /// How much is to come.
    #[must_use]
    pub fn size_hint(&self) -> SizeHint {
        match self {
            Self::Ended => SizeHint::with_exact(0),
            Self::Length(left) => SizeHint::with_exact(*left),
            Self::Chunked(_) | Self::Close => SizeHint::default(),
        }
    }

    /// Takes the next piece off the bytes.
    ///
    /// # Errors
    /// What is wrong with them.
    pub fn take(&mut self, bytes: &mut BytesMut) -> Result<Taken, &'static str> {
        let piece = |bytes: &mut BytesMut, count| Taken::Frame(Frame::data(bytes.split_to(count).freeze()));
        loop {
            match self {
                Self::Ended => return Ok(Taken::Nothing),
                _ if bytes.is_empty() => return Ok(Taken::More),
                Self::Length(left) => {
                    let count = usize::try_from(*left).unwrap_or(usize::MAX).min(bytes.len());
                    *left -= count as u64;
                    if *left == 0 {
                        *self = Self::Ended;
                    }
                    return Ok(piece(bytes, count));
                }
                Self::Chunked(chunked) => match chunked.step(bytes)? {
                    Step::Frame(count) => bytes.advance(count),
                    Step::Data(count) => return Ok(piece(bytes, count)),
                    Step::End(count) => {
                        bytes.advance(count);
                        let trailers = chunked.take_trailers();
                        *self = Self::Ended;
                        return Ok(trailers.map_or(Taken::Nothing, |it| Taken::Frame(Frame::trailers(it))));
                    }
                },
                Self::Close => return Ok(piece(bytes, bytes.len())),
            }
        }
    }

    /// The connection has ended.
    ///
    /// # Errors
    /// Where more was to come.
    pub fn connection_ended(&mut self) -> Result<(), &'static str> {
        match std::mem::take(self) {
            Self::Ended | Self::Close => Ok(()),
            Self::Length(_) | Self::Chunked(_) => Err("it has ended before the message has"),
        }
    }
}
