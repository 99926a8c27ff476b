//! How fast a visitor is answered whose app sleeps, beside what the engine takes by itself: `cargo bench --bench wake`.
//!
//! In turn: a request to a sleeping app, from its sending to its whole answer, and a plain container of the same image
//! and limits, started by hand over the engine's socket and asked until it answers. Ends with the goals, and writes
//! `target/wake.svg`. Needs the images of the tests: `tests/run prepare`. `-- --pairs N` for fewer than fifty.

#[path = "../figures/engine.rs"]
mod engine;
#[path = "../figures/mod.rs"]
mod figures;
mod picture;
#[path = "../../tests/support/mod.rs"]
mod support;

use std::path::Path;
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use serde_json::{Value, json};

use support::docker::{need_app_image, replicas};
use support::http::{Call, get};
use support::proxy::{Proxy, Setup};
use support::wait::wait_for_async;

use crate::figures::{ms, percentile};

/// Apps that are woken at once.
const CROWD: usize = 20;

fn main() {
    let pairs = std::env::args().skip_while(|arg| arg != "--pairs").nth(1);
    let pairs = pairs.map_or(50, |pairs| pairs.parse().expect("a number of pairs"));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.expect("a runtime").block_on(run(pairs));
}

/// One row of the table: what was measured, in ms.
pub(crate) struct Row {
    pub(crate) name: String,
    pub(crate) values: Vec<f64>,
}

impl Row {
    fn new(name: &str) -> Self {
        Self { name: name.to_owned(), values: Vec::new() }
    }

    pub(crate) fn at(&self, share: f64) -> f64 {
        percentile(&self.values, share)
    }
}

/// A goal, and whether it is met.
struct Goal(String, bool);

async fn run(pairs: usize) {
    need_app_image().await;
    let mut goals = Vec::new();
    let mut rows = stopped(pairs, &mut goals).await;
    rows.extend(
        frozen("a static app, frozen: a request", "image: {app}", pairs, [20.0, 40.0], &mut goals).await,
    );
    rows.extend(python(pairs, &mut goals).await);
    rows.extend(crowd(&mut goals).await);
    println!("{:<58} {:>8} {:>8} {:>8}", "ms", "p50", "p95", "max");
    for row in &rows {
        println!("{:<58} {:8.1} {:8.1} {:8.1}", row.name, row.at(0.5), row.at(0.95), row.at(1.0));
    }
    println!();
    for Goal(goal, met) in &goals {
        println!("{} {goal}", if *met { "yes" } else { "NO " });
    }
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/target/wake.svg");
    std::fs::write(path, picture::svg(&rows)).expect("the folder is there");
    println!("\n{path}");
}

async fn proxy(keys: &str) -> Proxy {
    Setup::docker(&format!("name: app\n{keys}\n")).start().await
}

/// A static app, from stopped: the engine's part beside a plain start, and what is neither the engine's nor the app's.
async fn stopped(pairs: usize, goals: &mut Vec<Goal>) -> Vec<Row> {
    let proxy = proxy("image: {app}\nautoscale: {min: 0, max: 1, metric: rps, idle: 100ms}").await;
    let plain = Plain::like(&proxy, "app").await;
    let [mut request, mut call, mut over, mut start, mut whole] = [
        "a static app, stopped: a request",
        "  of it the engine's",
        "  of it neither the engine's nor the app's",
        "a plain container of it: docker start",
        "  … until it has answered",
    ]
    .map(Row::new);
    asleep(&proxy, "stopped").await;
    visit(&proxy).await;
    for pair in 0..pairs {
        let by_hand = async {
            let (started, answered) = plain.start().await;
            (ms(started), ms(answered))
        };
        let woken = async {
            asleep(&proxy, "stopped").await;
            let took = ms(visit(&proxy).await);
            let wake = last_wake(&proxy).await;
            let time = |phase: &str| wake[phase].as_f64().expect("a time");
            (took, time("engine"), took - time("engine") - time("application"))
        };
        // Who goes second finds the engine as the first has left it: they take turns.
        let ((started, answered), (took, engine, rest)) = if pair % 2 == 0 {
            let first = by_hand.await;
            (first, woken.await)
        } else {
            let first = woken.await;
            (by_hand.await, first)
        };
        start.values.push(started);
        whole.values.push(answered);
        request.values.push(took);
        call.values.push(engine);
        over.values.push(rest);
    }
    plain.remove().await;
    let ratio = call.at(0.5) / start.at(0.5);
    goals.push(Goal(
        format!("stopped: the engine's part at most 0.6 of docker start: {ratio:.2}"),
        ratio <= 0.6,
    ));
    let (half, most) = (over.at(0.5), over.at(0.95));
    goals.push(Goal(
        format!("overhead at most 5 ms at p50, 10 ms at p95: {half:.1}, {most:.1}"),
        half <= 5.0 && most <= 10.0,
    ));
    vec![request, call, over, start, whole]
}

