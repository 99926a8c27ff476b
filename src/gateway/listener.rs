//! The sockets that requests come in by. The control plane owns them, so that a socket outlives the workers that
//! accept from it; each worker has one of its own at each address of TCP, and a duplicate of the only one of a Unix socket.

use std::fs;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::time::Duration;

use socket2::{Domain, Protocol, Socket, TcpKeepalive, Type};

use crate::config::spec::ListenAddress;

/// Connections that wait to be accepted, for each socket. The kernel's `somaxconn` caps it.
pub const BACKLOG: i32 = 4096;

/// Asked of a client that has been silent for long, so that one that is gone without a word gives its claim back.
const KEEPALIVE: TcpKeepalive = TcpKeepalive::new()
    .with_time(Duration::from_secs(30))
    .with_interval(Duration::from_secs(10))
    .with_retries(3);

/// Who may connect to a Unix socket: everybody whom its folder lets in. A server before this one is another user.
const MODE: u32 = 0o666;

/// One public address: a socket for each worker.
#[derive(Debug)]
pub struct Listener {
    /// The address, with the port that the system gave.
    pub address: ListenAddress,
    /// Whether TLS is spoken there.
    pub secure: bool,
    sockets: Sockets,
}

#[derive(Debug)]
enum Sockets {
    Tcp(Vec<TcpListener>),
    Unix { socket: UnixListener, _file: Unlink },
}

/// Takes the socket's file away again.
#[derive(Debug)]
struct Unlink(PathBuf);

impl Drop for Unlink {
    fn drop(&mut self) {
        let _gone_already = fs::remove_file(&self.0);
    }
}

/// A worker's socket.
#[derive(Debug)]
pub enum Accepting {
    /// Of its own.
    Tcp(TcpListener),
    /// A duplicate.
    Unix(UnixListener),
}

impl Listener {
    /// Binds what `workers` (at least one) need.
    ///
    /// # Errors
    /// The system's, such as an address in use.
    pub fn bind(address: &ListenAddress, secure: bool, workers: usize) -> io::Result<Self> {
        match address {
            ListenAddress::Tcp(address) => {
                // SO_REUSEPORT would share the port with any other process of the same user that set it too: a plain
                // bind proves first that the port is nobody else's.
                let probe = bound(*address, false)?;
                let address = probe.local_addr()?.as_socket().unwrap_or(*address);
                drop(probe);
                let sockets = (0..workers).map(|_| listen(address)).collect::<io::Result<_>>()?;
                Ok(Self { address: ListenAddress::Tcp(address), secure, sockets: Sockets::Tcp(sockets) })
            }
            ListenAddress::Unix(path) => {
                let socket = listen_at(path)?;
                let sockets = Sockets::Unix { socket, _file: Unlink(path.clone()) };
                Ok(Self { address: address.clone(), secure, sockets })
            }
        }
    }

    /// A duplicate of a worker's socket.
    ///
    /// # Errors
    /// The system's, such as too many open files.
    pub fn for_worker(&self, worker: usize) -> io::Result<Accepting> {
        match &self.sockets {
            Sockets::Tcp(sockets) => sockets[worker].try_clone().map(Accepting::Tcp),
            Sockets::Unix { socket, .. } => socket.try_clone().map(Accepting::Unix),
        }
    }
}

fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = bound(address, true)?;
    // What is accepted takes these over: none of it need be said of each connection.
    socket.set_tcp_nodelay(true)?;
    socket.set_tcp_keepalive(&KEEPALIVE)?;
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

/// A Unix socket at `path`. One that is left there by a process that is gone is taken away; any other file is not.
fn listen_at(path: &Path) -> io::Result<UnixListener> {
    let is_socket = fs::symlink_metadata(path).is_ok_and(|found| found.file_type().is_socket());
    if is_socket
        && UnixStream::connect(path).is_err_and(|error| error.kind() == io::ErrorKind::ConnectionRefused)
    {
        fs::remove_file(path)?;
    }
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    socket.bind(&socket2::SockAddr::unix(path)?)?;
    fs::set_permissions(path, fs::Permissions::from_mode(MODE))?;
    socket.listen(BACKLOG)?;
    socket.set_nonblocking(true)?;
    Ok(socket.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_that_is_taken_is_refused_even_where_its_owner_shares_it() {
        let any = ListenAddress::Tcp("127.0.0.1:0".parse().unwrap());
        let first = Listener::bind(&any, false, 2).unwrap();
        let second = Listener::bind(&first.address, false, 1).unwrap_err();
        assert_eq!(second.kind(), io::ErrorKind::AddrInUse);
    }

    #[test]
    fn a_unix_socket_is_taken_over_only_where_nobody_listens() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("http.sock");
        let address = ListenAddress::Unix(path.clone());
        let first = Listener::bind(&address, false, 2).unwrap();
        assert_eq!(Listener::bind(&address, false, 1).unwrap_err().kind(), io::ErrorKind::AddrInUse);
        drop(first);
        assert!(!path.exists(), "it is taken away");
        // As a process leaves it that was killed.
        drop(UnixListener::bind(&path).unwrap());
        drop(Listener::bind(&address, false, 1).unwrap());
        fs::write(&path, "a file of somebody's").unwrap();
        assert_eq!(Listener::bind(&address, false, 1).unwrap_err().kind(), io::ErrorKind::AddrInUse);
        assert!(path.exists());
    }
}
