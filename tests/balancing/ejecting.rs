//! Replicas that fail request after request, which nobody else notices: a check finds them well.

use crate::proxy;
use crate::server::{Manner, Server};
use crate::support::http::{Call, get};
use crate::support::metrics::Scrape;
use crate::support::proxy::Proxy;
use crate::support::wait::wait_for_async;

/// How often the log says that one was taken out, and that one was let in again.
fn out_and_back(proxy: &Proxy) -> (usize, usize) {
    let log = proxy.log();
    let count = |words: &str| log.matches(words).count();
    (count("requests to a replica keep failing"), count("a replica that has failed gets requests again"))
}

/// Sends what must not be sent twice, so that each failure is seen, until a replica was taken out so often. None fails
/// while one is out. Gives how many have failed.
async fn until_out(proxy: &Proxy, times: usize, reason: &str) -> usize {
    let failed = std::cell::Cell::new(0);
    wait_for_async(format!("it is out for the {times}th time"), || async {
        let (out, _) = out_and_back(proxy);
        let answer = Call::post(proxy.address(), "/", "").send().await.expect("an answer");
        let (now_out, back) = out_and_back(proxy);
        if answer.status != 200 {
            failed.set(failed.get() + 1);
            assert_eq!((answer.status, answer.reason()), (502, reason));
            assert!(back >= out, "it is out, and yet has had a request");
        }
        (now_out == times).then_some(())
    })
    .await;
    failed.get()
}

#[tokio::test]
async fn one_that_resets_is_out_for_longer_each_time_until_it_answers() {
    let (good, bad) = (Server::start("good").await, Server::that_will(Manner::Reset).await);
    let proxy = proxy(&[&good, &bad], "keep_alive: 60s").await;
    assert_eq!(until_out(&proxy, 1, "upstream-connect").await, 3, "three in a row take it out");
    assert_eq!(until_out(&proxy, 2, "upstream-connect").await, 1, "it comes back on probation");
    let log = proxy.log();
    let lines: Vec<_> = log.lines().filter(|line| line.contains("keep failing")).collect();
    assert!(lines[0].contains("time=1s") && lines[1].contains("time=2s"), "{lines:?}");
    assert!(lines[0].contains(&bad.address.to_string()) && lines[0].contains("app"), "{lines:?}");
    let scrape = Scrape::of(&proxy).await;
    scrape.assert(&[("pilotlight_replica_ejections_total{app=\"app\"}", 2.0)]);
    scrape.assert_sound();

    bad.be(Manner::Answer);
    let before = bad.requests();
    wait_for_async("it has requests again", || async {
        assert_eq!(get(proxy.address(), "/").await.status, 200);
        (bad.requests() > before).then_some(())
    })
    .await;
    bad.be(Manner::Reset);
    // The connection that is kept may have ended while it was idle, which would tell nothing.
    assert_eq!(until_out(&proxy, 3, "upstream-connect").await, 1 + 3, "all is forgotten");
    assert!(proxy.log().lines().rfind(|line| line.contains("keep failing")).unwrap().contains("time=1s"));
}

#[tokio::test]
async fn one_that_talks_nonsense_is_taken_out() {
    let (good, bad) = (Server::start("good").await, Server::that_will(Manner::Nonsense).await);
    let proxy = proxy(&[&good, &bad], "").await;
    assert_eq!(until_out(&proxy, 1, "upstream-protocol").await, 3);
}

/// An answer of the app's own is an answer, whatever its status.
#[tokio::test]
async fn what_the_app_itself_answers_takes_nobody_out() {
    let (good, bad) = (Server::start("good").await, Server::that_will(Manner::BadGateway).await);
    let proxy = proxy(&[&good, &bad], "").await;
    wait_for_async("it has answered often", || async {
        let answer = get(proxy.address(), "/").await;
        assert_eq!(answer.reason(), "", "{}", answer.status);
        (bad.requests() >= 10).then_some(())
    })
    .await;
    assert_eq!(out_and_back(&proxy), (0, 0));
}

/// Who is shown as failing, and that what may be repeated is answered all the while.
#[tokio::test]
async fn what_may_be_repeated_does_not_fail_meanwhile() {
    let (good, bad) = (Server::start("good").await, Server::that_will(Manner::Reset).await);
    let proxy = proxy(&[&good, &bad], "").await;
    wait_for_async("it is out", || async {
        assert_eq!(get(proxy.address(), "/").await.text(), "good");
        (out_and_back(&proxy).0 == 1).then_some(())
    })
    .await;
    assert_eq!(bad.requests(), 3);
    wait_for_async("it is shown", || async {
        // Whatever the moment: while it is not out, a few requests take it out again.
        get(proxy.address(), "/").await;
        (proxy.only_app().await["ejected"] == 1).then_some(())
    })
    .await;
}

#[tokio::test]
async fn the_last_one_is_left_in() {
    let (one, other) = (Server::that_will(Manner::Reset).await, Server::that_will(Manner::Reset).await);
    let proxy = proxy(&[&one, &other], "").await;
    for sent in 1..=40 {
        let answer = Call::post(proxy.address(), "/", "").send().await.expect("an answer");
        assert_eq!((answer.status, answer.reason()), (502, "upstream-connect"));
        assert_eq!(one.requests() + other.requests(), sent, "each has reached one");
    }
    let (out, back) = out_and_back(&proxy);
    assert!(out >= 1 && out - back <= 1, "never both: {out}, {back}");
}
