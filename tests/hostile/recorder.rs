//! A replica that writes down what it gets, byte by byte, and answers each request alike.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

/// One request a connection, so that whatever comes behind one would stand there, too.
const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nConnection: close\r\n\r\nok\n";

/// What arrived on each connection, oldest first. One on which nothing has come only asked whether somebody listens.
type Received = Arc<Mutex<Vec<Vec<u8>>>>;

/// The server; ends when dropped.
pub(crate) struct Recorder {
    address: SocketAddr,
    received: Received,
    accepting: JoinHandle<()>,
}

impl Recorder {
    /// Starts one.
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port is free");
        let address = listener.local_addr().expect("it has one");
        let received = Received::default();
        let into = Arc::clone(&received);
        let accepting = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(record(stream, Arc::clone(&into)));
            }
        });
        Self { address, received, accepting }
    }

    /// Where it listens.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// What has arrived since this was asked last.
    pub(crate) fn take(&self) -> Vec<Vec<u8>> {
        let mut received = self.received.lock().expect("nobody panics with it");
        received.drain(..).filter(|bytes| !bytes.is_empty()).collect()
    }
}

impl Drop for Recorder {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

async fn record(mut stream: TcpStream, received: Received) {
    let mut bytes = Vec::new();
    while !is_whole(&bytes) {
        if !stream.read_buf(&mut bytes).await.is_ok_and(|count| count > 0) {
            received.lock().expect("nobody panics with it").push(bytes);
            return;
        }
    }
    // Written down before it is answered: whoever has the answer finds it.
    received.lock().expect("nobody panics with it").push(bytes);
    let _gone = stream.write_all(ANSWER).await;
    let _gone = stream.shutdown().await;
    let mut more = Vec::new();
    let _gone = stream.read_to_end(&mut more).await;
    if !more.is_empty() {
        received.lock().expect("nobody panics with it").push(more);
    }
}

/// Whether these bytes, as a proxy of good manners sends them, are a request with its body.
fn is_whole(bytes: &[u8]) -> bool {
    let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") else { return false };
    let (head, body) = bytes.split_at(end + 4);
    let head = String::from_utf8_lossy(head).to_lowercase();
    if head.contains("\r\ntransfer-encoding: chunked\r\n") {
        return is_end_of_chunks(body);
    }
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
    body.len() >= length.map_or(0, |length| length.parse().expect("a number"))
}

fn is_end_of_chunks(mut body: &[u8]) -> bool {
    while let Some((size, rest)) = chunk(body) {
        if size == 0 {
            return body.ends_with(b"\r\n\r\n");
        }
        body = rest.get(size + 2..).unwrap_or_default();
    }
    false
}

/// A chunk's size, and all that comes behind the line that says it.
pub(crate) fn chunk(bytes: &[u8]) -> Option<(usize, &[u8])> {
    let end = bytes.windows(2).position(|two| two == b"\r\n")?;
    let size = std::str::from_utf8(&bytes[..end]).ok().and_then(|size| usize::from_str_radix(size, 16).ok());
    Some((size.expect("the proxy's own size"), &bytes[end + 2..]))
}
