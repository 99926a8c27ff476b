//! Replicas are taken away under load, and nobody notices.

use std::time::Duration;

use crate::support::http::{Call, Failure};
use crate::support::load;
use crate::support::wait::LIMIT;
use crate::{proxy, shown};

use tokio::time::Instant;

#[tokio::test]
async fn ten_are_stopped_under_load_and_every_request_is_answered_once() {
    let windows = "stable_window: 2s, panic_window: 1s, idle: 1s";
    let proxy = proxy(&format!("min: 0, max: 6, metric: rps, target: 20, {windows}"), "").await;
    let address = proxy.address();
    let call = move |at: usize| {
        // What may be sent twice and what may not, short and long.
        let call =
            if at % 2 == 0 { Call::get(address, "/sleep?ms=300") } else { Call::post(address, "/echo", "x") };
        async move { Ok::<_, Failure>(call.send().await?) }
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
    crate::support::wait::wait_for_async("all have ended", || async {
        let report = proxy.report();
        (shown(&proxy, "draining").await == 0 && report.count("exit") == report.replicas().len())
            .then_some(())
    })
    .await;
    let report = proxy.report();
    let served: u64 = report.events("exit").iter().filter_map(|event| event["served"].as_u64()).sum();
    assert_eq!((served as usize, report.count("abort")), (all.sent(), 0), "each reached one replica, once");
}
