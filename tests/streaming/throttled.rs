//! Who does not read throttles who sends: what is under way waits in the kernel's buffers, and the proxy holds next to
//! nothing of it.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use crate::support::flow::Count;
use crate::support::fountain::Fountain;
use crate::support::memory::peak;
use crate::support::proxy::Proxy;
use crate::support::sockets::waiting_at;
use crate::support::streams::{Download, Switched, Way};
use crate::{Speaks, proxy};

/// Far more than all buffers between the two.
const LENGTH: u64 = 256 << 20;

/// A client that reads so much at first has made buffers grow.
const WARM: u64 = 64 << 20;

/// What the kernel may hold of one stream: four buffers that it grows by itself, each up to what this machine allows.
const KERNEL: u64 = 64 << 20;

/// What the proxy may hold of one stream in HTTP/1: a buffer on either side.
const HELD: u64 = 384 << 10;

/// The same in HTTP/2, with what the client's own library takes before the client does.
const HELD_IN_HTTP2: u64 = 3 << 20;

/// In KiB.
const RISE: u64 = 8 << 10;

impl Speaks {
    fn may_hold(self) -> u64 {
        if self == Self::Http1 { HELD } else { HELD_IN_HTTP2 }
    }
}

/// Waits until a count stands still, and gives it back. One that only paused gives a smaller one, never a greater.
async fn still(mut count: impl FnMut() -> u64) -> u64 {
    let (mut last, mut looks) = (0, 0);
    while looks < 10 {
        tokio::time::sleep(Duration::from_millis(50)).await;
        let now = count();
        looks = if now == last && now > 0 { looks + 1 } else { 0 };
        last = now;
    }
    last
}

/// Of what was sent, how much waits neither in the kernel at the client's nor at the replica's side of the proxy.
fn held(sent: u64, proxy: &Proxy, replica: &Fountain) -> u64 {
    let waits = waiting_at(&[proxy.address().port(), replica.address.port()]);
    sent.saturating_sub(waits)
}

/// `way`: down, or both, of which only what comes down is looked at.
async fn an_unread_stream(speaks: Speaks, way: Way) {
    let replica = Fountain::start();
    let proxy = proxy(&replica).await;
    let client = speaks.client(&proxy).await;
    client.carry(way, WARM, &Count::default()).await;
    let (before, memory) = (replica.sent(), peak(proxy.pid()));
    let unread = match way {
        Way::Both => Unread::Switched(client.switch(LENGTH).await.expect("another protocol")),
        _ => Unread::Download(client.open(LENGTH).await),
    };
    let stood = still(|| replica.sent() - before).await;
    assert!(stood < KERNEL, "{stood} bytes were sent, none was read");
    let held = held(stood, &proxy, &replica);
    assert!(held < speaks.may_hold(), "{held} of {stood} bytes");

    // Others go on, on the same connection where there may be several, and it stands meanwhile.
    client.carry(Way::Down, WARM, &Count::default()).await;
    let sent = still(|| replica.sent() - before - WARM).await;
    assert!(sent < KERNEL, "{sent} bytes by now");
    let rise = peak(proxy.pid()).saturating_sub(memory);
    assert!(rise < RISE, "{rise} KiB more for {LENGTH} bytes that wait");
    let read = match unread {
        Unread::Switched(switched) => switched.finish(&Count::default()).await,
        Unread::Download(download) => download.finish().await,
    };
    read.expect("each byte in its place");
}

enum Unread {
    Download(Download),
    Switched(Switched),
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unread_answer() {
    an_unread_stream(Speaks::Http1, Way::Down).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unread_answer_in_http2() {
    an_unread_stream(Speaks::Http2, Way::Down).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unread_upgraded_connection() {
    an_unread_stream(Speaks::Http1, Way::Both).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unread_websocket_in_http2() {
    an_unread_stream(Speaks::Http2, Way::Both).await;
}

async fn an_untaken_stream(speaks: Speaks, way: Way) {
    let replica = Fountain::start();
    let proxy = proxy(&replica).await;
    let client = Arc::new(speaks.client(&proxy).await);
    client.carry(way, WARM, &Count::default()).await;
    let memory = peak(proxy.pid());
    replica.stop_taking();
    let poured = Count::default();
    let sending = tokio::spawn({
        let (client, poured) = (Arc::clone(&client), Arc::clone(&poured));
        async move { client.carry(way, LENGTH, &poured).await }
    });
    let stood = still(|| poured.load(Ordering::Relaxed)).await;
    assert!(stood < KERNEL, "{stood} bytes were sent, none was taken");
    // Of both ways, what comes down goes through meanwhile and is none of what waits.
    if way == Way::Up {
        let held = held(stood, &proxy, &replica);
        assert!(held < speaks.may_hold(), "{held} of {stood} bytes");
    }
    client.carry(Way::Down, WARM, &Count::default()).await;
    let sent = still(|| poured.load(Ordering::Relaxed)).await;
    assert!(sent < KERNEL, "{sent} bytes by now");
    let rise = peak(proxy.pid()).saturating_sub(memory);
    assert!(rise < RISE, "{rise} KiB more for {LENGTH} bytes that wait");
    replica.go_on();
    sending.await.expect("each byte in its place");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_untaken_body() {
    an_untaken_stream(Speaks::Http1, Way::Up).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_untaken_body_in_http2() {
    an_untaken_stream(Speaks::Http2, Way::Up).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_untaken_upgraded_connection() {
    an_untaken_stream(Speaks::Http1, Way::Both).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_untaken_websocket_in_http2() {
    an_untaken_stream(Speaks::Http2, Way::Both).await;
}
