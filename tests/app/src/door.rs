//! Where connections come in: a port of TCP, or a Unix socket. What is spoken on them is not its business.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpSocket, UnixListener, UnixSocket};

use crate::knobs::Place;

/// A connection of either kind.
pub(crate) type Stream = Box<dyn Duplex>;

/// What can be read and written.
pub(crate) trait Duplex: AsyncRead + AsyncWrite + Unpin + Send {}

impl<T: AsyncRead + AsyncWrite + Unpin + Send> Duplex for T {}

/// A socket that takes connections.
pub(crate) enum Door {
    Tcp(TcpListener),
    Unix(UnixListener),
}

impl Door {
    /// Listens there; so many connections may wait to be accepted.
    pub(crate) fn open(place: &Place, backlog: u32) -> io::Result<Self> {
        match place {
            Place::Port(port) => {
                let socket = TcpSocket::new_v4()?;
                socket.set_reuseaddr(true)?;
                socket.bind(SocketAddr::from((Ipv4Addr::UNSPECIFIED, *port)))?;
                socket.listen(backlog).map(Self::Tcp)
            }
            Place::Socket(path) => {
                let socket = UnixSocket::new_stream()?;
                socket.bind(path)?;
                socket.listen(backlog).map(Self::Unix)
            }
        }
    }

    /// The port, where it has one.
    pub(crate) fn port(&self) -> io::Result<Option<u16>> {
        match self {
            Self::Tcp(listener) => listener.local_addr().map(|address| Some(address.port())),
            Self::Unix(_) => Ok(None),
        }
    }

    /// The next connection.
    pub(crate) async fn accept(&self) -> io::Result<Stream> {
        match self {
            Self::Tcp(listener) => {
                let (stream, _) = listener.accept().await?;
                // Answers are small, and a test that measures should not measure Nagle's algorithm.
                let _ = stream.set_nodelay(true);
                Ok(Box::new(stream))
            }
            Self::Unix(listener) => listener.accept().await.map(|(stream, _)| Box::new(stream) as Stream),
        }
    }
}
