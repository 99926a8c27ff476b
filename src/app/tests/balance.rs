//! Which replica gets a request, with claims taken by hand.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::app::App;
use crate::app::affinity::{Bound, Secret, Token, Wish, number};
use crate::app::balance::Scale;
use crate::app::clock;
use crate::app::replica::{Claim, Ejected, Replica};
use crate::runtime::{Address, Endpoint};
use crate::sync::Arc;

fn replica(port: u16) -> Arc<Replica> {
    Replica::new(Endpoint { address: Address::Tcp(([10, 0, 0, 1], port).into()) })
}

/// An app with so many replicas, and chance as it is once and for all.
fn app(count: u16) -> (Arc<App>, Vec<Arc<Replica>>) {
    fastrand::seed(7);
    let (app, replicas) = (App::new("web"), (1..=count).map(replica).collect::<Vec<_>>());
    app.publish(replicas.clone());
    (app, replicas)
}

/// Of so many claims, one after the other, how many are this replica's.
fn share(app: &Arc<App>, of: &Replica, claims: usize) -> usize {
    (0..claims).filter(|_| app.claim().expect("there is room").replica().key == of.key).count()
}

/// Fails the replica until it is out.
fn eject(app: &Arc<App>, replica: &Arc<Replica>) -> Ejected {
    let fail = || Claim::take(app, replica, u32::MAX).expect("it is open").report_failed();
    assert!(fail().is_none() && fail().is_none());
    fail().expect("the third takes it out")
}

