//! The file changes.

use std::time::Duration;

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
    let load = tokio::spawn(load::at_rate(60.0, Duration::from_secs(3), move |_| {
        Call::post(address, "/echo", "x").send()
    }));
    wait_until("some are open at the first", || servers[0].report().count("start") > 1).await;
    proxy.reload(&yaml(&addresses[1..], "max_concurrency: 100"));
    wait_until("the third has some", || servers[2].report().count("start") > 0).await;
    let before = servers[0].report().count("start");
    load.await.unwrap().assert_all_ok();
    long.await.unwrap().assert_all_ok();
    assert!(servers[0].report().count("start") <= before + 1, "the first gets no more");
    assert_eq!(servers[0].report().count("abort"), 0);
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
    let open = tokio::spawn(Call::get(proxy.address(), "/sleep?ms=2500").send());
    wait_until("it is open", || proxy.report().events("start").len() == 2).await;
    proxy.reload(&yaml(&addresses, ""));
    wait_for_async("the upstream serves", || async { (id().await != first).then_some(()) }).await;
    proxy.reload(&ours::app(&[], ""));
    wait_for_async("the replica serves", || async { (id().await == first).then_some(()) }).await;
    assert_eq!(open.await.unwrap().unwrap().status, 200);
    assert_eq!(proxy.report().replicas(), [first]);
}
