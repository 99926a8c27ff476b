//! What an operator does to a running proxy: reload, stop, kill, look, start where it cannot start.

#[path = "../support/mod.rs"]
mod support;

mod looking;
mod reloading;
mod shortage;
mod starting;
mod status;
mod stopping;

use support::proxy::{Proxy, Setup};
use support::yaml;

/// A proxy with one app, whose replica has these variables.
async fn proxy(env: yaml::Env<'_>, keys: &str) -> Proxy {
    Setup::process(&yaml::app(env, keys)).start().await
}
