//! Clients that send a byte now and then: each is served in the end, and others are served meanwhile.

use std::net::SocketAddr;
use std::sync::atomic::Ordering;
use std::time::Duration;

use rustix::process::{Resource, getrlimit, setrlimit};
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::support::flow::{Count, pour};
use crate::support::fountain::{EXACT, Fountain};
use crate::support::memory::peak;
use crate::support::streams::Way;
use crate::support::wire::Wire;
use crate::{Speaks, proxy_with};

/// Half of them send heads, half bodies.
const CLIENTS: usize = 1000;

/// Between two bytes.
const PAUSE: Duration = Duration::from_secs(1);

/// For each, in KiB: two connections' buffers at most, and what a request takes.
const EACH: u64 = 64;

/// How many bytes all of them send before it is enough.
const ENOUGH: u64 = 5 * CLIENTS as u64;

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_are_in_nobodys_way() {
    let mut files = getrlimit(Resource::Nofile);
    files.current = files.maximum;
    setrlimit(Resource::Nofile, files).expect("up to the hard limit is allowed");
    let replica = Fountain::start();
    // What is tried is that they are many, not that each has its time.
    let proxy = proxy_with(&replica, "clients: {header_timeout: 10m}\nbody_timeout: 10m").await;
    let client = Speaks::Http1.client(&proxy).await;
    client.carry(Way::Both, 64 << 20, &Count::default()).await;
    let before = peak(proxy.pid());

    let (sent, enough) = (Count::default(), watch::channel(false).0);
    let mut slow = JoinSet::new();
    for at in 0..CLIENTS {
        let trickle = Trickle { address: proxy.address(), sent: sent.clone(), enough: enough.subscribe() };
        slow.spawn(async move { if at % 2 == 0 { trickle.head().await } else { trickle.body().await } });
    }
    let mut others = 0;
    while sent.load(Ordering::Relaxed) < ENOUGH {
        client.carry(Way::Down, 1000, &Count::default()).await;
        client.carry(Way::Up, 1000, &Count::default()).await;
        others += 2;
    }
    assert!(others > 0);
    let rise = peak(proxy.pid()).saturating_sub(before);
    assert!(rise < EACH * CLIENTS as u64, "{rise} KiB more than {before} KiB for {CLIENTS} slow clients");
    enough.send_replace(true);
    while let Some(ended) = slow.join_next().await {
        ended.expect("each is answered");
    }
}

/// One of them.
struct Trickle {
    address: SocketAddr,
    sent: Count,
    enough: watch::Receiver<bool>,
}

impl Trickle {
    /// A head that comes byte by byte.
    async fn head(self) {
        let wire = self.send(b"GET /5 HTTP/1.1\r\nHost: a\r\nX: ".to_vec(), &[b'x'; 1000], b"\r\n\r\n").await;
        answered(wire, None).await;
    }

    /// A body.
    async fn body(self) {
        let mut body = Vec::new();
        pour(&mut body, 1000, &Count::default()).await.expect("memory takes all");
        let head = format!("POST /0 HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n\r\n", body.len());
        let wire = self.send(head.into_bytes(), &body, b"").await;
        answered(wire, Some(EXACT)).await;
    }

    /// Sends what is first, then bytes one by one, and all the rest when it is enough.
    async fn send(mut self, first: Vec<u8>, slowly: &[u8], last: &[u8]) -> Wire {
        let mut wire = Wire::sent(self.address, first).await;
        let mut sent = 0;
        while tokio::time::timeout(PAUSE, self.enough.wait_for(|enough| *enough)).await.is_err() {
            wire.send(&slowly[sent..=sent]).await;
            sent += 1;
            self.sent.fetch_add(1, Ordering::Relaxed);
        }
        wire.send(&slowly[sent..]).await;
        wire.send(last).await;
        wire
    }
}

async fn answered(mut wire: Wire, body: Option<&str>) {
    let reply = wire.reply().await;
    assert_eq!(reply.status(), 200, "{}", reply.head);
    assert!(body.is_none_or(|body| reply.text() == body), "{}", reply.text());
}
