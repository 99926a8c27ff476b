//! The file changes.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::support::http::{Call, get};
use crate::support::load;
use crate::support::wait::{wait_for_async, wait_until};
use crate::support::{proxy::Setup, yaml as ours};
use crate::{proxy, servers, up, yaml};

#[tokio::test]
async fn the_list_changes_without_a_gap() {
    let (servers, addresses) = servers(3).await;
    let proxy = proxy(&addresses[..2], "").await;
    up(&proxy, 2).await;
    let address = proxy.address();
    let long = tokio::spawn(load::at_once(10, move |_| Call::get(address, "/sleep?ms=1500").send()));
    // Each has a number, so that it is known of each when it was sent.
    let next = Arc::new(AtomicUsize::new(0));
    let numbers = Arc::clone(&next);
    let load = load::steady(60.0, move |at| {
        numbers.store(at + 1, Ordering::SeqCst);
        Call::post(address, "/echo", "x").header("x-seq", &at.to_string()).send()
    });
    wait_until("some are open at the first", || servers[0].report().count("start") > 1).await;
    proxy.reload(&yaml(&addresses[1..], "max_concurrency: 100"));
    wait_until("the third has some", || servers[2].report().count("start") > 0).await;
    // What was sent before may arrive at the first still.
    let next = next.load(Ordering::SeqCst);
    let later = |at: usize| {
        let report = servers[at].report();
        report.order().iter().filter(|seq| seq.parse::<usize>().is_ok_and(|seq| seq >= next)).count()
    };
    wait_until("the third has many more", || later(2) > 40).await;
    load.end().await.assert_all_ok();
    long.await.unwrap().assert_all_ok();
    assert_eq!(later(0), 0, "the first gets no more");
    assert_eq!(servers[0].report().count("abort"), 0);
    proxy.draining(0).await;
    let app = proxy.only_app().await;
    assert_eq!((&app["desired"], &app["ready"], &app["draining"]), (&2.into(), &2.into(), &0.into()));
}

/// Something of ours takes the place of something that is not, and the other way round.
#[tokio::test]
async fn an_app_becomes_an_upstream_and_one_an_app() {
    let (servers, addresses) = servers(1).await;
    let theirs = servers[0].report().replicas().remove(0);
    let proxy = Setup::process(&ours::app(&[], "")).start().await;
    let id = || async { get(proxy.address(), "/id").await.text().to_owned() };
    let first = id().await;
    assert_ne!(first, theirs);
    let address = proxy.address();
    let open = tokio::spawn(Call::get(address, "/sleep?ms=1500").send());
    wait_until("it is open", || proxy.report().events("start").len() == 2).await;

    proxy.reload(&yaml(&addresses, ""));
    wait_for_async("the upstream serves", || async { (id().await == theirs).then_some(()) }).await;
    assert_eq!(open.await.unwrap().unwrap().status, 200, "what was open has its end");
    wait_until("the replica is stopped", || proxy.report().count("exit") == 1).await;
    assert_eq!((proxy.report().open_at_sigterm(), proxy.report().count("abort")), (0, 0));
    wait_for_async("the upstream alone is left", || async {
        let apps = get(proxy.admin(), "/api/apps").await.json();
        let [only] = apps.as_array()?.as_slice() else { return None };
        (only["runtime"] == "upstream").then_some(())
    })
    .await;

    let open = tokio::spawn(Call::get(address, "/sleep?ms=1500").send());
    wait_until("it is open", || servers[0].report().events("start").iter().any(|it| it["path"] == "/sleep"))
        .await;
    proxy.reload(&ours::app(&[], ""));
    wait_for_async("a replica serves", || async { (id().await != theirs).then_some(()) }).await;
    assert_eq!(open.await.unwrap().unwrap().status, 200);
    assert_eq!(proxy.report().replicas().len(), 2);
}

/// Back again before its last replica was gone: that one is taken back, as when an app returns.
#[tokio::test]
async fn an_app_that_is_an_upstream_for_a_moment_keeps_its_replica() {
    let (_servers, addresses) = servers(1).await;
    let proxy = Setup::process(&ours::app(&[], "")).start().await;
    let id = || async { get(proxy.address(), "/id").await.text().to_owned() };
    let first = id().await;
    let open = tokio::spawn(Call::get(proxy.address(), &proxy.until("back")).send());
    wait_until("it is open", || proxy.report().events("start").len() == 2).await;
    proxy.reload(&yaml(&addresses, ""));
    wait_for_async("the upstream serves", || async { (id().await != first).then_some(()) }).await;
    proxy.reload(&ours::app(&[], ""));
    wait_for_async("the replica serves", || async { (id().await == first).then_some(()) }).await;
    proxy.tell("back");
    assert_eq!(open.await.unwrap().unwrap().status, 200);
    assert_eq!(proxy.report().replicas(), [first]);
}
