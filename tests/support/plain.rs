//! A server and a client of HTTP/1.1 that ask for no memory while they talk, for what is counted in their process or
//! beside it.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};

use memchr::memmem;

/// More than any head and body here have together.
const MOST: usize = 16 * 1024;

/// Bytes of the larger bodies.
const KILOBYTE: usize = 1024;

const SMALL_ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 3\r\n\r\nok\n";

/// Of each kind of exchange its name, and the request.
pub(crate) fn exchanges() -> [(&'static str, Vec<u8>); 3] {
    let request = |line: &str, more: &str| {
        format!("{line} HTTP/1.1\r\nHost: localhost\r\nUser-Agent: plain\r\nAccept: */*\r\n{more}\r\n")
            .into_bytes()
    };
    let mut post = request("POST /", &format!("Content-Length: {KILOBYTE}\r\n"));
    post.resize(post.len() + KILOBYTE, b'x');
    [
        ("a small answer", request("GET /", "")),
        ("an answer of 1 KB", request("GET /kilobyte", "")),
        ("a body of 1 KB", post),
    ]
}

/// Serves on a thread of its own for each connection, as long as the process lasts.
pub(crate) fn serve() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("some port is free");
    let address = listener.local_addr().expect("it is bound");
    std::thread::spawn(move || {
        while let Ok((stream, _)) = listener.accept() {
            std::thread::spawn(move || answer(stream));
        }
    });
    address
}

/// Ends with its connection.
fn answer(mut stream: TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut large =
        format!("HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: {KILOBYTE}\r\n\r\n");
    large.extend(std::iter::repeat_n('x', KILOBYTE));
    let mut buffer = [0; MOST];
    loop {
        let message = receive(&mut stream, &mut buffer)?;
        let answer = if message.starts_with(b"GET /kilobyte ") { large.as_bytes() } else { SMALL_ANSWER };
        stream.write_all(answer)?;
    }
}

/// One connection to the proxy.
pub(crate) struct Client {
    stream: TcpStream,
    buffer: [u8; MOST],
}

impl Client {
    pub(crate) fn open(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).expect("it listens");
        stream.set_nodelay(true).expect("it is a socket of TCP");
        Self { stream, buffer: [0; MOST] }
    }

    /// Sends a request and receives its answer, which is to be a good one.
    pub(crate) fn exchange(&mut self, request: &[u8]) {
        self.stream.write_all(request).expect("it is there");
        let answer = receive(&mut self.stream, &mut self.buffer).expect("an answer");
        assert!(answer.starts_with(b"HTTP/1.1 200"), "{}", String::from_utf8_lossy(answer));
    }
}

/// One message, of which nothing else follows.
fn receive<'a>(stream: &mut TcpStream, buffer: &'a mut [u8; MOST]) -> io::Result<&'a [u8]> {
    let (mut read, mut whole) = (0, None);
    while whole.is_none_or(|whole| read < whole) {
        match stream.read(&mut buffer[read..])? {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            count => read += count,
        }
        whole = memmem::find(&buffer[..read], b"\r\n\r\n").map(|end| end + 4 + length(&buffer[..end]));
    }
    Ok(&buffer[..read])
}

/// What the head says of the body.
fn length(head: &[u8]) -> usize {
    const NAME: &[u8] = b"\ncontent-length: ";
    let Some(at) = head.windows(NAME.len()).position(|it| it.eq_ignore_ascii_case(NAME)) else { return 0 };
    let digits = head[at + NAME.len()..].iter().take_while(|byte| byte.is_ascii_digit());
    digits.fold(0, |length, digit| length * 10 + usize::from(digit - b'0'))
}
