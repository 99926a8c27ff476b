//! Arguments to command, nothing else.

use std::ffi::OsString;
use std::net::IpAddr;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use pilotlight::cli::{check, demo, serve, status};
use pilotlight::runtime::process::warden;

#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// A reverse proxy with an autoscaler inside: Docker containers from zero to their target and back.
#[derive(Debug, Parser)]
#[command(version, args_conflicts_with_subcommands = true)]
struct Arguments {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    serve: serve::ServeArgs,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Serve the apps of a configuration; what is done where no command is named.
    Serve(serve::ServeArgs),
    /// Show every mistake of a configuration, or what it will run.
    Check(check::CheckArgs),
    /// Show what the apps of a running proxy do.
    Status(status::StatusArgs),
    /// Show all of it in half a minute: a small app of its own goes from zero to its target and back.
    Demo(demo::DemoArgs),
    /// The demo's app, which listens on `$PORT`.
    #[command(hide = true)]
    DemoApp {
        /// At which of the host's addresses.
        at: IpAddr,
    },
    /// Runs a replica of the process runtime, and ends it with the proxy.
    #[command(hide = true)]
    Warden {
        /// What to run.
        #[arg(last = true)]
        command: Vec<OsString>,
    },
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    match arguments.command.unwrap_or(Command::Serve(arguments.serve)) {
        Command::Serve(args) => serve::run(&args),
        Command::Check(args) => check::run(&args),
        Command::Status(args) => status::run(&args),
        Command::Demo(args) => demo::run(args),
        Command::DemoApp { at } => demo::app::run(at),
        Command::Warden { command } => warden::run(command),
    }
}
