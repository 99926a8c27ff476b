//! An engine that is not there, goes away, or hangs. The engine itself is shared with other tests and goes on: what
//! fails is the way to it, see `support/relay.rs`.

mod support;

use std::os::unix::fs::symlink;
use std::time::Duration;

use support::docker::{Events, docker, need_app_image, replicas};
use support::http::{Answer, Call, get};
use support::neighbour::{self, Neighbour};
use support::proxy::{Proxy, Setup};
use support::relay::{ENGINE, Relay};
use support::wait::{wait_for_async, wait_until};

const SOCKET: &str = "docker: {socket: '{report}/engine.sock'}\n";

/// A proxy whose engine is to be found in the report's folder.
fn setup(apps: &str) -> Setup {
    Setup::docker(&format!("{SOCKET}{apps}"))
}

fn socket_of(proxy: &Proxy) -> std::path::PathBuf {
    proxy.report_dir().join("engine.sock")
}

/// Whatever the engine does, the answer says that it is the runtime's fault.
fn assert_runtime(answer: &Answer, words: &str) {
    assert_eq!(answer.status, 503, "{}", answer.reason());
    assert!(answer.reason().starts_with("runtime: "), "{}", answer.reason());
    assert!(answer.reason().contains(words), "{}", answer.reason());
    let seconds: u64 = answer.header("retry-after").parse().expect("it says when to try again");
    assert!((1..=60).contains(&seconds), "{seconds}");
}

async fn until_served(proxy: &Proxy, host: &str) -> Answer {
    wait_for_async("the app serves", || async {
        let answer = Call::get(proxy.address(), "/id").host(host).send().await.expect("an answer");
        (answer.status == 200).then_some(answer)
    })
    .await
}

#[tokio::test]
async fn an_engine_that_comes_late_serves_who_was_held() {
    need_app_image().await;
    let proxy = setup("name: web\nimage: {app}\nautoscale: {min: 0, max: 1}\n").start().await;
    let held = tokio::spawn(Call::get(proxy.address(), "/ping").send());
    wait_for_async("it is held", || async { (proxy.only_app().await["held"] == 1).then_some(()) }).await;
    wait_until("the log says what to do", || proxy.log().contains("systemctl start docker")).await;
    assert_eq!(get(proxy.address(), "/.pilotlight/health").await.status, 200);
    assert_eq!(get(proxy.admin(), "/healthz").await.status, 200);
    assert_eq!(get(proxy.admin(), "/readyz").await.status, 503);
    symlink(ENGINE, socket_of(&proxy)).expect("it can be put there");
    let answer = held.await.expect("no panic").expect("an answer");
    assert_eq!(answer.status, 200, "{}", answer.reason());
    assert_eq!(get(proxy.admin(), "/readyz").await.status, 200);
}

#[tokio::test]
async fn an_engine_that_does_not_come_is_told_and_then_found() {
    need_app_image().await;
    let proxy = setup("name: web\nimage: {app}\nautoscale: {min: 0, max: 1}\n").start().await;
    let address = proxy.address();
    let path = socket_of(&proxy).display().to_string();
    let words = format!("no Docker Engine at {path}: start it");
    // Held through the grace of an engine that restarts, then told why.
    assert_runtime(&get(address, "/ping").await, &words);
    // From then on nobody waits: ten in a row would otherwise take longer than a test may.
    for _ in 0..10 {
        assert_runtime(&get(address, "/ping").await, &words);
    }
    assert_eq!(proxy.only_app().await["held"], 0);
    assert!(proxy.only_app().await["reason"].as_str().is_some_and(|reason| reason.contains(&words)));
    symlink(ENGINE, socket_of(&proxy)).expect("it can be put there");
    until_served(&proxy, "localhost").await;
    assert_eq!(replicas(&proxy.instance()).await.len(), 1);
}

/// A cold app that gives up soon, and one that is warm.
fn cold_and_warm() -> Setup {
    let cold =
        "  cold: {image: '{app}', host: cold.example, hold: {timeout: 3s}, autoscale: {min: 0, max: 1}}\n";
    setup(&format!("apps:\n{}{cold}", neighbour::YAML))
}

async fn ask_cold(proxy: &Proxy) -> Answer {
    Call::get(proxy.address(), "/ping").host("cold.example").send().await.expect("an answer")
}

#[tokio::test]
async fn an_engine_that_is_mute_from_the_start_delays_nobody_for_longer_than_asked() {
    need_app_image().await;
    let setup = cold_and_warm();
    let mut relay = Relay::mute(&setup.dir().join("report/engine.sock"));
    let proxy = setup.start().await;
    let answer = ask_cold(&proxy).await;
    match answer.status {
        504 => assert_eq!((answer.reason(), answer.header("retry-after")), ("hold-timeout", "5")),
        _ => assert_runtime(&answer, "has not answered within"),
    }
    wait_until("the log says so", || proxy.log().contains("overloaded, stuck or still starting")).await;
    relay.restore().await;
    until_served(&proxy, "cold.example").await;
}

