//! SIGHUP: the file is read again.

use std::time::Duration;

use crate::proxy;
use crate::support::http::{Call, get};
use crate::support::load;
use crate::support::proxy::{Proxy, Setup};
use crate::support::wait::{wait_for_async, wait_until};
use crate::support::yaml;

/// Waits until there are so many apps, those not counted that are on their way out.
async fn apps(proxy: &Proxy, count: usize) {
    wait_for_async(format!("there are {count} apps"), || async {
        let apps = get(proxy.admin(), "/api/apps").await.json();
        let stay = apps.as_array()?.iter().filter(|app| app["retiring"] != true).count();
        (stay == count).then_some(())
    })
    .await;
}

async fn ask(proxy: &Proxy, host: &str) -> (u16, String) {
    let answer = Call::get(proxy.address(), "/id").host(host).send().await.expect("an answer");
    (answer.status, answer.text().to_owned())
}

#[tokio::test]
async fn apps_come_and_go() {
    let one: (&str, yaml::Env<'_>, &str) = ("one", &[], "host: one.test");
    let two: (&str, yaml::Env<'_>, &str) = ("two", &[], "host: two.test");
    let proxy = Setup::process(&yaml::apps(&[one])).start().await;
    let (_, first) = ask(&proxy, "one.test").await;
    assert_eq!(ask(&proxy, "two.test").await.0, 404);
    proxy.reload(&yaml::apps(&[one, two]));
    apps(&proxy, 2).await;
    assert_eq!(ask(&proxy, "two.test").await.0, 200);
    assert_eq!(ask(&proxy, "one.test").await, (200, first), "the other one is left alone");
    proxy.reload(&yaml::apps(&[two]));
    apps(&proxy, 1).await;
    assert_eq!(ask(&proxy, "one.test").await.0, 404);
    assert_eq!(ask(&proxy, "two.test").await.0, 200);
    wait_until("its replica is stopped", || proxy.report().count("sigterm") == 1).await;
}

#[tokio::test]
async fn an_app_that_is_removed_finishes_what_it_has() {
    let one: (&str, yaml::Env<'_>, &str) = ("one", &[], "host: one.test");
    let two: (&str, yaml::Env<'_>, &str) = ("two", &[], "host: two.test");
    let proxy = Setup::process(&yaml::apps(&[one, two])).start().await;
    let open = tokio::spawn(Call::get(proxy.address(), &proxy.until("seen")).host("one.test").send());
    wait_until("it is open", || proxy.report().count("start") == 1).await;
    proxy.reload(&yaml::apps(&[two]));
    apps(&proxy, 1).await;
    let leaving = proxy.app("one").await;
    assert_eq!((&leaving["retiring"], &leaving["in_flight"]), (&true.into(), &1.into()), "it is still shown");
    proxy.tell("seen");
    assert_eq!(open.await.unwrap().unwrap().status, 200);
    wait_until("its replica is stopped", || proxy.report().count("sigterm") == 1).await;
    assert_eq!(proxy.report().open_at_sigterm(), 0, "not before it was done");
    wait_for_async("it is shown no more", || async {
        let shown = get(proxy.admin(), "/api/apps").await.json();
        (shown.as_array().map(Vec::len) == Some(1)).then_some(())
    })
    .await;
}

#[tokio::test]
async fn an_app_that_returns_while_it_leaves_loses_nothing() {
    let one: (&str, yaml::Env<'_>, &str) = ("one", &[], "host: one.test");
    let two: (&str, yaml::Env<'_>, &str) = ("two", &[], "host: two.test");
    let proxy = Setup::process(&yaml::apps(&[one, two])).start().await;
    let address = proxy.address();
    let open = tokio::spawn(Call::get(address, "/sleep?ms=2000").host("one.test").send());
    wait_until("it is open", || proxy.report().count("start") == 1).await;
    proxy.reload(&yaml::apps(&[two]));
    apps(&proxy, 1).await;
    proxy.reload(&yaml::apps(&[one, two]));
    apps(&proxy, 2).await;
    let load = load::at_rate(30.0, Duration::from_secs(4), move |_| {
        Call::post(address, "/echo", "x").host("one.test").send()
    });
    load.await.assert_all_ok();
    assert_eq!(open.await.unwrap().unwrap().status, 200);
    assert_eq!(proxy.report().open_at_sigterm(), 0);
}

#[tokio::test]
async fn policy_changes_in_place() {
    let proxy = proxy(&[], "host: old.test").await;
    let before = ask(&proxy, "old.test").await;
    let keys = "host: new.test\nmax_concurrency: 1\nautoscale: {min: 0, max: 1, metric: rps, target: 77}";
    proxy.reload(&yaml::app(&[], keys));
    wait_for_async("the route is another", || async {
        (ask(&proxy, "old.test").await.0 == 404).then_some(())
    })
    .await;
    assert_eq!(ask(&proxy, "new.test").await, before, "the same replica");
    wait_for_async("the target is another", || async {
        let reason = proxy.only_app().await["reason"].to_string();
        reason.contains("/ target 77").then_some(())
    })
    .await;
    let address = proxy.address();
    let outcomes = load::at_once(20, |_| Call::get(address, "/sleep?ms=20").host("new.test").send()).await;
    outcomes.assert_all_ok();
    let report = proxy.report();
    let most = report.events("start").iter().filter_map(|event| event["open"].as_u64()).max();
    assert_eq!((most, report.replicas().len()), (Some(1), 1), "the limit holds as well");
}

#[tokio::test]
async fn requests_are_counted_on_when_the_windows_change() {
    let proxy = proxy(&[], "host: a.test").await;
    let before = ask(&proxy, "a.test").await;
    assert_eq!(proxy.only_app().await["requests"], 1);
    let windows = "autoscale: {min: 0, max: 1, metric: rps, stable_window: 30s}\nhost: b.test";
    proxy.reload(&yaml::app(&[], windows));
    wait_for_async("it is taken", || async { (ask(&proxy, "b.test").await == before).then_some(()) }).await;
    assert_eq!(proxy.only_app().await["requests"], 2);
}

#[tokio::test]
async fn what_runs_changes_without_a_gap() {
    let scale = "autoscale: {min: 2, max: 2, metric: rps}";
    let proxy = proxy(&[], scale).await;
    proxy.ready(2).await;
    let address = proxy.address();
    let revision = proxy.only_app().await["revision"].clone();
    let load = tokio::spawn(load::at_rate(60.0, Duration::from_secs(6), move |at| {
        if at % 2 == 0 {
            Call::get(address, "/sleep?ms=300").send()
        } else {
            Call::post(address, "/echo", "x").send()
        }
    }));
    proxy.reload(&yaml::app(&[("NEW", "1"), ("START_DELAY_MS", "500")], scale));
    wait_until("four have been started", || proxy.report().replicas().len() == 4).await;
    wait_until("the first two are stopped", || proxy.report().count("exit") == 2).await;
    load.await.unwrap().assert_all_ok();
    let app = proxy.only_app().await;
    assert_ne!(app["revision"], revision);
    assert_eq!((&app["ready"], proxy.report().replicas().len()), (&2.into(), 4));
    assert_eq!((proxy.report().open_at_sigterm(), proxy.report().count("abort")), (0, 0));
}

/// What a worker has kept for itself occupies a server of one connection, and nobody may use it any more.
#[tokio::test]
async fn a_limit_that_is_new_closes_what_was_kept_without_one() {
    let keep = "workers: 1\nkeep_alive: 300s\ntimeout: 30s";
    let proxy = proxy(&[("SINGLE", "1")], keep).await;
    let before = ask(&proxy, "a.test").await;
    assert_eq!(before.0, 200);
    proxy.reload(&yaml::app(&[("SINGLE", "1")], &format!("{keep}\nmax_concurrency: 1\nhost: new.test")));
    wait_for_async("the route is another", || async {
        (ask(&proxy, "old.test").await.0 == 404).then_some(())
    })
    .await;
    for _ in 0..20 {
        assert_eq!(ask(&proxy, "new.test").await, before);
    }
}

/// Whatever was wrong, it may be put right: nobody waits for the end of the back-off.
#[tokio::test]
async fn what_is_mended_is_tried_at_once() {
    let proxy = proxy(&[("EXIT_AT_ONCE", "1")], "").await;
    let address = proxy.address();
    wait_for_async("it is backed off for long", || async {
        let refused = get(address, "/id").await;
        assert_eq!(refused.status, 503, "{}", refused.reason());
        (refused.header("retry-after").parse::<u64>().expect("a number") >= 4).then_some(())
    })
    .await;
    let broken = proxy.only_app().await["revision"].clone();
    proxy.reload(&yaml::app(&[], ""));
    wait_for_async("the file is taken", || async {
        let revision = proxy.only_app().await["revision"].clone();
        (!revision.is_null() && revision != broken).then_some(())
    })
    .await;
    let answer = get(address, "/id").await;
    assert_eq!(answer.status, 200, "{}", answer.reason());
}

#[tokio::test]
async fn a_bad_file_changes_nothing_and_is_reported() {
    let proxy = proxy(&[], "").await;
    let before = ask(&proxy, "a.test").await;
    proxy.reload("name: other\ncomand: nothing\nautoscale: {min: 5, max: 2}\n");
    wait_until("it is reported", || proxy.log().contains("the file is not taken")).await;
    let log = proxy.log();
    // Four lines come before the test's own.
    assert!(log.contains("jcloud.yml:6:1") && log.contains("command"), "{log}");
    assert_eq!(proxy.only_app().await["name"], "app");
    assert_eq!(ask(&proxy, "a.test").await, before);
    proxy.reload(&yaml::app(&[], "host: b.test"));
    wait_for_async("the next is taken", || async { (ask(&proxy, "a.test").await.0 == 404).then_some(()) })
        .await;
    assert_eq!(ask(&proxy, "b.test").await, before);
}

/// Apps that are written for another runtime are not given to the one that runs.
#[tokio::test]
async fn another_runtime_is_for_the_next_start() {
    let proxy = Setup::process(&format!("runtime: process\n{}", yaml::app(&[], ""))).start().await;
    let before = ask(&proxy, "a.test").await;
    proxy.reload("runtime: docker\nname: app\nimage: no-such-image:1\nhost: b.test\n");
    let said = "the file is not taken, nothing has changed: `runtime` is now docker";
    wait_until("it is reported", || proxy.log().contains(said)).await;
    assert_eq!(proxy.only_app().await["runtime"], "process");
    assert_eq!(ask(&proxy, "a.test").await, before);
}

/// `docker.allow` is a check of the file, made anew each time it is read.
#[tokio::test]
async fn what_may_be_mounted_holds_at_once() {
    let proxy = proxy(&[], "host: old.test").await;
    let mounts = "host: new.test\ndocker: {allow: [/srv]}\nvolumes: ['/srv:/srv']";
    proxy.reload(&yaml::app(&[], mounts));
    wait_for_async("it is taken", || async { (ask(&proxy, "old.test").await.0 == 404).then_some(()) }).await;
    assert!(!proxy.log().contains("at the next start"), "and is not said to be put off");
    proxy.reload(&yaml::app(&[], &mounts.replace("allow: [/srv]", "network: other")));
    wait_until("it is forbidden again", || proxy.log().contains("the file is not taken")).await;
}
