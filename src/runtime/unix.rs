//! Connecting to a replica's Unix socket.

use std::io;
use std::path::Path;
use std::time::Duration;

use tokio::net::UnixStream;

/// The first pause while its queue is full; it doubles up to the longest.
const FIRST_PAUSE: Duration = Duration::from_millis(1);
const LONGEST_PAUSE: Duration = Duration::from_millis(20);

/// A connection, as one of TCP would be made: while more are waiting to be accepted than the socket has room for, TCP
/// waits by itself, and a Unix socket is to be asked again. For how long is the caller's to say.
///
/// # Errors
/// The system's.
pub async fn connect(path: &Path) -> io::Result<UnixStream> {
    let mut pause = FIRST_PAUSE;
    loop {
        match UnixStream::connect(path).await {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => tokio::time::sleep(pause).await,
            connected => return connected,
        }
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixListener;

    use super::*;

    #[tokio::test]
    async fn a_full_queue_is_waited_out() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("full.sock");
        let socket = socket2::Socket::new(socket2::Domain::UNIX, socket2::Type::STREAM, None).unwrap();
        socket.bind(&socket2::SockAddr::unix(&path).unwrap()).unwrap();
        socket.listen(0).unwrap();
        let listener = UnixListener::from(socket);
        let _first = UnixStream::connect(&path).await.unwrap();
        let full = UnixStream::connect(&path).await.unwrap_err();
        assert_eq!(full.kind(), io::ErrorKind::WouldBlock);

        let mut waiting = std::pin::pin!(connect(&path));
        assert!(futures_util::poll!(&mut waiting).is_pending());
        listener.accept().unwrap();
        waiting.await.unwrap();
    }
}
