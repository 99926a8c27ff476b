//! Counts over reloads: they never go back, and go with their app.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::time::Duration;

use crate::support::http::Call;
use crate::support::load;
use crate::support::metrics::{Scrape, wait_for_sample, wait_for_samples};
use crate::support::proxy::{Proxy, Setup};
use crate::support::wait::{wait_for_async, wait_until};
use crate::support::wire::Wire;
use crate::support::yaml;

const ONE: (&str, yaml::Env<'_>, &str) = ("one", &[], "host: one.test");
const TWO: (&str, yaml::Env<'_>, &str) = ("two", &[], "host: two.test");
const OK: &str = "pilotlight_requests_total{app=\"one\",status=\"2xx\"}";

async fn ask(proxy: &Proxy, host: &str) {
    let answer = Call::get(proxy.address(), "/id").host(host).send().await.expect("an answer");
    assert_eq!(answer.status, 200, "{}", answer.reason());
}

#[tokio::test]
async fn an_app_that_is_taken_away_leaves_no_series() {
    let proxy = Setup::process(&yaml::apps(&[ONE, TWO])).start().await;
    ask(&proxy, "one.test").await;
    ask(&proxy, "two.test").await;
    let open = tokio::spawn(Call::get(proxy.address(), &proxy.until("gone")).host("two.test").send());
    let before = wait_for_sample(&proxy, "pilotlight_requests_in_flight{app=\"two\"}", 1.0).await;
    assert_eq!(before.series_with("app", "one"), before.series_with("app", "two"));
    proxy.reload(&yaml::apps(&[ONE]));
    wait_until("it goes", || proxy.log().contains("retiring an app")).await;
    assert!(Scrape::of(&proxy).await.series_with("app", "two") > 0, "a request is under way there");
    proxy.tell("gone");
    assert_eq!(open.await.unwrap().unwrap().status, 200);
    wait_for_async("it is gone", || async {
        (Scrape::of(&proxy).await.series_with("app", "two") == 0).then_some(())
    })
    .await;
    ask(&proxy, "one.test").await;
    let scrape = wait_for_sample(&proxy, OK, 2.0).await;
    scrape.assert_sound();
    assert_eq!(scrape.series_with("app", "two"), 0);
    assert_eq!(scrape.series_with("app", "one"), before.series_with("app", "one"));
}

/// The policy with the meter, and the route table, are others afterwards. An answer that began under the old ones
/// is counted at its end.
#[tokio::test]
async fn counts_survive_a_reload() {
    let proxy = Setup::process(&yaml::apps(&[ONE])).start().await;
    ask(&proxy, "one.test").await;
    let mut open = Wire::echo(proxy.address(), "one.test").await;
    let keys = "host: one.test\nautoscale: {min: 0, max: 3, metric: rps, stable_window: 30s}";
    proxy.reload(&yaml::apps(&[("one", &[], keys), TWO]));
    wait_for_sample(&proxy, "pilotlight_replicas{app=\"two\",state=\"ready\"}", 0.0).await;
    wait_for_sample(&proxy, OK, 1.0).await;
    for _ in 0..4 {
        ask(&proxy, "one.test").await;
    }
    let scrape = wait_for_sample(&proxy, OK, 5.0).await;
    scrape.assert(&[("pilotlight_cold_start_duration_seconds_count{app=\"one\"}", 1.0)]);
    open.assert_ends().await;
    wait_for_sample(&proxy, OK, 6.0).await;
}

/// Another task looks after it then, and another supervisor when it comes back.
#[tokio::test]
async fn counts_survive_that_an_app_becomes_an_upstream() {
    let proxy = Setup::process(&yaml::apps(&[ONE])).start().await;
    ask(&proxy, "one.test").await;
    // How often it was answered well, and how often it was refused.
    let answers = Cell::new([1_u32, 0]);
    let answered = |reason: &'static str| {
        let (proxy, answers) = (&proxy, &answers);
        wait_for_async(format!("it is answered {reason:?}"), move || async move {
            let answer = Call::get(proxy.address(), "/id").host("one.test").send().await.expect("an answer");
            let [good, refused] = answers.get();
            answers.set(if answer.status == 200 { [good + 1, refused] } else { [good, refused + 1] });
            (answer.reason() == reason).then_some(())
        })
    };
    proxy.reload("apps:\n  one: {upstream: 'http://127.0.0.1:9', host: one.test, hold: {timeout: 100ms}}\n");
    answered("upstream-down").await;
    let counted = |cold_starts: f64| {
        let (proxy, [good, refused]) = (&proxy, answers.get().map(f64::from));
        async move {
            let ended = [(OK, good), ("pilotlight_requests_total{app=\"one\",status=\"5xx\"}", refused)];
            let scrape = wait_for_samples(proxy, &ended).await;
            scrape.assert(&[("pilotlight_cold_start_duration_seconds_count{app=\"one\"}", cold_starts)]);
        }
    };
    counted(1.0).await;
    wait_until("its replica is gone", || proxy.report().count("exit") == 1).await;
    proxy.reload(&yaml::apps(&[ONE]));
    answered("").await;
    counted(2.0).await;
}

#[tokio::test]
async fn nothing_goes_back_under_load_and_reloads() {
    let proxy = Setup::process(&yaml::apps(&[ONE])).start().await;
    let address = proxy.address();
    ask(&proxy, "one.test").await;
    let calls = load::steady(150.0, move |at| {
        let path = if at % 3 == 0 { "/sleep?ms=250" } else { "/id" };
        Call::get(address, path).host("one.test").send()
    });
    let mut seen = BTreeMap::new();
    for round in 0..20 {
        let keys = format!(
            "host: one.test\nautoscale: {{min: 1, max: 1, metric: rps, stable_window: {}s}}",
            60 + round
        );
        proxy.reload(&yaml::apps(&[("one", &[], &keys)]));
        for _ in 0..5 {
            let scrape = Scrape::of(&proxy).await;
            for (series, now) in scrape.counters() {
                let before = seen.insert(series.clone(), now).unwrap_or_default();
                assert!(now >= before, "{series:?} went back from {before} to {now}");
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
    let outcomes = calls.end().await;
    outcomes.assert_all_ok();
    let sent = u32::try_from(outcomes.sent()).expect("a few hundred");
    wait_for_sample(&proxy, OK, f64::from(sent + 1)).await;
}
