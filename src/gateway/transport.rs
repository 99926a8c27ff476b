//! What the HTTP parsers read and write: a client's bytes, by TLS or as they are; and under the parser of HTTP/1 the
//! tap that follows what comes, and the clock that a head has to keep.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_rustls::server::TlsStream;

use crate::gateway::client::Client;
use crate::gateway::line::LineStream;
use crate::gateway::respond;
use crate::gateway::stall::{Patrol, Stall};

/// A client's bytes.
#[derive(Debug)]
pub enum Transport {
    /// As they are.
    Clear(LineStream),
    /// By TLS.
    Tls(Box<TlsStream<LineStream>>),
}

/// The same call on whichever it is.
macro_rules! either {
    ($transport:expr, $stream:ident => $call:expr) => {
        match $transport {
            Transport::Clear($stream) => {
                let $stream = Pin::new($stream);
                $call
            }
            Transport::Tls($stream) => {
                let $stream = Pin::new(&mut **$stream);
                $call
            }
        }
    };
}

impl AsyncRead for Transport {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        either!(self.get_mut(), stream => stream.poll_read(cx, buf))
    }
}

impl AsyncWrite for Transport {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        either!(self.get_mut(), stream => stream.poll_write(cx, buf))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        either!(self.get_mut(), stream => stream.poll_write_vectored(cx, bufs))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        either!(self.get_mut(), stream => stream.poll_flush(cx))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        either!(self.get_mut(), stream => stream.poll_shutdown(cx))
    }
}

/// A client's bytes for the parser of HTTP/1.
#[derive(Debug)]
pub struct Tapped {
    transport: Transport,
    client: Arc<Client>,
    /// What has come last is no body: the parser is to see nothing of it, and nothing that follows.
    broken: bool,
    /// Runs while a head has begun and not come to its end.
    head: Stall,
    /// Goes off now and then, to see how long there has been no request at all.
    idle: Patrol,
}

impl Tapped {
    /// The bytes of this client, whose heads may take `header_timeout` each from their first byte to their last, and who
    /// may be silent for `idle_timeout` between two requests: to the parser it has then ended.
    #[must_use]
    pub fn new(
        transport: Transport,
        client: Arc<Client>,
        header_timeout: Duration,
        idle_timeout: Duration,
    ) -> Self {
        let (head, idle) = (Stall::new(header_timeout), Patrol::new(idle_timeout));
        Self { transport, client, broken: false, head, idle }
    }

    /// Nothing comes. The parser asks once, while it answers a request, and not again when it has.
    fn poll_idle(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.idle.poll_over(cx, || self.client.quiet_since()));
        self.client.falls_idle();
        Poll::Ready(Ok(()))
    }

    /// The head has not come in time, which the parser would not say.
    fn poll_late(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.head.poll_over(cx));
        let transport = Pin::new(&mut self.transport);
        let _best_effort = transport.poll_write(cx, respond::LATE);
        let _best_effort = Pin::new(&mut self.transport).poll_flush(cx);
        Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
    }
}

fn malformed() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "a malformed body")
}

impl AsyncRead for Tapped {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.broken {
            return Poll::Ready(Err(malformed()));
        }
        let before = buf.filled().len();
        match Pin::new(&mut this.transport).poll_read(cx, buf) {
            Poll::Ready(read) => {
                read?;
                let mut inbound = this.client.inbound();
                let heads = inbound.heads();
                let followed = inbound.follow(&buf.filled()[before..]);
                if inbound.heads() != heads {
                    // The next one has its own time.
                    this.head.moved();
                }
                drop(inbound);
                if let Err(broken) = followed {
                    tracing::debug!(why = broken.why, "a body that is none");
                    this.broken = true;
                    buf.set_filled(before + broken.sound);
                    if broken.sound == 0 {
                        return Poll::Ready(Err(malformed()));
                    }
                }
                Poll::Ready(Ok(()))
            }
            Poll::Pending if this.client.is_amid_head() => this.poll_late(cx),
            Poll::Pending => {
                this.head.moved();
                this.poll_idle(cx)
            }
        }
    }
}

impl AsyncWrite for Tapped {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let written = ready!(Pin::new(&mut this.transport).poll_write(cx, buf));
        this.client.takes();
        Poll::Ready(written)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let written = ready!(Pin::new(&mut this.transport).poll_write_vectored(cx, bufs));
        this.client.takes();
        Poll::Ready(written)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().transport).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().transport).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use futures_util::poll;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::UnixStream;
    use tokio::time::advance;

    use super::*;
    use crate::gateway::client::Way;
    use crate::gateway::line::Line;
    use crate::gateway::socket::Socket;

    const IDLE: Duration = Duration::from_secs(75);
    const UNTAKEN: Duration = Duration::from_hours(1);

    fn tapped() -> (Tapped, Arc<Client>, UnixStream) {
        let (ours, theirs) = UnixStream::pair().unwrap();
        let line = Line::new(Socket::Unix(ours));
        let way = Way { secure: false, multiplexed: false };
        let client = Client::new(Arc::clone(&line), None, None, way, false, 64 * 1024);
        let transport = Transport::Clear(LineStream::new(line, UNTAKEN));
        (Tapped::new(transport, Arc::clone(&client), IDLE, IDLE), client, theirs)
    }

    /// Whether it is read for as long as anybody is waited for.
    async fn goes_on(tapped: &mut Tapped) -> bool {
        for _ in 0..3 {
            if poll!(Box::pin(tapped.read(&mut [0]))).is_ready() {
                return false;
            }
            advance(IDLE).await;
        }
        poll!(Box::pin(tapped.read(&mut [0]))).is_pending()
    }

    #[tokio::test(start_paused = true)]
    async fn who_takes_its_time_over_an_answer_is_not_idle() {
        let (mut tapped, client, mut reader) = tapped();
        let mut sent = 0;
        while poll!(Box::pin(tapped.write(&[0; 8192]))).is_ready() {
            sent += 1;
        }
        assert!(goes_on(&mut tapped).await, "the rest of it waits to be taken");
        let mut all = vec![0; sent * 8192];
        reader.read_exact(&mut all).await.unwrap();
        tapped.write_all(&[0]).await.unwrap();
        assert!(poll!(Box::pin(tapped.read(&mut [0]))).is_pending(), "its silence begins now");
        advance(2 * IDLE).await;
        assert_eq!(tapped.read(&mut [0]).await.unwrap(), 0);
        assert!(client.has_fallen_idle());
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_answered_and_what_is_no_http_is_not_idle() {
        let (mut tapped, client, _silent) = tapped();
        client.begins();
        assert!(goes_on(&mut tapped).await, "it is answered");
        client.ends();
        client.switches();
        assert!(goes_on(&mut tapped).await, "it is no HTTP any more");
        assert!(!client.has_fallen_idle());
    }
}
