//! Connections that become something else than HTTP.

use futures_util::{SinkExt, StreamExt};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::Message;

use crate::proxy;
use crate::support::http::Call;
use crate::support::wait::wait_for_async;
use crate::support::wire::Wire;

const ASK: &str =
    "GET /upgrade HTTP/1.1\r\nHost: localhost\r\nConnection: keep-alive, Upgrade\r\nUpgrade: echo\r\n\r\n";

#[tokio::test]
async fn a_websocket_is_carried_both_ways_and_counted_until_it_closes() {
    // Held as well: the switch happens after the wake.
    let proxy = proxy(&[], "").await;
    let stream = TcpStream::connect(proxy.address()).await.unwrap();
    let (mut socket, response) = tokio_tungstenite::client_async("ws://localhost/ws", stream).await.unwrap();
    assert_eq!(response.status(), 101);
    let large = Message::binary(vec![7; 3_000_000]);
    for message in [Message::text("hello"), large, Message::text("")] {
        socket.send(message.clone()).await.unwrap();
        assert_eq!(socket.next().await.unwrap().unwrap(), message);
    }
    assert_eq!(proxy.only_app().await["in_flight"], 1);
    socket.close(None).await.unwrap();
    while socket.next().await.is_some() {}
    drop(socket);
    wait_for_async("it is over for the proxy", || async {
        (proxy.only_app().await["in_flight"] == 0).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_half_closed_connection_still_receives() {
    let proxy = proxy(&[], "").await;
    let mut wire = Wire::sent(proxy.address(), ASK).await;
    let head = wire.head().await;
    assert!(
        head.starts_with("HTTP/1.1 101 ") && head.to_lowercase().contains("\r\nupgrade: echo\r\n"),
        "{head}"
    );
    wire.send(b"\x00one").await;
    assert_eq!(wire.take(4).await, b"\x00one");
    wire.send(b"two").await;
    wire.finish().await;
    assert_eq!(wire.rest().await.unwrap(), b"two", "what was under way came back, and then the end");
}

#[tokio::test]
async fn much_comes_back_after_the_client_has_sent_its_last() {
    let proxy = proxy(&[], "").await;
    let call =
        Call::get(proxy.address(), "/upgrade").header("connection", "upgrade").header("upgrade", "echo");
    let upgraded = hyper::upgrade::on(call.open().await.unwrap()).await.unwrap();
    let (mut reader, mut writer) = tokio::io::split(TokioIo::new(upgraded));
    let sending = async {
        writer.write_all(&vec![b'z'; 5_000_000]).await.unwrap();
        writer.shutdown().await.unwrap();
    };
    let mut back = Vec::new();
    let (read, ()) = tokio::join!(reader.read_to_end(&mut back), sending);
    assert_eq!(read.unwrap(), 5_000_000);
}

#[tokio::test]
async fn bytes_sent_along_with_the_request_are_not_lost() {
    let proxy = proxy(&[], "").await;
    let mut wire = Wire::sent(proxy.address(), format!("{ASK}early")).await;
    wire.head().await;
    assert_eq!(wire.take(5).await, b"early");
}

#[tokio::test]
async fn an_upgrade_that_is_refused_stays_http() {
    let proxy = proxy(&[], "").await;
    let mut wire = Wire::sent(proxy.address(), ASK.replace("echo", "other")).await;
    let reply = wire.reply().await;
    assert_eq!((reply.status(), reply.text()), (426, "Upgrade: echo, please\n"));
    wire.send("GET /status?code=201 HTTP/1.1\r\nHost: localhost\r\n\r\n").await;
    assert_eq!(wire.reply().await.status(), 201, "the connection goes on");
    let without = Call::get(proxy.address(), "/upgrade").header("upgrade", "echo").send().await.unwrap();
    assert_eq!(without.status, 426, "Connection does not name it");
}
