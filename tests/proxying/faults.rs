//! Replicas that answer badly, late or not at all.

use std::time::Duration;

use bytes::Bytes;
use futures_util::stream;
use http_body_util::StreamBody;
use hyper::body::Frame;

use crate::proxy;
use crate::support::http::{Answer, Call, Failure, get};
use crate::support::metrics::Scrape;
use crate::support::proxy::Proxy;
use crate::support::wait::wait_for_async;
use crate::support::wire::Wire;

/// With a replica that is up: a start counts against the `timeout` of who asks for it.
async fn warm(env: &[(&str, &str)], timeout: &str) -> Proxy {
    let keys = format!("timeout: {timeout}\nautoscale: {{min: 1, max: 1, metric: rps}}");
    let proxy = proxy(env, &keys).await;
    proxy.ready(1).await;
    proxy
}

#[tokio::test]
async fn an_answer_that_breaks_off_has_no_clean_end() {
    let proxy = proxy(&[], "").await;
    let answer = Call::get(proxy.address(), "/die-mid-body?n=8192").send().await;
    assert!(answer.is_err(), "{answer:?}");
    let mut wire = Wire::sent(proxy.address(), "GET /die-mid-body?n=8192 HTTP/1.1\r\nHost: a\r\n\r\n").await;
    assert!(wire.head().await.contains("content-length: 8192"));
    assert_eq!(wire.take(4096).await.len(), 4096, "what came is passed on");
    assert!(wire.is_cut().await);
    assert_eq!(proxy.only_app().await["in_flight"], 0);
    assert_eq!(get(proxy.address(), "/id").await.status, 200);
}

#[tokio::test]
async fn a_chunked_answer_that_breaks_off_has_no_last_chunk() {
    let proxy = proxy(&[], "").await;
    let stream = Call::get(proxy.address(), "/stream?chunks=1000&every_ms=50").open().await.unwrap();
    assert_eq!(stream.status(), 200);
    assert_eq!(Call::post(proxy.address(), "/exit", "").send().await.unwrap().status, 502);
    let answer = Answer::read(stream).await;
    assert!(answer.is_err(), "the replica died in the middle: {answer:?}");
}

#[tokio::test]
async fn an_answer_that_is_no_http_is_upstream_protocol() {
    let garbage = proxy(&[("MODE", "garbage")], "").await;
    for call in [Call::get(garbage.address(), "/"), Call::post(garbage.address(), "/", "x")] {
        let answer = call.send().await.unwrap();
        assert_eq!((answer.status, answer.reason()), (502, "upstream-protocol"));
    }
    let older = proxy(&[("MODE", "garbage")], "protocol: h2c").await;
    for call in [Call::get(older.address(), "/"), Call::post(older.address(), "/", "x")] {
        let answer = call.send().await.unwrap();
        assert_eq!((answer.status, answer.reason()), (502, "upstream-protocol"));
    }
    Scrape::of(&older).await.assert(&[("pilotlight_retries_total{app=\"app\",kind=\"unsent\"}", 0.0)]);
    let spoilt = proxy(&[], "").await;
    let answer = get(spoilt.address(), "/garbage").await;
    assert_eq!((answer.status, answer.reason()), (502, "upstream-protocol"));
    assert_eq!(get(spoilt.address(), "/id").await.status, 200);
}

/// It may have been the request that ended it, so the others are not to follow.
#[tokio::test]
async fn a_request_that_ends_its_replica_is_sent_to_one_more_at_most() {
    let proxy = proxy(&[], "autoscale: {min: 4, max: 4, metric: rps}").await;
    proxy.ready(4).await;
    let answer = get(proxy.address(), "/exit").await;
    assert_eq!((answer.status, answer.reason()), (502, "upstream-connect"));
    assert_eq!(proxy.report().count("start"), 2);
}

