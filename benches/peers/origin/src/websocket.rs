//! A WebSocket that sends back what it is sent, RFC 6455: whole frames of less than 64 KiB, unmasked.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use sha1::{Digest, Sha1};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

const BUFFER: usize = 128 * 1024;

/// What a key is hashed with, RFC 6455 section 1.3.
const MAGIC: &str = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

pub async fn serve(mut stream: TcpStream, key: &str) {
    let accept = STANDARD.encode(Sha1::digest(format!("{key}{MAGIC}")));
    let head = format!(
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Accept: {accept}\r\n\r\n"
    );
    if stream.write_all(head.as_bytes()).await.is_err() {
        return;
    }
    let mut buffer = vec![0; BUFFER];
    let mut filled = 0;
    let mut answer = Vec::with_capacity(1024);
    loop {
        match stream.read(&mut buffer[filled..]).await {
            Ok(0) | Err(_) => return,
            Ok(count) => filled += count,
        }
        let mut taken = 0;
        while let Some(length) = echo(&buffer[taken..filled], &mut answer) {
            taken += length;
        }
        buffer.copy_within(taken..filled, 0);
        filled -= taken;
        if stream.write_all(&answer).await.is_err() {
            return;
        }
        answer.clear();
    }
}

/// Adds to `answer` the frame at the start of `bytes` and says how long that was; `None` where it is not whole yet.
fn echo(bytes: &[u8], answer: &mut Vec<u8>) -> Option<usize> {
    let short = usize::from(bytes.get(1)? & 0x7f);
    let (size, at) = match short {
        126 => (usize::from(u16::from_be_bytes([*bytes.get(2)?, *bytes.get(3)?])), 4),
        _ => (short, 2),
    };
    let mask = bytes.get(at..at + 4)?;
    let payload = bytes.get(at + 4..at + 4 + size)?;
    answer.push(bytes[0]);
    // A server's frame has no mask, so neither has its length the bit for it.
    answer.push(bytes[1] & 0x7f);
    answer.extend_from_slice(&bytes[2..at]);
    answer.extend(payload.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask));
    Some(at + 4 + size)
}
