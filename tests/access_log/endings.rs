//! Exchanges that end in another way than with their app's answer, and what their lines say of that.

use serde_json::{Value, json};

use crate::support::http::{Call, get};
use crate::support::metrics::wait_for_sample;
use crate::support::proxy::Setup;
use crate::support::wait::wait_until;
use crate::support::wire::Wire;
use crate::support::yaml;
use crate::{COMBINED, JSON, entry, line, pick, proxy};

#[tokio::test]
async fn a_request_that_is_refused_says_why() {
    let full: (&str, yaml::Env<'_>, &str) =
        ("full", &[("START_DELAY_MS", "60000")], "host: full.test\npath: /in\nhold: {max: 0}");
    let proxy = Setup::process(&format!("{JSON}\n{}", yaml::apps(&[full]))).start().await;
    for (host, path, status, why, app) in [
        ("nobody.test", "/nobody", 404, json!("no-route"), Value::Null),
        ("full.test", "/out", 404, json!("no-route"), Value::Null),
        ("full.test", "/in/full", 503, json!("hold-full"), json!("full")),
        ("a/b", "/malformed", 400, json!("bad-request"), Value::Null),
        ("nobody.test", "/.pilotlight/health", 200, Value::Null, Value::Null),
    ] {
        let answer = Call::get(proxy.address(), path).host(host).send().await.unwrap();
        assert_eq!(answer.status, status, "{path}");
        let said = entry(&proxy, path).await;
        let told = pick(&said, &["target", "host", "status", "bytes", "why", "app"]);
        assert_eq!(told, json!([path, host, status, answer.body.len(), why, app]));
    }
}

#[tokio::test]
async fn who_is_hung_up_on_has_444() {
    let proxy = proxy(&[], &format!("{JSON}\nunknown_host: close\nhost: a.test")).await;
    assert!(Call::get(proxy.address(), "/x").host("b.test").send().await.is_err());
    let said = entry(&proxy, "/x").await;
    assert_eq!(pick(&said, &["status", "bytes", "why", "app"]), json!([444, 0, "no-route", null]));
}

#[tokio::test]
async fn a_client_that_leaves_before_an_answer_has_499() {
    let slow = proxy(&[("START_DELAY_MS", "60000")], JSON).await;
    let wire = Wire::sent(slow.address(), "GET /waits HTTP/1.1\r\nHost: a\r\n\r\n").await;
    wait_for_sample(&slow, "pilotlight_requests_held{app=\"app\"}", 1.0).await;
    drop(wire);
    let said = entry(&slow, "/waits").await;
    assert_eq!(pick(&said, &["status", "bytes", "why", "app"]), json!([499, 0, null, "app"]));
    assert!(said["held"].as_f64() > Some(0.0), "{said}");

    let warm = proxy(&[], JSON).await;
    assert_eq!(get(warm.address(), "/id").await.status, 200);
    let wire = Wire::sent(warm.address(), "GET /sleep?ms=600000 HTTP/1.1\r\nHost: a\r\n\r\n").await;
    wait_until("the app has it", || warm.report().count("start") == 2).await;
    drop(wire);
    let said = entry(&warm, "/sleep").await;
    assert_eq!(pick(&said, &["status", "bytes", "why", "held"]), json!([499, 0, null, 0.0]));
}

#[tokio::test]
async fn an_answer_without_its_last_byte_says_who_broke_it_off() {
    let proxy = proxy(&[], JSON).await;
    assert!(Call::get(proxy.address(), "/die-mid-body?n=8192").send().await.is_err());
    let said = entry(&proxy, "/die-mid-body").await;
    assert_eq!(pick(&said, &["status", "bytes", "why", "app"]), json!([200, 4096, "replica", "app"]));

    let ask = "GET /stream?chunks=9999&every_ms=20&size=16 HTTP/1.1\r\nHost: a\r\n\r\n";
    let mut wire = Wire::sent(proxy.address(), ask).await;
    wire.head().await;
    assert_eq!(wire.chunk().await.map(|chunk| chunk.len()), Some(16));
    drop(wire);
    let said = entry(&proxy, "/stream").await;
    assert_eq!(pick(&said, &["status", "why", "app"]), json!([200, "client", "app"]));
    assert!(said["bytes"].as_u64() >= Some(16), "what was handed out counts: {said}");
}

#[tokio::test]
async fn a_head_that_cannot_be_read_has_a_line_without_a_request() {
    let clients = "clients: {header_bytes: 1K, header_timeout: 300ms}";
    let proxy = proxy(&[], &format!("{COMBINED}\n{clients}")).await;
    let long = format!("GET / HTTP/1.1\r\nHost: a\r\nX-Long: {}\r\n\r\n", "x".repeat(4000));
    for (head, status, why) in [
        ("this is no HTTP\r\n\r\n", 400, "bad-request"),
        (long.as_str(), 431, "header-too-large"),
        ("GET / HTTP/1.1\r\nHo", 408, "request-timeout"),
    ] {
        let mut wire = Wire::sent(proxy.address(), head).await;
        assert_eq!(wire.reply().await.status(), status, "{why}");
        let line = line(&proxy, why).await;
        let (start, end) = line.split_once("] ").expect("a time");
        assert!(start.starts_with("127.0.0.1 - - ["), "{line}");
        assert_eq!(end, format!("\"-\" {status} 0 \"-\" \"-\" \"-\" - 0.000000 0.000000 {why}"));
    }
    assert_eq!(proxy.report().replicas(), [""; 0], "nothing was woken");
}
