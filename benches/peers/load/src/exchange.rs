//! One request and its answer on whatever carries bytes.

use std::io::{Error, ErrorKind, Result};

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

pub const KEPT: &[u8] = b"GET /small HTTP/1.1\r\nHost: localhost\r\n\r\n";
pub const CLOSED: &[u8] = b"GET /small HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";

/// More than any answer to these takes.
const BUFFER: usize = 4096;

pub async fn exchange<S: AsyncRead + AsyncWrite + Unpin>(stream: &mut S, request: &[u8]) -> Result<()> {
    stream.write_all(request).await?;
    let mut buffer = [0; BUFFER];
    let mut filled = 0;
    loop {
        match stream.read(&mut buffer[filled..]).await? {
            0 => return Err(ErrorKind::UnexpectedEof.into()),
            count => filled += count,
        }
        if whole(&buffer[..filled])? {
            return Ok(());
        }
    }
}

/// Whether `bytes` are a whole answer, with a 200 and the length that it says or chunks to their end.
pub fn whole(bytes: &[u8]) -> Result<bool> {
    let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") else { return Ok(false) };
    let head = std::str::from_utf8(&bytes[..end]).map_err(Error::other)?;
    if !head.starts_with("HTTP/1.1 200") {
        return Err(Error::other(head.to_owned()));
    }
    let length = head.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse::<usize>().ok())?
    });
    match length {
        Some(length) => Ok(bytes.len() >= end + 4 + length),
        None => Ok(bytes.ends_with(b"0\r\n\r\n")),
    }
}
