//! A connection that has become something else than HTTP.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::{Buf, BytesMut};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// The bytes of such a connection.
#[derive(Debug)]
pub struct Switched<S> {
    stream: S,
    /// What has come already.
    ahead: BytesMut,
}

impl<S> Switched<S> {
    /// A connection of which `ahead` was read already.
    pub fn new(stream: S, ahead: BytesMut) -> Self {
        // Empty ones may keep a large block.
        Self { stream, ahead: if ahead.is_empty() { BytesMut::new() } else { ahead } }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Switched<S> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.ahead.is_empty() {
            return Pin::new(&mut this.stream).poll_read(cx, buf);
        }
        let count = this.ahead.len().min(buf.remaining());
        buf.put_slice(&this.ahead[..count]);
        this.ahead.advance(count);
        if this.ahead.is_empty() {
            this.ahead = BytesMut::new();
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Switched<S> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().stream).poll_write(cx, bytes)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncReadExt;

    use super::*;

    #[tokio::test]
    async fn what_has_come_already_comes_first() {
        let mut switched = Switched::new(&b" and the rest"[..], BytesMut::from("ahead"));
        let mut all = vec![0; 2];
        switched.read_exact(&mut all).await.unwrap();
        switched.read_to_end(&mut all).await.unwrap();
        assert_eq!(all, b"ahead and the rest");
    }
}
