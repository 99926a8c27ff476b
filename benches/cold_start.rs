//! What the proxy adds to a container's start: `cargo bench --bench cold_start`.
//!
//! Fifty pairs, in turn: a request to an app at zero, from its sending to its whole answer, and the same container
//! made, started and asked by hand over the engine's socket. Needs the image of the test app: `tests/run prepare`.

#[path = "figures/engine.rs"]
mod engine;
mod figures;
#[path = "../tests/support/mod.rs"]
mod support;

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use support::docker::{need_app_image, replicas};
use support::http::{Call, get};
use support::metrics::Scrape;
use support::proxy::{Proxy, Setup};
use support::wait::wait_for_async;

use crate::figures::{ms, percentile};

const PAIRS: usize = 50;
const KEYS: &str =
    "name: app\nimage: {app}\nautoscale: {min: 0, max: 1, metric: rps, idle: 100ms, remove_after: 0s}\n";
/// As `/metrics` names them; what is left of a request's time is its way to the replica and back.
const PHASES: [&str; 5] = ["queue", "create", "start", "application", "probe"];

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
    let id = engine::create(&name, like).await;
    engine::start(&id).await;
    engine::answers(engine::address(&id, 8080).await).await;
    let took = start.elapsed();
    engine::remove(&id).await;
    took
}
