//! Connections that become something else than HTTP.

use futures_util::{SinkExt, StreamExt};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;

use crate::proxy;
use crate::support::http::Call;
use crate::support::metrics::{Scrape, wait_for_sample};
use crate::support::proxy::{Proxy, Setup};
use crate::support::wait::{wait_for_async, wait_until};
use crate::support::websocket::{self, WebSocket, assert_echoes};
use crate::support::wire::Wire;
use crate::support::yaml;

const ASK: &str =
    "GET /upgrade HTTP/1.1\r\nHost: localhost\r\nConnection: keep-alive, Upgrade\r\nUpgrade: echo\r\n\r\n";

#[tokio::test]
async fn a_websocket_is_carried_both_ways_and_counted_until_it_closes() {
    // Held as well: the switch happens after the wake.
    let proxy = proxy(&[], "").await;
    let mut socket = websocket::open(&proxy).await;
    let large = Message::binary(vec![7; 3_000_000]);
    for message in [Message::text("hello"), large, Message::text("")] {
        assert_echoes(&mut socket, message).await;
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

/// A WebSocket that has carried a message.
async fn open(proxy: &Proxy) -> WebSocket {
    let mut socket = websocket::open(proxy).await;
    assert_echoes(&mut socket, Message::text("hello")).await;
    socket
}

/// What the proxy says at the end, when it is the one to end it.
async fn last_words(mut socket: WebSocket) -> String {
    while let Some(message) = socket.next().await {
        match message.expect("an end that is told") {
            Message::Close(Some(frame)) => {
                assert_eq!(frame.code, CloseCode::Away);
                return frame.reason.to_string();
            }
            Message::Pong(_) => {}
            other => panic!("not expected: {other:?}"),
        }
    }
    panic!("ended without a word")
}

/// The app has heard of all ends, and the proxy counts so many for this reason.
async fn assert_ended(proxy: &Proxy, why: &str, count: f64) {
    let sample = format!("pilotlight_websockets_closed_total{{app=\"app\",why=\"{why}\"}}");
    wait_for_sample(proxy, &sample, count).await;
    wait_for_async("it is over for the proxy", || async {
        (proxy.only_app().await["in_flight"] == 0).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_silent_websocket_is_closed_where_that_is_asked_for() {
    let proxy = proxy(&[], "websocket: {idle_timeout: 300ms}").await;
    let mut socket = websocket::open(&proxy).await;
    socket.send(Message::Ping("anybody?".into())).await.unwrap();
    assert_eq!(last_words(socket).await, "idle_timeout");
    assert_ended(&proxy, "idle_timeout", 1.0).await;
}

/// `clients.idle_timeout` is for the silence between two requests.
#[tokio::test]
async fn what_has_switched_is_not_idle() {
    let proxy = proxy(&[], "clients: {idle_timeout: 300ms}").await;
    let mut socket = open(&proxy).await;
    for _ in 0..3 {
        // It was silent for less time.
        assert!(Wire::open(proxy.address()).await.is_cut().await);
    }
    assert_echoes(&mut socket, Message::text("still there")).await;
}

/// HTTP/1.0 knows no upgrade: the app is not asked for one that could not be answered, and none of its replicas is passed
/// over for it.
#[tokio::test]
async fn an_upgrade_in_http_1_0_is_none() {
    let proxy = proxy(&[], "autoscale: {min: 2, max: 2}").await;
    proxy.ready(2).await;
    for _ in 0..8 {
        let ask = ASK.replace("HTTP/1.1", "HTTP/1.0");
        let reply = Wire::sent(proxy.address(), ask).await.reply().await;
        assert_eq!((reply.status(), reply.header("x-pilotlight-reason")), (426, ""), "as the app says");
    }
    Scrape::of(&proxy).await.assert(&[("pilotlight_replica_ejections_total{app=\"app\"}", 0.0)]);
}

#[tokio::test]
async fn a_websocket_is_one_by_what_the_app_answers() {
    let proxy = proxy(&[], "websocket: {idle_timeout: 300ms}").await;
    let mut wire = Wire::sent(
        proxy.address(),
        "GET /ws HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: other, websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n",
    )
    .await;
    assert!(wire.head().await.starts_with("HTTP/1.1 101 "));
    assert_eq!(wire.rest().await.unwrap(), b"\x88\x0e\x03\xe9idle_timeout");
}

#[tokio::test]
async fn an_old_websocket_is_closed_where_that_is_asked_for() {
    let proxy = proxy(&[], "websocket: {max_age: 300ms}").await;
    let sockets = [websocket::open(&proxy).await, websocket::open(&proxy).await];
    for socket in sockets {
        assert_eq!(last_words(socket).await, "max_age");
    }
    assert_ended(&proxy, "max_age", 2.0).await;
}

#[tokio::test]
async fn a_deploy_closes_websockets_that_do_not_count_and_waits_for_the_others() {
    let keys = |counts: bool, version: &str| {
        yaml::app(&[("VERSION", version)], &format!("websocket: {{counts: {counts}}}\ndrain_timeout: 1h"))
    };
    let proxy = Setup::process(&keys(false, "1")).start().await;
    let socket = open(&proxy).await;
    proxy.reload(&keys(true, "2"));
    assert_eq!(last_words(socket).await, "replica_stops");
    assert_ended(&proxy, "replica_stops", 1.0).await;
    wait_until("the old one is gone", || proxy.report().count("sigterm") == 1).await;
    assert_eq!(proxy.report().open_at_sigterm(), 0, "it had heard the end before");

    let mut socket = open(&proxy).await;
    proxy.reload(&keys(true, "3"));
    proxy.draining(1).await;
    assert_echoes(&mut socket, Message::text("still there?")).await;
    drop(socket);
    wait_until("the second is gone", || proxy.report().count("sigterm") == 2).await;
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

/// It would hold its replica for ever.
#[tokio::test]
async fn who_takes_nothing_of_what_comes_back_is_given_up() {
    let proxy = proxy(&[], "clients: {write_timeout: 500ms}").await;
    let mut deaf = TcpStream::connect(proxy.address()).await.unwrap();
    deaf.write_all(ASK.as_bytes()).await.unwrap();
    // What it says comes back to it.
    while deaf.write_all(&[0; 8192]).await.is_ok() {}
    wait_for_sample(&proxy, "pilotlight_connections_ended_total{reason=\"stalled\"}", 1.0).await;
    wait_for_async("its replica is free", || async {
        (proxy.only_app().await["in_flight"] == 0).then_some(())
    })
    .await;
}
