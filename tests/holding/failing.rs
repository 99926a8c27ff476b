//! Apps whose replicas do not come up, and the apps beside them.

use std::time::Duration;

use crate::support::http::{Call, get};
use crate::support::load;
use crate::support::proxy::Setup;
use crate::support::wait::{wait_for_async, wait_until};
use crate::{proxy, yaml};

#[tokio::test]
async fn an_app_that_exits_at_once_is_start_failed() {
    let proxy = proxy(&[("EXIT_AT_ONCE", "42")], "").await;
    let address = proxy.address();
    let outcomes = load::at_once(20, |_| Call::get(address, "/id").send()).await;
    assert_eq!(outcomes.statuses.get(&503), Some(&20), "{outcomes}");
    let answer = get(address, "/id").await;
    assert_eq!(answer.status, 503);
    assert!(
        answer.reason().starts_with("start-failed: ") && answer.reason().contains("42"),
        "{}",
        answer.reason()
    );
    let seconds: u64 = answer.header("retry-after").parse().expect("a number of seconds");
    assert!((1..=60).contains(&seconds), "{seconds}");
    wait_until("the log has the app's last words", || {
        proxy.log().contains("ModuleNotFoundError: No module named 'nonexistent'")
    })
    .await;
    let reason = proxy.only_app().await["reason"].as_str().unwrap().to_owned();
    assert!(reason.contains("42"), "an operator sees it too: {reason}");
}

#[tokio::test]
async fn an_app_that_never_listens_is_start_failed() {
    let proxy = proxy(&[("NEVER_LISTEN", "1")], "health: {start_timeout: 500ms}").await;
    for call in [Call::get(proxy.address(), "/id"), Call::post(proxy.address(), "/echo", "x")] {
        let answer = call.send().await.unwrap();
        assert_eq!(answer.status, 503, "{}", answer.reason());
        assert!(answer.reason().starts_with("start-failed: "), "{}", answer.reason());
        assert_ne!(answer.header("retry-after"), "");
    }
}

#[tokio::test]
async fn an_app_that_is_not_healthy_is_not_given_requests() {
    let keys = "health: {path: /healthz, start_timeout: 20s}";
    let proxy = proxy(&[("READY_AFTER_MS", "900")], keys).await;
    assert_eq!(get(proxy.address(), "/id").await.status, 200);
    let report = proxy.report();
    let at = |name: &str| report.events(name)[0]["at_ms"].as_i64().unwrap();
    assert!(at("start") - at("boot") >= 900, "it was let alone until it said that it was ready");
}

#[tokio::test]
async fn an_app_in_trouble_is_no_trouble_to_another() {
    let broken: [(&str, yaml::Env<'_>, &str); 4] = [
        ("exits", &[("EXIT_AT_ONCE", "1")], "host: exits.test"),
        ("deaf", &[("NEVER_LISTEN", "1")], "host: deaf.test\nhealth: {start_timeout: 400ms}"),
        ("mute", &[("NEVER_ANSWER", "1")], "host: mute.test\ntimeout: 500ms"),
        ("garbled", &[("MODE", "garbage")], "host: garbled.test"),
    ];
    let mut all =
        vec![("good", &[] as yaml::Env<'_>, "host: good.test\nautoscale: {min: 1, max: 1, metric: rps}")];
    all.extend(broken);
    let proxy = Setup::process(&yaml::apps(&all)).start().await;
    let address = proxy.address();
    wait_for_async("the good one is up", || async { (proxy.app("good").await["ready"] == 1).then_some(()) })
        .await;
    let length = Duration::from_secs(4);
    let good = load::at_rate(50.0, length, |_| Call::get(address, "/id").host("good.test").send());
    let bad = load::at_rate(50.0, length, |at| {
        let host = ["exits.test", "deaf.test", "mute.test", "garbled.test"][at % 4];
        Call::get(address, "/id").host(host).send()
    });
    let (good, bad) = tokio::join!(good, bad);
    good.assert_undisturbed();
    assert!(bad.failures.is_empty(), "each gets an answer: {bad}");
    let rows: Vec<_> = bad.statuses.keys().copied().collect();
    assert_eq!(rows, [502, 503, 504], "{bad}");
}
