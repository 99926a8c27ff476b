//! Apps in containers from zero to their target and back: the page's example, a crowd at a cold app, a steady
//! rate, and a load that swings.

mod support;

use std::path::Path;
use std::time::Duration;

use serde_json::json;

use support::docker::{Events, docker, need_app_image, replicas};
use support::http::{Call, get};
use support::load::{self, Outcomes};
use support::metrics::wait_for_sample;
use support::proxy::{Proxy, Setup};
use support::wait::{LIMIT, wait_for_async, wait_until, wait_within};

/// Waits until nothing of the proxy's runs or lies about.
async fn out(proxy: &Proxy) {
    let instance = proxy.instance();
    wait_for_async("no container is left", || async { replicas(&instance).await.is_empty().then_some(()) })
        .await;
}

/// Looked at while others ask, so that it is not idle meanwhile.
async fn only_container(proxy: &Proxy) -> String {
    let address = proxy.address();
    let visits = load::steady(10.0, move |_| Call::get(address, "/ping").send());
    let found = replicas(&proxy.instance()).await;
    visits.end().await.assert_all_ok();
    assert_eq!(found.len(), 1, "{found:?}");
    assert_eq!(found[0].state(), "running");
    found[0].id().to_owned()
}

/// `GET /ping`, as on the page. A build comes before the first answer, so this one may take its time.
async fn ping(proxy: &Proxy) {
    let answer = tokio::time::timeout(3 * LIMIT, get(proxy.address(), "/ping")).await.expect("an answer");
    assert_eq!(answer.status, 200, "{}", answer.reason());
    assert_eq!(answer.json(), json!({ "message": "Ping!" }));
}

#[tokio::test]
async fn the_page() {
    docker(&["image", "inspect", "python:3.11-slim"]).await;
    let example = Path::new(env!("CARGO_MANIFEST_DIR")).join("config/fastapi");
    let events = Events::listen();
    let mut proxy = Setup::docker_folder(&example).start().await;
    assert!(replicas(&proxy.instance()).await.is_empty(), "nobody has asked yet");
    // The file has no `hold.timeout`: building the image must not be held against the first visitor.
    let is_built = || proxy.log().contains("built the image").then_some(());
    wait_within(3 * LIMIT, "the image is built", is_built).await;
    ping(&proxy).await;
    let first = only_container(&proxy).await;
    ping(&proxy).await;
    assert_eq!(only_container(&proxy).await, first, "the second call is warm");

    let file = std::fs::read_to_string(example.join("jcloud.yml")).expect("it can be read");
    proxy.stop().await;
    proxy.rewrite(&file.replace("autoscale:\n", "autoscale:\n  idle: 2s\n  remove_after: 0s\n"));
    proxy.start().await;
    ping(&proxy).await;
    assert_eq!(only_container(&proxy).await, first, "still the same");
    out(&proxy).await;
    ping(&proxy).await;
    assert_ne!(only_container(&proxy).await, first, "woken again from zero");
    out(&proxy).await;
    let instance = proxy.instance();
    wait_until("both ends are told", || events.count(&instance, "destroy") >= 2).await;
    assert_eq!(events.count(&instance, "create"), 2);
}

#[tokio::test]
async fn a_crowd_at_a_cold_app_starts_one_container() {
    need_app_image().await;
    let events = Events::listen();
    let yaml = "name: web\nimage: {app}\nautoscale: {min: 0, max: 1, metric: rps, target: 1, idle: 2s, remove_after: 0s}\n";
    let proxy = Setup::docker(yaml).start().await;
    let address = proxy.address();
    let outcomes = load::at_once(500, |_| Call::get(address, "/ping").send()).await;
    assert_eq!(outcomes.sent(), 500);
    outcomes.assert_all_ok();
    out(&proxy).await;
    let instance = proxy.instance();
    wait_until("its end is told", || events.count(&instance, "destroy") > 0).await;
    assert_eq!(events.count(&instance, "create"), 1);
    assert_eq!(events.count(&instance, "start"), 1);
}

