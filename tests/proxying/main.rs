//! What a client and a replica see of each other through the proxy.

#[path = "../support/mod.rs"]
mod support;

mod bodies;
mod connections;
mod faults;
mod headers;
mod redirects;
mod routing;
mod upgrades;

use support::proxy::{Proxy, Setup};
use support::yaml;

/// A proxy with one app, whose replica has these variables.
async fn proxy(env: &[(&str, &str)], keys: &str) -> Proxy {
    Setup::process(&yaml::app(env, keys)).start().await
}
