//! Exchanges that end in another way than with an answer: each is counted once.

use crate::proxy;
use crate::support::http::{Call, get, raw};
use crate::support::metrics::{Scrape, wait_for_sample, wait_for_samples};
use crate::support::proxy::Setup;
use crate::support::wait::{LIMIT, wait_for_async, wait_until};
use crate::support::wire::Wire;
use crate::support::yaml;

/// Up before anybody asks: a start counts against the time that a request has.
const MUTE: &str = "host: mute.test\ntimeout: 500ms\nautoscale: {min: 1, max: 1, metric: rps}";

#[tokio::test]
async fn every_refusal_has_its_row() {
    let apps: [(&str, yaml::Env<'_>, &str); 5] = [
        ("full", &[("START_DELAY_MS", "60000")], "host: full.test\nhold: {max: 0}"),
        ("late", &[("START_DELAY_MS", "60000")], "host: late.test\nhold: {timeout: 300ms}"),
        ("exits", &[("EXIT_AT_ONCE", "1")], "host: exits.test"),
        ("mute", &[("NEVER_ANSWER", "1")], MUTE),
        ("garbled", &[("MODE", "garbage")], "host: garbled.test"),
    ];
    let proxy = Setup::process(&yaml::apps(&apps)).start().await;
    let address = proxy.address();
    let rows = [
        ("full", "hold-full"),
        ("late", "hold-timeout"),
        ("exits", "start-failed"),
        ("mute", "upstream-timeout"),
        ("garbled", "upstream-protocol"),
    ];
    wait_for_async("the mute one is up", || async { (proxy.app("mute").await["ready"] == 1).then_some(()) })
        .await;
    for (app, reason) in rows {
        let answer = Call::get(address, "/id").host(&format!("{app}.test")).send().await.unwrap();
        assert!(answer.reason().starts_with(reason), "{app}: {}", answer.reason());
    }
    for host in ["nobody.test", "made-up-by-a-client.test"] {
        assert_eq!(Call::get(address, "/id").host(host).send().await.unwrap().reason(), "no-route");
    }
    let two_hosts = b"GET / HTTP/1.1\r\nHost: full.test\r\nHost: late.test\r\n\r\n";
    assert!(raw(address, two_hosts, LIMIT).await.starts_with("HTTP/1.1 400 "));
    assert_eq!(get(address, "/.pilotlight/health").await.status, 200);

    for (app, _) in rows {
        let count = format!("pilotlight_request_duration_seconds_count{{app=\"{app}\"}}");
        wait_for_sample(&proxy, &count, 1.0).await;
    }
    let of_none = [
        ("pilotlight_requests_total{app=\"\",status=\"4xx\"}", 3.0),
        ("pilotlight_requests_total{app=\"\",status=\"2xx\"}", 1.0),
    ];
    let scrape = wait_for_samples(&proxy, &of_none).await;
    scrape.assert_sound();
    for (app, reason) in rows {
        scrape.assert(&[
            (&format!("pilotlight_requests_rejected_total{{app=\"{app}\",reason=\"{reason}\"}}"), 1.0),
            (&format!("pilotlight_requests_total{{app=\"{app}\",status=\"5xx\"}}"), 1.0),
            (&format!("pilotlight_request_duration_seconds_count{{app=\"{app}\"}}"), 1.0),
        ]);
    }
    scrape.assert(&[
        ("pilotlight_requests_rejected_total{app=\"\",reason=\"no-route\"}", 2.0),
        ("pilotlight_requests_rejected_total{app=\"\",reason=\"bad-request\"}", 1.0),
        ("pilotlight_hold_duration_seconds_count{app=\"full\"}", 0.0),
        ("pilotlight_hold_duration_seconds_count{app=\"late\"}", 1.0),
    ]);
    assert!(!format!("{scrape:?}").contains("made-up"), "no client chooses a label");
}

#[tokio::test]
async fn what_no_app_has_to_do_with_has_an_empty_app() {
    let edge = "unknown_host: close\nredirect: {from: old.test, to: 'http://new.test'}\n";
    let apps = "apps:\n  gone: {upstream: 'http://127.0.0.1:9', host: gone.test, hold: {timeout: 100ms}}\n";
    let proxy = Setup::process(&format!("{edge}{apps}")).start().await;
    let address = proxy.address();
    assert_eq!(Call::get(address, "/x").host("old.test").send().await.unwrap().status, 308);
    assert!(Call::get(address, "/x").host("nobody.test").send().await.is_err(), "it is hung up on");
    let down = Call::get(address, "/x").host("gone.test").send().await.unwrap();
    assert_eq!(down.reason(), "upstream-down");
    let of_none = [
        ("pilotlight_requests_total{app=\"\",status=\"3xx\"}", 1.0),
        ("pilotlight_requests_total{app=\"\",status=\"none\"}", 1.0),
    ];
    let scrape = wait_for_samples(&proxy, &of_none).await;
    scrape.assert_sound();
    scrape.assert(&[
        ("pilotlight_requests_rejected_total{app=\"\",reason=\"no-route\"}", 1.0),
        ("pilotlight_requests_rejected_total{app=\"gone\",reason=\"upstream-down\"}", 1.0),
    ]);
}

const NONE: &str = "pilotlight_requests_total{app=\"app\",status=\"none\"}";
const OK: &str = "pilotlight_requests_total{app=\"app\",status=\"2xx\"}";
const LEFT: &str = "pilotlight_responses_aborted_total{app=\"app\",by=\"client\"}";
const BROKE: &str = "pilotlight_responses_aborted_total{app=\"app\",by=\"replica\"}";
const ENDED: &str = "pilotlight_request_duration_seconds_count{app=\"app\"}";

#[tokio::test]
async fn a_client_that_leaves_while_it_is_held_has_no_status() {
    let proxy = proxy(&[("START_DELAY_MS", "60000")], "").await;
    let get = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";
    let post = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\n";
    for (at, request) in (0_u8..).zip([get, post]) {
        let wire = Wire::sent(proxy.address(), request).await;
        wait_for_sample(&proxy, "pilotlight_requests_held{app=\"app\"}", 1.0).await;
        drop(wire);
        let scrape = wait_for_sample(&proxy, NONE, f64::from(at + 1)).await;
        let held = ("pilotlight_hold_duration_seconds_count{app=\"app\"}", f64::from(at + 1));
        scrape.assert(&[held, (OK, 0.0), (LEFT, 0.0)]);
    }
}

#[tokio::test]
async fn a_client_that_leaves_while_the_app_thinks_or_in_its_upload_has_no_status() {
    let proxy = proxy(&[], "").await;
    assert_eq!(get(proxy.address(), "/id").await.status, 200);
    let think = Wire::sent(proxy.address(), "GET /sleep?ms=60000 HTTP/1.1\r\nHost: a\r\n\r\n").await;
    wait_until("the app has it", || proxy.report().count("start") == 2).await;
    drop(think);
    wait_for_sample(&proxy, NONE, 1.0).await;
    let head = "POST /slow-body HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\nhalf of it";
    let upload = Wire::sent(proxy.address(), head).await;
    wait_until("the app has it", || proxy.report().count("start") == 3).await;
    upload.reset();
    let scrape = wait_for_samples(&proxy, &[(ENDED, 3.0), (NONE, 2.0)]).await;
    scrape.assert(&[
        (OK, 1.0),
        (LEFT, 0.0),
        (BROKE, 0.0),
        ("pilotlight_requests_rejected_total{app=\"app\",reason=\"upstream-connect\"}", 0.0),
    ]);
}

#[tokio::test]
async fn an_answer_without_its_last_byte_is_counted_by_who_broke_it_off() {
    let proxy = proxy(&[], "").await;
    let address = proxy.address();
    let mut wire =
        Wire::sent(address, "GET /stream?chunks=9999&every_ms=20 HTTP/1.1\r\nHost: a\r\n\r\n").await;
    wire.head().await;
    assert!(wire.chunk().await.is_some());
    assert_eq!(Scrape::of(&proxy).await.get(OK), Some(0.0), "it has not ended");
    drop(wire);
    wait_for_samples(&proxy, &[(LEFT, 1.0), (OK, 1.0)]).await.assert(&[(BROKE, 0.0)]);

    assert!(Call::get(address, "/die-mid-body?n=8192").send().await.is_err());
    wait_for_samples(&proxy, &[(BROKE, 1.0), (OK, 2.0), (ENDED, 2.0)]).await.assert(&[(LEFT, 1.0)]);
    let log = proxy.log();
    let line = log.lines().find(|line| line.contains("an answer broke off half-way"));
    assert!(line.is_some_and(|line| line.contains("WARN") && line.contains("app=\"app\"")), "{line:?}");

    for whole in
        [Call::get(address, "/bytes?n=1000000"), Call::new(hyper::Method::HEAD, address, "/bytes?n=9")]
    {
        assert_eq!(whole.send().await.unwrap().status, 200);
    }
    wait_for_sample(&proxy, OK, 4.0).await.assert(&[(LEFT, 1.0), (BROKE, 1.0), (NONE, 0.0)]);
}

#[tokio::test]
async fn a_switch_is_counted_when_it_is_made() {
    let proxy = proxy(&[], "").await;
    let ask = "GET /upgrade HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n";
    let mut wire = Wire::sent(proxy.address(), ask).await;
    assert!(wire.head().await.starts_with("HTTP/1.1 101 "));
    let open = [
        ("pilotlight_requests_total{app=\"app\",status=\"1xx\"}", 1.0),
        (ENDED, 1.0),
        ("pilotlight_requests_in_flight{app=\"app\"}", 1.0),
        (LEFT, 0.0),
    ];
    wait_for_samples(&proxy, &open[..2]).await.assert(&open[2..]);
    wait_for_sample(&proxy, "pilotlight_connections_open", 1.0).await;
    wire.send("x").await;
    assert_eq!(wire.take(1).await, b"x");
    drop(wire);
    let scrape = wait_for_sample(&proxy, "pilotlight_requests_in_flight{app=\"app\"}", 0.0).await;
    scrape.assert(&[open[0], open[1], open[3]]);
    wait_for_sample(&proxy, "pilotlight_connections_open", 0.0).await;
}
