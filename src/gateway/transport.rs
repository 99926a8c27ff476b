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
use crate::gateway::stall::Stall;

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
}

impl Tapped {
    /// The bytes of this client, whose heads may take `header_timeout` each from their first byte to their last.
    #[must_use]
    pub fn new(transport: Transport, client: Arc<Client>, header_timeout: Duration) -> Self {
        Self { transport, client, broken: false, head: Stall::new(header_timeout) }
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
                Poll::Pending
            }
        }
    }
}

impl AsyncWrite for Tapped {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().transport).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().transport).poll_write_vectored(cx, bufs)
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
