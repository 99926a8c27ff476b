//! The socket below HTTP: a stream that can be told to send nonsense instead of what HTTP writes to it, and
//! the manners that HTTP would never show: to say nothing, nonsense, or two lengths at once.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};

use crate::door::Stream;

/// What is sent where HTTP is expected.
const NONSENSE: &[u8] = b"THIS/IS no http\r\n\x00\x01\x02 at all\r\n\r\n";

/// A connection that can be spoiled.
pub(crate) struct Wire {
    stream: Stream,
    /// What was read before anybody asked for it.
    early: Option<u8>,
    spoilt: Arc<AtomicBool>,
}

impl Wire {
    /// The connection, and the switch that makes its next write nonsense and its last.
    pub(crate) fn new(stream: Stream) -> (Self, Arc<AtomicBool>) {
        let spoilt = Arc::new(AtomicBool::new(false));
        (Self { stream, early: None, spoilt: Arc::clone(&spoilt) }, spoilt)
    }

    /// Waits for the client's first byte, which whoever reads then finds as if it had just come. Says whether there is
    /// one.
    pub(crate) async fn begins(&mut self) -> bool {
        self.early = self.stream.read_u8().await.ok();
        self.early.is_some()
    }
}

impl AsyncRead for Wire {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if let Some(byte) = self.early.take() {
            buffer.put_slice(&[byte]);
            return Poll::Ready(Ok(()));
        }
        Pin::new(&mut self.stream).poll_read(cx, buffer)
    }
}

impl AsyncWrite for Wire {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        if self.spoilt.load(Ordering::Relaxed) {
            // A fresh socket's buffer takes these few bytes in one write.
            ready!(Pin::new(&mut self.stream).poll_write(cx, NONSENSE))?;
            return Poll::Ready(Err(io::Error::other("spoilt on purpose")));
        }
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

/// Reads whatever comes until the client leaves, and says nothing.
pub(crate) async fn say_nothing(mut stream: Stream) {
    let mut buffer = vec![0; 4096];
    while stream.read(&mut buffer).await.is_ok_and(|count| count > 0) {}
}

/// Waits for the client's first bytes, answers with nonsense and leaves.
pub(crate) async fn say_nonsense(mut stream: Stream) {
    let mut buffer = vec![0; 4096];
    if stream.read(&mut buffer).await.is_ok_and(|count| count > 0) {
        let _ = stream.write_all(NONSENSE).await;
    }
}

/// Answers each request with a length beside its chunks that is not theirs. The body is the request's number on
/// this connection.
pub(crate) async fn say_two_lengths(mut stream: Stream) {
    let mut head = Vec::new();
    for number in 1_u32.. {
        head.clear();
        while !head.ends_with(b"\r\n\r\n") {
            if !stream.read_buf(&mut head).await.is_ok_and(|count| count > 0) {
                return;
            }
        }
        let (text, fields) = (number.to_string(), "Content-Length: 3\r\nTransfer-Encoding: chunked");
        let answer = format!("HTTP/1.1 200 OK\r\n{fields}\r\n\r\n{:x}\r\n{text}\r\n0\r\n\r\n", text.len());
        if stream.write_all(answer.as_bytes()).await.is_err() {
            return;
        }
    }
}
