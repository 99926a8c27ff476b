//! A small HTTP/2 client, over whatever is connected already.

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::{Body, Incoming};
use hyper::client::conn::http2::{self, SendRequest};
use hyper::{Request, Response, Version};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;

use super::http::{Answer, Failure, Sent};
use super::proxy::Proxy;

/// One connection.
pub(crate) struct H2(SendRequest<Sent>);

impl H2 {
    /// A new one on clear text, HTTP/2 known beforehand.
    pub(crate) async fn clear(proxy: &Proxy) -> Self {
        Self::over(TcpStream::connect(proxy.address()).await.expect("it listens")).await
    }

    /// One over this stream.
    pub(crate) async fn over(stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static) -> Self {
        let handshake = http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await;
        let (requests, connection) = handshake.expect("a client speaks first");
        tokio::spawn(connection);
        Self(requests)
    }

    /// A request; to the end of its answer.
    pub(crate) async fn send<B>(&self, request: Request<B>) -> Result<Answer, Failure>
    where
        B: Body<Data = Bytes> + Send + 'static,
        B::Error: Into<Failure>,
    {
        Answer::read(self.open(request).await?).await
    }

    /// A request; to the head of its answer.
    pub(crate) async fn open<B>(&self, request: Request<B>) -> Result<Response<Incoming>, Failure>
    where
        B: Body<Data = Bytes> + Send + 'static,
        B::Error: Into<Failure>,
    {
        let mut requests = self.0.clone();
        requests.ready().await?;
        let response =
            requests.send_request(request.map(|body| body.map_err(Into::into).boxed_unsync())).await?;
        assert_eq!(response.version(), Version::HTTP_2);
        Ok(response)
    }

    /// `GET path` of the host `localhost`.
    pub(crate) async fn get(&self, path: &str) -> Answer {
        let answer = self.send(get(path)).await;
        answer.unwrap_or_else(|error| panic!("GET {path}: {error}"))
    }

    /// Whether the server has closed it.
    pub(crate) fn is_closed(&self) -> bool {
        self.0.is_closed()
    }
}

/// `GET path` of the host `localhost`.
pub(crate) fn get(path: &str) -> Request<Full<Bytes>> {
    Request::get(format!("http://localhost{path}")).body(Full::default()).expect("a request")
}

/// `POST path` of the host `localhost`.
pub(crate) fn post(path: &str, body: impl Into<Bytes>) -> Request<Full<Bytes>> {
    Request::post(format!("http://localhost{path}")).body(Full::new(body.into())).expect("a request")
}