/// An app that is frozen.
async fn frozen(
    name: &str,
    source: &str,
    pairs: usize,
    [half, most]: [f64; 2],
    goals: &mut Vec<Goal>,
) -> Vec<Row> {
    let keys = format!("{source}\nautoscale: {{min: 0, max: 1, metric: rps, freeze_after: 100ms, idle: 1h}}");
    let proxy = proxy(&keys).await;
    let mut row = Row::new(name);
    visit(&proxy).await;
    for _ in 0..pairs {
        asleep(&proxy, "frozen").await;
        row.values.push(ms(visit(&proxy).await));
    }
    let (p50, p95) = (row.at(0.5), row.at(0.95));
    goals.push(Goal(
        format!("{name}: at most {half} ms at p50, {most} ms at p95: {p50:.1}, {p95:.1}"),
        p50 <= half && p95 <= most,
    ));
    vec![row]
}

/// The example of the page, and the same with a tenth of a core.
async fn python(pairs: usize, goals: &mut Vec<Goal>) -> Vec<Row> {
    let source = format!("build: {}", Path::new(env!("CARGO_MANIFEST_DIR")).join("config/fastapi").display());
    let mut rows = Vec::new();
    // With a tenth of a core a plain start takes many seconds.
    for (instance, pairs) in [("C3", pairs), ("C1", pairs.div_ceil(10))] {
        let keys = format!(
            "{source}\ninstance: {instance}\nautoscale: {{min: 0, max: 1, metric: rps, idle: 100ms}}\nhold: {{timeout: 5m}}\ntimeout: 5m"
        );
        let proxy = proxy(&keys).await;
        let plain = Plain::like(&proxy, "fastapi").await;
        let [mut request, mut start, mut fresh] = [
            format!("FastAPI on {instance}, stopped: a request"),
            "  docker start, until it has answered".to_owned(),
            "  docker run, until it has answered".to_owned(),
        ]
        .map(|name| Row::new(&name));
        asleep(&proxy, "stopped").await;
        for _ in 0..pairs {
            asleep(&proxy, "stopped").await;
            request.values.push(ms(visit(&proxy).await));
            start.values.push(ms(plain.start().await.1));
            fresh.values.push(ms(plain.run().await));
        }
        plain.remove().await;
        let [ours, start_at, run_at] = [&request, &start, &fresh].map(|row| row.at(0.5));
        goals.push(Goal(
            format!("FastAPI on {instance}: faster than docker start and docker run: {ours:.0}, {start_at:.0}, {run_at:.0} ms"),
            ours < start_at && ours < run_at,
        ));
        rows.extend([request, start, fresh]);
    }
    let name = "FastAPI on C3, frozen: a request";
    rows.extend(frozen(name, &source, pairs, [25.0, f64::INFINITY], goals).await);
    rows
}

