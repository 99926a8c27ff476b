//! What each request costs before a byte of it is sent, and what each decision costs: `cargo bench --bench core`.

// criterion's macros make undocumented functions.
#![allow(missing_docs)]

use std::hint::black_box;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use criterion::{Criterion, criterion_group, criterion_main};
use pilotlight::app::clock::{self, Millis};
use pilotlight::app::meter::Meter;
use pilotlight::app::replica::Replica;
use pilotlight::app::tally::Tally;
use pilotlight::app::{App, Policy};
use pilotlight::config::spec::{AppSpec, EdgeSpec, HostPattern, RouteSpec};
use pilotlight::config::{Overrides, parse};
use pilotlight::control::decide::{self, Observation, State};
use pilotlight::gateway::inbound::reading::read;
use pilotlight::gateway::route::{Entry, RouteTable};
use pilotlight::runtime::{Address, Endpoint};

const APPS: usize = 10_000;
const WORKERS: usize = 8;

fn spec() -> AppSpec {
    let text = "runtime: process\ncommand: [\"true\"]\nautoscale: {metric: rps}\n";
    let config = parse(text, Path::new("/app/jcloud.yml"), &Overrides::default(), &|_| None);
    config.expect("a sound file").apps.remove(0)
}

fn meter(c: &mut Criterion) {
    let meter = Meter::new(1000, 60_000);
    let writers: Vec<_> = (0..WORKERS).map(|_| meter.writer()).collect();
    for second in 0..60 {
        for writer in &writers {
            writer.record(second * 1000);
        }
    }
    // As a worker does: a reading made when it woke, made anew every so many reads and writes.
    clock::refresh();
    c.bench_function("meter: record at the workers' clock", |b| {
        b.iter(|| {
            clock::tick();
            writers[0].record(clock::coarse().0);
        });
    });
    c.bench_function("meter: sum of 60 s over 8 workers", |b| {
        b.iter(|| meter.sum(black_box(0), black_box(59_999)));
    });
}

fn tally(c: &mut Criterion) {
    let tally = Tally::default();
    let writer = tally.writer();
    c.bench_function("tally: a request that took 0.7 ms", |b| {
        b.iter(|| writer.ended(black_box(Some(200)), black_box(Duration::from_micros(700))));
    });
}

fn route(c: &mut Criterion) {
    let entry = |index: usize| {
        let name = format!("app-{index}.example");
        let host = match index % 10 {
            0 => HostPattern::Wildcard(name),
            _ => HostPattern::Exact(name),
        };
        let spec = AppSpec { routes: vec![RouteSpec { host, path: "/".to_owned() }], ..spec() };
        Entry { app: App::new("app"), policy: Policy::new(Arc::new(spec), None) }
    };
    let table = RouteTable::new((0..APPS).map(entry).collect(), EdgeSpec::default());
    let hosts: Vec<String> = (0..4096)
        .map(|_| match fastrand::usize(..2 * APPS) {
            miss if miss >= APPS => format!("nobody-{miss}.example"),
            below if below % 10 == 0 => format!("x.app-{below}.example"),
            name => format!("app-{name}.example:8080"),
        })
        .collect();
    let mut next = hosts.iter().cycle();
    c.bench_function("route: random hosts among 10,000 apps, half of them misses", |b| {
        b.iter(|| table.find(next.next().expect("a cycle"), black_box("/ping")));
    });
}

fn claim(c: &mut Criterion) {
    let app = App::new("app");
    let endpoint = |port| Endpoint { address: Address::Tcp(([127, 0, 0, 1], port).into()) };
    app.publish((1..=4).map(|port| Replica::new(endpoint(port))).collect());
    c.bench_function("claim and release among 4 replicas", |b| b.iter(|| drop(app.claim())));
    // Of all threads together: with fewer cores than threads this is the cores' share of it.
    c.bench_function("claim and release, one of 8 threads' claims", |b| {
        b.iter_custom(|claims| {
            let each = claims.div_ceil(WORKERS as u64);
            let start = Instant::now();
            std::thread::scope(|threads| {
                for _ in 0..WORKERS {
                    threads.spawn(|| (0..each).for_each(|_| drop(black_box(app.claim()))));
                }
            });
            start.elapsed()
        });
    });
}

fn decision(c: &mut Criterion) {
    let spec = spec().autoscale;
    let seen = Observation {
        ready: 4,
        needed: false,
        starting: 0,
        in_flight: 12,
        held: 0,
        stable: Some(43.0),
        panic: Some(47.0),
        rps: 47.0,
        first_ready: Some(Millis(1000)),
        last_ended: Some(Millis(90_000)),
    };
    let state = State::default();
    let later = Millis(90_000).after(Duration::from_secs(1));
    c.bench_function("decide", |b| b.iter(|| decide::decide(&spec, &state, black_box(&seen), later)));
}

const CURL: &str = "GET /id HTTP/1.1\r\nHost: app.example\r\nUser-Agent: curl/8.5.0\r\nAccept: */*\r\n\r\n";

const BROWSER: &str = "GET /articles/2024/how-a-proxy-works?page=2 HTTP/1.1\r\n\
    Host: app.example\r\n\
    Connection: keep-alive\r\n\
    Upgrade-Insecure-Requests: 1\r\n\
    User-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/126.0.0.0 Safari/537.36\r\n\
    Accept: text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8\r\n\
    Sec-Fetch-Site: same-origin\r\n\
    Sec-Fetch-Mode: navigate\r\n\
    Sec-Fetch-Dest: document\r\n\
    Referer: https://app.example/articles\r\n\
    Accept-Encoding: gzip, deflate, br\r\n\
    Accept-Language: en-GB,en;q=0.9\r\n\
    Cookie: session=0123456789abcdef0123456789abcdef\r\n\r\n";

/// From a client's bytes to the request that is made of them.
fn head(c: &mut Criterion) {
    for (client, head) in [("curl", CURL), ("a browser", BROWSER)] {
        c.bench_function(&format!("head: {} bytes of {client}", head.len()), |b| {
            b.iter(|| read(std::iter::once(black_box(head.as_bytes()))));
        });
    }
}

criterion_group!(core, meter, tally, head, route, claim, decision);
criterion_main!(core);
