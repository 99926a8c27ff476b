//! How many replicas there are, and that changing their number costs nobody a request.

#[path = "../support/mod.rs"]
mod support;

mod growing;
mod idling;
mod shrinking;

use support::proxy::{Proxy, Setup};
use support::yaml;

/// A proxy with one app that has this `autoscale`, and further keys.
async fn proxy(autoscale: &str, keys: &str) -> Proxy {
    Setup::process(&yaml::app(&[], &format!("autoscale: {{{autoscale}}}\n{keys}"))).start().await
}

/// One number that `/api/apps` shows of the only app.
async fn shown(proxy: &Proxy, key: &str) -> u64 {
    let app = proxy.only_app().await;
    app[key].as_u64().unwrap_or_else(|| panic!("no number {key}: {app}"))
}
