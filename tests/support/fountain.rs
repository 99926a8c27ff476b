//! A replica that sends and takes streams of any length, counts what it has sent, and takes nothing while it is told
//! not to.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;

use super::flow::{drink_while, pour};

/// What a body that came whole and unchanged is answered.
pub(crate) const EXACT: &str = "exact\n";

/// The server, within the test. Dropping it ends it, with all its connections.
///
/// `GET /N` is answered by N bytes of the stream, a body must be the stream's beginning, and what asks for another
/// protocol gets N bytes and must send as many.
pub(crate) struct Fountain {
    pub(crate) address: SocketAddr,
    shared: Arc<Shared>,
    accepting: JoinHandle<()>,
}

struct Shared {
    sent: AtomicU64,
    taking: watch::Sender<bool>,
}

impl Fountain {
    /// Starts one that takes what comes.
    pub(crate) fn start() -> Self {
        let socket = TcpSocket::new_v4().expect("a socket can be had");
        socket.bind(SocketAddr::from(([127, 0, 0, 1], 0))).expect("some port is free");
        let listener = socket.listen(4096).expect("it is bound");
        let address = listener.local_addr().expect("it is bound");
        let shared = Arc::new(Shared { sent: AtomicU64::new(0), taking: watch::channel(true).0 });
        let for_all = Arc::clone(&shared);
        let accepting = tokio::spawn(async move {
            // Dropped with the server, and all connections with it.
            let mut connections = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                connections.spawn(converse(stream, Arc::clone(&for_all)));
                while connections.try_join_next().is_some() {}
            }
        });
        Self { address, shared, accepting }
    }

    /// `jcloud.yml` of an app that is this one, with further keys, a line each.
    pub(crate) fn yaml(&self, keys: &str) -> String {
        format!("name: app\nupstream: http://{}\n{keys}\n", self.address)
    }

    /// How many bytes of streams the system has taken from it.
    pub(crate) fn sent(&self) -> u64 {
        self.shared.sent.load(Ordering::Relaxed)
    }

    /// Takes no byte of any stream until it is told to go on.
    pub(crate) fn stop_taking(&self) {
        self.shared.taking.send_replace(false);
    }

    /// Takes all that comes.
    pub(crate) fn go_on(&self) {
        self.shared.taking.send_replace(true);
    }
}

impl Drop for Fountain {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

/// One connection, to its end; who closes it is no matter here.
async fn converse(mut stream: TcpStream, shared: Arc<Shared>) {
    let _ = stream.set_nodelay(true);
    while let Ok(Some(head)) = head(&mut stream).await {
        let answered = match header(&head, "upgrade") {
            Some(protocol) => return drop(switched(stream, &shared, &head, protocol).await),
            None if head.starts_with("POST ") => take(&mut stream, &shared, &head).await,
            None => give(&mut stream, &shared, &head).await,
        };
        if answered.is_err() {
            return;
        }
    }
}

async fn give(stream: &mut TcpStream, shared: &Shared, head: &str) -> io::Result<()> {
    let length = length(head);
    let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n");
    stream.write_all(answer.as_bytes()).await?;
    pour(stream, length, &shared.sent).await
}

async fn take(stream: &mut TcpStream, shared: &Shared, head: &str) -> io::Result<()> {
    let length = header(head, "content-length").and_then(|length| length.parse().ok());
    let length = length.ok_or_else(|| io::Error::other("bodies have their length here"))?;
    let verdict = taken(stream, shared, length).await;
    let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{verdict}", verdict.len());
    stream.write_all(answer.as_bytes()).await
}

async fn switched(stream: TcpStream, shared: &Shared, head: &str, protocol: &str) -> io::Result<()> {
    let (mut from, mut to) = stream.into_split();
    let accept = header(head, "sec-websocket-key").map(|key| derive_accept_key(key.as_bytes()));
    let accept = accept.map(|key| format!("Sec-WebSocket-Accept: {key}\r\n")).unwrap_or_default();
    let answer = format!(
        "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: {protocol}\r\n{accept}\r\n"
    );
    to.write_all(answer.as_bytes()).await?;
    let length = length(head);
    let (poured, verdict) =
        tokio::join!(pour(&mut to, length, &shared.sent), taken(&mut from, shared, length));
    poured?;
    to.write_all(verdict.as_bytes()).await
}

/// Takes the stream while it may, and says how that went.
async fn taken(from: &mut (impl AsyncRead + Unpin), shared: &Shared, length: u64) -> String {
    match drink_while(from, length, &mut shared.taking.subscribe()).await {
        Ok(()) => EXACT.to_owned(),
        Err(error) => format!("{error}\n"),
    }
}

/// The next head on a connection; nothing where the other side has closed it instead.
pub(crate) async fn head(stream: &mut TcpStream) -> io::Result<Option<String>> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        // What comes behind a head is the stream's.
        match stream.read_u8().await {
            Ok(byte) => head.push(byte),
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
            Err(error) => return Err(error),
        }
    }
    String::from_utf8(head).map(Some).map_err(io::Error::other)
}

/// The number that the request's path is; 0 where it is none.
fn length(head: &str) -> u64 {
    head.split(' ').nth(1).and_then(|path| path.strip_prefix('/')?.parse().ok()).unwrap_or_default()
}

fn header<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    let mut lines = head.lines().filter_map(|line| line.split_once(':'));
    lines.find(|(found, _)| found.eq_ignore_ascii_case(name)).map(|(_, value)| value.trim())
}
