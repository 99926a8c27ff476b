//! A disk that takes nothing for a while, played by a pipe that nobody reads.

use std::fs::{File, OpenOptions};
use std::io::{BufRead, BufReader};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::time::timeout;

use crate::DROPPED;
use crate::support::http::{Call, Connection};
use crate::support::metrics::Scrape;
use crate::support::proxy::{Proxy, Setup};
use crate::support::wait::{LIMIT, wait_for_async};
use crate::support::yaml;

/// A proxy whose log is a pipe, and the pipe's other end.
async fn proxy() -> (Proxy, File) {
    let keys = "access_log: pipe\nworkers: 1\nhost: a.test\nclients: {uri_bytes: 60K}";
    let setup = Setup::process(&yaml::app(&[], keys));
    let pipe = setup.dir().join("pipe");
    let made = Command::new("mkfifo").arg(&pipe).status().expect("every system has it");
    assert!(made.success());
    // Who opens one end waits for somebody at the other; who opens both does not.
    let both = OpenOptions::new().read(true).write(true).open(&pipe).expect("it was made");
    let reader = File::open(&pipe).expect("it was made");
    let proxy = setup.start().await;
    drop(both);
    (proxy, reader)
}

/// Asks until lines are dropped, and says how often. Each line is handed on alone, since it is so long.
async fn fill(proxy: &Proxy) -> usize {
    let path = format!("/{}", "x".repeat(40_000));
    let mut client = Connection::open(proxy.address()).await.expect("a connection");
    let mut sent = 0;
    while Scrape::of(proxy).await.get(DROPPED) <= Some(0.0) {
        assert!(sent < 2000, "all of them are kept somewhere");
        for _ in 0..50 {
            let call = Call::get(proxy.address(), &path).host("nobody.test");
            let answer = timeout(LIMIT, client.send(call)).await.expect("nobody waits for a disk");
            assert_eq!(answer.expect("an answer").status, 404);
            sent += 1;
        }
    }
    sent
}

#[tokio::test]
async fn lines_for_which_there_is_no_time_are_counted_and_hinder_nobody() {
    let (proxy, reader) = proxy().await;
    let sent = fill(&proxy).await;
    let written = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&written);
    std::thread::spawn(move || {
        for line in BufReader::new(reader).lines().map_while(Result::ok) {
            // One that is not whole counts for nothing, and the sum is never right.
            let whole = line.starts_with("127.0.0.1 - - [") && line.ends_with(" no-route");
            counter.fetch_add(usize::from(whole), Ordering::Relaxed);
        }
    });
    wait_for_async("each line is written or counted", || async {
        let dropped = Scrape::of(&proxy).await.get(DROPPED).expect("there is a log");
        let written = written.load(Ordering::Relaxed);
        (dropped > 0.0 && written as f64 + dropped >= sent as f64).then_some(())
    })
    .await;
    let dropped = Scrape::of(&proxy).await.get(DROPPED);
    assert_eq!(dropped, Some((sent - written.load(Ordering::Relaxed)) as f64), "and none of them twice");
}

#[tokio::test]
async fn the_end_does_not_wait_for_ever() {
    let (mut proxy, _reader) = proxy().await;
    fill(&proxy).await;
    assert_eq!(proxy.stop().await.code(), Some(0));
    assert!(proxy.log().contains("the access log takes too long"), "and it is said: {}", proxy.log());
}
