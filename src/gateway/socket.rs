//! A stream socket of either kind, TCP or Unix, for who reads and writes it without caring which.

use std::io::{self, IoSlice};
use std::net::SocketAddr;
use std::os::fd::{AsFd, BorrowedFd};
use std::task::{Context, Poll};

use tokio::io::{Interest, ReadBuf, Ready};
use tokio::net::{TcpStream, UnixStream};

/// A connected socket.
#[derive(Debug)]
pub enum Socket {
    /// From another host, or this one.
    Tcp(TcpStream),
    /// From this host alone.
    Unix(UnixStream),
}

/// The same call on whichever kind it is.
macro_rules! either {
    ($socket:expr, $stream:ident => $call:expr) => {
        match $socket {
            Socket::Tcp($stream) => $call,
            Socket::Unix($stream) => $call,
        }
    };
}

impl Socket {
    /// This end's address, where it has one.
    #[must_use]
    pub fn local(&self) -> Option<SocketAddr> {
        match self {
            Self::Tcp(stream) => stream.local_addr().ok(),
            Self::Unix(_) => None,
        }
    }

    /// Resolves when it is ready for something of `interest`.
    ///
    /// # Errors
    /// The system's.
    pub async fn ready(&self, interest: Interest) -> io::Result<Ready> {
        either!(self, stream => stream.ready(interest).await)
    }

    /// Forgets that it is ready to be read; only what arrives from now on makes it so again.
    pub fn forget_readable(&self) {
        let unready = || io::Result::<()>::Err(io::ErrorKind::WouldBlock.into());
        let _cleared = either!(self, stream => stream.try_io(Interest::READABLE, unready));
    }

    /// Whether there may be something to read.
    ///
    /// # Errors
    /// The system's.
    pub fn poll_read_ready(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        either!(self, stream => stream.poll_read_ready(cx))
    }

    /// Whether something may be written.
    ///
    /// # Errors
    /// The system's.
    pub fn poll_write_ready(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        either!(self, stream => stream.poll_write_ready(cx))
    }

    /// Reads what is there.
    ///
    /// # Errors
    /// The system's, `WouldBlock` among them.
    pub fn try_read_buf(&self, buf: &mut ReadBuf<'_>) -> io::Result<usize> {
        either!(self, stream => stream.try_read_buf(buf))
    }

    /// Writes what fits.
    ///
    /// # Errors
    /// The system's, `WouldBlock` among them.
    pub fn try_write(&self, buf: &[u8]) -> io::Result<usize> {
        either!(self, stream => stream.try_write(buf))
    }

    /// Writes what fits of several pieces.
    ///
    /// # Errors
    /// The system's, `WouldBlock` among them.
    pub fn try_write_vectored(&self, bufs: &[IoSlice<'_>]) -> io::Result<usize> {
        either!(self, stream => stream.try_write_vectored(bufs))
    }
}

impl AsFd for Socket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        either!(self, stream => stream.as_fd())
    }
}
