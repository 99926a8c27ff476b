//! Connections on both sides: which are kept, which are closed, and what a request survives.

use std::time::Duration;

use crate::proxy;
use crate::support::http::{Call, Connection};
use crate::support::load;
use crate::support::sockets;
use crate::support::wait::wait_until;
use crate::support::wire::Wire;

#[tokio::test]
async fn both_sides_are_kept_alive() {
    let proxy = proxy(&[], "keep_alive: 60s").await;
    let mut connection = Connection::open(proxy.address()).await.unwrap();
    assert_eq!(connection.send(Call::get(proxy.address(), "/id")).await.unwrap().status, 200);
    let before = sockets::to_first_replica(&proxy.report());
    assert!(before > 0, "the one that is kept is seen");
    for _ in 0..10 {
        let echoed = connection.send(Call::post(proxy.address(), "/echo", "x")).await.unwrap();
        assert_eq!(echoed.text(), "x");
        assert_eq!(connection.send(Call::get(proxy.address(), "/bytes?n=100000")).await.unwrap().status, 200);
        assert_eq!(
            connection.send(Call::get(proxy.address(), "/status?code=204")).await.unwrap().status,
            204
        );
    }
    assert_eq!(
        sockets::to_first_replica(&proxy.report()),
        before,
        "thirty requests made no connection of their own"
    );
    assert!(!connection.is_closed());
}

/// A client that is gone without a word would keep its place for ever: the kernel asks it whether it is there.
#[tokio::test]
async fn a_silent_client_is_asked_whether_it_is_there() {
    let proxy = proxy(&[], "").await;
    let mut wire = Wire::sent(proxy.address(), "GET /id HTTP/1.1\r\nHost: a\r\n\r\n").await;
    assert_eq!(wire.reply().await.status(), 200);
    let asks = || sockets::timer(proxy.address(), wire.local()) == "02";
    wait_until("its keep-alive timer runs", asks).await;
}

#[tokio::test]
async fn a_client_that_says_close_is_closed() {
    let proxy = proxy(&[], "").await;
    let mut wire =
        Wire::sent(proxy.address(), "GET /id HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").await;
    let reply = wire.reply().await;
    assert_eq!((reply.status(), reply.header("connection")), (200, "close"));
    assert!(wire.is_cut().await);
}

#[tokio::test]
async fn pipelined_requests_are_answered_in_order() {
    let proxy = proxy(&[], "").await;
    let sized = "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nsized";
    let chunked =
        "POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n7\r\nchunked\r\n0\r\n\r\n";
    let get = |path: &str| format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n");
    let all = [
        get("/sleep?ms=200"),
        get("/status?code=404"),
        sized.into(),
        get("/bytes?n=3"),
        chunked.into(),
        chunked.into(),
        get("/"),
    ];
    let mut wire = Wire::sent(proxy.address(), all.concat()).await;
    let expected = [
        (200, "slept\n"),
        (404, "404 Not Found\n"),
        (200, "sized"),
        (200, "000"),
        (200, "chunked"),
        (200, "chunked"),
        (200, "test-app\n"),
    ];
    for (at, wanted) in expected.into_iter().enumerate() {
        let reply = wire.reply().await;
        assert_eq!((reply.status(), reply.text()), wanted, "answer {at}: {}", reply.head);
    }
}

#[tokio::test]
async fn an_old_client_gets_one_answer_or_keeps_its_connection() {
    let proxy = proxy(&[], "").await;
    let mut plain = Wire::sent(proxy.address(), "GET /id HTTP/1.0\r\n\r\n").await;
    assert_eq!(plain.reply().await.status(), 200, "HTTP/1.0 needs no Host");
    assert!(plain.is_cut().await);

    let mut stream =
        Wire::sent(proxy.address(), "GET /stream?chunks=3&every_ms=20&size=4 HTTP/1.0\r\nHost: a\r\n\r\n")
            .await;
    let head = stream.head().await;
    assert!(head.starts_with("HTTP/1.0 200 ") && !head.to_lowercase().contains("chunked"), "{head}");
    assert_eq!(stream.rest().await.unwrap(), b"............", "ended by the connection's end");

    let again = "GET /bytes?n=2 HTTP/1.0\r\nHost: a\r\nConnection: keep-alive\r\n\r\n";
    let mut kept = Wire::sent(proxy.address(), again).await;
    for _ in 0..3 {
        let reply = kept.reply().await;
        assert_eq!((reply.text(), reply.header("connection")), ("00", "keep-alive"));
        kept.send(again).await;
    }
}

/// The replica closes what has been idle for 60 ms, and the proxy would keep it: whatever the moment, nothing that
/// may be sent twice is lost.
#[tokio::test]
async fn a_get_survives_a_replica_that_closes_idle_connections() {
    let proxy = proxy(&[("KEEP_ALIVE_MS", "60")], "keep_alive: 60s").await;
    let address = proxy.address();
    let mut outcomes = load::at_once(8, |_| Call::get(address, "/id").send()).await;
    for round in 0..60 {
        // Around the moment in which the replica closes.
        tokio::time::sleep(Duration::from_millis(50 + round % 20)).await;
        outcomes.add(load::at_once(8, |_| Call::get(address, "/id").send()).await);
    }
    assert_eq!(outcomes.sent(), 61 * 8);
    outcomes.assert_all_ok();
}

/// A POST must not be sent twice: it is safe where the connection is seen to be closed, or closed by us before.
#[tokio::test]
async fn a_post_survives_a_replica_that_closes_idle_connections() {
    for (keeps, proxy_keeps, seen) in [("40", "60s", true), ("3000", "50ms", false)] {
        let proxy = proxy(&[("KEEP_ALIVE_MS", keeps)], &format!("keep_alive: {proxy_keeps}")).await;
        let address = proxy.address();
        let mut outcomes = load::at_once(4, |_| Call::post(address, "/echo", "x").send()).await;
        for _ in 0..25 {
            if seen {
                let closed = || sockets::open_to_first_replica(&proxy.report()) == 0;
                wait_until("the replica has closed them", closed).await;
            } else {
                // Around the moment in which the proxy closes.
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
            outcomes.add(load::at_once(4, |_| Call::post(address, "/echo", "x").send()).await);
        }
        outcomes.assert_all_ok();
        assert_eq!(proxy.report().count("start"), 26 * 4, "each arrived once");
    }
}
