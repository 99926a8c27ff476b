//! Where log lines go: standard error, as text on a terminal, else as JSON.

use std::io::IsTerminal;

use tracing_subscriber::EnvFilter;

use crate::config::spec::{LogFormat, LogSpec};

/// Starts logging; once in the life of a process.
pub fn start(spec: &LogSpec) {
    let terminal = std::io::stderr().is_terminal();
    let format = spec.format.unwrap_or(if terminal { LogFormat::Text } else { LogFormat::Json });
    // Whatever the level: at `debug` the engine's client writes out whole requests, secrets in `env` included.
    let builder = tracing_subscriber::fmt()
        .with_env_filter(EnvFilter::new(format!("{},bollard=info", spec.level)))
        .with_writer(std::io::stderr)
        .with_ansi(terminal);
    match format {
        LogFormat::Text => builder.with_target(false).init(),
        LogFormat::Json => builder.json().flatten_event(true).init(),
    }
}
