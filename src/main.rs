//! Arguments to command, nothing else.

use std::ffi::OsString;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use pilotlight::cli::check;
use pilotlight::runtime::process::warden;

/// A reverse proxy with an autoscaler inside: Docker containers from zero to their target and back.
#[derive(Debug, Parser)]
#[command(version)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Show every mistake of a configuration, or what it will run.
    Check(check::CheckArgs),
    /// Runs a replica of the process runtime, and ends it with the proxy.
    #[command(hide = true)]
    Warden {
        /// What to run.
        #[arg(last = true)]
        command: Vec<OsString>,
    },
}

fn main() -> ExitCode {
    match Arguments::parse().command {
        Command::Check(args) => check::run(&args),
        Command::Warden { command } => warden::run(command),
    }
}
