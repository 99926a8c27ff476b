//! An app from cold to warm and out again.

use crate::proxy;
use crate::support::http::{Call, Connection, get};
use crate::support::metrics::{Scrape, wait_for_sample, wait_for_samples};
use crate::support::wait::wait_for_async;
use crate::support::yaml;

const READY: &str = "pilotlight_replicas{app=\"app\",state=\"ready\"}";

#[tokio::test]
async fn cold_warm_and_out_again() {
    let env = [("START_DELAY_MS", "400")];
    let keys = |idle: &str| format!("autoscale: {{min: 0, max: 1, metric: rps, idle: {idle}}}");
    // It is to stay until all is asked, however long that takes.
    let proxy = proxy(&env, &keys("1h")).await;
    let address = proxy.address();

    let scrape = Scrape::of(&proxy).await;
    scrape.assert_sound();
    scrape.assert(&[
        (READY, 0.0),
        ("pilotlight_replicas_desired{app=\"app\"}", 0.0),
        ("pilotlight_connections_accepted_total", 0.0),
        ("pilotlight_build_info{version=\"0.1.0\"}", 1.0),
    ]);
    assert_eq!(scrape.get("pilotlight_requests_total{app=\"app\",status=\"2xx\"}"), None, "nobody has asked");
    assert!(scrape.get("process_start_time_seconds") > Some(1.7e9));

    assert_eq!(get(address, "/id").await.status, 200);
    let ended = [
        ("pilotlight_requests_total{app=\"app\",status=\"2xx\"}", 1.0),
        ("pilotlight_request_duration_seconds_count{app=\"app\"}", 1.0),
    ];
    let scrape = wait_for_samples(&proxy, &ended).await;
    scrape.assert(&[
        ("pilotlight_hold_duration_seconds_count{app=\"app\"}", 1.0),
        ("pilotlight_hold_duration_seconds_bucket{app=\"app\",le=\"0.25\"}", 0.0),
        ("pilotlight_request_duration_seconds_bucket{app=\"app\",le=\"0.25\"}", 0.0),
        ("pilotlight_cold_start_duration_seconds_count{app=\"app\"}", 1.0),
        ("pilotlight_cold_start_phase_duration_seconds_count{app=\"app\",phase=\"queue\"}", 1.0),
        ("pilotlight_cold_start_phase_duration_seconds_count{app=\"app\",phase=\"start\"}", 1.0),
        ("pilotlight_cold_start_phase_duration_seconds_bucket{app=\"app\",phase=\"application\",le=\"0.25\"}", 0.0),
        ("pilotlight_replica_starts_total{app=\"app\",outcome=\"ready\"}", 1.0),
        ("pilotlight_decisions_total{app=\"app\",kind=\"up\"}", 1.0),
    ]);
    let created = "pilotlight_cold_start_phase_duration_seconds_count{app=\"app\",phase=\"create\"}";
    assert_eq!(scrape.get(created), None, "a process is not created before it is started");

    let mut connection = Connection::open(address).await.unwrap();
    for path in ["/id", "/status?code=302", "/nothing", "/status?code=503", "/bytes?n=100000"] {
        connection.send(Call::get(address, path)).await.unwrap();
    }
    proxy.reload(&yaml::app(&env, &keys("300ms")));
    wait_for_sample(&proxy, READY, 0.0).await;
    let scrape = wait_for_sample(&proxy, "pilotlight_decisions_total{app=\"app\",kind=\"zero\"}", 1.0).await;
    scrape.assert_sound();
    scrape.assert(&[
        ("pilotlight_requests_total{app=\"app\",status=\"2xx\"}", 3.0),
        ("pilotlight_requests_total{app=\"app\",status=\"3xx\"}", 1.0),
        ("pilotlight_requests_total{app=\"app\",status=\"4xx\"}", 1.0),
        ("pilotlight_requests_total{app=\"app\",status=\"5xx\"}", 1.0),
        ("pilotlight_requests_total{app=\"app\",status=\"none\"}", 0.0),
        ("pilotlight_request_duration_seconds_count{app=\"app\"}", 6.0),
        ("pilotlight_hold_duration_seconds_count{app=\"app\"}", 1.0),
        ("pilotlight_requests_in_flight{app=\"app\"}", 0.0),
        ("pilotlight_decisions_total{app=\"app\",kind=\"up\"}", 1.0),
        ("pilotlight_connections_open", 1.0),
        ("pilotlight_connections_accepted_total", 2.0),
    ]);
    let of_app = scrape.series_with("app", "app");
    drop(connection);

    assert_eq!(get(address, "/id").await.status, 200);
    let scrape = Scrape::of(&proxy).await;
    scrape.assert(&[
        ("pilotlight_cold_start_duration_seconds_count{app=\"app\"}", 2.0),
        ("pilotlight_replica_starts_total{app=\"app\",outcome=\"ready\"}", 2.0),
    ]);
    assert_eq!(scrape.series_with("app", "app"), of_app, "a replica that is gone leaves no series");
    wait_for_sample(&proxy, "pilotlight_connections_open", 0.0).await;
}

#[tokio::test]
async fn what_waits_is_seen_and_a_start_that_fails_is_no_cold_start() {
    let proxy = proxy(&[("EXIT_AT_ONCE", "3"), ("START_DELAY_MS", "300")], "").await;
    let failed = get(proxy.address(), "/id").await;
    assert!(failed.reason().starts_with("start-failed: "), "{}", failed.reason());
    let scrape = Scrape::of(&proxy).await;
    scrape.assert(&[
        ("pilotlight_replica_starts_total{app=\"app\",outcome=\"failed\"}", 1.0),
        ("pilotlight_replica_starts_total{app=\"app\",outcome=\"ready\"}", 0.0),
        ("pilotlight_requests_rejected_total{app=\"app\",reason=\"start-failed\"}", 1.0),
        ("pilotlight_hold_duration_seconds_count{app=\"app\"}", 1.0),
        ("pilotlight_replicas_desired{app=\"app\"}", 1.0),
    ]);
    assert_eq!(scrape.get("pilotlight_cold_start_duration_seconds_count{app=\"app\"}"), None);
}

#[tokio::test]
async fn who_asks_for_openmetrics_gets_it() {
    let proxy = proxy(&[], "").await;
    let answer = Scrape::ask(&proxy, "application/openmetrics-text;version=1.0.0,*/*;q=0.1").await;
    let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    assert_eq!(answer.header("content-type"), kind);
    assert!(answer.text().ends_with("# EOF\n"), "{}", answer.text());
    let held = tokio::spawn(Call::get(proxy.address(), &proxy.until("seen")).send());
    wait_for_async("it is in flight", || async {
        let scrape = Scrape::of(&proxy).await;
        (scrape.get("pilotlight_requests_in_flight{app=\"app\"}") == Some(1.0)).then_some(())
    })
    .await;
    proxy.tell("seen");
    assert_eq!(held.await.unwrap().unwrap().status, 200);
}
