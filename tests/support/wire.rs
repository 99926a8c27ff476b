//! A client that writes its bytes itself, for what a well-behaved one would never send, and that reads answers
//! one by one.

use std::io;
use std::net::SocketAddr;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::wait::LIMIT;

/// One connection, in clear where nothing else is said.
pub(crate) struct Wire<S = TcpStream> {
    stream: S,
    /// What has arrived and was not asked for yet.
    arrived: Vec<u8>,
}

/// One answer as it came.
#[derive(Debug)]
pub(crate) struct Reply {
    /// Status line and headers.
    pub(crate) head: String,
    /// Without the chunks' frames.
    pub(crate) body: Vec<u8>,
}

impl Reply {
    /// The number in the status line.
    pub(crate) fn status(&self) -> u16 {
        let code = self.head.split(' ').nth(1).and_then(|code| code.parse().ok());
        code.unwrap_or_else(|| panic!("no status line: {:?}", self.head))
    }

    /// One header; empty where there is none.
    pub(crate) fn header(&self, name: &str) -> &str {
        let mut lines = self.head.lines().skip(1).filter_map(|line| line.split_once(':'));
        lines.find(|(found, _)| found.eq_ignore_ascii_case(name)).map_or("", |(_, value)| value.trim())
    }

    /// The body as text.
    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.body).expect("the test app writes text")
    }
}

impl Wire {
    /// A new connection.
    pub(crate) async fn open(address: SocketAddr) -> Self {
        Self::over(TcpStream::connect(address).await.expect("somebody listens"))
    }

    /// A connection that is there already, for who is at its other end.
    pub(crate) fn over(stream: TcpStream) -> Self {
        stream.set_nodelay(true).expect("a socket can be told");
        Self { stream, arrived: Vec::new() }
    }

    /// A new connection, with these bytes sent.
    pub(crate) async fn sent(address: SocketAddr, bytes: impl AsRef<[u8]>) -> Self {
        let mut wire = Self::open(address).await;
        wire.send(bytes).await;
        wire
    }

    /// A new connection with a request for this host whose answer has begun, and lasts until it is told to end: the
    /// test app gives back what it is sent.
    pub(crate) async fn echo(address: SocketAddr, host: &str) -> Self {
        let ask = format!("POST /echo HTTP/1.1\r\nHost: {host}\r\nTransfer-Encoding: chunked\r\n\r\n");
        let mut wire = Self::sent(address, format!("{ask}5\r\nfirst\r\n")).await;
        let head = wire.head().await;
        assert!(head.starts_with("HTTP/1.1 200 "), "{head}");
        assert_eq!(wire.chunk().await.as_deref(), Some(&b"first"[..]));
        wire
    }

    /// Sends a piece to the echo, and panics unless it comes back.
    pub(crate) async fn assert_echoes(&mut self, piece: &str) {
        self.send(format!("{:x}\r\n{piece}\r\n", piece.len())).await;
        assert_eq!(self.chunk().await.as_deref(), Some(piece.as_bytes()));
    }

    /// Tells the echo to end, and panics unless its answer ends, too.
    pub(crate) async fn assert_ends(&mut self) {
        self.send("0\r\n\r\n").await;
        assert_eq!(self.chunk().await, None);
    }

    /// This side's address.
    pub(crate) fn local(&self) -> SocketAddr {
        self.stream.local_addr().expect("the connection stands")
    }

    /// Closes with a reset.
    pub(crate) fn reset(self) {
        self.stream.set_zero_linger().expect("a socket can be told");
    }

