//! What clients may speak: HTTP/1.1, TLS, HTTP/2, gRPC, a PROXY header, a Unix socket; and how much of it.

#[path = "../support/mod.rs"]
mod support;

mod certificates;
mod front;
mod grpc;
mod http1;
mod http1_bodies;
mod http1_ends;
mod http2;
mod limits;
mod replica;
mod tls;
mod unix;
mod websockets;

use support::h2;
use support::proxy::{Proxy, Setup};
use support::yaml;

/// A proxy with one app, whose replica has these variables.
async fn proxy(env: &[(&str, &str)], keys: &str) -> Proxy {
    Setup::process(&yaml::app(env, keys)).start().await
}
