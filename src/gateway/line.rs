//! The socket of a client's connection, as two see it: who speaks HTTP reads and writes, and a request's handler asks
//! whether the client is still there. Owns that the one's watching hides nothing from the other's reading.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use rustix::net::{RecvFlags, Shutdown};
use tokio::io::{AsyncRead, AsyncWrite, Interest, ReadBuf};

use crate::app::clock::{self, Millis};
use crate::gateway::socket::Socket;
use crate::gateway::stall::Stall;

/// Bytes that are read at once by who only looks.
const GLANCE: usize = 1024;

/// What is taken of a client that was told the last: so many bytes, far more than may be on their way before it can have
/// heard, for so long.
const LINGER: (usize, Duration) = (16 << 20, Duration::from_secs(2));

/// One client's connection.
#[derive(Debug)]
pub struct Line {
    socket: Socket,
    /// The client was given up, since it took nothing of what was written.
    stalled: AtomicBool,
    /// Since when it takes nothing, in milliseconds of the clock; 0: it does.
    blocked: AtomicU64,
    /// Readiness was taken away while watching for the end of input: the next read must look for itself.
    reread: AtomicBool,
}

impl Line {
    /// The line of a connection that was just accepted.
    #[must_use]
    pub fn new(socket: Socket) -> Arc<Self> {
        let (stalled, blocked, reread) = Default::default();
        Arc::new(Self { socket, stalled, blocked, reread })
    }

    /// What it runs on.
    #[must_use]
    pub fn socket(&self) -> &Socket {
        &self.socket
    }

    /// Whether the client was given up, since it took nothing of what was written.
    #[must_use]
    pub fn is_stalled(&self) -> bool {
        self.stalled.load(Ordering::Relaxed)
    }

    /// How long the client has been taking nothing of what is to be written.
    #[must_use]
    pub fn blocked_for(&self) -> Duration {
        match self.blocked.load(Ordering::Relaxed) {
            0 => Duration::ZERO,
            since => clock::coarse().since(Millis(since)),
        }
    }

    /// Says that nothing more comes, and takes what is still on its way, for a moment. Where a connection is closed over
    /// bytes that nobody has read, the system resets it, and the client may lose what it was told last.
    pub async fn linger(&self) {
        let _best_effort = rustix::net::shutdown(&self.socket, Shutdown::Write);
        let taking = async {
            let (mut waste, mut left) = (vec![0; 16 * GLANCE], LINGER.0);
            while left > 0 {
                let mut buf = ReadBuf::new(&mut waste);
                let read = std::future::poll_fn(|cx| self.poll_read(cx, &mut buf)).await;
                if read.is_err() || buf.filled().is_empty() {
                    return;
                }
                left = left.saturating_sub(buf.filled().len());
            }
        };
        let _has_said_enough = tokio::time::timeout(LINGER.1, taking).await;
    }

    /// Resolves when the client has closed its end. Who reads notices that by itself only where neither a body
    /// nor a further request waits to be read.
    pub async fn gone(&self) {
        loop {
            match self.socket.ready(Interest::READABLE).await {
                Ok(ready) if !ready.is_read_closed() => {}
                _ => return,
            }
            self.reread.store(true, Ordering::Relaxed);
            // Bytes that wait keep the socket readable; without this there would be nothing to wait for.
            self.socket.forget_readable();
        }
    }

