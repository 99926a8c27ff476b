//! A stream of any length whose every byte is known by its place, so that one that is lost, doubled or in the wrong
//! place is found; and what sends and takes it.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};

use bytes::Bytes;
use hyper::body::{Body, Frame, SizeHint};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::sync::watch;

/// After so many bytes they come again: a prime, which no buffer's length is a multiple of.
const PERIOD: usize = 65_521;

/// Bytes that are sent at once.
const PIECE: usize = 128 << 10;

static BYTES: LazyLock<Bytes> = LazyLock::new(|| {
    let mut random = fastrand::Rng::with_seed(4);
    let once: Vec<u8> = std::iter::repeat_with(|| random.u8(..)).take(PERIOD).collect();
    once.into_iter().cycle().take(PERIOD + PIECE).collect::<Vec<_>>().into()
});

/// How many bytes have passed somewhere.
pub(crate) type Count = Arc<AtomicU64>;

/// The stream's bytes from `at` on: one piece, or what is left of `length`.
fn piece(at: u64, length: u64) -> Bytes {
    let from = place(at);
    let count = usize::try_from(length - at).map_or(PIECE, |left| left.min(PIECE));
    BYTES.slice(from..from + count)
}

fn place(at: u64) -> usize {
    usize::try_from(at % PERIOD as u64).expect("it is below the period")
}

/// Where a stream has come to.
#[derive(Default)]
pub(crate) struct Taken(u64);

impl Taken {
    /// The bytes that come next.
    pub(crate) fn take(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            let (now, rest) = bytes.split_at(bytes.len().min(PIECE));
            let from = place(self.0);
            if now != &BYTES[from..from + now.len()] {
                let at = self.0;
                return Err(io::Error::other(format!(
                    "other bytes than were sent, in the {} from {at}",
                    now.len()
                )));
            }
            self.0 += now.len() as u64;
            bytes = rest;
        }
        Ok(())
    }

    /// How many were taken.
    pub(crate) fn count(&self) -> u64 {
        self.0
    }
}

/// Sends the first `length` bytes, and counts those that the system has taken.
pub(crate) async fn pour(
    to: &mut (impl AsyncWrite + Unpin),
    length: u64,
    poured: &AtomicU64,
) -> io::Result<()> {
    let mut at = 0;
    while at < length {
        let written = to.write(&piece(at, length)).await? as u64;
        at += written;
        poured.fetch_add(written, Ordering::Relaxed);
    }
    to.flush().await
}

/// Takes `length` bytes. Fails where they are others than were sent, or fewer.
pub(crate) async fn drink(from: &mut (impl AsyncRead + Unpin), length: u64) -> io::Result<()> {
    drink_while(from, length, &mut watch::channel(true).1).await
}

/// The same, while it may.
pub(crate) async fn drink_while(
    from: &mut (impl AsyncRead + Unpin),
    length: u64,
    may: &mut watch::Receiver<bool>,
) -> io::Result<()> {
    let (mut taken, mut buffer) = (Taken::default(), vec![0; PIECE]);
    while taken.count() < length {
        may.wait_for(|may| *may).await.map_err(io::Error::other)?;
        let most = usize::try_from(length - taken.count()).map_or(PIECE, |left| left.min(PIECE));
        match from.read(&mut buffer[..most]).await? {
            0 => return Err(io::Error::other(format!("the end after {} of {length} bytes", taken.count()))),
            count => taken.take(&buffer[..count])?,
        }
    }
    Ok(())
}

/// The first `length` bytes as a request's body, which counts what was taken of it.
pub(crate) struct Flow {
    at: u64,
    length: u64,
    poured: Count,
}

impl Flow {
    /// A body of this length.
    pub(crate) fn new(length: u64, poured: &Count) -> Self {
        Self { at: 0, length, poured: Arc::clone(poured) }
    }
}

impl Body for Flow {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        if self.is_end_stream() {
            return Poll::Ready(None);
        }
        let piece = piece(self.at, self.length);
        self.at += piece.len() as u64;
        self.poured.fetch_add(piece.len() as u64, Ordering::Relaxed);
        Poll::Ready(Some(Ok(Frame::data(piece))))
    }

    fn is_end_stream(&self) -> bool {
        self.at == self.length
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.length - self.at)
    }
}
