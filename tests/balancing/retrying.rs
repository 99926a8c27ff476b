//! How often a request is sent again.

use crate::proxy;
use crate::server::{Manner, Server};
use crate::support::http::{Call, get};
use crate::support::load;
use crate::support::metrics::Scrape;

/// Of an app that fails all it is sent no more than a fifth is sent again, and ten more.
#[tokio::test]
async fn an_app_in_trouble_is_not_given_twice_the_work() {
    let (one, other) = (Server::that_will(Manner::Reset).await, Server::that_will(Manner::Reset).await);
    let proxy = proxy(&[&one, &other], "").await;
    let sent = 200;
    for _ in 0..sent {
        let answer = get(proxy.address(), "/").await;
        assert_eq!((answer.status, answer.reason()), (502, "upstream-connect"));
    }
    let repeated = one.requests() + other.requests() - sent;
    assert!((10..=10 + sent / 5).contains(&repeated), "{repeated} of {sent} were repeated");
    let scrape = Scrape::of(&proxy).await;
    scrape.assert(&[
        ("pilotlight_retries_total{app=\"app\",kind=\"repeated\"}", repeated as f64),
        ("pilotlight_retries_total{app=\"app\",kind=\"unsent\"}", 0.0),
    ]);
    let refused = scrape.get("pilotlight_retries_total{app=\"app\",kind=\"refused\"}").expect("a count");
    assert!(refused >= (sent - repeated) as f64, "{refused}");
}

/// What no server has had is no work for any: it goes on to another, however many there are.
#[tokio::test]
async fn what_was_not_sent_is_not_bounded() {
    let good = Server::start("good").await;
    let mut proxies = Vec::new();
    for _ in 0..4 {
        let dead = Server::start("dead").await;
        let proxy = proxy(&[&good, &dead], "").await;
        drop(dead);
        let address = proxy.address();
        load::at_once(100, |_| Call::post(address, "/", "").send()).await.assert_all_ok();
        proxies.push(proxy);
    }
    let mut unsent = 0.0;
    for proxy in &proxies {
        let scrape = Scrape::of(proxy).await;
        unsent += scrape.get("pilotlight_retries_total{app=\"app\",kind=\"unsent\"}").expect("a count");
        scrape.assert(&[("pilotlight_retries_total{app=\"app\",kind=\"repeated\"}", 0.0)]);
    }
    assert!(unsent > 0.0, "some had to be tried again");
}

/// A request goes to another replica, not once more to the one that has just failed it.
#[tokio::test]
async fn a_repeated_request_goes_to_another() {
    let (good, bad) = (Server::start("good").await, Server::that_will(Manner::Reset).await);
    let keys = "affinity: {header: X-User}";
    let proxy = proxy(&[&good, &bad], keys).await;
    let mut sent = 0;
    // Whoever is bound to the bad one.
    while bad.requests() < 2 {
        sent += 1;
        let before = bad.requests();
        let call = Call::get(proxy.address(), "/").header("x-user", &sent.to_string());
        let answer = call.send().await.expect("an answer");
        assert_eq!((answer.status, answer.text()), (200, "good"));
        assert!(bad.requests() <= before + 1, "it was sent there a second time");
        assert!(sent < 1000, "half of them are");
    }
    assert_eq!(good.requests(), sent);
}
