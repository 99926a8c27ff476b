//! One direction of a connection that has become something else than HTTP: what comes from one side goes to the other.
//!
//! Holds bytes only while the other side does not take them; read is into a buffer that all lanes of a thread share, so
//! that a connection that is silent costs none.

use std::cell::RefCell;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::gateway::websocket::{Frames, Side, close_frame};

/// Bytes that are carried at a time, and so the most that wait in a lane.
const PIECE: usize = 64 * 1024;

thread_local! {
    static PIECES: RefCell<Box<[u8]>> = RefCell::new(vec![0; PIECE].into_boxed_slice());
}

/// One direction.
#[derive(Debug)]
pub struct Lane {
    /// What the other side has not taken yet.
    waiting: Bytes,
    /// Something was written since the last flush.
    unflushed: bool,
    phase: Phase,
    /// Whose frames are followed; `None`: these are no frames.
    frames: Option<(Side, Frames)>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// What comes is carried.
    Carrying,
    /// The frame that goes by is carried to its end.
    Closing(&'static str),
    /// It was: the side it goes to is told next.
    Due(&'static str),
    /// That was told; what still comes goes nowhere.
    Told,
    /// The side it comes from has ended, and the other is told so.
    Ending,
    /// It was.
    Over,
}

impl Lane {
    /// A lane of bytes that mean nothing here.
    #[must_use]
    pub fn of_bytes() -> Self {
        Self { waiting: Bytes::new(), unflushed: false, phase: Phase::Carrying, frames: None }
    }

    /// A lane of WebSocket frames that come from this side.
    #[must_use]
    pub fn of_frames(from: Side) -> Self {
        Self { frames: Some((from, Frames::default())), ..Self::of_bytes() }
    }

    /// Whether nothing will come any more, and the other side knows.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.phase == Phase::Over
    }

    /// Whether a part of a message has gone by since the last time.
    pub fn take_message(&mut self) -> bool {
        self.frames.as_mut().is_some_and(|(_, frames)| frames.take_message())
    }

    /// After the frame that goes by, the side it goes to is told to close, and why.
    pub fn close(&mut self, why: &'static str) {
        if let (Phase::Carrying, Some((_, frames))) = (self.phase, &self.frames) {
            self.phase = if frames.between() { due(frames, why) } else { Phase::Closing(why) };
        }
    }

    /// Carries what there is. Ready when nothing will come any more and the other side knows.
    ///
    /// # Errors
    /// Those of either side.
    pub fn poll<F, T>(&mut self, from: &mut F, to: &mut T, cx: &mut Context<'_>) -> Poll<io::Result<()>>
    where
        F: AsyncRead + Unpin,
        T: AsyncWrite + Unpin,
    {
        loop {
            if let Phase::Due(why) = self.phase {
                self.tell(why);
            }
            while self.waiting.has_remaining() {
                let written = ready!(Pin::new(&mut *to).poll_write(cx, &self.waiting))?;
                if written == 0 {
                    return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
                }
                self.waiting.advance(written);
                self.unflushed = true;
                if self.waiting.is_empty() {
                    // What has been taken would be kept until something else waits.
                    self.waiting = Bytes::new();
                }
            }
            match self.phase {
                Phase::Over => return Poll::Ready(Ok(())),
                Phase::Ending => {
                    ready!(Pin::new(&mut *to).poll_shutdown(cx))?;
                    self.phase = Phase::Over;
                }
                Phase::Carrying | Phase::Closing(_) | Phase::Due(_) | Phase::Told => {
                    let Poll::Ready(read) = self.poll_piece(from, to, cx) else {
                        if self.unflushed {
                            ready!(Pin::new(&mut *to).poll_flush(cx))?;
                            self.unflushed = false;
                        }
                        return Poll::Pending;
                    };
                    if read? == 0 {
                        self.phase = Phase::Ending;
                    }
                }
            }
        }
    }

    /// Reads a piece and writes what the other side takes of it at once; gives how much was read.
    fn poll_piece<F, T>(&mut self, from: &mut F, to: &mut T, cx: &mut Context<'_>) -> Poll<io::Result<usize>>
    where
        F: AsyncRead + Unpin,
        T: AsyncWrite + Unpin,
    {
        PIECES.with_borrow_mut(|piece| {
            let mut piece = ReadBuf::new(piece);
            ready!(Pin::new(from).poll_read(cx, &mut piece))?;
            let read = piece.filled();
            let carried = self.carried(read);
            if !carried.is_empty() {
                let written = match Pin::new(to).poll_write(cx, carried) {
                    Poll::Ready(written) => written?,
                    Poll::Pending => 0,
                };
                self.unflushed |= written > 0;
                self.waiting = Bytes::copy_from_slice(&carried[written..]);
            }
            Poll::Ready(Ok(read.len()))
        })
    }

    /// What of a piece goes on.
    fn carried<'a>(&mut self, piece: &'a [u8]) -> &'a [u8] {
        let Some((_, frames)) = &mut self.frames else { return piece };
        match self.phase {
            Phase::Carrying => {
                frames.follow(piece);
                piece
            }
            Phase::Closing(why) => {
                let (last, rest) = piece.split_at(frames.end_of_frame(piece));
                if frames.between() {
                    self.phase = due(frames, why);
                    frames.follow(rest);
                }
                last
            }
            Phase::Due(_) | Phase::Told | Phase::Ending | Phase::Over => {
                frames.follow(piece);
                if frames.closed() {
                    self.phase = Phase::Ending;
                }
                &[]
            }
        }
    }

    /// Puts the frame that closes behind what waits.
    fn tell(&mut self, why: &'static str) {
        let Some((from, frames)) = &self.frames else { return };
        self.phase = if frames.closed() { Phase::Ending } else { Phase::Told };
        let mut waiting = Vec::from(std::mem::take(&mut self.waiting));
        waiting.extend(close_frame(*from, why));
        self.waiting = waiting.into();
    }
}

/// Between two frames: a side that has closed by itself is not spoken for.
fn due(frames: &Frames, why: &'static str) -> Phase {
    if frames.closed() { Phase::Ending } else { Phase::Due(why) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::future::poll_fn;

    use futures_util::poll;
    use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};

    #[tokio::test]
    async fn bytes_arrive_in_order_however_slowly_they_are_taken() {
        let ((mut from, mut sender), (mut to, mut reader)) = (duplex(4096), duplex(10));
        let sent: Vec<u8> = (0..200_000_u32).map(|i| u8::try_from(i % 251).unwrap()).collect();
        let mut lane = Lane::of_bytes();
        let mut received = Vec::new();
        let (carried, wrote, read) = tokio::join!(
            poll_fn(|cx| lane.poll(&mut from, &mut to, cx)),
            async {
                sender.write_all(&sent).await?;
                sender.shutdown().await
            },
            reader.read_to_end(&mut received),
        );
        for outcome in [carried, wrote, read.map(drop)] {
            outcome.unwrap();
        }
        assert!(received == sent && lane.is_over());
    }

    #[tokio::test]
    async fn what_has_been_taken_is_kept_no_longer() {
        let ((mut from, mut sender), (mut to, mut reader)) = (duplex(4096), duplex(10));
        let mut lane = Lane::of_bytes();
        sender.write_all(&[7; 4096]).await.unwrap();
        assert!(poll!(poll_fn(|cx| lane.poll(&mut from, &mut to, cx))).is_pending());
        assert!(!lane.waiting.is_empty());
        while !lane.waiting.is_empty() {
            assert_ne!(reader.read(&mut [0; 10]).await.unwrap(), 0);
            // tokio has a task that never waits pause now and then.
            tokio::task::yield_now().await;
            assert!(poll!(poll_fn(|cx| lane.poll(&mut from, &mut to, cx))).is_pending());
        }
        assert_eq!(lane.waiting.as_ptr(), Bytes::new().as_ptr(), "the allocation is gone");
    }

    /// What the receiver has, and whether the lane is over.
    async fn carry(pieces: &[&[u8]], close_after: usize) -> (Vec<u8>, bool) {
        let ((mut from, mut sender), (mut to, mut reader)) = (duplex(1 << 20), duplex(1 << 20));
        let mut lane = Lane::of_frames(Side::Server);
        for (i, piece) in pieces.iter().enumerate() {
            sender.write_all(piece).await.unwrap();
            assert!(i > close_after || poll!(poll_fn(|cx| lane.poll(&mut from, &mut to, cx))).is_pending());
            if i == close_after {
                lane.close("why");
            }
        }
        let over = poll!(poll_fn(|cx| lane.poll(&mut from, &mut to, cx))).is_ready();
        drop(to);
        let mut received = Vec::new();
        reader.read_to_end(&mut received).await.unwrap();
        (received, over)
    }

    #[tokio::test]
    async fn who_is_closed_is_told_between_two_frames_and_hears_no_more() {
        let told = close_frame(Side::Server, "why");
        let expect = |before: &[u8]| [before, &told].concat();
        assert_eq!(carry(&[b"\x82\x02ab"], 0).await, (expect(b"\x82\x02ab"), false), "nothing goes by");
        let pieces: [&[u8]; 3] = [b"\x82\x05a", b"bcde\x82", b"\x02xy"];
        assert_eq!(carry(&pieces, 0).await, (expect(b"\x82\x05abcde"), false), "a payload goes by");
        let pieces: [&[u8]; 3] = [b"\x82", b"\x01a", b"\x88\x00"];
        assert_eq!(carry(&pieces, 0).await, (expect(b"\x82\x01a"), true), "a head does, and it takes leave");
        assert_eq!(
            carry(&[b"\x81\x03a", b"bc\x88\x00"], 0).await,
            (expect(b"\x81\x03abc"), true),
            "in one piece"
        );
    }

    #[tokio::test]
    async fn who_has_said_that_it_closes_is_not_spoken_for() {
        assert_eq!(carry(&[b"\x88\x00"], 0).await, (b"\x88\x00".to_vec(), true));
        assert_eq!(carry(&[b"\x88", b"\x00"], 0).await, (b"\x88\x00".to_vec(), true));
    }
}
