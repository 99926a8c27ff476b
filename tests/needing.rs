//! Apps that need others, through the real binary: in what order they come up and go, and what a visitor is told while
//! one of them does not come up.

mod support;

use rustix::process::Signal;

use support::http::get;
use support::proxy::{Proxy, Setup};
use support::wait::wait_for_async;
use support::yaml::{self, Env};

const SOON: &str = "autoscale: {min: 0, max: 1, metric: rps, idle: 300ms}";

/// An app at `/` that needs another, which nobody reaches from outside, with these variables.
fn setup(db: Env<'_>) -> Setup {
    let web = format!("path: /\nneeds: db\n{SOON}");
    let db_keys = "autoscale: {idle: 300ms}";
    Setup::process(&yaml::apps(&[("web", &[], &web), ("db", db, db_keys)]))
}

async fn start(db: Env<'_>) -> Proxy {
    setup(db).start().await
}

async fn all_are_out(proxy: &Proxy) {
    wait_for_async("both apps are out", || async {
        let states = [proxy.app("web").await["state"].clone(), proxy.app("db").await["state"].clone()];
        states.iter().all(|state| state == "out").then_some(())
    })
    .await;
}

/// What the replicas wrote down of their lives, oldest first.
fn lives(proxy: &Proxy) -> Vec<String> {
    let report = proxy.report();
    let mut all: Vec<_> =
        ["boot", "listening", "sigterm"].iter().flat_map(|name| report.events(name)).collect();
    all.sort_by_key(|event| event["at_ms"].as_i64());
    all.iter().filter_map(|event| event["event"].as_str().map(str::to_owned)).collect()
}

#[tokio::test]
async fn one_comes_up_after_the_other_and_goes_before_it() {
    let proxy = start(&[("START_DELAY_MS", "400")]).await;
    let needed = get(proxy.address(), "/id").await;
    assert_eq!(needed.status, 200, "{}", needed.reason());
    let web = needed.text().to_owned();
    all_are_out(&proxy).await;
    assert_eq!(lives(&proxy), ["boot", "listening", "boot", "listening", "sigterm", "sigterm"]);
    let report = proxy.report();
    assert_eq!(report.replicas()[1], web, "the one that serves came second");
    assert_eq!(report.events("sigterm")[0]["replica"], web, "and went first");
}

#[tokio::test]
async fn who_waits_is_told_why_there_is_nothing_to_wait_for() {
    let proxy = start(&[("EXIT_AT_ONCE", "42")]).await;
    let answer = get(proxy.address(), "/id").await;
    assert_eq!(answer.status, 503);
    let reason = answer.reason();
    assert!(reason.starts_with("start-failed: it needs db: exited with code 42"), "{reason}");
    assert_eq!(proxy.report().count("boot"), 0, "nothing else was started");
    let shown = proxy.app("web").await;
    assert!(shown["reason"].as_str().is_some_and(|why| why.starts_with("it needs db: ")), "{shown}");
    assert_eq!(shown["needs"], serde_json::json!(["db"]));
}

/// Told to take its replicas along, it takes what is needed last.
#[tokio::test]
async fn at_the_proxys_end_what_is_needed_goes_last() {
    let mut proxy = setup(&[]).arg("--stop-replicas").start().await;
    let web = get(proxy.address(), "/id").await.text().to_owned();
    proxy.signal(Signal::TERM);
    assert!(proxy.ended().await.success());
    let report = proxy.report();
    let ends: Vec<_> = report.events("sigterm").iter().map(|event| event["replica"].clone()).collect();
    assert_eq!((ends.len(), &ends[0]), (2, &web.into()));
}