    fn poll_read(&self, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        clock::tick();
        if self.reread.swap(false, Ordering::Relaxed) {
            match rustix::net::recv(&self.socket, buf.initialize_unfilled(), RecvFlags::DONTWAIT) {
                Ok((read, _)) => {
                    buf.advance(read);
                    // There may be more, of which nothing will tell.
                    self.reread.store(true, Ordering::Relaxed);
                    return Poll::Ready(Ok(()));
                }
                Err(rustix::io::Errno::AGAIN | rustix::io::Errno::INTR) => {}
                Err(error) => return Poll::Ready(Err(error.into())),
            }
        }
        loop {
            ready!(self.socket.poll_read_ready(cx))?;
            let room = buf.remaining();
            match self.socket.try_read_buf(buf) {
                Ok(read) => {
                    // Nothing is left, and asking for it would be a call for nothing. What has come since is told anew:
                    // by nobody else than this thread, so it cannot be forgotten here.
                    if (1..room).contains(&read) {
                        self.socket.forget_readable();
                    }
                    return Poll::Ready(Ok(()));
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
    }
}

/// The bytes of a [`Line`].
#[derive(Debug)]
pub struct LineStream {
    line: Arc<Line>,
    /// What was looked at before its time, and is read next.
    ahead: Vec<u8>,
    stall: Stall,
}

impl LineStream {
    /// The bytes of this line. A client that takes nothing of what is written for `patience` is given up.
    #[must_use]
    pub fn new(line: Arc<Line>, patience: Duration) -> Self {
        Self { line, ahead: Vec::new(), stall: Stall::new(patience) }
    }

    /// Reads until what has arrived so far is enough for `found`. All of it is still read by who reads next.
    ///
    /// # Errors
    /// The system's; and where the client ends before it was enough.
    pub async fn look<T>(&mut self, mut found: impl FnMut(&[u8]) -> Option<T>) -> io::Result<T> {
        loop {
            if let Some(found) = found(&self.ahead) {
                return Ok(found);
            }
            let mut glance = [0; GLANCE];
            let mut buf = ReadBuf::new(&mut glance);
            std::future::poll_fn(|cx| self.line.poll_read(cx, &mut buf)).await?;
            if buf.filled().is_empty() {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            self.ahead.extend_from_slice(buf.filled());
        }
    }

    /// Passes over the first `count` bytes of what was looked at.
    pub fn skip(&mut self, count: usize) {
        self.ahead.drain(..count);
    }

    /// Writes what can be written now. Fails where the client has not taken a byte for too long: it would hold its
    /// replica for ever.
    fn write(
        &mut self,
        cx: &mut Context<'_>,
        write: impl Fn(&Socket) -> io::Result<usize>,
    ) -> Poll<io::Result<usize>> {
        clock::tick();
        let socket = &self.line.socket;
        loop {
            if let Poll::Ready(ready) = socket.poll_write_ready(cx) {
                ready?;
            } else {
                if self.line.blocked.load(Ordering::Relaxed) == 0 {
                    self.line.blocked.store(clock::coarse().0, Ordering::Relaxed);
                }
                ready!(self.stall.poll_over(cx));
                self.line.stalled.store(true, Ordering::Relaxed);
                return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
            }
            match write(socket) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                written => {
                    self.stall.moved();
                    self.line.blocked.store(0, Ordering::Relaxed);
                    return Poll::Ready(written);
                }
            }
        }
    }
}

impl AsyncRead for LineStream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.ahead.is_empty() {
            return this.line.poll_read(cx, buf);
        }
        let count = this.ahead.len().min(buf.remaining());
        buf.put_slice(&this.ahead[..count]);
        this.ahead.drain(..count);
        if this.ahead.is_empty() {
            this.ahead = Vec::new();
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for LineStream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.get_mut().write(cx, |socket| socket.try_write(buf))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.get_mut().write(cx, |socket| socket.try_write_vectored(bufs))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(rustix::net::shutdown(&self.line.socket, Shutdown::Write).map_err(Into::into))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::UnixStream;

    const PATIENCE: Duration = Duration::from_mins(3);

    fn pair() -> (LineStream, UnixStream) {
        let (ours, theirs) = UnixStream::pair().unwrap();
        (LineStream::new(Line::new(Socket::Unix(ours)), PATIENCE), theirs)
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_takes_nothing_is_given_up() {
        let (mut stream, _silent) = pair();
        let endless = async { while stream.write_all(&[0; 8192]).await.is_ok() {} };
        tokio::time::timeout(PATIENCE * 2, endless).await.expect("it comes to an end");
        assert!(stream.line.is_stalled());
    }

    #[tokio::test(start_paused = true)]
    async fn a_silent_client_is_lingered_for_a_moment() {
        let (stream, mut silent) = pair();
        let start = tokio::time::Instant::now();
        stream.line.linger().await;
        assert_eq!(start.elapsed(), LINGER.1);
        assert_eq!(silent.read(&mut [0]).await.unwrap(), 0, "it was told that this is the end");
    }

    #[tokio::test]
    async fn a_client_that_goes_on_is_lingered_for_so_much() {
        let (stream, mut client) = pair();
        let endless = async move {
            let mut sent = 0;
            while let Ok(count) = client.write(&[0; 16_384]).await {
                sent += count;
            }
            sent
        };
        let end = async move {
            stream.line.linger().await;
            drop(stream);
        };
        let (sent, ()) = tokio::join!(endless, end);
        assert!((LINGER.0..2 * LINGER.0).contains(&sent), "{sent}");
    }

    #[tokio::test]
    async fn what_was_looked_at_is_read_again() {
        let (mut stream, mut client) = pair();
        client.write_all(b"PRI").await.unwrap();
        assert_eq!(stream.look(|seen| (seen.len() >= 3).then(|| seen.to_vec())).await.unwrap(), b"PRI");
        client.write_all(b" rest").await.unwrap();
        drop(client);
        stream.skip(1);
        let mut all = Vec::new();
        stream.read_to_end(&mut all).await.unwrap();
        assert_eq!(all, b"RI rest");
        let looked = stream.look(|seen| (seen.len() > 9).then_some(())).await;
        assert_eq!(looked.unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
    }
}
