//! What `/metrics` says, read as a scraper would.

use std::collections::BTreeMap;
use std::io::Write;
use std::process::{Command, Stdio};

use super::http::{Answer, Call};
use super::proxy::Proxy;
use super::wait::wait_for_async;

/// Labels of a sample, by name.
type Labels = BTreeMap<String, String>;

/// One scrape.
#[derive(Debug, Clone)]
pub(crate) struct Scrape {
    text: String,
    samples: BTreeMap<(String, Labels), f64>,
}

impl Scrape {
    /// What the proxy says now.
    pub(crate) async fn of(proxy: &Proxy) -> Self {
        let answer = Self::ask(proxy, "*/*").await;
        assert_eq!(answer.header("content-type"), "text/plain; version=0.0.4; charset=utf-8");
        let text = answer.text().to_owned();
        let mut samples = BTreeMap::new();
        for line in text.lines().filter(|line| !line.starts_with('#')) {
            let (series, value) = line.rsplit_once(' ').expect("a value follows");
            let before = samples.insert(named(series), value.parse().expect("a number"));
            assert!(before.is_none(), "twice: {line}");
        }
        Self { text, samples }
    }

    /// The answer to a scraper that accepts this.
    pub(crate) async fn ask(proxy: &Proxy, accept: &str) -> Answer {
        let answer = Call::get(proxy.admin(), "/metrics").header("accept", accept).send().await;
        let answer = answer.expect("an answer");
        assert_eq!(answer.status, 200, "{}", answer.text());
        answer
    }

    /// A sample, such as `pilotlight_replicas{app="web",state="ready"}`; `None` where there is no such series.
    pub(crate) fn get(&self, series: &str) -> Option<f64> {
        self.samples.get(&named(series)).copied()
    }

    /// Panics unless all these samples have these values.
    pub(crate) fn assert(&self, expected: &[(&str, f64)]) {
        for (series, value) in expected {
            assert_eq!(self.get(series), Some(*value), "{series}\n{}", self.text);
        }
    }

    /// How many series have this label.
    pub(crate) fn series_with(&self, name: &str, value: &str) -> usize {
        self.samples.keys().filter(|(_, labels)| labels.get(name).is_some_and(|is| is == value)).count()
    }

    /// All counts that may never go back.
    pub(crate) fn counters(&self) -> impl Iterator<Item = (&(String, Labels), f64)> {
        let is_count =
            |name: &str| ["_total", "_count", "_sum", "_bucket"].iter().any(|end| name.ends_with(end));
        self.samples.iter().filter(move |((name, _), _)| is_count(name)).map(|(key, value)| (key, *value))
    }

    /// Panics unless `promtool` has nothing to say about it.
    pub(crate) fn assert_sound(&self) {
        let mut tool = Command::new("promtool");
        tool.args(["check", "metrics"]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut tool = tool.spawn().expect("`tests/run prepare` gets promtool");
        tool.stdin.take().expect("piped").write_all(self.text.as_bytes()).expect("it reads");
        let output = tool.wait_with_output().expect("it ends");
        let said = [output.stdout, output.stderr].concat();
        assert!(output.status.success() && said.is_empty(), "{}", String::from_utf8_lossy(&said));
    }
}

/// Waits until a sample has a value, and gives that scrape.
pub(crate) async fn wait_for_sample(proxy: &Proxy, series: &str, value: f64) -> Scrape {
    wait_for_samples(proxy, &[(series, value)]).await
}

/// The same for several at once. An exchange is counted once its last byte has been written, and its client may have
/// read that before.
pub(crate) async fn wait_for_samples(proxy: &Proxy, samples: &[(&str, f64)]) -> Scrape {
    let wanted: Vec<_> = samples.iter().map(|(series, value)| format!("{series} is {value}")).collect();
    wait_for_async(wanted.join(", "), || async {
        let scrape = Scrape::of(proxy).await;
        samples.iter().all(|(series, value)| scrape.get(series) == Some(*value)).then_some(scrape)
    })
    .await
}

fn named(series: &str) -> (String, Labels) {
    let (name, labels) = series.split_once('{').unwrap_or((series, "}"));
    let labels = labels.strip_suffix('}').expect("closed").split(',').filter(|label| !label.is_empty());
    let pair = |label: &str| {
        let (name, value) = label.split_once("=\"").expect("a name and a value");
        (name.to_owned(), value.strip_suffix('"').expect("closed").to_owned())
    };
    (name.to_owned(), labels.map(pair).collect())
}
