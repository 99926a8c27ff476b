//! What `/metrics` says, and the table of it in the documentation.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use http::HeaderValue;

use super::{Format, Metrics, Traffic};
use crate::app::tally::{Again, Cut, Refusal};
use crate::app::{App, Policy};
use crate::config::spec::{AccessFormat, AccessLogSpec, AccessTarget, DockerSpec};
use crate::config::{Overrides, parse};
use crate::control::record::{Outcome, Phase, Verdict};
use crate::control::{Board, View};
use crate::gateway::access_log::AccessLog;
use crate::runtime::docker::{DockerRuntime, DockerSettings};
use crate::runtime::{Identity, Runtime};

const DOCS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/metrics.md");
const MARKERS: (&str, &str) = ("<!-- metrics -->\n", "<!-- /metrics -->");

fn view(name: &str) -> View {
    let text = format!("name: {name}\nruntime: process\ncommand: [\"true\"]\n");
    let config = parse(&text, Path::new("/x/jcloud.yml"), &Overrides::default(), &|_| None);
    let spec = config.expect("a sound file").apps.remove(0);
    let policy = Policy::new(Arc::new(spec), None);
    View { app: App::new(name), policy, status: Arc::default(), record: Arc::default(), retiring: false }
}

fn runtime() -> DockerRuntime {
    let spec = DockerSpec { socket: Some("/nonexistent/docker.sock".into()), ..DockerSpec::default() };
    DockerRuntime::new(DockerSettings {
        spec,
        instance: Identity { id: "0".repeat(12), key: [0; 32] },
        state_dir: "/nonexistent".into(),
    })
}

fn text(views: Vec<View>, traffic: Traffic, runtime: &dyn Runtime, format: Format) -> String {
    let board = Arc::new(Board::default());
    board.apps.store(Arc::new(views));
    Metrics::new(board, traffic, runtime).text(format).expect("names and texts are sound")
}

fn traffic() -> Traffic {
    Traffic { connections: Arc::default(), unrouted: Arc::default(), access_log: None }
}

/// Everything that there can be, in the older format.
async fn all() -> String {
    let (view, runtime) = (view("web"), runtime());
    let spec = AccessLogSpec { target: AccessTarget::Stdout, format: AccessFormat::Json };
    let (log, _writing) = AccessLog::open(&spec, 1).unwrap();
    let traffic = Traffic { access_log: Some(log), ..traffic() };
    let (tally, unrouted) = (view.app.tally().writer(), traffic.unrouted.writer());
    tally.ended(Some(200), Duration::from_millis(3));
    tally.cut(Cut::Client);
    tally.again(Again::Repeated);
    view.app.tally().note_ejection();
    tally.held(Duration::from_secs(2));
    unrouted.refused(Refusal::NoRoute);
    unrouted.ended(Some(404), Duration::from_micros(20));
    view.record.decided(Verdict::Up);
    view.record.started(Outcome::Ready);
    let phases = Phase::ALL.map(|phase| (phase, Duration::from_millis(250)));
    view.record.cold_start(Duration::from_secs(1), &phases);
    runtime.list().await.expect_err("there is no engine");
    text(vec![view], traffic, &runtime, Format::Classic)
}

/// The figures as a table for people.
fn table(text: &str) -> String {
    let mut table = "| name | type | labels | meaning |\n|---|---|---|---|\n".to_owned();
    let mut lines = text.lines().peekable();
    while let Some(line) = lines.next() {
        let Some((name, meaning)) = line.strip_prefix("# HELP ").and_then(|line| line.split_once(' ')) else {
            continue;
        };
        let kind = lines.next().and_then(|line| line.rsplit(' ').next()).expect("a type follows");
        let sample = lines.peek().filter(|line| !line.starts_with('#')).expect("then a sample");
        let labels = sample.split_once('{').map_or("", |(_, rest)| rest.split_once('}').expect("closed").0);
        let labels = labels.split(',').filter_map(|label| Some(format!("`{}`", label.split_once('=')?.0)));
        let labels: Vec<_> = labels.filter(|label| label != "`le`").collect();
        table +=
            &format!("| `{name}` | {kind} | {} | {meaning} |\n", labels.join(", ")).replace("|  |", "| |");
    }
    table
}

#[tokio::test]
async fn docs_have_this_table() {
    let docs = std::fs::read_to_string(DOCS).unwrap();
    let (before, rest) = docs.split_once(MARKERS.0).expect("the page has the markers");
    let (written, after) = rest.split_once(MARKERS.1).expect("the page has the markers");
    let expected = format!("\n{}\n", table(&all().await));
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(DOCS, format!("{before}{}{expected}{}{after}", MARKERS.0, MARKERS.1)).unwrap();
    } else {
        assert!(written == expected, "the table is old: run with UPDATE_GOLDEN=1\n{expected}");
    }
}

#[tokio::test]
async fn a_histogram_counts_upwards() {
    let text = all().await;
    for line in [
        "pilotlight_request_duration_seconds_count{app=\"web\"} 1",
        "pilotlight_request_duration_seconds_sum{app=\"web\"} 0.003",
        "pilotlight_request_duration_seconds_bucket{le=\"0.0025\",app=\"web\"} 0",
        "pilotlight_request_duration_seconds_bucket{le=\"0.005\",app=\"web\"} 1",
        "pilotlight_request_duration_seconds_bucket{le=\"120.0\",app=\"web\"} 1",
        "pilotlight_request_duration_seconds_bucket{le=\"+Inf\",app=\"web\"} 1",
        "pilotlight_request_duration_seconds_bucket{le=\"0.0005\",app=\"\"} 1",
        "pilotlight_cold_start_phase_duration_seconds_sum{app=\"web\",phase=\"probe\"} 0.25",
        "pilotlight_requests_rejected_total{app=\"\",reason=\"no-route\"} 1",
        "pilotlight_retries_total{app=\"web\",kind=\"repeated\"} 1",
        "pilotlight_replica_ejections_total{app=\"web\"} 1",
        "pilotlight_docker_call_failures_total{operation=\"list\",reason=\"unreachable\"} 1",
    ] {
        assert!(text.lines().any(|found| found == line), "{line}\n{text}");
    }
}

#[test]
fn an_app_that_nobody_asked_for_has_few_series() {
    let text = text(vec![view("web")], traffic(), &runtime(), Format::Classic);
    let of_app = text.lines().filter(|line| line.contains("app=\"web\"")).count();
    assert_eq!(of_app, 14, "{text}");
    assert!(!text.contains("app=\"\""), "and nobody asked for nothing: {text}");
}

#[test]
fn who_asks_for_openmetrics_gets_it() {
    let of = |accept: &'static str| Format::accepted(Some(&HeaderValue::from_static(accept)));
    let prometheus = "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,\
                      text/plain;version=0.0.4;q=0.5,*/*;q=0.1";
    assert_eq!((of(prometheus), of("*/*")), (Format::OpenMetrics, Format::Classic));
    assert_eq!(Format::accepted(None), Format::Classic);
    let text = text(Vec::new(), traffic(), &runtime(), Format::OpenMetrics);
    assert!(text.contains("# TYPE pilotlight_requests counter\n"), "{text}");
    assert!(text.contains("# UNIT pilotlight_request_duration_seconds seconds\n"), "{text}");
    assert!(text.ends_with("# EOF\n"), "{text}");
}
