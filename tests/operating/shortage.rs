//! A proxy that has no files left. That is nobody's fault but its own, and over when there are some again.

use std::time::{Duration, Instant};

use rustix::process::{Resource, Rlimit, getrlimit, prlimit};

use crate::proxy;
use crate::support::http::{Call, Connection};
use crate::support::proxy::Proxy;
use crate::support::wait::wait_until;
use crate::support::wire::Wire;

/// What it has open stays open.
fn take_files(proxy: &Proxy) -> Rlimit {
    let none = Rlimit { current: Some(0), ..getrlimit(Resource::Nofile) };
    prlimit(Some(proxy.pid()), Resource::Nofile, none).expect("it is ours")
}

fn give_files(proxy: &Proxy, limit: Rlimit) {
    prlimit(Some(proxy.pid()), Resource::Nofile, limit).expect("it is ours");
}

#[tokio::test]
async fn a_connect_for_which_there_is_no_file_is_not_the_replicas_fault() {
    let health = "health: {path: /healthz, interval: 100ms}";
    let proxy = proxy(&[], &format!("keep_alive: 1ms\n{health}")).await;
    let mut client = Connection::open(proxy.address()).await.unwrap();
    let mut ask = async || client.send(Call::get(proxy.address(), "/id")).await.unwrap();
    let before = ask().await;
    let limit = take_files(&proxy);
    // Until the connection that is kept to the replica has had its time.
    while ask().await.status == 200 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let failed = "a health check could not be made";
    wait_until("health is looked at many times", || proxy.log().matches(failed).count() > 5).await;
    for _ in 0..3 {
        let refused = ask().await;
        assert_eq!((refused.status, refused.reason()), (502, "upstream-connect"));
    }
    give_files(&proxy, limit);
    let after = ask().await;
    assert_eq!((after.status, after.text()), (200, before.text()), "{}", after.reason());
    assert_eq!(proxy.report().replicas().len(), 1, "no other was started");
    let log = proxy.log();
    assert!(!log.contains("cannot be reached") && !log.contains("unhealthy"), "nobody suspected it");
    assert_eq!(proxy.only_app().await["ready"], 1);
}

#[tokio::test]
async fn who_cannot_be_accepted_waits_and_the_proxy_does_not_spin() {
    let proxy = proxy(&[], "workers: 1").await;
    let limit = take_files(&proxy);
    let start = Instant::now();
    let mut wire = Wire::sent(proxy.address(), "GET /id HTTP/1.1\r\nHost: a\r\n\r\n").await;
    let failures = || proxy.log().matches("cannot accept a connection").count();
    wait_until("it has tried some times", || failures() >= 10).await;
    let (tried, most) = (failures(), start.elapsed().as_millis() / 50 + 2);
    assert!(tried as u128 <= most, "{tried} attempts, and no more than {most} had their pause");
    let warned = proxy.log().lines().filter(|line| line.contains("WARN cannot accept")).count();
    assert_eq!(warned, 1, "the log is not flooded");
    assert!(wire.is_silent());
    give_files(&proxy, limit);
    assert_eq!(wire.reply().await.status(), 200);
}
