//! Replicas are taken away under load, and nobody notices.

use std::time::Duration;

use tokio::time::Instant;

use crate::support::http::Call;
use crate::support::load;
use crate::support::wait::{LIMIT, wait_for_async};
use crate::{proxy, shown};

#[tokio::test]
async fn ten_are_stopped_under_load_and_every_request_is_answered_once() {
    let windows = "stable_window: 2s, panic_window: 1s, idle: 1s";
    let proxy = proxy(&format!("min: 0, max: 6, metric: rps, target: 20, {windows}"), "").await;
    let address = proxy.address();
    let call = move |at: usize| {
        // What may be sent twice and what may not, short and long.
        let long = at.is_multiple_of(2);
        if long { Call::get(address, "/sleep?ms=300") } else { Call::post(address, "/echo", "x") }.send()
    };
    let mut all = load::Outcomes::default();
    let start = Instant::now();
    while proxy.report().count("sigterm") < 10 {
        assert!(start.elapsed() < LIMIT, "only {} were stopped", proxy.report().count("sigterm"));
        all.add(load::at_rate(120.0, Duration::from_secs(4), call).await);
        all.add(load::at_rate(15.0, Duration::from_secs(4), call).await);
    }
    all.assert_all_ok();
    assert_eq!(proxy.report().open_at_sigterm(), 0, "each was done before it was told to end");
    proxy.ready(0).await;
    wait_for_async("all have ended", || async {
        let report = proxy.report();
        (shown(&proxy, "draining").await == 0 && report.count("exit") == report.replicas().len())
            .then_some(())
    })
    .await;
    let report = proxy.report();
    let exits = report.events("exit");
    let served: u64 = exits.iter().map(|event| event["served"].as_u64().expect("a number")).sum();
    assert_eq!((served, report.count("abort")), (all.sent() as u64, 0), "each reached one replica, once");
}
