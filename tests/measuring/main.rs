//! What `/metrics` says of a proxy that has had some traffic.

#[path = "../support/mod.rs"]
mod support;

mod apps;
mod exchanges;
mod reloads;

use support::proxy::{Proxy, Setup};
use support::yaml;

/// A proxy with one app, whose replica has these variables.
async fn proxy(env: yaml::Env<'_>, keys: &str) -> Proxy {
    Setup::process(&yaml::app(env, keys)).start().await
}
