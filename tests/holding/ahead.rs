//! `probe: request`: one of those who wait goes ahead to a replica that takes connections, and its answer shows whether the
//! replica is ready.

use crate::support::http::{Call, get};
use crate::support::proxy::Proxy;
use crate::support::wait::{wait_for_async, wait_until};
use crate::{held, proxy};

/// An app that says of itself that it is ready so long after its start.
async fn start(ready_after_ms: &str) -> Proxy {
    let keys = "health: {path: /healthz, probe: request, start_timeout: 1m}\nserver_timing: true";
    proxy(&[("READY_AFTER_MS", ready_after_ms), ("START_DELAY_MS", "300")], keys).await
}

const NEVER: &str = "3600000";

/// Milliseconds from a start after which even a slow machine has had a request go ahead.
const READY_LATE: i64 = 3000;

/// From the replica's start to the requests that it has had for that path.
fn arrivals(proxy: &Proxy, path: &str) -> Vec<i64> {
    let report = proxy.report();
    let boot = report.events("boot")[0]["at_ms"].as_i64().expect("events have a time");
    let starts = report.events("start");
    let starts = starts.iter().filter(|event| event["path"] == path);
    starts.map(|event| event["at_ms"].as_i64().expect("events have a time") - boot).collect()
}

#[tokio::test]
async fn its_answer_lets_all_others_in() {
    let proxy = start(NEVER).await;
    let address = proxy.address();
    // This one cannot be sent again, so it cannot go ahead.
    let upload = tokio::spawn(Call::post(address, "/echo", "x").send());
    held(&proxy, 1).await;
    let answer = get(address, "/id").await;
    assert_eq!(answer.status, 200, "{}", answer.reason());
    assert!(answer.header("server-timing").starts_with("wake;desc="), "it is a wake like any other");
    assert_eq!(upload.await.unwrap().unwrap().text(), "x");
    assert_eq!(proxy.only_app().await["ready"], 1);
    assert_eq!(proxy.report().replicas().len(), 1);
}

#[tokio::test]
async fn who_cannot_be_sent_again_waits_for_the_path() {
    let proxy = start("900").await;
    assert_eq!(Call::post(proxy.address(), "/echo", "x").send().await.unwrap().status, 200);
    let arrived = arrivals(&proxy, "/echo");
    assert!(arrived.len() == 1 && arrived[0] >= 900, "{arrived:?}");
}

#[tokio::test]
async fn who_finds_it_not_ready_waits_on() {
    let proxy = start(&READY_LATE.to_string()).await;
    let ask = Call::get(proxy.address(), "/headers?code=503").header("cookie", "a=b");
    let answer = ask.send().await.expect("an answer");
    assert_eq!((answer.status, answer.reason()), (503, ""), "the app's own answer");
    let arrived = arrivals(&proxy, "/headers");
    assert!(arrived.len() == 2 && arrived[0] < arrived[1] && arrived[1] >= READY_LATE, "{arrived:?}");
    let headers = answer.text();
    assert!(headers.contains("cookie") && headers.contains("host"), "it is the same as before: {headers}");
}

/// Its place is its own all the while.
#[tokio::test]
async fn who_goes_ahead_still_waits() {
    let keys = "health: {path: /healthz, probe: request, start_timeout: 1m}\nhold: {max: 1}";
    let proxy = proxy(&[("READY_AFTER_MS", "2000")], keys).await;
    let address = proxy.address();
    let first = tokio::spawn(get(address, "/status?code=503"));
    wait_until("it has been ahead", || proxy.report().count("start") == 1).await;
    assert_eq!(get(address, "/id").await.reason(), "hold-full");
    let answer = first.await.expect("no panic");
    assert_eq!((answer.status, answer.reason()), (503, ""), "the app's own answer");
    assert_eq!(proxy.report().count("finish"), 2);
}

/// Its place, and its time to wait, are over when the path says that the replica is ready.
#[tokio::test]
async fn who_went_ahead_is_in_nobodys_way() {
    let keys = "health: {path: /healthz, probe: request, start_timeout: 1m}\nmax_concurrency: 2\n\
                hold: {timeout: 6s}";
    let proxy = proxy(&[("READY_AFTER_MS", "2000")], keys).await;
    let address = proxy.address();
    let first = tokio::spawn(get(address, "/sleep?ms=9000"));
    wait_until("it has gone ahead", || proxy.report().count("start") == 1).await;
    assert_eq!(Call::post(address, "/echo", "x").send().await.expect("an answer").text(), "x");
    assert_eq!(proxy.report().count("finish"), 1, "the first is still at it");
    assert_eq!(first.await.expect("no panic").status, 200);
    assert_eq!(arrivals(&proxy, "/sleep").len(), 1);
}

/// No turn comes to it, since it is itself that fills the replica.
#[tokio::test]
async fn who_fills_the_replica_is_not_held_too_long() {
    let keys = "health: {path: /healthz, probe: request, start_timeout: 1m}\nmax_concurrency: 1\n\
                hold: {timeout: 6s}";
    let proxy = proxy(&[("READY_AFTER_MS", "2000")], keys).await;
    let answer = get(proxy.address(), "/sleep?ms=9000").await;
    assert_eq!((answer.status, answer.reason()), (200, ""));
    assert_eq!(arrivals(&proxy, "/sleep").len(), 1);
}

/// It may be this very request that ends it; whoever comes later must not be lost for that.
#[tokio::test]
async fn one_that_ends_at_it_has_not_started() {
    let proxy = start(NEVER).await;
    let answer = get(proxy.address(), "/exit?code=7").await;
    assert_eq!(answer.status, 503);
    assert!(answer.reason().starts_with("start-failed: exited with code 7"), "{}", answer.reason());
    wait_for_async("it is tried again", || async {
        (get(proxy.address(), "/id").await.status == 200).then_some(())
    })
    .await;
}