#[tokio::test]
async fn an_engine_that_hangs_costs_a_warm_app_nothing() {
    need_app_image().await;
    let events = Events::listen();
    let setup = cold_and_warm();
    let mut relay = Relay::open(&setup.dir().join("report/engine.sock"));
    let proxy = setup.start().await;
    let calm = Neighbour::of(&proxy).await;
    relay.fall_silent();
    for _ in 0..3 {
        let answer = ask_cold(&proxy).await;
        match answer.status {
            504 => assert_eq!(answer.reason(), "hold-timeout"),
            _ => assert_runtime(&answer, "the Docker Engine"),
        }
    }
    relay.restore().await;
    until_served(&proxy, "cold.example").await;
    calm.assert_undisturbed().await;
    assert_eq!(replicas(&proxy.instance()).await.len(), 2);
    assert_eq!(events.count(&proxy.instance(), "die"), 0, "what ran goes on");
}

#[tokio::test]
async fn an_engine_that_goes_away_costs_a_warm_app_nothing() {
    need_app_image().await;
    let events = Events::listen();
    let setup = cold_and_warm();
    let mut relay = Relay::open(&setup.dir().join("report/engine.sock"));
    let proxy = setup.start().await;
    let calm = Neighbour::of(&proxy).await;
    relay.cut().await;
    let refused = tokio::time::timeout(Duration::from_secs(30), ask_cold(&proxy)).await.expect("in its time");
    assert_runtime(&refused, "no Docker Engine at");
    // Held, not refused, while it may be restarting: who comes with it is served.
    let held = tokio::spawn({
        let address = proxy.address();
        async move { Call::get(address, "/ping").host("cold.example").send().await.expect("an answer") }
    });
    wait_for_async("it is held", || async { (proxy.app("cold").await["held"] == 1).then_some(()) }).await;
    relay.restore().await;
    let answer = held.await.expect("no panic");
    if answer.status != 200 {
        assert_runtime(&answer, "no Docker Engine at");
    }
    until_served(&proxy, "cold.example").await;
    calm.assert_undisturbed().await;
    assert_eq!(replicas(&proxy.instance()).await.len(), 2);
    let instance = proxy.instance();
    wait_until("both starts are told", || events.count(&instance, "start") >= 2).await;
    assert_eq!(events.count(&instance, "create"), 2, "nothing was started twice");
    assert_eq!(events.count(&instance, "die"), 0, "what ran goes on");
}

/// What dies while nobody can tell is found when the engine can be asked again.
#[tokio::test]
async fn a_death_that_nobody_told_is_seen_by_the_requests_themselves() {
    need_app_image().await;
    let setup = setup("name: web\nimage: {app}\nautoscale: {min: 1, max: 1}\n");
    let mut relay = Relay::open(&setup.dir().join("report/engine.sock"));
    let proxy = setup.start().await;
    let before = until_served(&proxy, "localhost").await.text().to_owned();
    let victim = replicas(&proxy.instance()).await.remove(0);
    relay.cut().await;
    docker(&["kill", victim.id()]).await;
    let held = tokio::spawn(Call::get(proxy.address(), "/id").send());
    wait_for_async("it is held", || async { (proxy.only_app().await["held"] == 1).then_some(()) }).await;
    relay.restore().await;
    let answer = held.await.expect("no panic").expect("an answer");
    assert_eq!(answer.status, 200, "{}", answer.reason());
    assert_ne!(answer.text(), before);
}

/// A replica that cannot be reached for a moment is not given up because nobody can be asked about it.
#[tokio::test]
async fn a_replica_that_comes_back_while_the_engine_is_away_serves_on() {
    need_app_image().await;
    let events = Events::listen();
    let setup = setup("name: web\nimage: {app}\nkeep_alive: 1ms\nautoscale: {min: 1, max: 1}\n");
    let mut relay = Relay::open(&setup.dir().join("report/engine.sock"));
    let proxy = setup.start().await;
    let before = until_served(&proxy, "localhost").await.text().to_owned();
    let replica = replicas(&proxy.instance()).await.remove(0);
    let network = format!("pilotlight-{}", &proxy.instance()[..8]);
    relay.cut().await;
    docker(&["network", "disconnect", &network, replica.id()]).await;
    let held = tokio::spawn(Call::get(proxy.address(), "/id").send());
    wait_until("it is missed", || proxy.log().contains("a replica cannot be reached")).await;
    docker(&["network", "connect", &network, replica.id()]).await;
    let answer = held.await.expect("no panic").expect("an answer");
    assert_eq!(answer.status, 200, "{}", answer.reason());
    assert_eq!(answer.text(), before);
    relay.restore().await;
    assert_eq!(get(proxy.address(), "/id").await.text(), before);
    assert_eq!(events.count(&proxy.instance(), "die"), 0);
}
