//! A server that answers, resets or talks nonsense, as it is told, and counts what it is sent.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicUsize, Ordering};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// What it does with a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Manner {
    /// Answers with its name, and the `Cookie` lines that it was sent, a line each. `/wait` is answered when the test
    /// says so.
    Answer,
    /// Resets the connection before a byte.
    Reset,
    /// Sends what is no HTTP.
    Nonsense,
    /// Answers 502, as an app does that is a proxy itself.
    BadGateway,
}

/// One server. Dropping it ends it, with all its connections.
pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    shared: Arc<Shared>,
    accepting: JoinHandle<()>,
}

struct Shared {
    name: &'static str,
    manner: AtomicU8,
    requests: AtomicUsize,
    /// Whether `/wait` is answered, and whether there is a server still.
    go_on: watch::Sender<bool>,
}

impl Server {
    /// One that answers.
    pub(crate) async fn start(name: &'static str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("some port is free");
        let address = listener.local_addr().expect("it is bound");
        let (manner, requests) = (AtomicU8::new(Manner::Answer as u8), AtomicUsize::new(0));
        let shared = Arc::new(Shared { name, manner, requests, go_on: watch::channel(false).0 });
        let for_all = Arc::clone(&shared);
        let accepting = tokio::spawn(async move {
            // Dropped with the server, and all connections with it.
            let mut connections = tokio::task::JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                connections.spawn(converse(stream, Arc::clone(&for_all)));
            }
        });
        Self { address, shared, accepting }
    }

    /// One that does this with each request.
    pub(crate) async fn that_will(manner: Manner) -> Self {
        let server = Self::start("bad").await;
        server.be(manner);
        server
    }

    /// What it answers.
    pub(crate) fn name(&self) -> &str {
        self.shared.name
    }

    /// Does this from now on.
    pub(crate) fn be(&self, manner: Manner) {
        self.shared.manner.store(manner as u8, Ordering::SeqCst);
    }

    /// How many requests it was sent.
    pub(crate) fn requests(&self) -> usize {
        self.shared.requests.load(Ordering::SeqCst)
    }

    /// Answers those that wait.
    pub(crate) fn go_on(&self) {
        self.shared.go_on.send_replace(true);
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

async fn converse(mut stream: TcpStream, shared: Arc<Shared>) {
    let mut head = Vec::new();
    loop {
        head.clear();
        while !head.ends_with(b"\r\n\r\n") {
            // A check of whether it is there sends nothing, and is no request.
            if !stream.read_buf(&mut head).await.is_ok_and(|count| count > 0) {
                return;
            }
        }
        shared.requests.fetch_add(1, Ordering::SeqCst);
        let manner = shared.manner.load(Ordering::SeqCst);
        if manner == Manner::Reset as u8 {
            return stream.set_zero_linger().expect("a socket can be told");
        }
        if manner == Manner::Nonsense as u8 {
            return drop(stream.write_all(b"THIS/IS no http\r\n\r\n").await);
        }
        let status = if manner == Manner::BadGateway as u8 { "502 Bad Gateway" } else { "200 OK" };
        let head = String::from_utf8_lossy(&head);
        if head.contains(" /wait ") {
            let mut told = shared.go_on.subscribe();
            told.wait_for(|go_on| *go_on).await.expect("who tells is shared");
        }
        let cookies = head.lines().filter(|line| line.to_lowercase().starts_with("cookie:"));
        let body = std::iter::once(shared.name).chain(cookies).collect::<Vec<_>>().join("\n");
        let answer = format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\n\r\n{body}", body.len());
        if stream.write_all(answer.as_bytes()).await.is_err() {
            return;
        }
    }
}
