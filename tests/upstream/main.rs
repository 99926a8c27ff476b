//! Apps that are not ours to start: servers that a test runs beside the proxy.

#[path = "../support/mod.rs"]
mod support;

mod failing;
mod reloading;
mod serving;

use std::fmt::Write;
use std::net::SocketAddr;

use support::app::Running;
use support::proxy::{Proxy, Setup};
use support::wait::wait_for_async;

/// An app called `app` at these addresses, with further keys, a line each.
fn yaml(addresses: &[SocketAddr], keys: &str) -> String {
    let mut text = "name: app\nupstream:\n".to_owned();
    for address in addresses {
        writeln!(text, "  - http://{address}").expect("a string can be written");
    }
    format!("{text}{keys}\n")
}

async fn proxy(addresses: &[SocketAddr], keys: &str) -> Proxy {
    Setup::process(&yaml(addresses, keys)).start().await
}

/// So many servers, and where they listen.
async fn servers(count: usize) -> (Vec<Running>, Vec<SocketAddr>) {
    let servers: Vec<_> = (0..count).map(|_| Running::start(&[])).collect();
    let mut addresses = Vec::new();
    for server in &servers {
        addresses.push(server.address().await);
    }
    (servers, addresses)
}

/// A server at an address that another one has had.
async fn again(address: SocketAddr) -> Running {
    let server = Running::start(&[("PORT", &address.port().to_string())]);
    assert_eq!(server.address().await, address);
    server
}

/// Waits until so many are up.
async fn up(proxy: &Proxy, count: u64) {
    wait_for_async(format!("{count} are up"), || async {
        (proxy.only_app().await["ready"] == count).then_some(())
    })
    .await;
}
