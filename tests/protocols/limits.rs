//! What one client may do, and what it is told beyond.

use std::time::{Duration, Instant};

use bytes::Bytes;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::Request;
use hyper::body::Frame;

use crate::h2::{H2, get};
use crate::proxy;
use crate::support::http::{Call, get as get1};
use crate::support::metrics::{Scrape, wait_for_sample};
use crate::support::wait::wait_for_async;
use crate::support::wire::Wire;

#[tokio::test(flavor = "multi_thread")]
async fn heads_have_a_size() {
    let proxy = proxy(&[], "clients: {header_bytes: 2048, headers: 10, uri_bytes: 100}").await;
    let ask = async |request: String| {
        let mut wire = Wire::sent(proxy.address(), request).await;
        let reply = wire.reply().await;
        assert!(wire.is_cut().await);
        reply.status()
    };
    let long = "x".repeat(3000);
    assert_eq!(ask(format!("GET / HTTP/1.1\r\nHost: a\r\nX: {long}\r\n\r\n")).await, 431);
    let many = (0..10).map(|at| format!("X-{at}: 1\r\n")).collect::<Vec<_>>().concat();
    assert_eq!(ask(format!("GET / HTTP/1.1\r\nHost: a\r\n{many}\r\n")).await, 431);
    assert_eq!(ask(format!("GET /{} HTTP/1.1\r\nHost: a\r\n\r\n", "x".repeat(100))).await, 414);
    let client = H2::clear(&proxy).await;
    let large = Request::get("http://localhost/").header("x", &long).body(Full::<Bytes>::default()).unwrap();
    assert_eq!(client.send(large).await.unwrap().status, 431);
    Scrape::of(&proxy).await.assert(&[
        ("pilotlight_requests_rejected_total{app=\"\",reason=\"header-too-large\"}", 2.0),
        ("pilotlight_requests_rejected_total{app=\"\",reason=\"uri-too-long\"}", 1.0),
    ]);
    assert_eq!(proxy.report().count("boot"), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn bodies_have_a_size() {
    let proxy = proxy(&[], "max_body: 1000").await;
    let told = Call::post(proxy.address(), "/echo", vec![7; 1001]).send().await.unwrap();
    assert_eq!((told.status, told.reason()), (413, "body-too-large"));
    assert_eq!(proxy.report().count("boot"), 0, "what says so itself wakes nobody");
    assert_eq!(Call::post(proxy.address(), "/echo", vec![7; 1000]).send().await.unwrap().body.len(), 1000);
    let pieces = (0..3).map(|_| Ok::<_, std::io::Error>(Frame::data(Bytes::from(vec![7; 400]))));
    let body = StreamBody::new(futures_util::stream::iter(pieces));
    let streamed = Call::post(proxy.address(), "/slow-body", "").body(body).send().await.unwrap();
    assert_eq!((streamed.status, streamed.reason()), (413, "body-too-large"));
    assert_eq!(get1(proxy.address(), "/id").await.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn heads_and_bodies_have_their_time() {
    let keys = "body_timeout: 300ms\nclients: {header_timeout: 300ms, idle_timeout: 2s}";
    let proxy = proxy(&[], keys).await;
    let mut head = Wire::sent(proxy.address(), "GET / HTTP/1.1\r\nHost:").await;
    let reply = head.reply().await;
    assert_eq!((reply.status(), reply.header("x-pilotlight-reason")), (408, "request-timeout"));
    assert!(head.is_cut().await);
    let post = "POST /slow-body HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\n123";
    let mut body = Wire::sent(proxy.address(), post).await;
    let reply = body.reply().await;
    assert_eq!((reply.status(), reply.header("x-pilotlight-reason")), (408, "request-timeout"));
    assert!(body.is_cut().await);
    Scrape::of(&proxy).await.assert(&[
        ("pilotlight_requests_rejected_total{app=\"\",reason=\"request-timeout\"}", 1.0),
        ("pilotlight_requests_rejected_total{app=\"app\",reason=\"request-timeout\"}", 1.0),
    ]);
    let mut idle = Wire::open(proxy.address()).await;
    assert!(idle.is_cut().await, "without a word");
    let client = H2::clear(&proxy).await;
    assert_eq!(client.get("/id").await.status, 200);
    wait_for_async("an idle one of HTTP/2 is closed as well", || async { client.is_closed().then_some(()) })
        .await;
    let mut kept = Wire::sent(proxy.address(), "GET /.pilotlight/health HTTP/1.1\r\nHost: a\r\n\r\n").await;
    assert_eq!(kept.reply().await.status(), 200);
    assert!(kept.is_cut().await);
    wait_for_sample(&proxy, "pilotlight_connections_ended_total{reason=\"idle\"}", 3.0).await;
}

/// A client that is amid a body is told why it is sent away, and the connection ends in order whatever it sends.
#[tokio::test(flavor = "multi_thread")]
async fn who_is_amid_a_body_loses_no_answer() {
    let proxy = proxy(&[], "max_body: 1000\nbody_timeout: 300ms").await;
    let large = "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000\r\n\r\n";
    let grows = "POST /slow-body HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n989680\r\n";
    let stops = "POST /slow-body HTTP/1.1\r\nHost: a\r\nContent-Length: 1000\r\n\r\n123";
    let mut cases = vec![(large, 413), (grows, 413), (stops, 408)];
    while let Some((head, status)) = cases.pop() {
        let mut wire = Wire::sent(proxy.address(), head).await;
        if status == 413 {
            wire.send(vec![b'x'; 100_000]).await;
        }
        let asked = Instant::now();
        assert_eq!(wire.reply().await.status(), status);
        for _ in 0..5 {
            wire.send(vec![b'x'; 10_000]).await;
        }
        if asked.elapsed() > Duration::from_secs(1) {
            // A machine that is so slow may have come after its time, which says nothing.
            cases.push((head, status));
            continue;
        }
        assert_eq!(wire.rest().await.expect("no reset"), b"", "{head}");
        wire.finish().await;
    }
    let mut silent = Wire::sent(proxy.address(), large).await;
    assert_eq!(silent.reply().await.status(), 413);
    wait_for_async("it is not waited for long", || async {
        (Scrape::of(&proxy).await.get("pilotlight_connections_open") == Some(0.0)).then_some(())
    })
    .await;
    assert!(silent.is_cut().await);
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_are_counted() {
    let proxy = proxy(&[], "clients: {connections: 3, connections_per_client: 2}").await;
    let held = "GET /.pilotlight/health HTTP/1.1\r\nHost: a\r\n\r\n";
    let mut first = Wire::sent(proxy.address(), held).await;
    let mut second = Wire::sent(proxy.address(), held).await;
    assert_eq!((first.reply().await.status(), second.reply().await.status()), (200, 200));
    let mut third = Wire::sent(proxy.address(), held).await;
    let reply = third.reply().await;
    assert_eq!((reply.status(), reply.header("x-pilotlight-reason")), (503, "connections-full"));
    Scrape::of(&proxy).await.assert(&[("pilotlight_connections_refused_total{bound=\"client\"}", 1.0)]);
    drop(first);
    wait_for_async("there is room again", || async {
        let mut wire = Wire::sent(proxy.address(), held).await;
        (wire.reply().await.status() == 200).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_carries_so_many_requests() {
    let proxy = proxy(&[], "clients: {requests_per_connection: 2}").await;
    let request = "GET /.pilotlight/health HTTP/1.1\r\nHost: a\r\n\r\n";
    let mut wire = Wire::sent(proxy.address(), request.repeat(3)).await;
    assert_eq!(wire.reply().await.header("connection"), "");
    assert_eq!(wire.reply().await.header("connection"), "close");
    assert!(wire.is_cut().await);
    let client = H2::clear(&proxy).await;
    client.send(get("/.pilotlight/health")).await.unwrap();
    client.send(get("/.pilotlight/health")).await.unwrap();
    wait_for_async("the server takes leave", || async { client.is_closed().then_some(()) }).await;
    wait_for_sample(&proxy, "pilotlight_connections_ended_total{reason=\"requests\"}", 2.0).await;
    Scrape::of(&proxy).await.assert(&[("pilotlight_connections_ended_total{reason=\"idle\"}", 0.0)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_asks_so_often() {
    let proxy = proxy(&[], "rate_limit: {rps: 0.01, burst: 2}\ntrusted_proxies: 127.0.0.1").await;
    let ask = async |client: &str| {
        Call::get(proxy.address(), "/id").header("x-forwarded-for", client).send().await.unwrap()
    };
    assert_eq!((ask("192.0.2.1").await.status, ask("192.0.2.1").await.status), (200, 200));
    let told = ask("192.0.2.1").await;
    assert_eq!((told.status, told.reason()), (429, "rate-limited"));
    let wait: u64 = told.header("retry-after").parse().unwrap();
    assert!((50..=100).contains(&wait), "{wait}");
    assert_eq!(ask("192.0.2.2").await.status, 200, "another has its own");
    let app = proxy.only_app().await;
    assert_eq!(app["requests"], 3, "what was refused is nothing to scale by");
    Scrape::of(&proxy)
        .await
        .assert(&[("pilotlight_requests_rejected_total{app=\"app\",reason=\"rate-limited\"}", 1.0)]);
}

/// The window of one stream is closed; that of its connection is open.
#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_is_left_untaken_is_given_up() {
    let proxy = proxy(&[], "clients: {write_timeout: 500ms}").await;
    let client = H2::clear(&proxy).await;
    let untaken = client.open(get("/bytes?n=100000000")).await.unwrap();
    wait_for_async("its replica is free", || async {
        (proxy.only_app().await["in_flight"] == 0).then_some(())
    })
    .await;
    assert!(untaken.into_body().collect().await.is_err(), "it has no end");
    assert_eq!(client.get("/id").await.status, 200, "the others go on");
    let deaf = Wire::sent(proxy.address(), "GET /bytes?n=100000000 HTTP/1.1\r\nHost: a\r\n\r\n").await;
    wait_for_sample(&proxy, "pilotlight_connections_ended_total{reason=\"stalled\"}", 1.0).await;
    drop(deaf);
    let scrape = Scrape::of(&proxy).await;
    scrape.assert(&[("pilotlight_connections_ended_total{reason=\"stalled-stream\"}", 1.0)]);
    scrape.assert_sound();
}
