//! Connections that stop being HTTP: a WebSocket echo and a raw one. Each keeps its request open to its end.

use futures_util::{SinkExt, StreamExt};
use hyper::body::Incoming;
use hyper::header::{CONNECTION, HeaderName, HeaderValue, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY, UPGRADE};
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::protocol::Role;

use crate::bodies::{AnyBody, whole};
use crate::journal::OpenRequest;

/// What the client may become.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// `Upgrade: websocket`.
    WebSocket,
    /// `Upgrade: echo`: every byte comes back.
    Raw,
}

/// Answers 101 and goes on as an echo; 426 to a client that did not ask for it. Either ends `open` in time.
pub(crate) fn accept(kind: Kind, mut request: Request<Incoming>, mut open: OpenRequest) -> Response<AnyBody> {
    let wanted = match kind {
        Kind::WebSocket => "websocket",
        Kind::Raw => "echo",
    };
    let asked = request.headers().get(UPGRADE).and_then(|value| value.to_str().ok());
    let key = request.headers().get(SEC_WEBSOCKET_KEY).map(|key| derive_accept_key(key.as_bytes()));
    if !asked.is_some_and(|asked| asked.split(',').any(|it| it.trim().eq_ignore_ascii_case(wanted)))
        || (kind == Kind::WebSocket && key.is_none())
    {
        open.finish();
        let mut response = Response::new(whole(format!("Upgrade: {wanted}, please\n")));
        *response.status_mut() = StatusCode::UPGRADE_REQUIRED;
        set(&mut response, UPGRADE, wanted);
        return response;
    }
    let upgrade = hyper::upgrade::on(&mut request);
    tokio::spawn(async move {
        if let Ok(upgraded) = upgrade.await {
            let io = TokioIo::new(upgraded);
            match kind {
                Kind::WebSocket => echo_messages(io).await,
                Kind::Raw => echo_bytes(io).await,
            }
            open.finish();
        }
    });
    let mut response = Response::new(whole(""));
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    set(&mut response, CONNECTION, "upgrade");
    set(&mut response, UPGRADE, wanted);
    if let (Kind::WebSocket, Some(key)) = (kind, key) {
        set(&mut response, SEC_WEBSOCKET_ACCEPT, &key);
    }
    response
}

fn set(response: &mut Response<AnyBody>, name: HeaderName, value: &str) {
    response.headers_mut().insert(name, HeaderValue::from_str(value).expect("made of header characters"));
}

async fn echo_messages(io: TokioIo<hyper::upgrade::Upgraded>) {
    let mut socket = WebSocketStream::from_raw_socket(io, Role::Server, None).await;
    while let Some(Ok(message)) = socket.next().await {
        // Pings and closes are answered by the library.
        if (message.is_text() || message.is_binary()) && socket.send(message).await.is_err() {
            break;
        }
    }
}

async fn echo_bytes(io: TokioIo<hyper::upgrade::Upgraded>) {
    let (mut reader, mut writer) = tokio::io::split(io);
    let _ = tokio::io::copy(&mut reader, &mut writer).await;
    let _ = tokio::io::AsyncWriteExt::shutdown(&mut writer).await;
}
