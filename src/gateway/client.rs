//! A client's connection as both the HTTP parser and the request's handler see it: the parser reads and writes,
//! the handler asks whether the client is still there and whether the head's bytes were sound.
//!
//! The seam for what is to come: TLS, HTTP/2 and Unix sockets are further kinds of stream behind it.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};

use http::HeaderValue;
use rustix::net::{RecvFlags, Shutdown};
use tokio::io::{AsyncRead, AsyncWrite, Interest, ReadBuf};
use tokio::net::TcpStream;

use crate::app::clock;
use crate::gateway::inbound::Inbound;
use crate::gateway::stall::Stall;

/// One client's connection.
#[derive(Debug)]
pub struct Client {
    stream: TcpStream,
    /// The other end.
    pub peer: SocketAddr,
    /// Readiness was taken away while watching for the end of input: the next read must look for itself.
    reread: AtomicBool,
    /// What has arrived.
    inbound: Mutex<Inbound>,
}

impl Client {
    /// A connection that was just accepted.
    #[must_use]
    pub fn new(stream: TcpStream, peer: SocketAddr) -> Arc<Self> {
        Arc::new(Self { stream, peer, reread: AtomicBool::new(false), inbound: Mutex::default() })
    }

    /// The other end's address.
    #[must_use]
    pub fn ip(&self) -> IpAddr {
        self.peer.ip()
    }

    /// The address that the client has reached, as a `Host`.
    #[must_use]
    pub fn reached(&self) -> HeaderValue {
        let address = self.stream.local_addr().map(|address| address.to_string()).unwrap_or_default();
        // An address is visible ASCII; where there is none the Host is empty, as it may be.
        HeaderValue::from_str(&address).unwrap_or(HeaderValue::from_static(""))
    }

    /// The verdict on the head of the request at hand; to be asked for once for each.
    ///
    /// # Errors
    /// Why it is refused.
    pub fn next_head(&self) -> Result<(), &'static str> {
        self.inbound().next_head()
    }

    /// No head will come any more.
    pub fn forget_heads(&self) {
        self.inbound().forget();
    }

    fn inbound(&self) -> MutexGuard<'_, Inbound> {
        self.inbound.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Resolves when the client has closed its end. The parser notices that by itself only where neither a body
    /// nor a further request waits to be read.
    pub async fn gone(&self) {
        loop {
            match self.stream.ready(Interest::READABLE).await {
                Ok(ready) if !ready.is_read_closed() => {}
                _ => return,
            }
            self.reread.store(true, Ordering::Relaxed);
            // Bytes that wait keep the socket readable; without this there would be nothing to wait for.
            let unready = || io::Result::<()>::Err(io::ErrorKind::WouldBlock.into());
            let _cleared = self.stream.try_io(Interest::READABLE, unready);
        }
    }
}

/// The stream of a [`Client`], for the HTTP parser.
#[derive(Debug)]
pub struct ClientStream {
    client: Arc<Client>,
    stall: Stall,
    /// Why nothing more is to be read.
    broken: Option<&'static str>,
}

impl AsyncRead for ClientStream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        clock::tick();
        let this = self.get_mut();
        if let Some(why) = this.broken {
            return Poll::Ready(Err(io::Error::new(io::ErrorKind::InvalidData, why)));
        }
        let client = &this.client;
        let before = buf.filled().len();
        if client.reread.swap(false, Ordering::Relaxed) {
            match rustix::net::recv(&client.stream, buf.initialize_unfilled(), RecvFlags::DONTWAIT) {
                Ok((read, _)) => {
                    buf.advance(read);
                    // There may be more, of which nothing will tell.
                    client.reread.store(true, Ordering::Relaxed);
                    return Poll::Ready(this.arrived(buf, before));
                }
                Err(rustix::io::Errno::AGAIN | rustix::io::Errno::INTR) => {}
                Err(error) => return Poll::Ready(Err(error.into())),
            }
        }
        loop {
            ready!(client.stream.poll_read_ready(cx))?;
            match client.stream.try_read_buf(buf) {
                Ok(_) => return Poll::Ready(this.arrived(buf, before)),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
    }
}

impl AsyncWrite for ClientStream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.get_mut().write(cx, |stream| stream.try_write(buf))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.get_mut().write(cx, |stream| stream.try_write_vectored(bufs))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(rustix::net::shutdown(&self.client.stream, Shutdown::Write).map_err(Into::into))
    }
}

impl ClientStream {
    /// The stream of this client.
    #[must_use]
    pub fn new(client: Arc<Client>) -> Self {
        Self { client, stall: Stall::default(), broken: None }
    }

    /// Looks at what the parser is to see next, and takes off what it is not to.
    fn arrived(&mut self, buf: &mut ReadBuf<'_>, before: usize) -> io::Result<()> {
        let Err(broken) = self.client.inbound().follow(&buf.filled()[before..]) else { return Ok(()) };
        tracing::debug!(peer = %self.client.peer, why = broken.why, "a body is cut off");
        self.broken = Some(broken.why);
        buf.set_filled(before + broken.sound);
        // Nothing at all would mean that the client has closed its end.
        if broken.sound == 0 { Err(io::Error::new(io::ErrorKind::InvalidData, broken.why)) } else { Ok(()) }
    }

    /// Writes what can be written now. Fails where the client has not taken a byte for too long: it would hold its
    /// replica for ever.
    fn write(
        &mut self,
        cx: &mut Context<'_>,
        write: impl Fn(&TcpStream) -> io::Result<usize>,
    ) -> Poll<io::Result<usize>> {
        clock::tick();
        loop {
            if let Poll::Ready(ready) = self.client.stream.poll_write_ready(cx) {
                ready?;
            } else {
                ready!(self.stall.poll_over(cx));
                return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
            }
            match write(&self.client.stream) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                written => {
                    self.stall.moved();
                    return Poll::Ready(written);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gateway::stall::PATIENCE;
    use tokio::io::AsyncWriteExt;
    use tokio::net::TcpListener;

    #[tokio::test(start_paused = true)]
    async fn a_client_that_takes_nothing_is_given_up() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let _silent = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (stream, peer) = listener.accept().await.unwrap();
        let mut stream = ClientStream::new(Client::new(stream, peer));
        let endless = async { while stream.write_all(&[0; 8192]).await.is_ok() {} };
        tokio::time::timeout(PATIENCE * 2, endless).await.expect("it comes to an end");
    }
}