    /// Whether nothing has arrived so far.
    pub(crate) fn is_silent(&self) -> bool {
        let read = self.stream.try_read(&mut [0]);
        self.arrived.is_empty() && matches!(&read, Err(error) if error.kind() == io::ErrorKind::WouldBlock)
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Wire<S> {
    /// A connection of another kind, that is there already.
    pub(crate) fn by(stream: S) -> Self {
        Self { stream, arrived: Vec::new() }
    }

    /// What it runs on.
    pub(crate) fn stream(&mut self) -> &mut S {
        &mut self.stream
    }

    /// Sends bytes as they are.
    pub(crate) async fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.written(bytes.as_ref(), "somebody reads").await.expect("the connection stands");
    }

    /// Sends bytes to somebody who may close before the last of them; says whether nobody has so far.
    pub(crate) async fn try_send(&mut self, bytes: impl AsRef<[u8]>) -> bool {
        self.written(bytes.as_ref(), "somebody reads, or closes").await.is_ok()
    }

    /// Says that nothing more will be sent.
    pub(crate) async fn finish(&mut self) {
        self.stream.shutdown().await.expect("the connection stands");
    }

    /// One answer to a request that was not HEAD.
    pub(crate) async fn reply(&mut self) -> Reply {
        let head = self.head().await;
        let mut reply = Reply { head, body: Vec::new() };
        if reply.header("transfer-encoding") == "chunked" {
            while let Some(chunk) = self.chunk().await {
                reply.body.extend(chunk);
            }
        } else {
            let length = reply.header("content-length").parse().unwrap_or(0);
            reply.body = self.take(length).await;
        }
        reply
    }

    /// Status line and headers alone.
    pub(crate) async fn head(&mut self) -> String {
        let head = self.up_to(b"\r\n\r\n").await;
        String::from_utf8(head).expect("heads of tests are text")
    }

    /// One chunk of a chunked body; nothing after the last, trailers skipped.
    pub(crate) async fn chunk(&mut self) -> Option<Vec<u8>> {
        let line = self.up_to(b"\r\n").await;
        let length = std::str::from_utf8(&line).ok().and_then(|l| usize::from_str_radix(l.trim(), 16).ok());
        let length = length.unwrap_or_else(|| panic!("no chunk: {line:?}"));
        if length == 0 {
            while self.up_to(b"\r\n").await != b"\r\n" {}
            return None;
        }
        let chunk = self.take(length).await;
        self.take(2).await;
        Some(chunk)
    }

    /// So many bytes.
    pub(crate) async fn take(&mut self, length: usize) -> Vec<u8> {
        while self.arrived.len() < length {
            assert!(self.more().await.expect("the connection stands"), "closed after {:?}", self.arrived);
        }
        self.arrived.drain(..length).collect()
    }

    /// All that comes until the other side closes, or the error with which it breaks off.
    pub(crate) async fn rest(&mut self) -> io::Result<Vec<u8>> {
        while self.more().await? {}
        Ok(std::mem::take(&mut self.arrived))
    }

    /// Whether the other side has closed the connection, by an end or by a reset, before anything else came.
    pub(crate) async fn is_cut(&mut self) -> bool {
        match self.rest().await {
            Ok(rest) => rest.is_empty(),
            Err(_) => self.arrived.is_empty(),
        }
    }

    async fn written(&mut self, bytes: &[u8], because: &str) -> io::Result<()> {
        let writing = async {
            self.stream.write_all(bytes).await?;
            self.stream.flush().await
        };
        timeout(LIMIT, writing).await.expect(because)
    }

    async fn up_to(&mut self, end: &[u8]) -> Vec<u8> {
        loop {
            if let Some(at) = self.arrived.windows(end.len()).position(|window| window == end) {
                return self.arrived.drain(..at + end.len()).collect();
            }
            let so_far = String::from_utf8_lossy(&self.arrived).into_owned();
            assert!(self.more().await.expect("the connection stands"), "closed after {so_far:?}");
        }
    }

    async fn more(&mut self) -> io::Result<bool> {
        let read = timeout(LIMIT, self.stream.read_buf(&mut self.arrived)).await;
        read.unwrap_or_else(|_| panic!("nothing came for {LIMIT:?}")).map(|count| count > 0)
    }
}
