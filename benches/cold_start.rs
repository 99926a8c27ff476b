//! What the proxy adds to a container's start: `cargo bench --bench cold_start`.
//!
//! Fifty pairs, in turn: a request to an app at zero, from its sending to its whole answer, and the same container
//! made, started and asked by hand over the engine's socket. Needs the image of the test app: `tests/run prepare`.

mod figures;
#[path = "../tests/support/mod.rs"]
mod support;

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1;
use hyper::{Method, Request};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::net::UnixStream;

use support::docker::{need_app_image, replicas};
use support::http::{Call, get};
use support::metrics::Scrape;
use support::proxy::{Proxy, Setup};
use support::wait::wait_for_async;

use crate::figures::{ms, percentile};

const PAIRS: usize = 50;
const KEYS: &str = "name: app\nimage: {app}\nautoscale: {min: 0, max: 1, metric: rps, idle: 100ms}\n";
/// As `/metrics` names them; what is left of a request's time is its way to the replica and back.
const PHASES: [&str; 4] = ["queue", "create", "start", "probe"];
const SOCKET: &str = "/var/run/docker.sock";

fn main() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.expect("a runtime").block_on(run());
}

async fn run() {
    need_app_image().await;
    let proxy = Setup::docker(KEYS).start().await;
    let like = first(&proxy).await;
    let (mut through, mut raw) = (Vec::new(), Vec::new());
    let mut phases = PHASES.map(|_| Vec::new());
    let mut before = spent(&proxy).await;
    for pair in 0..PAIRS {
        // Who goes second finds the engine as the first has left it: they take turns.
        if pair % 2 == 0 {
            through.push(ms(by_proxy(&proxy).await));
            raw.push(ms(by_hand(&like, pair).await));
        } else {
            raw.push(ms(by_hand(&like, pair).await));
            through.push(ms(by_proxy(&proxy).await));
        }
        let now = spent(&proxy).await;
        for (phase, (now, before)) in phases.iter_mut().zip(now.iter().zip(before)) {
            phase.push(now - before);
        }
        before = now;
    }
    let added: Vec<_> = through.iter().zip(&raw).map(|(through, raw)| through - raw).collect();
    println!("{PAIRS} pairs, ms                      p50     p95     max");
    row("a request to an app at zero", &through);
    for (name, values) in PHASES.into_iter().zip(&phases) {
        row(&format!("  of it: {name}"), values);
    }
    row("by hand", &raw);
    row("difference in a pair", &added);
    let apart = |share| percentile(&through, share) - percentile(&raw, share);
    println!("difference of the percentiles  {:7.1} {:7.1}", apart(0.5), apart(0.95));
}

fn row(name: &str, values: &[f64]) {
    let [half, most, all] = [0.5, 0.95, 1.0].map(|share| percentile(values, share));
    println!("{name:<30} {half:7.1} {most:7.1} {all:7.1}");
}

/// What the proxy has spent on each phase of its cold starts so far, in ms.
async fn spent(proxy: &Proxy) -> [f64; PHASES.len()] {
    let scrape = Scrape::of(proxy).await;
    PHASES.map(|phase| {
        let series =
            format!("pilotlight_cold_start_phase_duration_seconds_sum{{app=\"app\",phase=\"{phase}\"}}");
        1000.0 * scrape.get(&series).expect("it was woken once")
    })
}

/// Wakes the app once, unmeasured, and gives back what the engine is told for such a container.
async fn first(proxy: &Proxy) -> Value {
    assert_eq!(get(proxy.address(), "/ping").await.status, 200);
    let found = replicas(&proxy.instance()).await;
    let mut body = found[0].at("/Config").clone();
    body["HostConfig"] = found[0].at("/HostConfig").clone();
    // A name of its own and no label: the proxy must not take it for one of its replicas.
    body["Labels"] = json!({});
    body["Hostname"] = json!("");
    body
}

async fn by_proxy(proxy: &Proxy) -> Duration {
    let instance = proxy.instance();
    wait_for_async("the app is at zero", || async { replicas(&instance).await.is_empty().then_some(()) })
        .await;
    let start = Instant::now();
    let answer = Call::get(proxy.address(), "/ping").send().await.expect("an answer");
    let took = start.elapsed();
    assert_eq!(answer.status, 200, "{}", answer.reason());
    took
}

async fn by_hand(like: &Value, pair: usize) -> Duration {
    let name = format!("pilotlight-bench-{}-{pair}", std::process::id());
    let start = Instant::now();
    let made = engine(Method::POST, &format!("/containers/create?name={name}"), Some(like)).await;
    let id = made["Id"].as_str().unwrap_or_else(|| panic!("not made: {made}")).to_owned();
    engine(Method::POST, &format!("/containers/{id}/start"), None).await;
    let seen = engine(Method::GET, &format!("/containers/{id}/json"), None).await;
    let networks = seen["NetworkSettings"]["Networks"].as_object().expect("a container has networks");
    let ip = networks.values().find_map(|network| network["IPAddress"].as_str()).expect("and an address");
    let address = SocketAddr::new(ip.parse().expect("an address"), 8080);
    loop {
        match Call::get(address, "/ping").send().await {
            Ok(answer) if answer.status == 200 => break,
            _ => tokio::time::sleep(Duration::from_millis(1)).await,
        }
    }
    let took = start.elapsed();
    engine(Method::DELETE, &format!("/containers/{id}?force=true&v=true"), None).await;
    took
}

/// One call to the engine on a connection of its own.
async fn engine(method: Method, path: &str, body: Option<&Value>) -> Value {
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
