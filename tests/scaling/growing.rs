//! As many replicas as the metric asks for.

use std::time::Duration;

use tokio::time::{Instant, sleep};

use crate::support::http::{Call, get};
use crate::support::load;
use crate::support::processes::kill;
use crate::support::wait::wait_for_async;
use crate::{proxy, shown};

#[tokio::test]
async fn thirty_seven_a_second_at_ten_each_are_four() {
    let proxy = proxy("min: 0, max: 5, metric: rps, target: 10, idle: 2s", "").await;
    let address = proxy.address();
    // A rate is counted from the first request on: from this one, so that on a busy machine no others gather behind it.
    assert_eq!(get(address, "/ping").await.status, 200);
    let load = tokio::spawn(load::at_rate(37.0, Duration::from_secs(12), move |_| {
        Call::get(address, "/ping").send()
    }));
    let start = Instant::now();
    proxy.ready(4).await;
    assert!(start.elapsed() < Duration::from_secs(10), "{:?}", start.elapsed());
    while !load.is_finished() {
        let app = proxy.only_app().await;
        let running = app["ready"].as_u64().unwrap() + app["starting"].as_u64().unwrap();
        assert_eq!((running, &app["desired"]), (4, &4.into()), "{app}");
        sleep(Duration::from_millis(100)).await;
    }
    load.await.unwrap().assert_all_ok();
    proxy.ready(0).await;
    assert_eq!(proxy.report().replicas().len(), 4, "never a fifth");
    assert_eq!(proxy.report().open_at_sigterm(), 0);
    assert_eq!(get(address, "/ping").await.status, 200, "and it wakes again");
}

#[tokio::test]
async fn twenty_five_open_at_ten_each_are_three() {
    let windows = "stable_window: 4s, panic_window: 1s, idle: 1s";
    let proxy = proxy(&format!("min: 0, max: 6, metric: concurrency, target: 10, {windows}"), "").await;
    let address = proxy.address();
    let load = tokio::spawn(load::at_once(25, move |_| Call::get(address, "/sleep?ms=6000").send()));
    wait_for_async("all are open", || async { (shown(&proxy, "in_flight").await == 25).then_some(()) }).await;
    proxy.ready(3).await;
    while !load.is_finished() {
        let app = proxy.only_app().await;
        assert!(app["desired"].as_u64() <= Some(3), "{app}");
        sleep(Duration::from_millis(100)).await;
    }
    load.await.unwrap().assert_all_ok();
    proxy.ready(0).await;
    assert_eq!(proxy.report().open_at_sigterm(), 0);
}

#[tokio::test]
async fn work_for_several_instances_brings_several() {
    // A tenth of a core each, so that the test takes little of the machine.
    let windows = "stable_window: 4s, panic_window: 1s";
    let proxy = proxy(&format!("min: 0, max: 4, metric: cpu, target: 70, {windows}"), "instance: C1").await;
    let address = proxy.address();
    let load = load::at_rate(4.0, Duration::from_secs(6), move |_| Call::get(address, "/burn?ms=60").send());
    let load = tokio::spawn(load);
    wait_for_async("there are more", || async { (shown(&proxy, "ready").await >= 2).then_some(()) }).await;
    assert!(proxy.only_app().await["reason"].as_str().unwrap().starts_with("cpu % "));
    load.await.unwrap().assert_all_ok();
}

/// A replica can use all of the host and no more, so that is what its use is held against.
#[tokio::test]
async fn an_instance_larger_than_the_host_is_as_large_as_the_host() {
    let windows = "stable_window: 4s, panic_window: 1s";
    let scale = format!("min: 0, max: 2, metric: cpu, target: 0.1, {windows}");
    let proxy = proxy(&scale, "resources: {cpu: 1024, memory: 1G}").await;
    let address = proxy.address();
    let load = load::at_rate(4.0, Duration::from_secs(6), move |_| Call::get(address, "/burn?ms=60").send());
    let load = tokio::spawn(load);
    wait_for_async("there are more", || async { (shown(&proxy, "ready").await == 2).then_some(()) }).await;
    load.await.unwrap().assert_all_ok();
}

