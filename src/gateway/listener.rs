//! The sockets that requests come in by. The control plane owns them, so that a socket outlives the workers that
//! accept from it; each worker has one of its own at each address.

use std::io;
use std::net::{SocketAddr, TcpListener};

use socket2::{Domain, Protocol, Socket, Type};

/// Connections that wait to be accepted, for each socket. The kernel's `somaxconn` caps it.
pub const BACKLOG: i32 = 4096;

/// One public address: a socket for each worker.
#[derive(Debug)]
pub struct Listener {
    /// The address, with the port that the system gave.
    pub address: SocketAddr,
    sockets: Vec<TcpListener>,
}

impl Listener {
    /// Binds one socket for each of `workers` (at least one).
    ///
    /// # Errors
    /// The system's, such as an address in use.
    pub fn bind(address: SocketAddr, workers: usize) -> io::Result<Self> {
        // SO_REUSEPORT would share the port with any other process of the same user that set it too: a plain bind
        // proves first that the port is nobody else's.
        let probe = bound(address, false)?;
        let address = probe.local_addr()?.as_socket().unwrap_or(address);
        drop(probe);
        let sockets = (0..workers).map(|_| listen(address)).collect::<io::Result<_>>()?;
        Ok(Self { address, sockets })
    }

    /// A duplicate of a worker's socket.
    ///
    /// # Errors
    /// The system's, such as too many open files.
    pub fn for_worker(&self, worker: usize) -> io::Result<TcpListener> {
        self.sockets[worker].try_clone()
    }
}

fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = bound(address, true)?;
    socket.listen(BACKLOG)?;
    socket.set_nonblocking(true)?;
    Ok(socket.into())
}

fn bound(address: SocketAddr, shared: bool) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(shared)?;
    if address.is_ipv6() {
        // `0.0.0.0` and `[::]` may both be named; each takes its own.
        socket.set_only_v6(true)?;
    }
    socket.bind(&address.into())?;
    Ok(socket)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_that_is_taken_is_refused_even_where_its_owner_shares_it() {
        let first = Listener::bind("127.0.0.1:0".parse().unwrap(), 2).unwrap();
        let second = Listener::bind(first.address, 1).unwrap_err();
        assert_eq!(second.kind(), io::ErrorKind::AddrInUse);
    }
}
