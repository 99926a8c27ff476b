//! A WebSocket over HTTP/2, RFC 8441.

use bytes::Bytes;
use futures_util::{SinkExt, StreamExt};
use http_body_util::Empty;
use hyper::Request;
use hyper::ext::Protocol;
use hyper_util::rt::TokioIo;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::Role;

use crate::h2::H2;
use crate::proxy;
use crate::support::wait::wait_for_async;

fn connect(path: &str, protocol: &'static str) -> Request<Empty<Bytes>> {
    let builder = Request::connect(format!("http://localhost{path}")).header("sec-websocket-version", "13");
    builder.extension(Protocol::from_static(protocol)).body(Empty::new()).expect("a request")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_websocket_over_http2_from_zero() {
    let proxy = proxy(&[], "").await;
    let client = H2::clear(&proxy).await;
    // Whether the server takes it is known from the first answer on.
    client.get("/.pilotlight/health").await;
    let response = client.open(connect("/ws", "websocket")).await.unwrap();
    assert_eq!(response.status(), 200);
    assert!(!response.headers().contains_key("sec-websocket-accept"), "{:?}", response.headers());
    let upgraded = TokioIo::new(hyper::upgrade::on(response).await.unwrap());
    let mut socket = WebSocketStream::from_raw_socket(upgraded, Role::Client, None).await;
    let large = Message::binary(vec![7; 1_000_000]);
    for message in [Message::text("hello"), large, Message::text("")] {
        socket.send(message.clone()).await.unwrap();
        assert_eq!(socket.next().await.unwrap().unwrap(), message);
    }
    assert_eq!(proxy.only_app().await["in_flight"], 1);
    assert_eq!(client.get("/id").await.status, 200, "others go beside it");
    socket.close(None).await.unwrap();
    while socket.next().await.is_some() {}
    drop(socket);
    wait_for_async("it is over for the proxy", || async {
        (proxy.only_app().await["in_flight"] == 0).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_websocket_is_answered_as_such() {
    let proxy = proxy(&[], "").await;
    let client = H2::clear(&proxy).await;
    client.get("/.pilotlight/health").await;
    let other = client.send(connect("/ws", "connect-udp")).await.unwrap();
    assert_eq!((other.status, other.reason()), (400, "bad-request: a :protocol other than websocket"));
    let none = client.send(connect("/id", "websocket")).await.unwrap();
    assert_eq!((none.status, none.reason()), (502, "upstream-protocol"), "a 200 would say that there is one");
    let refused = client.send(connect("/status?code=403", "websocket")).await.unwrap();
    assert_eq!(refused.status, 403, "the app's own word");
}