/// Counted by the highest of a window: one that gives its memory back is believed a window later, and nothing
/// comes and goes meanwhile.
#[tokio::test]
async fn memory_for_several_instances_brings_several() {
    let windows = "stable_window: 3s, panic_window: 1s";
    // Nothing limits a process: what it holds is held against the instance's 200 MB.
    let proxy = proxy(
        &format!("min: 1, max: 4, metric: memory, target: 50, {windows}"),
        "resources: {cpu: 1, memory: 200M}",
    )
    .await;
    proxy.ready(1).await;
    assert_eq!(get(proxy.address(), "/hold-memory?mb=140").await.status, 200);
    proxy.ready(2).await;
    assert!(proxy.only_app().await["reason"].as_str().unwrap().starts_with("memory % "));
    let calm = Instant::now() + Duration::from_secs(5);
    while Instant::now() < calm {
        let app = proxy.only_app().await;
        assert_eq!((&app["desired"], &app["ready"]), (&2.into(), &2.into()), "{app}");
        sleep(Duration::from_millis(100)).await;
    }
    // Whichever of the two is asked: sooner or later it is the one that holds it.
    wait_for_async("one is enough again", || async {
        assert_eq!(get(proxy.address(), "/hold-memory?mb=0").await.status, 200);
        let app = proxy.only_app().await;
        let reason = app["reason"].as_str().unwrap();
        let percent = reason.strip_prefix("memory % ").and_then(|rest| rest.split(' ').next()?.parse().ok());
        let percent: f64 = percent.unwrap_or_else(|| panic!("{app}"));
        assert!(!(30.0..70.0).contains(&percent), "no average of then and now: {app}");
        (app["ready"] == 1).then_some(())
    })
    .await;
    assert_eq!(proxy.report().replicas().len(), 2, "never a third");
}

#[tokio::test]
async fn what_is_idle_goes_however_much_memory_it_holds() {
    let proxy = proxy("min: 0, max: 2, metric: memory, idle: 1s", "resources: {memory: 100M}").await;
    assert_eq!(get(proxy.address(), "/hold-memory?mb=60").await.status, 200);
    proxy.ready(0).await;
    let app = proxy.only_app().await;
    assert!(app["reason"].as_str().unwrap().starts_with("idle for "), "{app}");
}

#[tokio::test]
async fn min_is_kept_and_replaced() {
    let proxy = proxy("min: 1, max: 2, metric: rps, idle: 200ms", "").await;
    proxy.ready(1).await;
    let before = get(proxy.address(), "/id").await.text().to_owned();
    sleep(Duration::from_millis(1500)).await;
    assert_eq!(shown(&proxy, "ready").await, 1, "idle or not");
    assert_eq!(get(proxy.address(), "/id").await.text(), before);
}

/// Killed while nobody looks: whether the proxy has heard of it or not, the next request is answered.
#[tokio::test]
async fn a_replica_that_is_killed_is_replaced() {
    for pause in [0, 300] {
        let proxy = proxy("min: 0, max: 1, metric: rps", "").await;
        let first = get(proxy.address(), "/id").await.text().to_owned();
        let pid = first
            .rsplit('-')
            .next()
            .and_then(|pid| pid.parse().ok())
            .and_then(rustix::process::Pid::from_raw);
        kill(pid.expect("its name ends with its process"));
        sleep(Duration::from_millis(pause)).await;
        let again = get(proxy.address(), "/id").await;
        assert_eq!(again.status, 200, "{}", again.reason());
        assert_ne!(again.text(), first);
    }
}

/// One that dies as soon as it is ready, again and again, is not started without end.
#[tokio::test]
async fn a_replica_that_keeps_dying_is_backed_off() {
    let proxy = proxy("min: 1, max: 1, metric: rps", "").await;
    let refused = wait_for_async("it is refused", || async {
        // Each ends the replica that it comes to, which is what it is told then.
        let answer = Call::post(proxy.address(), "/exit?code=3", "").send().await.unwrap();
        Some(answer).filter(|answer| answer.status != 502)
    })
    .await;
    assert_eq!(refused.status, 503);
    assert!(refused.reason().starts_with("start-failed: exited with code 3, "), "{}", refused.reason());
    assert_ne!(refused.header("retry-after"), "");
    assert!(proxy.report().replicas().len() <= 3, "{:?}", proxy.report().replicas());
}
