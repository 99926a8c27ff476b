//! Streams of any length, in both directions: no byte is lost or kept, who does not read throttles who sends, and slow
//! clients are in nobody's way.

#[path = "../support/mod.rs"]
mod support;

mod flat;
mod slow;
mod throttled;

use support::fountain::Fountain;
use support::h2::H2;
use support::proxy::{Proxy, Setup};
use support::streams::Client;
use support::wait::wait_for_async;

/// A proxy in front of that replica, which is up.
async fn proxy(replica: &Fountain) -> Proxy {
    proxy_with(replica, "").await
}

/// The same with further keys, a line each.
async fn proxy_with(replica: &Fountain, keys: &str) -> Proxy {
    let proxy = Setup::process(&replica.yaml(keys)).start().await;
    wait_for_async("the replica is up", || async { (proxy.only_app().await["ready"] == 1).then_some(()) })
        .await;
    proxy
}

/// What a client speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Speaks {
    Http1,
    Http2,
}

impl Speaks {
    async fn client(self, proxy: &Proxy) -> Client {
        match self {
            Self::Http1 => Client::Http1(proxy.address()),
            Self::Http2 => {
                let client = H2::clear(proxy).await;
                // What the server takes is known from the first answer on.
                assert_eq!(client.get("/.pilotlight/health").await.status, 200);
                Client::Http2(client)
            }
        }
    }
}
