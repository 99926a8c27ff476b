//! What is idle and what is not.

use std::time::Duration;

use bytes::Bytes;
use futures_util::{StreamExt, stream};
use http_body_util::StreamBody;
use hyper::body::Frame;
use tokio::time::sleep;
use tokio_tungstenite::tungstenite::Message;

use crate::support::http::{Answer, Call, Failure, get};
use crate::support::proxy::Proxy;
use crate::support::wait::wait_until;
use crate::support::websocket::{self, assert_echoes};
use crate::{proxy, shown};

/// Eight times `idle`.
const LONG: Duration = Duration::from_millis(2400);

async fn soon_idle() -> Proxy {
    proxy("min: 0, max: 2, metric: rps, idle: 300ms", "").await
}

/// One request is open, and is seen to be.
async fn assert_busy(proxy: &Proxy) {
    for key in ["ready", "desired", "in_flight"] {
        assert_eq!(shown(proxy, key).await, 1, "{key}");
    }
}

/// Goes out now, and not before: the replica that served was there until the only request had ended.
async fn assert_goes_out(proxy: &Proxy) {
    proxy.ready(0).await;
    wait_until("its replica is told to end", || proxy.report().count("sigterm") == 1).await;
    let report = proxy.report();
    let at = |name: &str| report.events(name)[0]["at_ms"].as_i64().expect("events have a time");
    assert_eq!((report.replicas().len(), report.count("finish")), (1, 1), "it ran through");
    assert!(at("finish") <= at("sigterm"), "{} > {}", at("finish"), at("sigterm"));
    assert_eq!(report.open_at_sigterm(), 0);
}

#[tokio::test]
async fn a_websocket_that_says_nothing_is_not_idle() {
    let proxy = soon_idle().await;
    let mut socket = websocket::open(&proxy).await;
    sleep(LONG).await;
    assert_busy(&proxy).await;
    assert_echoes(&mut socket, Message::text("still there?")).await;
    drop(socket);
    assert_goes_out(&proxy).await;
}

#[tokio::test]
async fn a_websocket_that_does_not_count_is_closed_before_its_replica_goes() {
    let proxy = proxy("min: 0, max: 2, metric: rps, idle: 300ms", "websocket: {counts: false}").await;
    let mut sockets = Vec::new();
    for _ in 0..5 {
        let mut socket = websocket::open(&proxy).await;
        assert_echoes(&mut socket, Message::text("hello")).await;
        sockets.push(socket);
    }
    for mut socket in sockets {
        let Some(Ok(Message::Close(Some(frame)))) = socket.next().await else { panic!("no clean end") };
        assert_eq!((u16::from(frame.code), frame.reason.as_str()), (1001, "replica_stops"));
    }
    proxy.ready(0).await;
    let report = proxy.report();
    assert_eq!((report.replicas().len(), report.open_at_sigterm()), (1, 0), "it had heard the ends");
    assert_eq!(get(proxy.address(), "/id").await.status, 200, "it wakes again");
}

#[tokio::test]
async fn websockets_that_do_not_count_have_their_places() {
    let autoscale = "min: 0, max: 2, metric: concurrency, target: 1, stable_window: 1s, idle: 1h";
    let proxy = proxy(autoscale, "max_concurrency: 1\nwebsocket: {counts: false}").await;
    let socket = websocket::open(&proxy).await;
    assert_eq!(get(proxy.address(), "/id").await.status, 200, "a second one has room");
    assert_eq!(proxy.report().replicas().len(), 2);
    drop(socket);
}

#[tokio::test]
async fn a_long_download_is_not_idle() {
    let proxy = soon_idle().await;
    let response = Call::get(proxy.address(), "/stream?chunks=6&every_ms=1000&size=10").open().await.unwrap();
    sleep(LONG).await;
    assert_busy(&proxy).await;
    assert_eq!(Answer::read(response).await.unwrap().body.len(), 60);
    assert_goes_out(&proxy).await;
}

#[tokio::test]
async fn a_download_that_the_client_does_not_read_is_not_idle() {
    let proxy = soon_idle().await;
    let response = Call::get(proxy.address(), "/bytes?n=100000000").open().await.unwrap();
    sleep(LONG).await;
    assert_busy(&proxy).await;
    assert_eq!(Answer::read(response).await.unwrap().body.len(), 100_000_000);
    assert_goes_out(&proxy).await;
}

#[tokio::test]
async fn a_slow_upload_is_not_idle() {
    let proxy = soon_idle().await;
    let pieces = stream::unfold(0, |sent| async move {
        sleep(Duration::from_secs(1)).await;
        (sent < 3).then_some((Ok::<_, Failure>(Frame::data(Bytes::from("12345"))), sent + 1))
    });
    let answer =
        Call::post(proxy.address(), "/slow-body", "").body(StreamBody::new(pieces)).send().await.unwrap();
    assert_eq!(answer.text(), "15\n");
    assert_goes_out(&proxy).await;
}

#[tokio::test]
async fn a_slow_answer_is_not_idle() {
    let proxy = soon_idle().await;
    assert_eq!(get(proxy.address(), "/sleep?ms=2400").await.status, 200);
    assert_goes_out(&proxy).await;
}

/// With `idle_below` a trickle is idle, and costs a cold start, but never a request.
#[tokio::test]
async fn a_rate_below_idle_below_is_idle_and_loses_nothing() {
    let keys = "min: 0, max: 2, metric: rps, idle: 1s, idle_below: 3, stable_window: 2s, panic_window: 1s";
    let proxy = proxy(keys, "").await;
    for _ in 0..16 {
        assert_eq!(get(proxy.address(), "/id").await.status, 200);
        sleep(Duration::from_millis(450)).await;
    }
    assert!(proxy.report().replicas().len() > 1, "it went out and came back");
    assert_eq!(proxy.report().open_at_sigterm(), 0);
}
