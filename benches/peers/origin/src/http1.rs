//! HTTP/1.1, no more of it than the proxies under test send: a head, a body with its length, an upgrade.

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::websocket;

/// Larger than any head here; a head that does not fit ends its connection.
const BUFFER: usize = 64 * 1024;

/// Whole answers, head and body, as they go on the wire.
pub struct Answers {
    small: Vec<u8>,
    kib: Vec<u8>,
    kib64: Vec<u8>,
    mib10: Vec<u8>,
}

impl Answers {
    pub fn new() -> Self {
        Self {
            small: answer(b"Hello, world\n"),
            kib: answer(&[b'x'].repeat(1024)),
            kib64: answer(&[b'x'].repeat(64 * 1024)),
            mib10: answer(&[b'x'].repeat(10 * 1024 * 1024)),
        }
    }

    fn of(&self, path: &str) -> &[u8] {
        match path {
            "/1k" => &self.kib,
            "/64k" => &self.kib64,
            "/10m" => &self.mib10,
            _ => &self.small,
        }
    }
}

fn answer(body: &[u8]) -> Vec<u8> {
    let head =
        format!("HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: {}\r\n\r\n", body.len());
    [head.as_bytes(), body].concat()
}

/// What a head says that matters here.
struct Head<'a> {
    length: usize,
    answer: &'a [u8],
    body: usize,
    close: bool,
    websocket: Option<String>,
}

/// Serves a connection to its end, in whatever way that comes.
pub async fn serve(mut stream: TcpStream, answers: &Answers) {
    let mut buffer = vec![0; BUFFER];
    let mut filled = 0;
    loop {
        let head = loop {
            match parse(&buffer[..filled], answers) {
                Ok(Some(head)) => break head,
                Ok(None) if filled < BUFFER => {}
                Ok(None) | Err(()) => return,
            }
            match stream.read(&mut buffer[filled..]).await {
                Ok(0) | Err(_) => return,
                Ok(count) => filled += count,
            }
        };
        if let Some(key) = head.websocket {
            return websocket::serve(stream, &key).await;
        }
        let end = head.length + head.body;
        if end <= filled {
            buffer.copy_within(end..filled, 0);
            filled -= end;
        } else {
            let mut left = end - filled;
            filled = 0;
            while left > 0 {
                let most = left.min(BUFFER);
                match stream.read(&mut buffer[..most]).await {
                    Ok(0) | Err(_) => return,
                    Ok(count) => left -= count,
                }
            }
        }
        if stream.write_all(head.answer).await.is_err() || head.close {
            return;
        }
    }
}

/// The head at the start of `bytes`, `None` where it is not whole yet.
fn parse<'a>(bytes: &[u8], answers: &'a Answers) -> Result<Option<Head<'a>>, ()> {
    if bytes.is_empty() {
        return Ok(None);
    }
    let mut fields = [httparse::EMPTY_HEADER; 64];
    let mut request = httparse::Request::new(&mut fields);
    let httparse::Status::Complete(length) = request.parse(bytes).map_err(drop)? else { return Ok(None) };
    let mut head = Head {
        length,
        answer: answers.of(request.path.unwrap_or_default()),
        body: 0,
        close: request.version == Some(0),
        websocket: None,
    };
    for field in request.headers {
        let text = || std::str::from_utf8(field.value).map_err(drop);
        if field.name.eq_ignore_ascii_case("content-length") {
            head.body = text()?.parse().map_err(drop)?;
        } else if field.name.eq_ignore_ascii_case("connection") {
            head.close |= field.value.eq_ignore_ascii_case(b"close");
        } else if field.name.eq_ignore_ascii_case("sec-websocket-key") {
            head.websocket = Some(text()?.to_owned());
        } else if field.name.eq_ignore_ascii_case("transfer-encoding") {
            // No workload sends one; a proxy that made one of a length would be measured by another measure.
            return Err(());
        }
    }
    Ok(Some(head))
}
