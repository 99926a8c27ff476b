//! Bodies: streamed both ways as they come, whole, with their trailers, and none where there is none.

use bytes::Bytes;
use futures_util::stream;
use http_body_util::{BodyExt, StreamBody};
use hyper::body::Frame;
use hyper::{HeaderMap, Method};

use crate::proxy;
use crate::support::http::{Call, Connection, Failure, get};
use crate::support::memory::peak;
use crate::support::wait::wait_for_async;
use crate::support::wire::Wire;

#[tokio::test]
async fn the_first_piece_comes_back_before_the_last_is_sent() {
    let proxy = proxy(&[], "").await;
    let mut wire =
        Wire::sent(proxy.address(), "POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n")
            .await;
    wire.send("5\r\nfirst\r\n").await;
    assert!(wire.head().await.starts_with("HTTP/1.1 200 "));
    assert_eq!(wire.chunk().await.unwrap(), b"first");
    for piece in ["second", "third!"] {
        wire.send(format!("6\r\n{piece}\r\n")).await;
        assert_eq!(wire.chunk().await.unwrap(), piece.as_bytes());
    }
    wire.send("0\r\n\r\n").await;
    assert_eq!(wire.chunk().await, None);

    // The same where the length is known: half of it is enough for half of the answer.
    wire.send("POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nfirst").await;
    let head = wire.head().await;
    assert!(head.contains("content-length: 10"), "{head}");
    assert_eq!(wire.take(5).await, b"first");
    wire.send("other").await;
    assert_eq!(wire.take(5).await, b"other");
}

#[tokio::test]
async fn trailers_pass_both_ways() {
    let proxy = proxy(&[], "").await;
    let mut trailers = HeaderMap::new();
    trailers.insert("x-sum", "42".parse().unwrap());
    let frames =
        [Frame::data(Bytes::from("one ")), Frame::data(Bytes::from("two")), Frame::trailers(trailers)];
    let body = StreamBody::new(stream::iter(frames.map(Ok::<_, Failure>)));
    let call = Call::post(proxy.address(), "/echo", "").header("te", "trailers").header("trailer", "x-sum");
    let answer = call.body(body).send().await.unwrap();
    assert_eq!(answer.text(), "one two");
    assert_eq!(answer.trailers.expect("with trailers")["x-sum"], "42");
}

#[tokio::test]
async fn answers_without_a_body_leave_the_connection_fit() {
    let proxy = proxy(&[], "").await;
    let address = proxy.address();
    let mut connection = Connection::open(address).await.unwrap();
    for _ in 0..3 {
        let head = connection.send(Call::new(Method::HEAD, address, "/bytes?n=12345")).await.unwrap();
        assert_eq!((head.status, head.header("content-length"), head.body.len()), (200, "12345", 0));
        for code in [204, 304] {
            let empty = connection.send(Call::get(address, &format!("/status?code={code}"))).await.unwrap();
            assert_eq!((empty.status, empty.body.len(), empty.header("transfer-encoding")), (code, 0, ""));
        }
        assert_eq!(connection.send(Call::get(address, "/")).await.unwrap().text(), "test-app\n");
    }
    let refused = connection.send(Call::new(Method::HEAD, address, "/").host("a/b")).await.unwrap();
    assert_eq!((refused.status, refused.body.len()), (400, 0), "nor has a refusal of HEAD a body");
}

/// `100 Continue` comes when the replica is there to take the body, not before.
#[tokio::test]
async fn a_client_that_expects_100_waits_until_the_body_is_wanted() {
    let proxy = proxy(&[("START_WHEN", "{report}/go")], "").await;
    let ask = "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\nExpect: 100-continue\r\n\r\n";
    let mut wire = Wire::sent(proxy.address(), ask).await;
    wait_for_async("it is held", || async { (proxy.only_app().await["held"] == 1).then_some(()) }).await;
    assert!(wire.is_silent(), "nobody wants the body yet");
    proxy.tell("go");
    assert!(wire.head().await.starts_with("HTTP/1.1 100 "));
    wire.send("all of it").await;
    let reply = wire.reply().await;
    assert_eq!((reply.status(), reply.text()), (200, "all of it"));
    // Warm, and on the same connection.
    wire.send(ask).await;
    assert!(wire.head().await.starts_with("HTTP/1.1 100 "));
    wire.send("all of it").await;
    assert_eq!(wire.reply().await.text(), "all of it");
}

#[tokio::test]
async fn a_refused_request_is_not_told_to_send_its_body() {
    let proxy = proxy(&[("EXIT_AT_ONCE", "1")], "").await;
    let ask = "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\nExpect: 100-continue\r\n\r\n";
    assert_eq!(Wire::sent(proxy.address(), ask).await.reply().await.status(), 503);
}

const LARGE: usize = 20_000_000;

#[tokio::test]
async fn large_bodies_pass_without_being_kept() {
    let proxy = proxy(&[], "").await;
    let address = proxy.address();
    assert_eq!(get(address, "/id").await.status, 200);
    let before = peak(proxy.pid());
    assert_eq!(get(address, &format!("/bytes?n={LARGE}")).await.body.len(), LARGE);
    let pattern: Bytes = (0..=250).cycle().take(LARGE).collect::<Vec<u8>>().into();
    let echoed = Call::post(address, "/echo", pattern.clone()).send().await.unwrap();
    assert!(echoed.body == pattern, "every byte came back in its place");
    let taken = Call::post(address, "/slow-body", pattern).send().await.unwrap();
    assert_eq!(taken.text(), format!("{LARGE}\n"));
    let grown = peak(proxy.pid()).saturating_sub(before);
    assert!(grown < 8_000, "{grown} kB more for bodies of {LARGE} bytes");
}

/// A reader that stops reading stops the replica from sending: nothing piles up between them.
#[tokio::test]
async fn a_client_that_does_not_read_holds_the_replica_back() {
    let proxy = proxy(&[], "").await;
    let before = peak(proxy.pid());
    let mut response = Call::get(proxy.address(), "/bytes?n=500000000").open().await.unwrap();
    // What both sockets and all buffers take has long been exceeded when this other download is through.
    assert_eq!(get(proxy.address(), &format!("/bytes?n={LARGE}")).await.body.len(), LARGE);
    assert_eq!(proxy.report().count("finish"), 1, "the first is not through");
    assert!(peak(proxy.pid()).saturating_sub(before) < 16_000);
    assert!(response.body_mut().frame().await.unwrap().is_ok());
    drop(response);
    wait_for_async("the replica is told", || async {
        (proxy.report().count("abort") == 1 && proxy.only_app().await["in_flight"] == 0).then_some(())
    })
    .await;
}
