//! From no replica to an answer, in the order of arrival and not more at once than the app takes.

use std::time::Duration;

use tokio::task::JoinSet;

use crate::support::http::{Call, get};
use crate::support::load;
use crate::support::wire::Wire;
use crate::{held, proxy};

#[tokio::test]
async fn five_hundred_at_once_wake_one_replica() {
    let proxy = proxy(&[("START_DELAY_MS", "300")], "").await;
    let address = proxy.address();
    let outcomes = load::at_once(500, |_| Call::get(address, "/ping").send()).await;
    assert_eq!(outcomes.sent(), 500);
    outcomes.assert_all_ok();
    let report = proxy.report();
    assert_eq!((report.replicas().len(), report.count("finish")), (1, 500));
    let app = proxy.only_app().await;
    assert_eq!((&app["held"], &app["in_flight"], &app["requests"]), (&0.into(), &0.into(), &500.into()));
}

#[tokio::test]
async fn they_are_served_in_the_order_in_which_they_came() {
    let proxy = proxy(&[("START_WHEN", "{report}/go")], "max_concurrency: 1\nworkers: 2").await;
    let address = proxy.address();
    let mut calls = JoinSet::new();
    for seq in 0..20 {
        // Both kinds: one whose body waits as well, and one that has none.
        let call = if seq % 3 == 0 { Call::post(address, "/echo", "x") } else { Call::get(address, "/id") };
        calls.spawn(call.header("x-seq", &seq.to_string()).send());
        held(&proxy, seq + 1).await;
    }
    proxy.tell("go");
    while let Some(answer) = calls.join_next().await {
        assert_eq!(answer.unwrap().unwrap().status, 200);
    }
    let expected: Vec<_> = (0..20).map(|seq| seq.to_string()).collect();
    assert_eq!(proxy.report().order(), expected);
}

#[tokio::test]
async fn a_held_upload_arrives_whole() {
    let proxy = proxy(&[("START_WHEN", "{report}/go")], "").await;
    let address = proxy.address();
    let body: Vec<u8> = (0..1_000_000_u32).map(|at| at.to_le_bytes()[0] ^ at.to_le_bytes()[1]).collect();
    let outcome = tokio::spawn(Call::post(address, "/echo", body.clone()).send());
    held(&proxy, 1).await;
    // Nothing of it is read meanwhile but what the sockets take.
    proxy.tell("go");
    assert!(outcome.await.unwrap().unwrap().body == body);
}

#[tokio::test]
async fn no_replica_has_more_than_its_share_at_once() {
    let proxy = proxy(&[], "max_concurrency: 3\nworkers: 2").await;
    let address = proxy.address();
    let outcomes = load::at_once(60, |_| Call::get(address, "/sleep?ms=50").send()).await;
    outcomes.assert_all_ok();
    let report = proxy.report();
    let most = report.events("start").iter().filter_map(|event| event["open"].as_u64()).max();
    assert_eq!((most, report.count("finish")), (Some(3), 60));
}

#[tokio::test]
async fn a_stream_keeps_its_place_to_its_last_byte() {
    let proxy = proxy(&[], "max_concurrency: 1\nworkers: 2").await;
    let address = proxy.address();
    let mut stream = Wire::echo(address, "a").await;
    let next = tokio::spawn(Call::get(address, "/id").send());
    held(&proxy, 1).await;
    stream.assert_echoes("more").await;
    held(&proxy, 1).await;
    stream.assert_ends().await;
    assert_eq!(next.await.unwrap().unwrap().status, 200);
    let report = proxy.report();
    assert!(report.events("start").iter().all(|event| event["open"] == 1));
}

/// A server of one connection at a time is never occupied by a silent one: not by another worker's, and not by
/// one that carried an answer which ended early.
#[tokio::test]
async fn a_server_of_one_connection_serves_many_clients() {
    let proxy = proxy(&[("SINGLE", "1")], "max_concurrency: 1\nworkers: 2\nkeep_alive: 30s").await;
    let address = proxy.address();
    let all = async {
        let mut outcomes = load::at_once(100, |_| Call::get(address, "/id").send()).await;
        for at in 0..40 {
            let call = match at % 3 {
                0 => Call::post(address, "/echo", "x"),
                1 => Call::get(address, "/bytes?n=100000"),
                _ => Call::get(address, "/id"),
            };
            outcomes.add(load::at_once(1, |_| Call::get(address, "/id").send()).await);
            assert_eq!(call.send().await.unwrap().status, 200);
        }
        // Answered before the end of its request: the connection is of no more use.
        let mut early =
            Wire::sent(address, "POST /status?code=200 HTTP/1.1\r\nHost: a\r\nContent-Length: 99\r\n\r\nx")
                .await;
        assert_eq!(early.reply().await.status(), 200);
        // Given up in the middle of its answer.
        let stream = Call::get(address, "/stream?chunks=1000&every_ms=20").open().await.unwrap();
        drop(stream);
        outcomes.add(load::at_once(60, |_| Call::get(address, "/id").send()).await);
        outcomes
    };
    // A single wait for an idle connection to expire would take the whole of it.
    let outcomes =
        tokio::time::timeout(Duration::from_secs(25), all).await.expect("nobody waits for silence");
    assert_eq!(outcomes.sent(), 200);
    outcomes.assert_all_ok();
    assert_eq!(get(address, "/stats").await.status, 200);
}
