//! The books as stories: an upstream comes up, fails, moves, returns.

use super::*;
use crate::config::spec::Probe;

fn health(seconds: u64) -> HealthSpec {
    let (interval, timeout) = (Duration::from_secs(seconds), Duration::from_secs(1));
    HealthSpec { http2: false, path: None, probe: Probe::Path, interval, timeout, start_timeout: timeout }
}

fn origin(host: &str) -> Origin {
    Origin { host: host.to_owned(), port: 80 }
}

fn address(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

fn bad<T>() -> Result<T, String> {
    Err("bad".to_owned())
}

/// One name, looked up at the time 0.
fn named(addresses: &[&str]) -> Peers {
    let mut peers = Peers::default();
    peers.set_origins(&[origin("a.test")], &health(10), Millis(0));
    assert_eq!(peers.lookups(Millis(0)), [origin("a.test")]);
    assert!(peers.lookups(Millis(60_000)).is_empty(), "one lookup at a time");
    let found = addresses.iter().map(|text| address(text)).collect();
    assert_eq!(peers.looked_up(&origin("a.test"), Ok(found), Millis(0)), None);
    peers
}

/// Makes all tries that are due, with this outcome for each; gives what has turned.
fn check(peers: &mut Peers, now: u64, outcome: impl Fn(&Try) -> Result<(), String>) -> Vec<Turn> {
    let tries = peers.tries(Millis(now));
    tries
        .iter()
        .filter_map(|it| {
            peers.checked(it.key, outcome(it).map_err(Unreached::from), &health(10), Millis(now))
        })
        .collect()
}

fn up(peers: &Peers) -> Vec<String> {
    peers.in_use().filter(|peer| peer.is_up()).map(|peer| peer.address.to_string()).collect()
}

#[test]
fn an_address_is_tried_at_once_and_needs_no_lookup() {
    let mut peers = Peers::default();
    peers.set_origins(&[origin("10.0.0.1"), origin("::1")], &health(10), Millis(5));
    assert!(peers.lookups(Millis(u64::MAX)).is_empty());
    assert_eq!(check(&mut peers, 5, |_| Ok(())).len(), 2);
    assert_eq!(up(&peers), ["10.0.0.1:80", "[::1]:80"]);
    assert_eq!(peers.next_due(), Some(Millis(10_005)));
}

#[test]
fn three_failed_checks_take_it_out_and_one_good_one_brings_it_back() {
    let mut peers = named(&["10.0.0.1:80"]);
    check(&mut peers, 0, |_| Ok(()));
    for now in [10_000, 20_000] {
        assert!(check(&mut peers, now, |_| bad()).is_empty());
        assert_eq!(up(&peers).len(), 1);
    }
    let down = Turn::Down(address("10.0.0.1:80"), "bad".to_owned());
    assert_eq!(check(&mut peers, 30_000, |_| bad()), [down]);
    assert!(up(&peers).is_empty());
    assert!(peers.replicas().all(|replica| replica.gate().is_closed()));
    // Tried again soon, then once a second.
    let mut tried = Vec::new();
    for now in (30_000..36_000).step_by(10) {
        let due = peers.tries(Millis(now));
        for it in &due {
            tried.push(now - 30_000);
            peers.checked(it.key, bad().map_err(Unreached::from), &health(10), Millis(now));
        }
    }
    assert_eq!(tried, [50, 100, 200, 400, 800, 1600, 2600, 3600, 4600, 5600]);
    assert_eq!(check(&mut peers, 40_000, |_| Ok(())), [Turn::Up(address("10.0.0.1:80"))]);
    assert!(
        peers.replicas().all(|replica| replica.ready_since() == Some(Millis(40_000))),
        "it warms up anew"
    );
    assert!(peers.replicas().all(|replica| !replica.gate().is_closed()));
}

#[test]
fn what_a_request_cannot_reach_is_out_and_tried_at_once() {
    let mut peers = named(&["10.0.0.1:80", "10.0.0.2:80"]);
    check(&mut peers, 0, |_| Ok(()));
    let first = Arc::clone(peers.replicas().next().unwrap());
    let generation = first.gate().generation();
    first.gate().close();
    assert_eq!(peers.look_at_gates(Millis(700)).len(), 1);
    assert_eq!(up(&peers), ["10.0.0.2:80"]);
    assert_eq!(peers.next_due(), Some(Millis(700)));
    assert_eq!(check(&mut peers, 700, |_| Ok(())).len(), 1);
    assert_ne!(first.gate().generation(), generation, "its old connections are of no more use");
}

#[test]
fn addresses_that_move_are_followed() {
    let mut peers = named(&["10.0.0.1:80", "10.0.0.2:80"]);
    check(&mut peers, 0, |_| Ok(()));
    assert!(peers.lookups(Millis(29_999)).is_empty());
    assert_eq!(peers.lookups(Millis(30_000)).len(), 1);
    let stays = peers.replicas().nth(1).unwrap().key;
    let leaves = Arc::clone(peers.replicas().next().unwrap());
    let _open = leaves.gate().enter(u32::MAX);
    let found = vec![address("10.0.0.2:80"), address("10.0.0.3:80")];
    peers.looked_up(&origin("a.test"), Ok(found), Millis(30_000));
    check(&mut peers, 30_000, |_| Ok(()));
    assert_eq!(up(&peers), ["10.0.0.2:80", "10.0.0.3:80"]);
    assert!(peers.replicas().any(|replica| replica.key == stays), "its connections are kept");
    assert!(leaves.gate().is_closed());
    peers.look_at_gates(Millis(30_000));
    assert_eq!(peers.leaving().len(), 1, "a request is open there");
    leaves.gate().leave();
    peers.look_at_gates(Millis(30_001));
    assert!(peers.leaving().is_empty());
}

#[test]
fn a_lookup_that_fails_changes_nothing_and_is_said_once() {
    let mut peers = named(&["10.0.0.1:80"]);
    check(&mut peers, 0, |_| Ok(()));
    for (now, said) in [(30_000, Some("bad".to_owned())), (60_000, None)] {
        peers.lookups(Millis(now));
        assert_eq!(peers.looked_up(&origin("a.test"), bad(), Millis(now)), said);
    }
    assert_eq!(up(&peers), ["10.0.0.1:80"]);
}

#[test]
fn a_name_whose_addresses_are_all_down_is_looked_up_soon() {
    let mut peers = named(&["10.0.0.1:80"]);
    check(&mut peers, 0, |_| bad());
    assert!(peers.lookups(Millis(1999)).is_empty());
    assert_eq!(peers.lookups(Millis(2000)).len(), 1);
}

#[test]
fn of_two_families_the_one_that_answers_is_used() {
    let mut peers = named(&["127.0.0.1:80", "[::1]:80"]);
    let v4_alone = |it: &Try| if it.endpoint.address.to_string().starts_with('[') { bad() } else { Ok(()) };
    check(&mut peers, 0, v4_alone);
    assert_eq!((up(&peers).len(), peers.in_use().count(), peers.fault()), (1, 1, None));
    check(&mut peers, 60_000, |_| Ok(()));
    assert_eq!(up(&peers), ["127.0.0.1:80"], "not twice the same server");

    let mut peers = named(&["127.0.0.1:80", "[::1]:80"]);
    check(&mut peers, 0, |it| if v4_alone(it).is_ok() { bad() } else { Ok(()) });
    assert_eq!((up(&peers), peers.in_use().count()), (vec!["[::1]:80".to_owned()], 1));
}

#[test]
fn a_reload_keeps_what_it_can() {
    let mut peers = Peers::default();
    peers.set_origins(&[origin("10.0.0.1"), origin("10.0.0.2")], &health(10), Millis(0));
    check(&mut peers, 0, |_| Ok(()));
    let keys: Vec<u64> = peers.replicas().map(|replica| replica.key).collect();
    peers.set_origins(&[origin("10.0.0.2"), origin("10.0.0.3")], &health(1), Millis(500));
    assert_eq!(up(&peers), ["10.0.0.2:80"]);
    assert!(peers.replicas().any(|replica| replica.key == keys[1]));
    assert_eq!(peers.next_due(), Some(Millis(500)), "the new one");
    check(&mut peers, 500, |_| Ok(()));
    assert_eq!(peers.next_due(), Some(Millis(1500)), "the new interval counts for the old one, too");
}