/// The coding is what frames the body; a length beside it is taken off, and the connection is not trusted again.
#[tokio::test]
async fn an_answer_with_two_lengths_is_passed_on_with_one() {
    let proxy = proxy(&[("MODE", "two-lengths")], "keep_alive: 60s").await;
    for _ in 0..3 {
        let mut wire = Wire::sent(proxy.address(), "GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
        let reply = wire.reply().await;
        let framing = (reply.header("transfer-encoding"), reply.header("content-length"));
        assert_eq!((reply.status(), framing), (200, ("chunked", "")), "{}", reply.head);
        assert_eq!(reply.text(), "1", "the first of its connection to the replica");
        assert!(wire.is_silent(), "nothing follows");
    }
}

/// The request's own time is over while a connection is being made: that says nothing of the replica.
#[tokio::test]
async fn a_connect_that_the_deadline_cuts_short_leaves_the_replica_in() {
    let proxy = proxy(&[("SINGLE", "1"), ("BACKLOG", "0")], "timeout: 700ms\nworkers: 1").await;
    let address = proxy.address();
    // Its start is held to the same time, and may take longer.
    let before = wait_for_async("it serves", || async {
        Some(get(address, "/id").await).filter(|answer| answer.status == 200)
    })
    .await;
    let before = before.text().to_owned();
    // It occupies the replica, which lets in one more, and then none.
    let ask = "GET /stream?chunks=100000&every_ms=20 HTTP/1.1\r\nHost: a\r\n\r\n";
    let mut stream = Wire::sent(address, ask).await;
    assert!(stream.head().await.starts_with("HTTP/1.1 200 "));
    for _ in 0..4 {
        let late = get(address, "/").await;
        assert_eq!((late.status, late.reason()), (504, "upstream-timeout"));
        assert_eq!(proxy.only_app().await["ready"], 1);
    }
    assert!(!proxy.log().contains("cannot be reached"), "nobody has suspected it");
    drop(stream);
    let again = wait_for_async("it is free again", || async {
        Some(get(address, "/id").await).filter(|answer| answer.status == 200)
    })
    .await;
    assert_eq!(again.text(), before);
}

#[tokio::test]
async fn a_replica_that_never_answers_is_upstream_timeout() {
    let proxy = warm(&[("NEVER_ANSWER", "1")], "700ms").await;
    for call in [Call::get(proxy.address(), "/"), Call::post(proxy.address(), "/", "x")] {
        let answer = call.send().await.unwrap();
        assert_eq!((answer.status, answer.reason()), (504, "upstream-timeout"));
    }
}

#[tokio::test]
async fn a_late_answer_leaves_nothing_behind_for_the_next() {
    let proxy = warm(&[], "500ms").await;
    for _ in 0..3 {
        let late = get(proxy.address(), "/sleep?ms=800").await;
        assert_eq!((late.status, late.reason()), (504, "upstream-timeout"));
        assert_eq!(get(proxy.address(), "/").await.text(), "test-app\n");
    }
}

#[tokio::test]
async fn the_timeout_ends_with_the_answers_head() {
    let proxy = warm(&[], "1s").await;
    let answer = get(proxy.address(), "/stream?chunks=25&every_ms=100&size=4").await;
    assert_eq!((answer.status, answer.body.len()), (200, 100), "2.5 s of body");
}

/// `count` pieces of ten bytes, `every` so many milliseconds.
fn pieces(
    count: usize,
    every: u64,
) -> StreamBody<impl futures_util::Stream<Item = Result<Frame<Bytes>, Failure>>> {
    StreamBody::new(stream::unfold(0, move |sent| async move {
        if sent == count {
            return None;
        }
        tokio::time::sleep(Duration::from_millis(every)).await;
        Some((Ok(Frame::data(Bytes::from_static(b"0123456789"))), sent + 1))
    }))
}

#[tokio::test]
async fn an_upload_is_not_cut_while_bytes_arrive() {
    let proxy = warm(&[], "1s").await;
    let body = pieces(30, 100);
    let answer = Call::post(proxy.address(), "/slow-body", "").body(body).send().await.unwrap();
    assert_eq!((answer.status, answer.text()), (200, "300\n"));
}

/// The time that a client takes to send is not the replica's: it has its `timeout` beside.
#[tokio::test]
async fn a_slow_upload_leaves_the_replica_its_time() {
    let proxy = warm(&[], "2s").await;
    // The replica answers a second after the last piece, at 4 s; it has until 5 s.
    let body = pieces(30, 100);
    let answer = Call::post(proxy.address(), "/sleep?ms=4000", "").body(body).send().await.unwrap();
    assert_eq!((answer.status, answer.reason()), (200, ""));
}

#[tokio::test]
async fn an_upload_that_stops_is_cut() {
    let proxy = warm(&[], "700ms").await;
    let mut wire = Wire::sent(
        proxy.address(),
        "POST /slow-body HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\nhalf of it",
    )
    .await;
    let reply = wire.reply().await;
    assert_eq!((reply.status(), reply.header("x-pilotlight-reason")), (504, "upstream-timeout"));
}
