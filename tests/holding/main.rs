//! Requests that wait for a replica: how many, how long, in which order, and what becomes of them.

#[path = "../support/mod.rs"]
mod support;

mod ahead;
mod bounds;
mod failing;
mod leaving;
mod waking;

use support::proxy::{Proxy, Setup};
use support::wait::wait_for_async;
use support::yaml;

/// A proxy with one app, whose replica has these variables.
async fn proxy(env: &[(&str, &str)], keys: &str) -> Proxy {
    Setup::process(&yaml::app(env, keys)).start().await
}

/// Waits until so many requests are held.
async fn held(proxy: &Proxy, count: u64) {
    wait_for_async(format!("{count} are held"), || async {
        (proxy.only_app().await["held"] == count).then_some(())
    })
    .await;
}
