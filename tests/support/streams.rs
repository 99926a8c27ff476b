//! A client that carries long streams through the proxy, in either HTTP, and finds each byte in its place.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use http_body_util::{BodyExt, Empty};
use hyper::Request;
use hyper::body::Incoming;
use hyper::ext::Protocol;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;

use super::flow::{Count, Flow, Taken, drink, pour};
use super::fountain::{EXACT, head};
use super::h2::{H2, get};
use super::http::Failure;

/// Where a stream goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Way {
    /// An answer's body.
    Down,
    /// A request's body.
    Up,
    /// Both at once, on a connection that has become something else than HTTP.
    Both,
}

/// A client that speaks one of them.
pub(crate) enum Client {
    Http1(SocketAddr),
    Http2(H2),
}

impl Client {
    /// Carries `length` bytes. `poured` counts those that have left this side.
    pub(crate) async fn carry(&self, way: Way, length: u64, poured: &Count) {
        let carried = match way {
            Way::Down => self.open(length).await.finish().await,
            Way::Up => self.upload(length, poured).await,
            Way::Both => match self.switch(length).await {
                Ok(switched) => switched.finish(poured).await,
                Err(error) => Err(error),
            },
        };
        carried.unwrap_or_else(|error| panic!("{length} bytes, {way:?}: {error}"));
    }

    /// Asks for `length` bytes, of which nothing is read yet.
    pub(crate) async fn open(&self, length: u64) -> Download {
        let body = match self {
            Self::Http1(address) => {
                Answer::Http1(asked(*address, &format!("GET /{length}"), "").await.expect("an answer"))
            }
            Self::Http2(client) => {
                let response = client.open(get(&format!("/{length}"))).await.expect("an answer");
                Answer::Http2(response.into_body())
            }
        };
        Download { body, length }
    }

    async fn upload(&self, length: u64, poured: &Count) -> Result<(), Failure> {
        match self {
            Self::Http1(address) => {
                let mut stream = TcpStream::connect(address).await?;
                let ask = format!("POST /0 HTTP/1.1\r\nHost: a\r\nContent-Length: {length}\r\n\r\n");
                stream.write_all(ask.as_bytes()).await?;
                pour(&mut stream, length, poured).await?;
                head(&mut stream).await?.ok_or("no answer")?;
                verdict(&mut stream).await
            }
            Self::Http2(client) => {
                let request = Request::post("http://localhost/0").body(Flow::new(length, poured))?;
                match client.send(request).await?.text() {
                    EXACT => Ok(()),
                    other => Err(other.into()),
                }
            }
        }
    }

    /// Asks for another protocol than HTTP, in which `length` bytes go both ways. Nothing is sent or read yet.
    pub(crate) async fn switch(&self, length: u64) -> Result<Switched, Failure> {
        let stream: Box<dyn Stream> = match self {
            Self::Http1(address) => {
                let upgrade = "Connection: upgrade\r\nUpgrade: flow\r\n";
                Box::new(asked(*address, &format!("GET /{length}"), upgrade).await?)
            }
            Self::Http2(client) => {
                let request = Request::connect(format!("http://localhost/{length}"))
                    .extension(Protocol::from_static("websocket"))
                    .body(Empty::<Bytes>::new())?;
                Box::new(TokioIo::new(hyper::upgrade::on(client.open(request).await?).await?))
            }
        };
        Ok(Switched { stream, length })
    }
}

/// What a connection has become.
trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<S: AsyncRead + AsyncWrite + Send + Unpin> Stream for S {}

/// A connection that is no HTTP any more.
pub(crate) struct Switched {
    stream: Box<dyn Stream>,
    length: u64,
}

impl Switched {
    /// Sends all, and reads all.
    pub(crate) async fn finish(self, poured: &Count) -> Result<(), Failure> {
        let (mut from, mut to) = tokio::io::split(self.stream);
        let (poured, length) = (Arc::clone(poured), self.length);
        let up = tokio::spawn(async move { pour(&mut to, length, &poured).await.map(|()| to) });
        drink(&mut from, length).await?;
        // Open until the last word has come.
        let _to = up.await??;
        verdict(&mut from).await
    }
}

/// An answer of which the head has come.
pub(crate) struct Download {
    body: Answer,
    length: u64,
}

enum Answer {
    Http1(TcpStream),
    Http2(Incoming),
}

impl Download {
    /// Reads all of it.
    pub(crate) async fn finish(self) -> Result<(), Failure> {
        match self.body {
            Answer::Http1(mut stream) => Ok(drink(&mut stream, self.length).await?),
            Answer::Http2(mut body) => {
                let mut taken = Taken::default();
                while let Some(frame) = body.frame().await {
                    taken.take(frame?.data_ref().ok_or("trailers")?)?;
                }
                if taken.count() == self.length {
                    Ok(())
                } else {
                    Err(format!("{} came", taken.count()).into())
                }
            }
        }
    }
}

/// A connection on which something was asked for and the answer's head was read.
async fn asked(address: SocketAddr, what: &str, fields: &str) -> io::Result<TcpStream> {
    let mut stream = TcpStream::connect(address).await?;
    stream.write_all(format!("{what} HTTP/1.1\r\nHost: a\r\n{fields}\r\n").as_bytes()).await?;
    let head = head(&mut stream).await?.unwrap_or_default();
    let wanted = if fields.is_empty() { "HTTP/1.1 200 " } else { "HTTP/1.1 101 " };
    if head.starts_with(wanted) { Ok(stream) } else { Err(io::Error::other(head)) }
}

async fn verdict(from: &mut (impl AsyncRead + Unpin)) -> Result<(), Failure> {
    let mut said = vec![0; EXACT.len()];
    from.read_exact(&mut said).await?;
    if said == EXACT.as_bytes() {
        return Ok(());
    }
    let _ = from.read_to_end(&mut said).await;
    Err(String::from_utf8_lossy(&said).into_owned().into())
}
