//! gRPC: calls to a replica that speaks HTTP/2 alone, from zero, and what a caller is told where there is none.

use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::Frame;
use hyper::{HeaderMap, Request};
use tokio::sync::mpsc;

use crate::h2::{H2, get};
use crate::proxy;
use crate::support::metrics::Scrape;
use crate::support::wait::wait_for_async;

/// One message, framed as gRPC frames it.
fn message(text: &str) -> Bytes {
    let length = u32::try_from(text.len()).expect("messages of tests are short").to_be_bytes();
    [&[0][..], &length, text.as_bytes()].concat().into()
}

fn call(path: &str) -> hyper::http::request::Builder {
    let builder = Request::post(format!("http://localhost{path}"));
    builder.header("content-type", "application/grpc+proto").header("te", "trailers")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_goes_by_http2_from_zero() {
    let proxy = proxy(&[("MODE", "h2c")], "").await;
    let client = H2::clear(&proxy).await;
    let answer = client.send(call("/headers").body(Full::new(message("hello"))).unwrap()).await.unwrap();
    let seen = answer.json();
    assert_eq!((&seen["version"], &seen["uri"]), (&"HTTP/2.0".into(), &"http://localhost/headers".into()));
    let headers = seen["headers"].to_string();
    assert!(headers.contains(r#"["te","trailers"]"#) && !headers.contains(r#"["host""#), "{headers}");
}

#[tokio::test(flavor = "multi_thread")]
async fn messages_go_both_ways_while_the_call_is_open_and_trailers_end_it() {
    let proxy = proxy(&[("MODE", "h2c")], "").await;
    let client = H2::clear(&proxy).await;
    let (send, mut frames) = mpsc::channel::<Frame<Bytes>>(1);
    let frames = futures_util::stream::poll_fn(move |cx| {
        frames.poll_recv(cx).map(|frame| frame.map(Ok::<_, std::io::Error>))
    });
    let request = call("/echo").body(StreamBody::new(frames)).unwrap();
    send.send(Frame::data(message("0"))).await.unwrap();
    let mut response = client.open(request).await.unwrap();
    for at in 0..20 {
        let piece = response.body_mut().frame().await.unwrap().unwrap().into_data().unwrap();
        assert_eq!(piece, message(&at.to_string()));
        send.send(Frame::data(message(&(at + 1).to_string()))).await.unwrap();
    }
    let status = HeaderMap::from_iter([("grpc-status".parse().unwrap(), "0".parse().unwrap())]);
    send.send(Frame::trailers(status)).await.unwrap();
    drop(send);
    let rest = response.into_body().collect().await.unwrap();
    assert_eq!(rest.trailers().unwrap()["grpc-status"], "0");
}

#[tokio::test(flavor = "multi_thread")]
async fn many_calls_share_connections_to_the_replica() {
    let proxy = proxy(&[("MODE", "h2c")], "").await;
    let client = H2::clear(&proxy).await;
    let calls = (0..90).map(|_| client.send(call("/sleep?ms=100").body(Full::new(message("x"))).unwrap()));
    for answer in futures_util::future::join_all(calls).await {
        assert_eq!(answer.unwrap().status, 200);
    }
    let connections = crate::support::sockets::to_first_replica(&proxy.report());
    // Each has two ends on this machine; and the listening socket is among them, and what has looked whether it is up.
    assert!(connections < 20, "{connections}");
}

#[tokio::test(flavor = "multi_thread")]
async fn h2c_is_for_all_requests_and_for_checks() {
    let proxy = proxy(&[("MODE", "h2c")], "protocol: h2c\nhealth: {path: /healthz}").await;
    let seen = crate::support::http::get(proxy.address(), "/headers").await.json();
    assert_eq!(seen["version"], "HTTP/2.0", "{:?}", "of a client of HTTP/1.1");
    let client = H2::clear(&proxy).await;
    assert_eq!(client.send(get("/id")).await.unwrap().status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_proxy_says_is_a_status_of_grpc() {
    let proxy = proxy(&[("EXIT_AT_ONCE", "1")], "host: a.test").await;
    let client = H2::clear(&proxy).await;
    let ask = async |host: &str| {
        let request = Request::post(format!("http://{host}/x")).header("content-type", "application/grpc");
        client.send(request.body(Full::new(message("x"))).unwrap()).await.unwrap()
    };
    let nobody = ask("b.test").await;
    assert_eq!((nobody.status, nobody.header("grpc-status")), (200, "12"));
    assert_eq!(nobody.header("grpc-message"), "no-route");
    let failed = ask("a.test").await;
    assert_eq!((failed.status, failed.header("grpc-status")), (200, "14"));
    assert!(failed.header("grpc-message").starts_with("start-failed: "), "{:?}", failed.headers);
    assert_eq!(failed.header("content-type"), "application/grpc");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replica_that_speaks_no_http2_is_no_answer() {
    let proxy = proxy(&[], "").await;
    let client = H2::clear(&proxy).await;
    let answer = client.send(call("/id").body(Full::new(message("x"))).unwrap()).await.unwrap();
    assert_eq!(answer.header("grpc-status"), "14", "{:?}", answer.headers);
    // It may have closed before what it said was read.
    assert!(answer.header("grpc-message").starts_with("upstream-"), "{:?}", answer.headers);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_client_says_takes_no_replica_out() {
    let proxy = proxy(&[], "autoscale: {min: 2, max: 2, metric: rps, target: 1000}").await;
    proxy.ready(2).await;
    let client = H2::clear(&proxy).await;
    for _ in 0..8 {
        let answer = client.send(call("/id").body(Full::new(message("x"))).unwrap()).await.unwrap();
        assert_eq!(answer.header("grpc-status"), "14", "these replicas speak HTTP/1.1 alone");
    }
    Scrape::of(&proxy).await.assert(&[("pilotlight_replica_ejections_total{app=\"app\"}", 0.0)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_callers_deadline_is_kept_and_its_leaving_too() {
    let proxy = proxy(&[("MODE", "h2c")], "").await;
    let client = H2::clear(&proxy).await;
    let late = call("/sleep?ms=60000").header("grpc-timeout", "300m").body(Full::new(message("x"))).unwrap();
    let answer = client.send(late).await.unwrap();
    assert_eq!(answer.header("grpc-status"), "4", "{:?}", answer.headers);
    let long = client.open(call("/sleep?ms=60000").body(Full::new(message("x"))).unwrap());
    assert!(tokio::time::timeout(Duration::from_millis(200), long).await.is_err());
    wait_for_async("the call is over for the proxy", || async {
        (proxy.only_app().await["in_flight"] == 0).then_some(())
    })
    .await;
}
