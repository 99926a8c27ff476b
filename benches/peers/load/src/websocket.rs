//! One message of 128 bytes after the other on a WebSocket, each sent when the one before has come back.

use std::io::{Error, ErrorKind, Result};
use std::net::SocketAddr;
use std::time::Instant;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::told::Told;

const UPGRADE: &[u8] =
    b"GET /ws HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
    Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";

const SIZE: usize = 128;

pub async fn connection(address: SocketAddr, end: Instant) -> Told {
    let mut told = Told::default();
    if messages(address, end, &mut told).await.is_err() {
        told.failed();
    }
    told
}

async fn messages(address: SocketAddr, end: Instant, told: &mut Told) -> Result<()> {
    let mut stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    stream.write_all(UPGRADE).await?;
    // The server speaks next when it has been spoken to, so nothing follows the head.
    let mut head = Vec::with_capacity(1024);
    while !head.ends_with(b"\r\n\r\n") {
        if stream.read_buf(&mut head).await? == 0 {
            return Err(ErrorKind::UnexpectedEof.into());
        }
    }
    if !head.starts_with(b"HTTP/1.1 101") {
        return Err(Error::other("no upgrade"));
    }
    // A binary frame whose length takes two bytes, under a mask that leaves the payload as it is.
    let mut frame = vec![0x82, 0x80 | 126, 0, 128, 0, 0, 0, 0];
    frame.resize(frame.len() + SIZE, b'm');
    let mut answer = [0; SIZE + 4];
    while Instant::now() < end {
        let began = Instant::now();
        stream.write_all(&frame).await?;
        stream.read_exact(&mut answer).await?;
        told.took(began.elapsed());
    }
    Ok(())
}
