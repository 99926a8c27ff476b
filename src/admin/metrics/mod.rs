//! `/metrics`: what the proxy counts, in Prometheus' words. Everything is read when somebody asks; who counts
//! pays nothing for being read.

mod apps;
mod classic;
#[cfg(test)]
mod tests;

use std::fmt;
use std::sync::Arc;
use std::time::SystemTime;

use http::HeaderValue;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric, NoLabelSet};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::{ConstGauge, Gauge};
use prometheus_client::registry::{Registry, Unit};

use self::apps::Apps;
use crate::app::tally::Tally;
use crate::control::Board;
use crate::gateway::access_log::AccessLog;
use crate::gateway::connections::{Connections, End, Full};
use crate::runtime::Runtime;

/// All that is shown.
#[derive(Debug)]
pub struct Metrics(Registry);

/// What the data plane counts that belongs to no app.
#[derive(Debug, Clone)]
pub struct Traffic {
    /// Clients' connections.
    pub connections: Arc<Connections>,
    /// What becomes of requests that match no app.
    pub unrouted: Arc<Tally>,
    /// Where a line for each request goes.
    pub access_log: Option<AccessLog>,
}

/// How it is written down.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Format {
    /// `OpenMetrics`, which Prometheus asks for.
    OpenMetrics,
    /// The text format before it, for all others, `promtool` among them.
    Classic,
}

impl Metrics {
    /// The figures of this proxy, which has just been started.
    #[must_use]
    pub fn new(board: Arc<Board>, traffic: Traffic, runtime: &dyn Runtime) -> Self {
        let mut registry = Registry::default();
        let started = Gauge::<f64, std::sync::atomic::AtomicU64>::default();
        started.set(seconds_since_epoch());
        let help = "When the process was started, since the Unix epoch";
        registry.register_with_unit("process_start_time", help, Unit::Seconds, started);
        let ours = registry.sub_registry_with_prefix("pilotlight");
        ours.register_collector(Box::new(Build));
        ours.register_collector(Box::new(Apps { board, unrouted: traffic.unrouted }));
        ours.register_collector(Box::new(traffic.connections));
        if let Some(log) = traffic.access_log {
            ours.register_collector(Box::new(log));
        }
        runtime.register(ours);
        Self(registry)
    }

    /// All figures as of now.
    ///
    /// # Errors
    /// Never where all names and texts are sound.
    pub(super) fn text(&self, format: Format) -> Result<String, fmt::Error> {
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &self.0)?;
        Ok(match format {
            Format::OpenMetrics => text,
            Format::Classic => classic::classic(&text),
        })
    }
}

impl Format {
    /// What a client that sends this `Accept` is given.
    pub(super) fn accepted(accept: Option<&HeaderValue>) -> Self {
        let accept = accept.and_then(|accept| accept.to_str().ok()).unwrap_or_default();
        if accept.contains("application/openmetrics-text") { Self::OpenMetrics } else { Self::Classic }
    }

    /// As a `Content-Type`.
    pub(super) const fn content_type(self) -> &'static str {
        match self {
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
            Self::Classic => "text/plain; version=0.0.4; charset=utf-8",
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "shown to people, and nothing is decided by it")]
fn seconds_since_epoch() -> f64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs_f64()
}

/// Which version this is.
#[derive(Debug)]
struct Build;

impl Collector for Build {
    fn encode(&self, mut encoder: DescriptorEncoder) -> fmt::Result {
        let help = "Always 1; the label says which version runs.";
        let mut family = encoder.encode_descriptor("build_info", help, None, MetricType::Gauge)?;
        family.encode_family(&[("version", env!("CARGO_PKG_VERSION"))])?.encode_gauge(&1_u32)
    }
}

impl Collector for AccessLog {
    fn encode(&self, mut encoder: DescriptorEncoder) -> fmt::Result {
        let help = "Lines of the access log that were not written, since its file could not take them, or not in time.";
        let dropped = ConstCounter::new(self.dropped());
        let name = "access_log_lines_dropped";
        dropped.encode(encoder.encode_descriptor(name, help, None, MetricType::Counter)?)
    }
}

impl Collector for Connections {
    fn encode(&self, mut encoder: DescriptorEncoder) -> fmt::Result {
        let help = "Clients' connections that are open now, WebSockets among them.";
        let open = ConstGauge::new(self.open());
        open.encode(encoder.encode_descriptor("connections_open", help, None, MetricType::Gauge)?)?;
        let help = "Clients' connections that were accepted.";
        let accepted = ConstCounter::new(self.accepted());
        accepted.encode(encoder.encode_descriptor(
            "connections_accepted",
            help,
            None,
            MetricType::Counter,
        )?)?;
        let help = "Clients' connections that were closed at once, by the bound that they were too much for.";
        let mut family = encoder.encode_descriptor("connections_refused", help, None, MetricType::Counter)?;
        for full in Full::ALL {
            family
                .encode_family(&[("bound", full.name())])?
                .encode_counter::<NoLabelSet, _, u64>(&self.refused(full), None)?;
        }
        let help = "Clients' connections that the proxy has ended: stalled (the client took nothing of an answer for \
            clients.write_timeout), stalled-stream (the same of one answer of HTTP/2, whose connection goes on), idle \
            (no request came for clients.idle_timeout), handshake (a TLS handshake or a PROXY header took longer than \
            clients.header_timeout), requests (it has carried clients.requests_per_connection).";
        let mut family = encoder.encode_descriptor("connections_ended", help, None, MetricType::Counter)?;
        for why in End::ALL {
            family
                .encode_family(&[("reason", why.name())])?
                .encode_counter::<NoLabelSet, _, u64>(&self.ended(why), None)?;
        }
        Ok(())
    }
}
