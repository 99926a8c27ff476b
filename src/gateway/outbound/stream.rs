//! The socket of a connection to a replica, in two halves: an answer may begin while its request is still on its way.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::BytesMut;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, ReadBuf};
use tokio::net::{TcpStream, tcp, unix};

use crate::runtime::unix as unix_socket;
use crate::runtime::{Address, Endpoint};

/// The half that answers come by.
#[derive(Debug)]
pub enum Reader {
    /// Of TCP.
    Tcp(tcp::OwnedReadHalf),
    /// Of a Unix socket.
    Unix(unix::OwnedReadHalf),
}

/// The half that requests go by.
#[derive(Debug)]
pub enum Writer {
    /// Of TCP.
    Tcp(tcp::OwnedWriteHalf),
    /// Of a Unix socket.
    Unix(unix::OwnedWriteHalf),
}

/// The same call on whichever kind it is.
macro_rules! either {
    ($half:expr, $stream:ident => $call:expr) => {
        match $half {
            Self::Tcp($stream) => $call,
            Self::Unix($stream) => $call,
        }
    };
}

/// A new connection.
///
/// # Errors
/// The system's.
pub(super) async fn connect(endpoint: &Endpoint) -> io::Result<(Reader, Writer)> {
    Ok(match &endpoint.address {
        Address::Tcp(address) => {
            let stream = TcpStream::connect(address).await?;
            stream.set_nodelay(true)?;
            let (reader, writer) = stream.into_split();
            (Reader::Tcp(reader), Writer::Tcp(writer))
        }
        Address::Unix(path) => {
            let (reader, writer) = unix_socket::connect(path).await?.into_split();
            (Reader::Unix(reader), Writer::Unix(writer))
        }
    })
}

impl Reader {
    /// Appends what is there to be read, as far as there is room; 0: it has ended.
    pub(super) fn poll_append(
        &mut self,
        into: &mut BytesMut,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<usize>> {
        std::pin::pin!(self.read_buf(into)).poll(cx)
    }

    /// Whether there is nothing to be read, not even an end. Asks the system only where it has told of something.
    pub(super) fn is_silent(&self) -> bool {
        let read = either!(self, stream => stream.try_read(&mut [0]));
        matches!(read, Err(error) if error.kind() == io::ErrorKind::WouldBlock)
    }
}

impl AsyncRead for Reader {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        either!(self.get_mut(), stream => Pin::new(stream).poll_read(cx, buf))
    }
}

impl AsyncWrite for Writer {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        either!(self.get_mut(), stream => Pin::new(stream).poll_write(cx, bytes))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        pieces: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        either!(self.get_mut(), stream => Pin::new(stream).poll_write_vectored(cx, pieces))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        either!(self.get_mut(), stream => Pin::new(stream).poll_shutdown(cx))
    }
}
