//! Requests to what is up: where they go, and as what they arrive.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::support::http::{Call, get};
use crate::support::load;
use crate::support::proxy::Setup;
use crate::support::wait::wait_for_async;
use crate::support::wire::Wire;
use crate::{proxy, servers, up, yaml};

#[tokio::test]
async fn requests_are_spread_over_the_list_and_counted() {
    let (_servers, addresses) = servers(2).await;
    let proxy = proxy(&addresses, "").await;
    up(&proxy, 2).await;
    let mut ids = BTreeSet::new();
    for _ in 0..60 {
        ids.insert(get(proxy.address(), "/id").await.text().to_owned());
    }
    assert_eq!(ids.len(), 2, "each had some of sixty");
    let app = proxy.only_app().await;
    assert_eq!((&app["runtime"], &app["desired"], &app["ready"]), (&"upstream".into(), &2.into(), &2.into()));
    assert_eq!((&app["requests"], &app["reason"]), (&60.into(), &"2 of 2 up".into()));
    assert!(app["rps"].as_f64().expect("a number") > 0.0, "{app}");
    assert_eq!((&app["image"], &app["revision"]), (&Value::Null, &Value::Null));
    assert_eq!(proxy.report().replicas(), [""; 0], "nothing was started");
}

#[tokio::test]
async fn the_host_arrives_as_the_client_sent_it() {
    let (_servers, addresses) = servers(1).await;
    let proxy = proxy(&addresses, "path: /in\nstrip_prefix: true").await;
    let call =
        Call::get(proxy.address(), "/in/headers?q").host("shop.test:81").header("x-real-ip", "6.6.6.6");
    let said = call.send().await.unwrap().json();
    let values = |name: &str| -> Vec<String> {
        let pairs = said["headers"].as_array().expect("a list").iter();
        pairs.filter(|pair| pair[0] == name).map(|pair| pair[1].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(said["uri"], "/headers?q");
    assert_eq!(values("host"), ["shop.test:81"]);
    assert_eq!(values("x-forwarded-host"), ["shop.test:81"]);
    assert_eq!(values("x-forwarded-for"), ["127.0.0.1"]);
    assert_eq!(values("x-real-ip"), [""; 0]);
}

#[tokio::test]
async fn a_name_is_resolved() {
    let (_servers, addresses) = servers(1).await;
    let port = addresses[0].port();
    let proxy = Setup::process(&format!("name: app\nupstream: http://LOCALHOST:{port}\n")).start().await;
    assert_eq!(get(proxy.address(), "/ping").await.status, 200);
    let app = proxy.only_app().await;
    assert_eq!((&app["desired"], &app["ready"]), (&1.into(), &1.into()), "the one that answers: {app}");
}

#[tokio::test]
async fn a_bound_on_requests_in_flight_holds() {
    let (servers, addresses) = servers(1).await;
    let proxy = proxy(&addresses, "max_concurrency: 2").await;
    let address = proxy.address();
    load::at_once(20, |_| Call::get(address, "/sleep?ms=20").send()).await.assert_all_ok();
    let report = servers[0].report();
    let most = report.events("start").iter().filter_map(|event| event["open"].as_u64()).max();
    assert_eq!(most, Some(2));
}

#[tokio::test]
async fn a_connection_may_become_another_protocol() {
    let (_servers, addresses) = servers(1).await;
    let proxy = proxy(&addresses, "").await;
    let request = "GET /upgrade HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: echo\r\n\r\n";
    let mut wire = Wire::sent(proxy.address(), request).await;
    assert!(wire.head().await.starts_with("HTTP/1.1 101 "));
    wire.send("hello").await;
    assert_eq!(wire.take(5).await, b"hello");
    wait_for_async("it is counted", || async { (proxy.only_app().await["in_flight"] == 1).then_some(()) })
        .await;
}

/// What is not ours to start needs nothing to start it with.
#[tokio::test]
async fn no_engine_is_needed() {
    let (_servers, addresses) = servers(1).await;
    let config = yaml(&addresses, "docker: {socket: nowhere.sock}");
    let proxy = Setup::docker(&config).start().await;
    assert_eq!(get(proxy.address(), "/ping").await.status, 200);
    wait_for_async("it is ready", || async {
        (get(proxy.admin(), "/readyz").await.status == 200).then_some(())
    })
    .await;
    assert!(!proxy.log().contains("waiting for the runtime"), "{}", proxy.log());
}