fn bound(bound: Bound<'_>) -> Wish<'_> {
    Wish { bound, avoid: None }
}

fn key(app: &Arc<App>, wish: &Wish<'_>) -> u64 {
    app.claim_as(wish).expect("there is room").replica().key
}

#[test]
fn of_two_the_one_with_fewer_requests() {
    let (app, replicas) = app(2);
    let claims: Vec<_> = (0..10).map(|_| app.claim().unwrap()).collect();
    assert_eq!(replicas.iter().map(|it| it.gate().inside()).collect::<Vec<_>>(), [5, 5]);
    drop(claims);
    let (half, all) = (share(&app, &replicas[0], 10_000), 10_000);
    assert!((4_700..5_300).contains(&half), "{half} of {all}");
}

#[tokio::test(start_paused = true)]
async fn a_newcomer_gets_a_tenth_of_its_share_at_first_and_then_more() {
    let (app, replicas) = app(2);
    app.set_slow_start(Duration::from_secs(10));
    replicas[1].warm_up(clock::now());
    for (after, share_of_ten_thousand) in [(0, 500), (5, 2_750), (5, 5_000), (60, 5_000)] {
        tokio::time::advance(Duration::from_secs(after)).await;
        let got = share(&app, &replicas[1], 10_000);
        assert!(got.abs_diff(share_of_ten_thousand) < 300, "{got}, not {share_of_ten_thousand}");
    }
}

/// What counts is how much each has to do for what it can do, not how much it has to do.
#[tokio::test(start_paused = true)]
async fn under_load_a_newcomer_has_as_much_as_it_can_do() {
    let (app, replicas) = app(2);
    app.set_slow_start(Duration::from_secs(10));
    replicas[1].warm_up(clock::now());
    let _claims: Vec<_> = (0..220).map(|_| app.claim().unwrap()).collect();
    let inside = replicas[1].gate().inside();
    assert!((17..=23).contains(&inside), "{inside} of 220, where one to ten is right");
}

#[tokio::test(start_paused = true)]
async fn those_that_become_ready_together_share_evenly() {
    let (app, replicas) = app(2);
    app.set_slow_start(Duration::from_secs(10));
    for replica in &replicas {
        replica.warm_up(clock::now());
    }
    let half = share(&app, &replicas[0], 10_000);
    assert!((4_700..5_300).contains(&half), "{half}");
    let scale = Scale::new(1, Duration::ZERO);
    assert_eq!(scale.capacity(&replicas[0]), 1000, "nothing warms up where nothing is said of it");
}

#[tokio::test(start_paused = true)]
async fn a_newcomer_takes_what_finds_no_room_elsewhere() {
    let (app, replicas) = app(2);
    app.set_slow_start(Duration::from_secs(10));
    app.set_limit(Some(3));
    replicas[1].warm_up(clock::now());
    let claims: Vec<_> = (0..6).map(|_| app.claim().expect("nobody waits while there is room")).collect();
    assert!(app.claim().is_none());
    drop(claims);
}

#[tokio::test(start_paused = true)]
async fn one_that_is_out_is_passed_over_until_its_time_is_over() {
    let (app, replicas) = app(3);
    let ejected = eject(&app, &replicas[0]);
    assert_eq!(share(&app, &replicas[0], 1000), 0);
    let _claims: Vec<_> = (0..10).map(|_| app.claim().unwrap()).collect();
    let inside = || replicas.iter().map(|it| it.gate().inside()).collect::<Vec<_>>();
    assert_eq!(inside(), [0, 5, 5], "the others share");
    assert!(ejected.run().await);
    let _more: Vec<_> = (0..5).map(|_| app.claim().unwrap()).collect();
    assert!(inside()[0] > 0);
}

/// Who fails at once has room at once: it would draw all that waits.
#[tokio::test(start_paused = true)]
async fn while_others_are_full_one_that_is_out_lets_wait() {
    let (app, replicas) = app(2);
    app.set_limit(Some(1));
    let ejected = eject(&app, &replicas[0]);
    let _full = app.claim().unwrap();
    assert!(app.claim().is_none());
    let ticket = app.queue(9).unwrap();
    let ended = tokio::spawn(async move { ejected.run().await });
    // In an hour, unless somebody thinks of it.
    let claim = app.wait(ticket, Duration::from_hours(1)).await.unwrap();
    assert_eq!(claim.replica().key, replicas[0].key);
    assert!(ended.await.unwrap());
}

#[tokio::test(start_paused = true)]
async fn the_last_one_serves_though_it_is_out() {
    let (app, replicas) = app(3);
    app.set_limit(Some(1));
    let (_one, _other) = (eject(&app, &replicas[0]), eject(&app, &replicas[1]));
    assert_eq!(share(&app, &replicas[2], 10), 10);
    let full = app.claim().unwrap();
    let ticket = app.queue(9).unwrap();
    replicas[2].gate().close();
    app.publish(replicas[..2].to_vec());
    let claim = app.wait(ticket, Duration::from_hours(1)).await.expect("nobody else is left");
    assert!(replicas[2].key != claim.replica().key);
    claim.report_answered();
    let served = claim.replica().key;
    drop((claim, full));
    for _ in 0..10 {
        assert_eq!(app.claim().unwrap().replica().key, served, "a trial that went well ends its time out");
    }
}

#[test]
fn the_last_one_is_not_taken_out() {
    let (app, replicas) = app(2);
    replicas[1].gate().close();
    for _ in 0..100 {
        assert!(app.claim().expect("it serves").report_failed().is_none());
    }
    replicas[1].gate().reopen();
    let claim = Claim::take(&app, &replicas[0], 1).unwrap();
    assert_eq!(claim.report_failed().expect("now there is another").time, Duration::from_secs(1));
    let _somebody_counts = app.tally().writer();
    assert_eq!(app.tally().read().unwrap().ejections, 1);
}

#[test]
fn a_value_falls_to_one_replica_and_moves_only_with_it() {
    let (app, mut replicas) = app(5);
    let of = |app: &Arc<App>, value: u64| key(app, &bound(Bound::Value(number(value))));
    let before: Vec<u64> = (0..1000).map(|value| of(&app, value)).collect();
    let mut shares = BTreeMap::<u64, usize>::new();
    for key in &before {
        *shares.entry(*key).or_default() += 1;
    }
    assert!(shares.len() == 5 && shares.values().all(|share| (140..260).contains(share)), "{shares:?}");
    let gone = replicas.remove(2).key;
    app.publish(replicas.clone());
    for (value, before) in before.iter().enumerate() {
        let now = of(&app, value as u64);
        assert!(now == *before || *before == gone, "{value} has moved between two that stay");
        assert_ne!(now, gone);
    }
}

/// Another process sees it alike, as does this one where it has looked at a replica anew.
#[test]
fn a_value_falls_to_an_address() {
    let (app, _replicas) = app(4);
    let again: Vec<_> = [3, 1, 4, 2].map(replica).to_vec();
    let of = |value: u64| {
        let claim = app.claim_as(&bound(Bound::Value(number(value)))).unwrap();
        claim.replica().endpoint.address.clone()
    };
    let before: Vec<_> = (0..100).map(of).collect();
    app.publish(again);
    assert_eq!((0..100).map(of).collect::<Vec<_>>(), before);
}

#[test]
fn a_value_whose_replica_is_full_falls_to_the_next() {
    let (app, _replicas) = app(4);
    app.set_limit(Some(1));
    let wish = bound(Bound::Value(number("somebody")));
    let first = app.claim_as(&wish).unwrap();
    let second = app.claim_as(&wish).expect("it does not wait");
    let (one, two) = (first.replica().key, second.replica().key);
    assert_ne!(one, two);
    drop(second);
    for _ in 0..20 {
        assert_eq!(key(&app, &wish), two, "always the same next one");
    }
    drop(first);
    assert_eq!(key(&app, &wish), one, "and back");
}

#[test]
fn a_token_leads_to_its_replica_as_long_as_that_serves() {
    let (app, replicas) = app(4);
    app.set_limit(Some(2));
    let secret = Secret::of(&[7; 32]);
    let token = replicas[2].token(&secret, "web");
    let wish = bound(Bound::Token(token, &secret));
    let mine = replicas[2].key;
    for _ in 0..50 {
        assert_eq!(key(&app, &wish), mine);
    }
    let full = [app.claim_as(&wish).unwrap(), app.claim_as(&wish).unwrap()];
    assert_ne!(key(&app, &wish), mine, "full");
    drop(full);
    let _ejected = eject(&app, &replicas[2]);
    assert_ne!(key(&app, &wish), mine, "out");
    replicas[2].ejection().answered(true);
    assert_eq!(key(&app, &wish), mine);
    replicas[2].gate().close();
    assert_ne!(key(&app, &wish), mine, "stopping");
}

#[test]
fn a_token_that_somebody_made_up_leads_nowhere() {
    let (app, replicas) = app(2);
    let secret = Secret::of(&[7; 32]);
    let made_up = Token::parse(b"00000000000000aa").unwrap();
    let of_another_proxy = replicas[0].endpoint.address.clone();
    let of_another_proxy = Secret::of(&[8; 32]).token("web", &of_another_proxy);
    let of_another_app = secret.token("shop", &replicas[0].endpoint.address);
    for token in [made_up, of_another_proxy, of_another_app] {
        assert_ne!(token, replicas[0].token(&secret, "web"));
        let wish = bound(Bound::Token(token, &secret));
        let first = (0..1000).filter(|_| key(&app, &wish) == replicas[0].key).count();
        assert!((400..600).contains(&first), "{first} of 1000");
    }
}

#[test]
fn a_token_outlasts_the_process_and_says_nothing() {
    let secret = Secret::of(&[7; 32]);
    let (one, again, other) = (replica(1), replica(1), replica(2));
    let token = one.token(&secret, "web");
    assert_eq!(token, again.token(&secret, "web"), "by its address, not by what this process calls it");
    assert_ne!(token, other.token(&secret, "web"));
    assert_eq!(Token::parse(token.to_string().as_bytes()), Some(token));
    assert!(!format!("{secret:?}").contains('7'));
}

#[test]
fn who_was_failed_by_one_gets_another_where_there_is_one() {
    let (app, replicas) = app(2);
    let wish = Wish { bound: Bound::Free, avoid: Some(replicas[0].key) };
    for _ in 0..50 {
        assert_eq!(key(&app, &wish), replicas[1].key);
    }
    replicas[1].gate().close();
    assert_eq!(key(&app, &wish), replicas[0].key, "better than none");
}
