//! What a request costs while it is held: ten thousand at once on one app that is starting.
//! `cargo bench --bench held`.

mod figures;
#[path = "../tests/support/mod.rs"]
mod support;

use std::time::{Duration, Instant};

use rustix::process::{Resource, getrlimit, setrlimit};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use support::proxy::{Proxy, Setup};
use support::wait::wait_for_async;
use support::yaml;

use crate::figures::resident_kib;

const HELD: usize = 10_000;

/// What a rush has taken is to be given back by then.
const LATER: Duration = Duration::from_secs(30);

fn main() {
    let mut files = getrlimit(Resource::Nofile);
    files.current = files.maximum;
    setrlimit(Resource::Nofile, files).expect("up to the hard limit is allowed");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.expect("a runtime").block_on(run());
}

async fn run() {
    let keys = format!("timeout: 120s\nhold: {{max: {HELD}, timeout: 60s}}");
    let proxy = Setup::process(&yaml::app(&[("START_DELAY_MS", "15000")], &keys)).start().await;
    let before = resident_kib(proxy.pid());
    let start = Instant::now();
    let mut calls = JoinSet::new();
    for _ in 0..HELD {
        let mut stream = TcpStream::connect(proxy.address()).await.expect("it listens");
        stream
            .write_all(b"GET /ping HTTP/1.1\r\nHost: app\r\nConnection: close\r\n\r\n")
            .await
            .expect("a request");
        calls.spawn(async move {
            let mut answer = Vec::with_capacity(64);
            stream.read_to_end(&mut answer).await.is_ok() && answer.starts_with(b"HTTP/1.1 200")
        });
    }
    wait_for_async("all are held", || async { (held(&proxy).await == HELD).then_some(()) }).await;
    let after = resident_kib(proxy.pid());
    println!("{HELD} held after {:.1} s", start.elapsed().as_secs_f64());
    let mut good = 0;
    while let Some(answered) = calls.join_next().await {
        good += usize::from(answered.expect("a call does not panic"));
    }
    let each = (after - before) as f64 / HELD as f64;
    println!("resident: {before} KiB before, {after} KiB meanwhile: {each:.1} KiB each");
    println!("answered: {good} of {HELD}, all after {:.1} s", start.elapsed().as_secs_f64());
    tokio::time::sleep(LATER).await;
    println!("resident {LATER:?} later: {} KiB", resident_kib(proxy.pid()));
}

async fn held(proxy: &Proxy) -> usize {
    proxy.only_app().await["held"].as_u64().and_then(|held| usize::try_from(held).ok()).unwrap_or_default()
}
