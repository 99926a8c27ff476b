//! `pilotlight status`: what each app of a running proxy does, as a table for people or as JSON.
//!
//! Asks the admin API and nothing else, so it tells of the proxy that runs and not of what the file says now.

use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, ValueEnum};

use super::call::{self, CallError};
use super::process_env;
use super::terminal::{Paint, Terminal, print};
use crate::admin::apps::{AppView, State};
use crate::config::spec::Metric;
use crate::config::{self, ADMIN, parse_address};
use crate::control::instance;

/// Between two looks with `--watch`.
const EVERY: Duration = Duration::from_secs(1);

/// Arguments of `status`.
#[derive(Debug, Clone, Args)]
pub struct StatusArgs {
    /// The proxy's file: beside it stands where its admin API is.
    #[arg(long, short, value_name = "FILE", default_value = "jcloud.yml")]
    config: PathBuf,
    /// Address of the admin API, for a proxy whose file is elsewhere.
    #[arg(long, value_name = "ADDRESS", value_parser = parse_address)]
    admin: Option<SocketAddr>,
    /// A table for people, or what `/api/apps` answers.
    #[arg(long, value_enum, default_value = "table")]
    format: Format,
    /// Look again each second, until Ctrl-C.
    #[arg(long, short)]
    watch: bool,
}

/// How it is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    /// For people.
    Table,
    /// The answer of `/api/apps` as it is.
    Json,
}

