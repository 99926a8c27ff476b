//! The engine by hand, over its socket: what the proxy's own calls are held against.

// Each bench is a crate of its own and uses its own part of this.
#![allow(dead_code)]

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1;
use hyper::{Method, Request};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::net::UnixStream;

use crate::support::http::Call;

const SOCKET: &str = "/var/run/docker.sock";

/// One call on a connection of its own.
pub(crate) async fn engine(method: Method, path: &str, body: Option<&Value>) -> Value {
    let stream = UnixStream::connect(SOCKET).await.expect("the engine's socket");
    let (mut requests, connection) = http1::handshake(TokioIo::new(stream)).await.expect("it speaks HTTP");
    tokio::spawn(connection);
    let body = body.map(Value::to_string).unwrap_or_default();
    let request = Request::builder().method(method).uri(format!("/v1.41{path}")).header("host", "docker");
    let request = request.header("content-type", "application/json").body(Full::new(Bytes::from(body)));
    let answer = requests.send_request(request.expect("a request")).await.expect("an answer");
    let status = answer.status();
    let body = answer.into_body().collect().await.expect("its body").to_bytes();
    assert!(status.is_success(), "{path}: {status} {}", String::from_utf8_lossy(&body));
    serde_json::from_slice(&body).unwrap_or(Value::Null)
}

/// Makes a container; gives its ID.
pub(crate) async fn create(name: &str, like: &Value) -> String {
    let made = engine(Method::POST, &format!("/containers/create?name={name}"), Some(like)).await;
    made["Id"].as_str().unwrap_or_else(|| panic!("not made: {made}")).to_owned()
}

/// Starts it.
pub(crate) async fn start(id: &str) {
    engine(Method::POST, &format!("/containers/{id}/start"), None).await;
}

/// Where it listens.
pub(crate) async fn address(id: &str, port: u16) -> SocketAddr {
    let seen = engine(Method::GET, &format!("/containers/{id}/json"), None).await;
    let networks = seen["NetworkSettings"]["Networks"].as_object().expect("a container has networks");
    let ip = networks.values().find_map(|network| network["IPAddress"].as_str()).expect("and an address");
    SocketAddr::new(ip.parse().expect("an address"), port)
}

/// Asks until it answers.
pub(crate) async fn answers(address: SocketAddr) {
    loop {
        match Call::get(address, "/ping").send().await {
            Ok(answer) if answer.status == 200 => return,
            _ => tokio::time::sleep(Duration::from_millis(1)).await,
        }
    }
}

/// Ends and removes it.
pub(crate) async fn remove(id: &str) {
    engine(Method::DELETE, &format!("/containers/{id}?force=true&v=true"), None).await;
}

/// Ends it; it stays.
pub(crate) async fn stop(id: &str) {
    engine(Method::POST, &format!("/containers/{id}/stop?t=5"), None).await;
}
