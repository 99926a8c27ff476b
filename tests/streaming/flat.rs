//! The proxy's memory while long streams go through.

use crate::support::flow::Count;
use crate::support::fountain::Fountain;
use crate::support::memory::peak;
use crate::support::streams::Way;
use crate::{Speaks, proxy};

/// Until buffers have the size that they will have.
const WARM: u64 = 64 << 20;

/// For what goes through the most.
const LONG: u64 = 10_000_000_000;

const SHORT: u64 = 1_000_000_000;

/// In KiB. Any share of a stream that is kept is far more.
const BOUND: u64 = 8 << 10;

async fn stays_flat(speaks: Speaks, way: Way, length: u64) {
    let replica = Fountain::start();
    let proxy = proxy(&replica).await;
    let client = speaks.client(&proxy).await;
    client.carry(way, WARM, &Count::default()).await;
    let before = peak(proxy.pid());
    client.carry(way, length, &Count::default()).await;
    let rise = peak(proxy.pid()).saturating_sub(before);
    assert!(rise < BOUND, "{rise} KiB more than {before} KiB for {length} bytes");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer() {
    stays_flat(Speaks::Http1, Way::Down, LONG).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body() {
    stays_flat(Speaks::Http1, Way::Up, LONG).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upgraded_connection() {
    stays_flat(Speaks::Http1, Way::Both, SHORT).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_in_http2() {
    stays_flat(Speaks::Http2, Way::Down, SHORT).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_in_http2() {
    stays_flat(Speaks::Http2, Way::Up, SHORT).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_websocket_in_http2() {
    stays_flat(Speaks::Http2, Way::Both, SHORT).await;
}