/// Why there is nothing to show.
#[derive(Debug, thiserror::Error)]
enum StatusError {
    #[error("{}{}", .0, hint(.0))]
    Call(#[from] CallError),
    #[error("cannot write: {0}")]
    Write(#[from] io::Error),
}

fn hint(error: &CallError) -> &'static str {
    match error {
        CallError::Connect(..) => {
            "\nis pilotlight running here? start it, or name its admin address with --admin"
        }
        CallError::TimedOut(..) => "\nit runs, and is overloaded or stuck: look at its log",
        CallError::Broken(..) | CallError::Stranger(..) => "\nname its admin address with --admin",
    }
}

/// Shows it: once, or until it is interrupted.
#[must_use]
pub fn run(args: &StatusArgs) -> ExitCode {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let shown = runtime.map_err(StatusError::Write).and_then(|runtime| runtime.block_on(show(args)));
    match shown {
        Ok(()) => ExitCode::SUCCESS,
        // Who reads has had enough.
        Err(StatusError::Write(error)) if error.kind() == io::ErrorKind::BrokenPipe => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("pilotlight: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn show(args: &StatusArgs) -> Result<(), StatusError> {
    if !args.watch {
        return Ok(print(&look(args, Terminal::of_stdout()).await?)?);
    }
    let mut ticks = tokio::time::interval(EVERY);
    loop {
        ticks.tick().await;
        // Anew each time: the window may have another size now, and the proxy another address.
        let terminal = Terminal::of_stdout();
        match look(args, terminal).await {
            Ok(text) => terminal.replace(&text)?,
            // It may come back: who watches a restart sees both ends of it.
            Err(error @ StatusError::Call(_)) if args.format == Format::Table => {
                terminal.replace(&format!("{error}\n"))?;
            }
            Err(error @ StatusError::Call(_)) => eprintln!("pilotlight: {error}"),
            Err(error) => return Err(error),
        }
    }
}

async fn look(args: &StatusArgs, terminal: Terminal) -> Result<String, StatusError> {
    let address = args.admin.unwrap_or_else(|| address_beside(&args.config));
    Ok(match args.format {
        Format::Json => format!("{}\n", String::from_utf8_lossy(&call::apps_json(address).await?)),
        Format::Table => table(&call::apps(address).await?, terminal),
    })
}

/// Where the admin API of the proxy of this file is: what that proxy has written down itself counts first, since its
/// command line or the system may have chosen; then the file; then the usual address.
fn address_beside(file: &Path) -> SocketAddr {
    let proxy = config::load_proxy(file, &process_env);
    let state_dir = match &proxy {
        Some(proxy) => proxy.state_dir.clone(),
        // A file that nobody can read now has been right when its proxy was started.
        None => file.parent().unwrap_or(Path::new("")).join(".pilotlight"),
    };
    instance::admin_address(&state_dir).or(proxy.map(|proxy| proxy.admin)).unwrap_or(ADMIN)
}

const HEAD: [&str; 8] = ["APP", "STATE", "REPLICAS", "RATE", "TARGET", "IN FLIGHT", "HELD", "LAST DECISION"];

fn table(apps: &[AppView], terminal: Terminal) -> String {
    let rows: Vec<_> = apps.iter().map(cells).collect();
    let mut widths = HEAD.map(str::len);
    for row in &rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let line = |row: &[String; 8]| {
        let padded = row.iter().zip(widths).map(|(cell, width)| format!("{cell:<width$}"));
        let line = padded.collect::<Vec<_>>().join("  ");
        let most = terminal.width.unwrap_or(usize::MAX);
        line.trim_end().chars().take(most).collect::<String>()
    };
    let mut text = line(&HEAD.map(str::to_owned)) + "\n";
    for (app, row) in apps.iter().zip(&rows) {
        let paint = match app.state {
            // Wanted, and nothing of it is on its way: something is wrong.
            _ if app.ready + app.starting < app.desired => Paint::Red,
            State::Lit => Paint::Green,
            State::Pilot => Paint::Yellow,
            State::Out => Paint::Dim,
        };
        text += &(terminal.paint(paint, line(row)) + "\n");
    }
    if apps.is_empty() {
        text += "no apps\n";
    }
    text + &match apps.iter().filter(|app| app.network_kept).count() {
        0 => String::new(),
        1 => "1 network is kept for a faster start\n".to_owned(),
        kept => format!("{kept} networks are kept for faster starts\n"),
    }
}

fn cells(app: &AppView) -> [String; 8] {
    let state = match app.state {
        State::Lit => "lit",
        State::Pilot => "pilot",
        State::Out => "out",
    };
    let state = if app.retiring { "leaving" } else { state };
    let reason = app.reason.lines().next().unwrap_or_default();
    [
        app.name.clone(),
        state.to_owned(),
        replicas(app),
        format!("{:.1} rps", app.rps),
        target(app),
        app.in_flight.to_string(),
        app.held.to_string(),
        reason.to_owned(),
    ]
}

/// `2 of 4, 1 starting`: those that take requests, of those that are wanted.
fn replicas(app: &AppView) -> String {
    let others = [
        (app.ejected, "failing"),
        (app.starting, "starting"),
        (app.draining, "draining"),
        (app.frozen, "frozen"),
        (app.stopped, "stopped"),
    ];
    let others = others.into_iter().filter(|(count, _)| *count > 0);
    let parts = others.map(|(count, what)| format!("{count} {what}"));
    let all: Vec<_> = std::iter::once(format!("{} of {}", app.ready, app.desired)).chain(parts).collect();
    all.join(", ")
}

fn target(app: &AppView) -> String {
    let (Some(metric), Some(target)) = (app.metric, app.target) else { return "not scaled".to_owned() };
    let unit = match metric {
        Metric::Rps => "rps",
        Metric::Concurrency => "in flight",
        Metric::Cpu => "% cpu",
        Metric::Memory => "% memory",
    };
    format!("{target} {unit}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn app(name: &str, state: State) -> AppView {
        AppView {
            name: name.to_owned(),
            runtime: "docker".to_owned(),
            state,
            retiring: false,
            desired: 0,
            ready: 0,
            ejected: 0,
            starting: 0,
            draining: 0,
            frozen: 0,
            stopped: 0,
            network_kept: false,
            min: 0,
            max: 5,
            metric: Some(Metric::Rps),
            target: Some(10.0),
            in_flight: 0,
            held: 0,
            rps: 0.0,
            requests: 0,
            reason: "no request yet".to_owned(),
            image: None,
            image_id: None,
            revision: None,
            routes: Vec::new(),
            needs: Vec::new(),
        }
    }

    fn busy() -> AppView {
        AppView {
            desired: 4,
            ready: 3,
            starting: 1,
            rps: 37.04,
            in_flight: 12,
            held: 2,
            reason: "rps 37.0 / target 10 → 4".to_owned(),
            ..app("shop", State::Lit)
        }
    }

    const PLAIN: Terminal = Terminal { width: None, colours: false };

    #[test]
    fn columns_stand_below_each_other() {
        let failed = AppView {
            desired: 1,
            metric: Some(Metric::Cpu),
            target: Some(70.0),
            reason: "exited with code 1\nits last lines".to_owned(),
            ..app("a-long-name", State::Out)
        };
        let failing = AppView { desired: 2, ready: 2, ejected: 1, ..app("flaky", State::Lit) };
        let frozen = AppView { frozen: 2, ..app("asleep", State::Pilot) };
        let stopped = AppView { stopped: 1, network_kept: true, ..app("resting", State::Out) };
        let upstream = AppView { metric: None, target: None, ..app("db", State::Lit) };
        let leaving = AppView { retiring: true, draining: 1, ..app("old", State::Lit) };
        assert_eq!(
            table(&[busy(), failed, failing, frozen, stopped, upstream, leaving], PLAIN),
            "\
APP          STATE    REPLICAS            RATE      TARGET      IN FLIGHT  HELD  LAST DECISION
shop         lit      3 of 4, 1 starting  37.0 rps  10 rps      12         2     rps 37.0 / target 10 → 4
a-long-name  out      0 of 1              0.0 rps   70 % cpu    0          0     exited with code 1
flaky        lit      2 of 2, 1 failing   0.0 rps   10 rps      0          0     no request yet
asleep       pilot    0 of 0, 2 frozen    0.0 rps   10 rps      0          0     no request yet
resting      out      0 of 0, 1 stopped   0.0 rps   10 rps      0          0     no request yet
db           lit      0 of 0              0.0 rps   not scaled  0          0     no request yet
old          leaving  0 of 0, 1 draining  0.0 rps   10 rps      0          0     no request yet
1 network is kept for a faster start
"
        );
        assert!(table(&[], PLAIN).ends_with("no apps\n"));
    }

    #[test]
    fn a_terminal_gets_colours_and_no_line_that_wraps() {
        let terminal = Terminal { width: Some(30), colours: true };
        let stuck = AppView { desired: 1, ..app("stuck", State::Out) };
        assert!(table(&[stuck], terminal).contains("\x1b[31mstuck  out"), "wanted, and not on its way");
        let text = table(&[busy()], terminal);
        let line = text.lines().nth(1).unwrap();
        assert_eq!(line, "\x1b[32mshop  lit    3 of 4, 1 startin\x1b[0m");
    }

    #[test]
    fn the_proxys_own_word_counts_before_its_file() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("jcloud.yml");
        assert_eq!(address_beside(&file), ADMIN);
        std::fs::write(&file, "comand: serve\nadmin: {listen: '127.0.0.1:7'}\n").unwrap();
        assert_eq!(address_beside(&file), "127.0.0.1:7".parse().unwrap());
        let state = dir.path().join(".pilotlight");
        std::fs::create_dir(&state).unwrap();
        std::fs::write(state.join("listen"), "0.0.0.0:80\nadmin 127.0.0.1:8\n").unwrap();
        assert_eq!(address_beside(&file), "127.0.0.1:8".parse().unwrap());
        std::fs::write(&file, "runtime: [").unwrap();
        assert_eq!(address_beside(&file), "127.0.0.1:8".parse().unwrap());
    }
}
