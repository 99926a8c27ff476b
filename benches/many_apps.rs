//! What apps that nobody visits cost, with Docker as the runtime: `cargo bench --bench many_apps`.
//!
//! Needs the image of the test app: `tests/run prepare`.

mod figures;
#[path = "../tests/support/mod.rs"]
mod support;

use std::fmt::Write;
use std::time::{Duration, Instant};

use support::docker::need_app_image;
use support::http::{Call, get};
use support::proxy::{Proxy, Setup};

use crate::figures::{cpu_time, ms, resident_kib};

/// How long the proxy is watched with nothing to do.
const WATCHED: Duration = Duration::from_mins(1);

fn main() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.expect("a runtime").block_on(async {
        need_app_image().await;
        asleep(1000).await;
        many(10_000).await;
    });
}

/// `jcloud.yml` with `count` apps at zero. The last one's host is `last`.
fn apps(count: usize, last: &str) -> String {
    let mut text =
        "defaults:\n  image: {app}\n  hold: {max: 0}\n  autoscale: {min: 0, metric: rps}\napps:\n".to_owned();
    for index in 1..count {
        writeln!(text, "  app-{index}: {{host: app-{index}.example}}").expect("a string can be written");
    }
    writeln!(text, "  last: {{host: {last}}}").expect("a string can be written");
    text
}

async fn started(count: usize) -> (Proxy, Duration) {
    let setup = Setup::docker(&apps(count, "last.example"));
    let start = Instant::now();
    let proxy = setup.start().await;
    while get(proxy.admin(), "/readyz").await.status != 200 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    (proxy, start.elapsed())
}

async fn asleep(count: usize) {
    let (proxy, _) = started(count).await;
    // What the start has left to do is not what is measured.
    tokio::time::sleep(Duration::from_secs(5)).await;
    let before = cpu_time(proxy.pid());
    tokio::time::sleep(WATCHED).await;
    let used = cpu_time(proxy.pid()).checked_sub(before).unwrap_or_default();
    let share = 100.0 * used.as_secs_f64() / WATCHED.as_secs_f64();
    let resident = resident_kib(proxy.pid()) as f64 / 1024.0;
    println!("{count} apps at zero: {resident:.1} MiB resident, {share:.2} % of a core over {WATCHED:?}");
}

async fn many(count: usize) {
    let (proxy, start) = started(count).await;
    println!(
        "{count} apps: ready after {:.0} ms, {:.1} MiB resident",
        ms(start),
        resident_kib(proxy.pid()) as f64 / 1024.0
    );
    for round in 0..5 {
        let host = format!("moved-{round}.example");
        let text = apps(count, &host);
        let start = Instant::now();
        proxy.reload(&text);
        // No route: 404. A route: refused, since nobody may wait.
        while Call::get(proxy.address(), "/").host(&host).send().await.expect("an answer").status == 404 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        println!("{count} apps: a reload with one change takes effect after {:.0} ms", ms(start.elapsed()));
    }
}
