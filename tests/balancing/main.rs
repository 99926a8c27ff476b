//! Which replica a request goes to, and what becomes of it where that one fails: servers of the test's own stand behind
//! the proxy, so that each does what the test says.

#[path = "../support/mod.rs"]
mod support;

mod affinity;
mod ejecting;
mod retrying;
mod server;
mod streams;
mod warming;

use std::fmt::Write;

use server::Server;
use support::proxy::{Proxy, Setup};
use support::wait::wait_for_async;

/// An app called `app` with these servers, and further keys, a line each.
fn yaml(servers: &[&Server], keys: &str) -> String {
    let mut text = "name: app\nupstream:\n".to_owned();
    for server in servers {
        writeln!(text, "  - http://{}", server.address).expect("a string can be written");
    }
    format!("{text}{keys}\n")
}

/// A proxy with all of these servers up. One worker, so that what the log says is in the order of what has happened.
async fn proxy(servers: &[&Server], keys: &str) -> Proxy {
    let proxy = Setup::process(&yaml(servers, &format!("workers: 1\n{keys}"))).start().await;
    up(&proxy, servers.len()).await;
    proxy
}

/// Waits until so many are up.
async fn up(proxy: &Proxy, count: usize) {
    wait_for_async(format!("{count} are up"), || async {
        (proxy.only_app().await["ready"] == count).then_some(())
    })
    .await;
}
