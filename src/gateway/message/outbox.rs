//! What waits to be written: a text, a large piece behind it, and what stands behind that.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes};
use tokio::io::AsyncWrite;

/// Bytes of a piece that are worth a copy, so that they go out as one piece with what stands around them.
const SMALL: usize = 4096;

/// Bytes that are worth a write.
const FULL: usize = 16 * 1024;

/// What waits to be written of one message.
#[derive(Debug, Default)]
pub struct Outbox {
    /// Heads, frames and small pieces.
    pub text: Vec<u8>,
    /// How much of `text` is written.
    written: usize,
    piece: Bytes,
    behind: &'static [u8],
    /// A byte of this message is written.
    begun: bool,
}

impl Outbox {
    /// One that begins with this text; what has held another's will do, see `spare`.
    #[must_use]
    pub fn with(text: Vec<u8>) -> Self {
        Self { text, ..Self::default() }
    }

    /// Whether a byte of the message is written.
    #[must_use]
    pub fn has_begun(&self) -> bool {
        self.begun
    }

    /// Whether more is to be put in before it is worth a write.
    #[must_use]
    pub fn has_room(&self) -> bool {
        self.piece.is_empty() && self.text.len() < FULL
    }

    /// Whether a large piece is in it, behind which nothing can be put.
    #[must_use]
    pub fn has_piece(&self) -> bool {
        !self.piece.is_empty()
    }

    /// Puts a piece in, and what stands behind it.
    pub fn put(&mut self, piece: Bytes, behind: &'static [u8]) {
        if piece.len() <= SMALL {
            self.text.extend_from_slice(&piece);
            self.text.extend_from_slice(behind);
        } else {
            (self.piece, self.behind) = (piece, behind);
        }
    }

    /// Writes all of it.
    ///
    /// # Errors
    /// The writer's.
    pub fn poll_flush(
        &mut self,
        writer: &mut (impl AsyncWrite + Unpin),
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<()>> {
        loop {
            let text = &self.text[self.written..];
            let all = text.len() + self.piece.len() + self.behind.len();
            if all == 0 {
                self.text.clear();
                self.written = 0;
                // It would keep all of what it was a part of.
                self.piece = Bytes::new();
                return Poll::Ready(Ok(()));
            }
            let writer = Pin::new(&mut *writer);
            // A call for one piece costs the system less.
            let count = if text.len() == all {
                ready!(writer.poll_write(cx, text))?
            } else {
                let pieces = [IoSlice::new(text), IoSlice::new(&self.piece), IoSlice::new(self.behind)];
                ready!(writer.poll_write_vectored(cx, &pieces))?
            };
            if count == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.begun = true;
            let of_text = count.min(text.len());
            let of_piece = (count - of_text).min(self.piece.len());
            self.written += of_text;
            self.piece.advance(of_piece);
            self.behind = &self.behind[count - of_text - of_piece..];
        }
    }
}
