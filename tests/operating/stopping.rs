//! SIGTERM and SIGKILL.

use rustix::process::Signal;
use tokio::net::TcpStream;

use crate::proxy;
use crate::support::http::{Call, get};
use crate::support::processes::Mark;
use crate::support::proxy::Setup;
use crate::support::sockets;
use crate::support::wait::{wait_for_async, wait_until};
use crate::support::wire::Wire;
use crate::support::yaml;

#[tokio::test]
async fn what_runs_is_finished_and_nothing_new_is_taken() {
    let mut proxy = proxy(&[], "").await;
    let address = proxy.address();
    let running = tokio::spawn(Call::get(address, &proxy.until("stopping")).send());
    let mut stream = Wire::echo(address, "a").await;
    let mut idle = Wire::sent(address, "GET /id HTTP/1.1\r\nHost: a\r\n\r\n").await;
    assert_eq!(idle.reply().await.status(), 200);
    wait_for_async("both run", || async { (proxy.only_app().await["in_flight"] == 2).then_some(()) }).await;
    proxy.signal(Signal::TERM);
    wait_for_async("nothing new is taken", || async {
        TcpStream::connect(address).await.is_err().then_some(())
    })
    .await;
    assert!(idle.is_cut().await, "a connection without a request is closed");
    proxy.tell("stopping");
    assert_eq!(running.await.unwrap().unwrap().status, 200);
    stream.assert_echoes("still there").await;
    stream.assert_ends().await;
    assert_eq!(proxy.ended().await.code(), Some(0));
    assert_eq!(proxy.report().count("abort"), 0);
}

/// The kernel has taken their connections and their requests; the proxy has not looked yet when it is told to stop.
#[tokio::test]
async fn who_waits_to_be_accepted_is_answered() {
    let mut proxy = proxy(&[], "workers: 2").await;
    let address = proxy.address();
    assert_eq!(get(address, "/id").await.status, 200);
    proxy.signal(Signal::STOP);
    let mut waiting = Vec::new();
    for _ in 0..400 {
        waiting.push(Wire::sent(address, "GET /id HTTP/1.1\r\nHost: a\r\n\r\n").await);
    }
    proxy.signal(Signal::TERM);
    proxy.signal(Signal::CONT);
    for (at, wire) in waiting.iter_mut().enumerate() {
        let reply = wire.reply().await;
        let said = (reply.status(), reply.header("x-pilotlight-reason"));
        assert!(said == (200, "") || said == (503, "shutting-down"), "{at}: {said:?}");
    }
    assert_eq!(proxy.ended().await.code(), Some(0));
}

/// One request on one connection.
async fn ask(wire: &mut Wire, host: &str) {
    wire.send(format!("GET /id HTTP/1.1\r\nHost: {host}\r\n\r\n")).await;
    assert_eq!(wire.reply().await.status(), 200);
}

/// What connects another's client to a replica may live on the thread of a worker that has no client any more.
#[tokio::test]
async fn a_worker_stays_for_the_connections_of_others() {
    let keys = |host: &str, more: &str| format!("host: {host}\nkeep_alive: 300s\n{more}");
    let (own, shared) = (keys("own.test", ""), keys("shared.test", "max_concurrency: 1"));
    let apps = yaml::apps(&[("own", &[], &own), ("shared", &[], &shared)]);
    let setup = Setup::process(&format!("workers: 2\nshutdown_timeout: 300s\n{apps}"));
    let mut proxy = setup.start().await;
    let mut one = Wire::open(proxy.address()).await;
    ask(&mut one, "own.test").await;
    // Each worker keeps connections of its own: who needs another one is a client of the other.
    let before = sockets::to_first_replica(&proxy.report());
    let mut same = Vec::new();
    let mut other = loop {
        let mut next = Wire::open(proxy.address()).await;
        ask(&mut next, "own.test").await;
        if sockets::to_first_replica(&proxy.report()) > before {
            break next;
        }
        same.push(next);
        assert!(same.len() < 100, "all are of one worker");
    };
    // The first worker makes the connection, the second one's client uses it.
    ask(&mut one, "shared.test").await;
    other.send("GET /stream?chunks=20&every_ms=100 HTTP/1.1\r\nHost: shared.test\r\n\r\n").await;
    other.head().await;
    drop((one, same));
    proxy.signal(Signal::TERM);
    let mut pieces = 0;
    while other.chunk().await.is_some() {
        pieces += 1;
    }
    assert_eq!(pieces, 20);
    // Not at the deadline, which no test would live to see.
    assert_eq!(proxy.ended().await.code(), Some(0));
}

#[tokio::test]
async fn who_is_held_is_told() {
    let mut proxy = proxy(&[("START_DELAY_MS", "60000")], "").await;
    let address = proxy.address();
    let calls =
        [Call::get(address, "/id"), Call::post(address, "/echo", "x")].map(|call| tokio::spawn(call.send()));
    wait_for_async("they are held", || async { (proxy.only_app().await["held"] == 2).then_some(()) }).await;
    proxy.signal(Signal::TERM);
    for call in calls {
        let answer = call.await.unwrap().unwrap();
        let said = (answer.status, answer.reason(), answer.header("retry-after"));
        assert_eq!(said, (503, "shutting-down", "1"));
    }
    assert_eq!(proxy.ended().await.code(), Some(0));
}

#[tokio::test]
async fn the_deadline_cuts_what_does_not_end() {
    let mut proxy = proxy(&[], "shutdown_timeout: 500ms").await;
    let address = proxy.address();
    let stuck = tokio::spawn(Call::get(address, "/sleep?ms=600000").send());
    let ask = "GET /upgrade HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n";
    let mut upgraded = Wire::sent(address, ask).await;
    upgraded.head().await;
    wait_for_async("both run", || async { (proxy.only_app().await["in_flight"] == 2).then_some(()) }).await;
    assert_eq!(proxy.stop().await.code(), Some(0));
    assert!(stuck.await.unwrap().is_err());
    assert!(upgraded.is_cut().await);
    assert!(proxy.log().contains("connections were cut"), "and it is said");
}

#[tokio::test]
async fn replicas_end_with_the_proxy_however_it_ends() {
    for signal in [Signal::KILL, Signal::TERM] {
        let mark = Mark::new();
        let (name, value) = mark.env();
        // Handed on to its replicas by the file.
        let setup = Setup::process(&yaml::app(&[(&name, &value), ("IGNORE_TERM", "1")], "stop_grace: 500ms"));
        let mut proxy = setup.start().await;
        assert_eq!(get(proxy.address(), "/id").await.status, 200);
        assert!(!mark.bearers_named("test-app").is_empty());
        proxy.signal(signal);
        proxy.ended().await;
        wait_until("nothing of it is left", || mark.bearers().is_empty()).await;
        proxy.start().await;
        assert_eq!(get(proxy.address(), "/id").await.status, 200, "and it can be started again");
    }
}