/// Twenty apps at once.
async fn crowd(goals: &mut Vec<Goal>) -> Vec<Row> {
    let app = |n| {
        format!(
            "  app{n}: {{image: '{{app}}', host: app{n}.test, autoscale: {{min: 0, max: 1, metric: rps, idle: 2s}}}}\n"
        )
    };
    let yaml: String = (0..CROWD).map(app).collect();
    let proxy = Setup::docker(&format!("apps:\n{yaml}")).start().await;
    let address = proxy.address();
    let all = || async {
        let begin = Instant::now();
        let visits = (0..CROWD).map(|n| Call::get(address, "/ping").host(&format!("app{n}.test")).send());
        for answer in join_all(visits).await {
            assert_eq!(answer.expect("an answer").status, 200);
        }
        begin.elapsed()
    };
    all().await;
    let like = body_like(&proxy).await;
    let names = (0..CROWD).map(|n| format!("pilotlight-bench-{}-crowd-{n}", std::process::id()));
    let mut ids = Vec::new();
    for name in names {
        ids.push(engine::create(&name, &like).await);
    }
    let mut woken = Row::new(&format!("{CROWD} apps, stopped: a request to each, until all are answered"));
    let mut plain = Row::new(&format!("  {CROWD} × docker start at once, until all have answered"));
    for _ in 0..5 {
        wait_for_async("all sleep", || async {
            let apps = get(proxy.admin(), "/api/apps").await.json();
            apps.as_array()?.iter().all(|app| app["stopped"] == 1).then_some(())
        })
        .await;
        woken.values.push(ms(all().await));
        let begin = Instant::now();
        join_all(ids.iter().map(|id| async move {
            engine::start(id).await;
            engine::answers(engine::address(id, 8080).await).await;
        }))
        .await;
        plain.values.push(ms(begin.elapsed()));
        for id in &ids {
            engine::stop(id).await;
        }
    }
    for id in &ids {
        engine::remove(id).await;
    }
    let ratio = woken.at(0.5) / plain.at(0.5);
    goals.push(Goal(
        format!("{CROWD} apps at once: at most 1.2 of {CROWD} × docker start: {ratio:.2}"),
        ratio <= 1.2,
    ));
    vec![woken, plain]
}

/// A container by hand.
struct Plain {
    id: String,
    name: String,
    like: Value,
}

impl Plain {
    /// With the image and the limits of the app's replica, after a first visit to it, and without a boost.
    async fn like(proxy: &Proxy, name: &str) -> Self {
        visit(proxy).await;
        let like = body_like(proxy).await;
        let name = format!("pilotlight-bench-{}-{name}", std::process::id());
        let id = engine::create(&name, &like).await;
        Self { id, name, like }
    }

    /// Until the engine says that it has started, and until it has answered.
    async fn start(&self) -> (Duration, Duration) {
        let begin = Instant::now();
        engine::start(&self.id).await;
        let started = begin.elapsed();
        engine::answers(engine::address(&self.id, 8080).await).await;
        let answered = begin.elapsed();
        engine::stop(&self.id).await;
        (started, answered)
    }

    /// Made, started, and asked until it has answered.
    async fn run(&self) -> Duration {
        let begin = Instant::now();
        let id = engine::create(&format!("{}-run", self.name), &self.like).await;
        engine::start(&id).await;
        engine::answers(engine::address(&id, 8080).await).await;
        let took = begin.elapsed();
        engine::remove(&id).await;
        took
    }

    async fn remove(self) {
        engine::remove(&self.id).await;
    }
}

/// What the engine was told for a replica that runs: on the proxy's network, with its instance's CPU alone.
async fn body_like(proxy: &Proxy) -> Value {
    let found = replicas(&proxy.instance()).await;
    let mut body = found[0].at("/Config").clone();
    body["HostConfig"] = found[0].at("/HostConfig").clone();
    // A name of its own and no label: the proxy must not take it for one of its replicas.
    body["Labels"] = json!({});
    body["Hostname"] = json!("");
    let cores = proxy_limits(&found[0]);
    body["HostConfig"]["NanoCpus"] = json!(cores);
    body
}

/// What its instance has, by its memory: the sizes of C1 and C3.
fn proxy_limits(container: &support::docker::Container) -> u64 {
    match container.at("/HostConfig/Memory").as_u64() {
        Some(memory) if memory < 1 << 29 => 100_000_000,
        _ => 1_000_000_000,
    }
}

async fn asleep(proxy: &Proxy, tier: &str) {
    let instance = proxy.instance();
    wait_for_async(format!("the app is {tier}"), || async {
        let app = proxy.only_app().await;
        let is_quiet = app[tier] == 1 && app["draining"] == 0;
        let runs = replicas(&instance).await.iter().any(|it| it.state() == "running");
        (is_quiet && !runs).then_some(())
    })
    .await;
}

async fn visit(proxy: &Proxy) -> Duration {
    let begin = Instant::now();
    let answer = Call::get(proxy.address(), "/ping").send().await.expect("an answer");
    let took = begin.elapsed();
    assert_eq!(answer.status, 200, "{}", answer.reason());
    took
}

async fn last_wake(proxy: &Proxy) -> Value {
    let wakes = get(proxy.admin(), "/api/apps/app/wakes").await.json();
    wakes.as_array().and_then(|wakes| wakes.last()).expect("it was woken").clone()
}
