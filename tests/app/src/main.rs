//! The app that the black-box tests run as replicas: an HTTP server whose answers, moods and faults are chosen
//! by its environment and by each request, and which writes down what happened to it.

mod bodies;
mod door;
mod journal;
mod knobs;
mod raw;
mod routes;
mod serve;
mod told;
mod upgrade;

use std::process::ExitCode;
use std::sync::Arc;

use crate::journal::Journal;
use crate::knobs::Knobs;

fn main() -> ExitCode {
    let knobs = Knobs::from_env();
    if let Some(code) = knobs.exit_at_once {
        eprintln!("Traceback (most recent call last):");
        eprintln!("  File \"/app/main.py\", line 1, in <module>");
        eprintln!("    import nonexistent");
        eprintln!("ModuleNotFoundError: No module named 'nonexistent'");
        return ExitCode::from(code);
    }
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime needs nothing that a process has not");
    let journal = Arc::new(Journal::open(knobs.report.as_deref()));
    runtime.block_on(serve::run(knobs, journal))
}
