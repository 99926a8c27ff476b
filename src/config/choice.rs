//! Values that are one of a few words: metric, runtime, instance, log format, log level.
//!
//! Owns the words, and those that a later version will know: they are refused by name, never passed over.

use super::reader::{Reader, describe};
use super::spec::{AccessFormat, LogFormat, Metric, Probe, Protocol, RuntimeKind};
use super::suggest::nearest;
use super::table::Value;
use super::tree::Node;
use super::value::{scalar, text};

/// One of a few words.
pub(crate) fn one_of<T: Copy>(
    node: &Node,
    what: &str,
    words: &[(&str, T)],
    later: &[&str],
    reader: &mut Reader,
) -> Option<T> {
    let names = || words.iter().map(|(name, _)| *name);
    let all = names().collect::<Vec<_>>().join(", ");
    let Some((word, _)) = scalar(node) else {
        reader.wrong_kind(node, what, format!("write one of {all}"));
        return None;
    };
    if let Some((_, value)) = words.iter().find(|(name, _)| *name == word) {
        return Some(*value);
    }
    if later.contains(&word) {
        let message = format!("{what} `{word}` is not supported in this version yet");
        reader.mistake(node.span, message, format!("write one of {all}"));
        return None;
    }
    let help = nearest(word, names()).map_or_else(
        || format!("write one of {all}"),
        |known| format!("did you mean `{known}`? Known: {all}"),
    );
    reader.mistake(node.span, format!("{} is no {what}", describe(node)), help);
    None
}

impl Value for Metric {
    fn read(node: &Node, reader: &mut Reader) -> Option<Self> {
        let words = [
            ("rps", Self::Rps),
            ("concurrency", Self::Concurrency),
            ("cpu", Self::Cpu),
            ("memory", Self::Memory),
        ];
        one_of(node, "metric", &words, &[], reader)
    }
}

impl Value for RuntimeKind {
    fn read(node: &Node, reader: &mut Reader) -> Option<Self> {
        one_of(node, "runtime", &[("docker", Self::Docker), ("process", Self::Process)], &["swarm"], reader)
    }
}

impl Value for Protocol {
    fn read(node: &Node, reader: &mut Reader) -> Option<Self> {
        let words = [("auto", Self::Auto), ("http1", Self::Http1), ("h2c", Self::H2c)];
        one_of(node, "protocol", &words, &[], reader)
    }
}

impl Value for Probe {
    fn read(node: &Node, reader: &mut Reader) -> Option<Self> {
        one_of(node, "probe", &[("path", Self::Path), ("request", Self::Request)], &[], reader)
    }
}

impl Value for LogFormat {
    fn read(node: &Node, reader: &mut Reader) -> Option<Self> {
        one_of(node, "log format", &[("text", Self::Text), ("json", Self::Json)], &[], reader)
    }
}

impl Value for AccessFormat {
    fn read(node: &Node, reader: &mut Reader) -> Option<Self> {
        let words = [("combined", Self::Combined), ("json", Self::Json)];
        one_of(node, "access log format", &words, &[], reader)
    }
}

/// A size from the list.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Instance {
    /// Thousandths of a core.
    pub(crate) cpu_millis: u32,
    /// Bytes.
    pub(crate) memory: u64,
    /// GPUs.
    pub(crate) gpus: u32,
}

impl Instance {
    const fn new(cpu_millis: u32, gib: u64) -> Self {
        Self { cpu_millis, memory: gib << 30, gpus: 0 }
    }

    /// The list says nothing of the cores beside GPUs: four for each, as machines with such GPUs commonly have.
    const fn with_gpus(gpus: u32, gib: u64) -> Self {
        Self { gpus, ..Self::new(4000 * gpus, gib) }
    }

    /// C3: what a replica may use where nothing is said.
    pub(crate) const DEFAULT: Self = Self::new(1000, 2);
}

/// Cores, memory and GPUs; a GB of the list is Docker's `G`, 2^30 bytes. G1's GPU is shared; on Docker, which gives
/// every container the same ones, each is.
const INSTANCES: &[(&str, Instance)] = &[
    ("C1", Instance { cpu_millis: 100, memory: (1 << 30) / 5, gpus: 0 }),
    ("C2", Instance::new(500, 1)),
    ("C3", Instance::DEFAULT),
    ("C4", Instance::new(2000, 4)),
    ("C5", Instance::new(4000, 8)),
    ("C6", Instance::new(8000, 16)),
    ("C7", Instance::new(16_000, 32)),
    ("C8", Instance::new(32_000, 64)),
    ("G1", Instance::with_gpus(1, 14)),
    ("G2", Instance::with_gpus(1, 14)),
    ("G3", Instance::with_gpus(2, 24)),
    ("G4", Instance::with_gpus(4, 56)),
];

impl Value for Instance {
    fn read(node: &Node, reader: &mut Reader) -> Option<Self> {
        one_of(node, "instance", INSTANCES, &[], reader)
    }
}

/// A `tracing` filter.
#[derive(Debug, Clone)]
pub(crate) struct LogLevel(pub(crate) String);

impl Value for LogLevel {
    fn read(node: &Node, reader: &mut Reader) -> Option<Self> {
        const LEVELS: [&str; 6] = ["off", "error", "warn", "info", "debug", "trace"];
        let filter = text(node, "a log level", reader)?;
        // The filter's parser takes a lone word that is no level for a module's name, and would then log nothing.
        let lone = filter
            .split(',')
            .map(str::trim)
            .find(|part| !part.contains(['=', '[']) && !LEVELS.contains(&part.to_ascii_lowercase().as_str()));
        if let Some(word) = lone {
            let help = nearest(word, LEVELS.into_iter()).map_or_else(
                || format!("write one of {}, or `pilotlight=debug`", LEVELS.join(", ")),
                |level| format!("did you mean `{level}`?"),
            );
            reader.mistake(node.span, format!("`{word}` is no log level"), help);
            return None;
        }
        if let Err(error) = tracing_subscriber::EnvFilter::builder().parse(&filter) {
            reader.mistake(
                node.span,
                format!("not a log filter: {error}"),
                "write `info`, or `info,pilotlight=debug`",
            );
            return None;
        }
        Some(Self(filter))
    }
}
