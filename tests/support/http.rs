//! A small HTTP/1.1 client: one connection a call, or one that is kept. It follows nothing, retries nothing
//! and knows no pool, so that what a test sees is what the server did.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full};
use hyper::body::{Body, Incoming};
use hyper::client::conn::http1::{self, SendRequest};
use hyper::header::{HOST, HeaderMap};
use hyper::{Method, Request, Response};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::wait::LIMIT;

/// What may go wrong with a call.
pub(crate) type Failure = Box<dyn std::error::Error + Send + Sync>;
/// A request's body.
pub(crate) type Sent = UnsyncBoxBody<Bytes, Failure>;

/// One request, before it is sent.
pub(crate) struct Call {
    address: SocketAddr,
    request: Request<Sent>,
}

impl Call {
    /// `GET path`, for the host `localhost`.
    pub(crate) fn get(address: SocketAddr, path: &str) -> Self {
        Self::new(Method::GET, address, path)
    }

    /// `POST path` with a body whose length is known.
    pub(crate) fn post(address: SocketAddr, path: &str, body: impl Into<Bytes>) -> Self {
        Self::new(Method::POST, address, path).body(Full::new(body.into()))
    }

    /// Any other request.
    pub(crate) fn new(method: Method, address: SocketAddr, path: &str) -> Self {
        let request = Request::builder().method(method).uri(path).header(HOST, "localhost");
        let empty = Full::default().map_err(|never| match never {}).boxed_unsync();
        Self { address, request: request.body(empty).expect("a path and a name make a request") }
    }

    /// Another host.
    pub(crate) fn host(self, host: &str) -> Self {
        self.header("host", host)
    }

    /// One header, in place of any of that name.
    pub(crate) fn header(mut self, name: &'static str, value: &str) -> Self {
        self.request.headers_mut().insert(name, value.parse().expect("a header's value"));
        self
    }

    /// Any body, streamed.
    pub(crate) fn body<B>(mut self, body: B) -> Self
    where
        B: Body<Data = Bytes> + Send + 'static,
        B::Error: Into<Failure>,
    {
        *self.request.body_mut() = body.map_err(Into::into).boxed_unsync();
        self
    }

    /// Sends it and reads the whole answer.
    pub(crate) async fn send(self) -> Result<Answer, Failure> {
        Answer::read(self.open().await?).await
    }

    /// Sends it and reads the head of the answer; the body is the caller's to read.
    pub(crate) async fn open(self) -> Result<Response<Incoming>, Failure> {
        let mut connection = Connection::open(self.address).await?;
        let response = connection.requests.send_request(self.request).await?;
        // An answer that is still read, or has become another protocol, keeps its connection itself.
        Ok(response)
    }
}

/// A connection that is kept.
pub(crate) struct Connection {
    requests: SendRequest<Sent>,
}

impl Connection {
    /// A new one.
    pub(crate) async fn open(address: SocketAddr) -> Result<Self, Failure> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        let (requests, connection) = http1::handshake(TokioIo::new(stream)).await?;
        tokio::spawn(connection.with_upgrades());
        Ok(Self { requests })
    }

    /// One request on it, after the one before is done.
    pub(crate) async fn send(&mut self, call: Call) -> Result<Answer, Failure> {
        self.requests.ready().await?;
        Answer::read(self.requests.send_request(call.request).await?).await
    }

    /// Whether the server has closed it.
    pub(crate) fn is_closed(&self) -> bool {
        self.requests.is_closed()
    }
}

/// A whole answer.
#[derive(Debug, Clone)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
    pub(crate) trailers: Option<HeaderMap>,
}

impl Answer {
    /// Reads a response to its end.
    pub(crate) async fn read(response: Response<Incoming>) -> Result<Self, Failure> {
        let (head, body) = response.into_parts();
        let body = body.collect().await?;
        let trailers = body.trailers().cloned();
        Ok(Self { status: head.status.as_u16(), headers: head.headers, body: body.to_bytes(), trailers })
    }

    /// The body as text.
    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.body).expect("the test app writes text")
    }

    /// The body as JSON.
    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.text()))
    }

    /// One header; empty where there is none.
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().expect("headers of tests are text"))
    }

    /// Why the proxy itself answered; empty where a replica did.
    pub(crate) fn reason(&self) -> &str {
        self.header("x-pilotlight-reason")
    }
}

/// `GET path`, to the end; panics where there is no answer.
pub(crate) async fn get(address: SocketAddr, path: &str) -> Answer {
    let answer = Call::get(address, path).send().await;
    answer.unwrap_or_else(|error| panic!("GET {path}: no answer: {error}"))
}

/// Sends bytes as they are, and gives back what comes until the other side closes or is silent for so long.
pub(crate) async fn raw(address: SocketAddr, bytes: &[u8], silence: Duration) -> String {
    let mut stream = TcpStream::connect(address).await.expect("somebody listens");
    stream.write_all(bytes).await.expect("a few bytes can be sent");
    let mut answer = Vec::new();
    let mut buffer = [0; 4096];
    while let Ok(Ok(count @ 1..)) = tokio::time::timeout(silence.min(LIMIT), stream.read(&mut buffer)).await {
        answer.extend_from_slice(&buffer[..count]);
    }
    String::from_utf8_lossy(&answer).into_owned()
}