#[tokio::test]
async fn a_steady_rate_brings_what_it_needs_and_then_nothing() {
    need_app_image().await;
    let events = Events::listen();
    let yaml = "name: web\nimage: {app}\nautoscale: {min: 0, max: 5, metric: rps, target: 10, idle: 2s, remove_after: 0s}\n";
    let proxy = Setup::docker(yaml).start().await;
    let address = proxy.address();
    let load = load::steady(37.0, move |_| Call::get(address, "/ping").send());
    proxy.ready(4).await;
    // And stays there: longer than the panic window, in which a wrong figure would show.
    let calm = tokio::time::Instant::now() + Duration::from_secs(7);
    while tokio::time::Instant::now() < calm {
        let app = proxy.only_app().await;
        assert_eq!((&app["desired"], &app["ready"]), (&json!(4), &json!(4)), "{app}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let outcomes = load.end().await;
    outcomes.assert_all_ok();
    out(&proxy).await;
    let instance = proxy.instance();
    wait_until("all ends are told", || events.count(&instance, "destroy") >= 4).await;
    assert_eq!(events.count(&instance, "create"), 4);
}

#[tokio::test]
async fn what_the_engine_is_asked_is_counted() {
    need_app_image().await;
    let yaml = "apps:\n  web: {image: '{app}', host: localhost, autoscale: {min: 0, max: 1, metric: rps, idle: 1s, remove_after: 0s}}\n  \
                none: {image: 'pilotlight.test/none', host: none.test, autoscale: {min: 0, max: 1, metric: rps}}\n";
    let proxy = Setup::docker(yaml).start().await;
    ping(&proxy).await;
    let refused = Call::get(proxy.address(), "/ping").host("none.test").send().await.unwrap();
    assert!(refused.reason().starts_with("runtime: "), "{}", refused.reason());
    out(&proxy).await;
    let scrape = wait_for_sample(&proxy, "pilotlight_docker_calls_total{operation=\"remove\"}", 1.0).await;
    scrape.assert_sound();
    let phase = |phase| {
        format!("pilotlight_cold_start_phase_duration_seconds_count{{app=\"web\",phase=\"{phase}\"}}")
    };
    for phase in ["queue", "create", "start", "probe"].map(phase) {
        scrape.assert(&[(&phase, 1.0)]);
    }
    scrape.assert(&[
        ("pilotlight_docker_calls_total{operation=\"connect\"}", 1.0),
        ("pilotlight_docker_calls_total{operation=\"create\"}", 1.0),
        ("pilotlight_docker_calls_total{operation=\"start\"}", 1.0),
        ("pilotlight_docker_calls_total{operation=\"stop\"}", 1.0),
        ("pilotlight_docker_calls_total{operation=\"events\"}", 1.0),
        ("pilotlight_requests_rejected_total{app=\"none\",reason=\"runtime\"}", 1.0),
    ]);
    let pulls = scrape.get("pilotlight_docker_calls_total{operation=\"pull\"}");
    let failures = "pilotlight_docker_call_failures_total{operation=\"pull\",reason=\"refused\"}";
    assert!(pulls >= Some(1.0) && scrape.get(failures) == pulls, "{scrape:?}");
    // That a container is gone once it is removed is what the last look is for.
    assert_eq!(scrape.series_with("operation", "inspect"), 1, "{scrape:?}");
}

/// Stops under load that make a test of it.
const STOPS: usize = 10;

/// Requests a second, and for how long: up to five replicas, and down to one.
const SWING: [(f64, u64); 2] = [(200.0, 4), (30.0, 8)];

#[tokio::test]
async fn replicas_that_stop_under_load_lose_nothing() {
    need_app_image().await;
    let events = Events::listen();
    let yaml = "name: web\nimage: {app}\ninstance: C2\ndocker: {allow: ['{report}']}\n\
                volumes: ['{report}:/report']\nenv: {REPORT: /report}\n\
                autoscale: {min: 0, max: 6, metric: rps, target: 40, idle: 2s, stable_window: 3s, panic_window: 1s}\n";
    let proxy = Setup::docker(yaml).start().await;
    let (address, instance) = (proxy.address(), proxy.instance());
    let mut outcomes = Outcomes::default();
    let stopped = || {
        let all = events.all(&instance);
        all.iter().filter(|it| it["Action"] == "kill" && it["Actor"]["Attributes"]["signal"] == "15").count()
    };
    // What a swing stops depends on how fast the machine starts it.
    for _ in 0..6 {
        for (rate, seconds) in SWING {
            let length = Duration::from_secs(seconds);
            outcomes
                .add(load::at_rate(rate, length, move |_| Call::get(address, "/sleep?ms=300").send()).await);
        }
        if stopped() >= STOPS {
            break;
        }
    }
    let under_load = stopped();
    assert!(under_load >= STOPS, "only {under_load} replicas were stopped under load");
    outcomes.assert_all_ok();

    out(&proxy).await;
    let report = proxy.report();
    let served: u64 = report.events("exit").iter().filter_map(|exit| exit["served"].as_u64()).sum();
    assert_eq!(report.count("exit"), report.count("boot"), "every replica came to its own end");
    assert_eq!(served, outcomes.sent() as u64, "what replicas say they served is what the client was served");
    assert_eq!(report.open_at_sigterm(), 0);
    assert_eq!(report.count("abort"), 0);
    assert_eq!(report.count("sigterm"), report.count("boot"));
    eprintln!("{under_load} stops under load; {outcomes}; median wait {:?}", outcomes.median());
}
