//! A request on its way out, its body included.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes};
use http::{HeaderMap, request};
use http_body::{Body, Frame};

use crate::gateway::outbound::encode::{self, Framing, OtherLength};
use crate::gateway::outbound::stream::Writer;
use crate::gateway::upload::{Broken, Upload};

/// Bytes of a piece that are worth a copy, so that they go out as one piece with what stands around them.
const SMALL: usize = 4096;

/// Bytes that are worth a write, and what an idle connection may keep for its next heads.
const FULL: usize = 16 * 1024;

/// Why a request was not sent to its end.
#[derive(Debug, thiserror::Error)]
pub(super) enum Unsent {
    #[error(transparent)]
    Socket(#[from] io::Error),
    #[error(transparent)]
    Body(#[from] Broken),
    #[error(transparent)]
    Length(#[from] OtherLength),
}

/// What waits to be written: a text, a large piece behind it, and what stands behind that.
#[derive(Debug)]
pub(super) struct Outbox {
    writer: Writer,
    text: Vec<u8>,
    /// How much of `text` is written.
    written: usize,
    piece: Bytes,
    behind: &'static [u8],
    /// A byte of this request is written.
    begun: bool,
}

impl Outbox {
    pub(super) fn new(writer: Writer) -> Self {
        Self { writer, text: Vec::new(), written: 0, piece: Bytes::new(), behind: b"", begun: false }
    }

    /// Begins with this request's head; what was there before is written.
    pub(super) fn begin(&mut self, head: &mut request::Parts, upload: &Upload) -> Framing {
        self.begun = false;
        encode::head(head, upload, &mut self.text)
    }

    /// Gives back what a large head has taken.
    pub(super) fn slim(&mut self) {
        self.text.shrink_to(FULL);
    }

    /// Whether a byte of the request is written.
    pub(super) fn has_begun(&self) -> bool {
        self.begun
    }

    fn has_room(&self) -> bool {
        self.piece.is_empty() && self.text.len() < FULL
    }

    fn put(&mut self, piece: Bytes, behind: &'static [u8]) {
        if piece.len() <= SMALL {
            self.text.extend_from_slice(&piece);
            self.text.extend_from_slice(behind);
        } else {
            (self.piece, self.behind) = (piece, behind);
        }
    }

    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
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
            // A call for one piece costs the system less.
            let count = if text.len() == all {
                ready!(self.writer.poll_write(text, cx))?
            } else {
                let pieces = [IoSlice::new(text), IoSlice::new(&self.piece), IoSlice::new(self.behind)];
                ready!(self.writer.poll_write_vectored(&pieces, cx))?
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

/// A request on its way out, whose head is in the outbox.
#[derive(Debug)]
pub(super) struct Sending {
    upload: Upload,
    framing: Framing,
    /// All of the body is in the outbox.
    ended: bool,
}

impl Sending {
    pub(super) fn new(upload: Upload, framing: Framing) -> Self {
        let ended = framing == Framing::Length(0) && upload.is_end_stream();
        Self { upload, framing, ended }
    }

    /// Ready when all of it is written.
    pub(super) fn poll(&mut self, outbox: &mut Outbox, cx: &mut Context<'_>) -> Poll<Result<(), Unsent>> {
        loop {
            let mut waits = false;
            while !self.ended && outbox.has_room() {
                match Pin::new(&mut self.upload).poll_frame(cx) {
                    Poll::Ready(Some(frame)) => self.put(frame?, outbox)?,
                    Poll::Ready(None) => self.end(None, outbox)?,
                    Poll::Pending => {
                        waits = true;
                        break;
                    }
                }
            }
            ready!(outbox.poll_flush(cx))?;
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
        if outbox.piece.is_empty() && self.upload.is_end_stream() { self.end(None, outbox) } else { Ok(()) }
    }

    fn end(&mut self, trailers: Option<&HeaderMap>, outbox: &mut Outbox) -> Result<(), OtherLength> {
        self.ended = true;
        self.framing.end(trailers, &mut outbox.text)
    }
}
