//! The process runtime with the real binary as warden and the test app as replica.

mod support;

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use std::time::{Duration, Instant};

use pilotlight::config::spec::{Command, Resources, Source, Workload};
use pilotlight::runtime::process::{ProcessRuntime, ProcessSettings};
use pilotlight::runtime::{
    Address, Change, Event, Exit, Identity, ReplicaId, Runtime, RuntimeError, StartOrder, Started, Status,
};

use support::app::{self, Report};
use support::processes::{Mark, kill};
use support::wait::{wait_for_async, wait_until};

const WARDEN: &str = env!("CARGO_BIN_EXE_pilotlight");
const GRACE: Duration = Duration::from_secs(30);

/// A runtime, and what one workload needs.
struct Stage {
    runtime: ProcessRuntime,
    mark: Mark,
    dir: tempfile::TempDir,
}

impl Stage {
    fn new() -> Self {
        Self {
            runtime: runtime(),
            mark: Mark::new(),
            dir: tempfile::tempdir().expect("a folder can be made"),
        }
    }

    fn report(&self) -> PathBuf {
        self.dir.path().join("report")
    }

    fn events(&self) -> Report {
        Report::read(&self.report())
    }

    async fn order(&self, command: Command, env: &[(&str, &str)]) -> StartOrder {
        let mut all: BTreeMap<_, _> =
            env.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        all.extend([self.mark.env(), ("REPORT".to_owned(), self.report().display().to_string())]);
        order(&self.runtime, command, all, self.dir.path()).await
    }

    async fn start(&self, env: &[(&str, &str)]) -> Started {
        self.start_command(test_app(), env).await
    }

    async fn start_command(&self, command: Command, env: &[(&str, &str)]) -> Started {
        let order = self.order(command, env).await;
        self.runtime.start(&order).await.expect("it starts")
    }

    async fn exited(&self, id: &ReplicaId) -> Exit {
        wait_for_async("the replica has ended", || async {
            match self.runtime.status(id).await {
                Ok(Status::Exited(exit)) => Some(exit),
                Ok(Status::Running(_)) => None,
                other => panic!("the replica was lost: {other:?}"),
            }
        })
        .await
    }
}

fn runtime() -> ProcessRuntime {
    ProcessRuntime::new(ProcessSettings {
        warden: PathBuf::from(WARDEN),
        instance: Identity { id: "0123456789ab".to_owned(), key: [7; 32] },
        state_dir: PathBuf::from("/nonexistent"),
    })
}

fn test_app() -> Command {
    Command::List(vec![app::binary().display().to_string()])
}

async fn order(
    runtime: &ProcessRuntime,
    command: Command,
    env: BTreeMap<String, String>,
    dir: &Path,
) -> StartOrder {
    let workload = Workload {
        source: Source::Host,
        command: Some(command),
        port: None,
        socket: false,
        resources: Resources { cpu_millis: 1000, memory: 1 << 30, gpus: 0 },
        env,
        volumes: Vec::new(),
        workspace: false,
        networks: Vec::new(),
        named: false,
        dir: dir.to_owned(),
    };
    let revision = runtime.prepare("shop", &Arc::new(workload)).await.expect("it has a command");
    StartOrder {
        app: "shop".to_owned(),
        revision: Arc::new(revision),
        index: 0,
        awaited: true,
        boost_millis: 0,
    }
}

/// One request on a connection of its own; `None` where nobody listens or the answer breaks off.
fn get(started: &Started, path: &str) -> Option<String> {
    let Address::Tcp(address) = started.endpoint.address else { panic!("a process has a TCP endpoint") };
    let mut stream = TcpStream::connect(address).ok()?;
    write!(stream, "GET {path} HTTP/1.1\r\nHost: shop\r\nConnection: close\r\n\r\n").ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    let (head, body) = answer.split_once("\r\n\r\n")?;
    head.starts_with("HTTP/1.1 200").then(|| body.to_owned())
}

async fn ready(started: &Started) {
    wait_until("the replica answers", || get(started, "/ping").is_some()).await;
}

#[tokio::test]
async fn a_replica_answers_at_its_endpoint_and_ends_when_told() {
    let stage = Stage::new();
    let started = stage.start(&[]).await;
    ready(&started).await;
    let listed = stage.runtime.list().await.unwrap();
    assert_eq!(listed.len(), 1);
    assert_eq!((listed[0].app.as_str(), listed[0].index), ("shop", 0));
    assert_eq!(listed[0].status, Status::Running(started.endpoint.clone()));

    stage.runtime.stop(&started.id, GRACE).await.unwrap();

    assert_eq!(stage.events().count("sigterm"), 1);
    assert_eq!(stage.events().count("exit"), 1, "it had its time to finish");
    assert_eq!(stage.runtime.status(&started.id).await.unwrap(), Status::Gone);
    assert_eq!(stage.runtime.list().await.unwrap(), []);
    assert_eq!(stage.mark.bearers(), []);
    stage.runtime.stop(&started.id, GRACE).await.expect("what has gone already is a success");
}

#[tokio::test]
async fn an_open_request_is_finished_before_the_end() {
    let stage = Stage::new();
    let started = stage.start(&[]).await;
    ready(&started).await;
    let asked = started.clone();
    let enough = stage.dir.path().join("enough");
    let path = app::until(&enough);
    let answer = tokio::task::spawn_blocking(move || get(&asked, &path));
    wait_until("the request has arrived", || stage.events().count("start") == 2).await;
    let answering = async {
        wait_until("it is told to end", || stage.events().count("sigterm") == 1).await;
        std::fs::write(&enough, "").unwrap();
    };
    let (stopped, ()) = tokio::join!(stage.runtime.stop(&started.id, GRACE), answering);
    stopped.unwrap();
    assert_eq!(answer.await.unwrap().as_deref(), Some("slept\n"));
    assert_eq!(stage.events().open_at_sigterm(), 1);
}

#[tokio::test]
async fn what_ignores_sigterm_is_killed_after_the_grace() {
    let stage = Stage::new();
    let started = stage.start(&[("IGNORE_TERM", "1")]).await;
    ready(&started).await;
    let grace = Duration::from_millis(300);
    let told = Instant::now();
    stage.runtime.stop(&started.id, grace).await.unwrap();
    assert!(told.elapsed() >= grace);
    assert_eq!(stage.events().count("sigterm"), 1);
    assert_eq!(stage.events().count("exit"), 0);
    assert_eq!(stage.mark.bearers(), []);
}

#[tokio::test]
async fn an_end_that_nobody_asked_for_is_an_event_for_every_watcher() {
    let stage = Stage::new();
    let mut watchers = [stage.runtime.watch(), stage.runtime.watch()];
    let asked_for = stage.start(&[]).await;
    ready(&asked_for).await;
    stage.runtime.stop(&asked_for.id, GRACE).await.unwrap();
    let started = stage.start(&[]).await;
    ready(&started).await;
    assert_eq!(get(&started, "/exit?code=9"), None);

    let exit = Exit { code: Some(9), out_of_memory: false };
    for watcher in &mut watchers {
        let event = tokio::time::timeout(support::wait::LIMIT, watcher.recv()).await.expect("it is told");
        let change = Change::Exited(exit.clone());
        assert_eq!(event, Some(Event::Changed { id: started.id.clone(), app: "shop".to_owned(), change }));
    }
    assert_eq!(stage.runtime.status(&started.id).await.unwrap(), Status::Exited(exit));
    stage.runtime.stop(&started.id, GRACE).await.unwrap();
    assert_eq!(stage.runtime.list().await.unwrap(), []);
}

#[tokio::test]
async fn a_signal_shows_in_the_exit_code() {
    let stage = Stage::new();
    let started = stage.start(&[]).await;
    ready(&started).await;
    let app = stage
        .mark
        .bearers_named("test-app")
        .into_iter()
        .find(|pid| started.id == ReplicaId(format!("pid-{}", pid.as_raw_nonzero())));
    kill(app.expect("the id names the app's own process"));
    assert_eq!(stage.exited(&started.id).await.code, Some(137));
}

#[tokio::test]
async fn the_last_lines_say_why_it_ended() {
    let stage = Stage::new();
    let started = stage.start(&[("EXIT_AT_ONCE", "4")]).await;
    assert_eq!(stage.exited(&started.id).await.code, Some(4));
    let tail = stage.runtime.tail(&started.id, 2).await.unwrap();
    assert_eq!(tail, ["    import nonexistent", "ModuleNotFoundError: No module named 'nonexistent'"]);
}

#[tokio::test]
async fn output_that_nobody_reads_does_not_stop_the_replica() {
    let stage = Stage::new();
    let shell = format!("yes flood | head -c 20000000; exec {}", app::binary().display());
    let started = stage.start_command(Command::Shell(shell), &[]).await;
    ready(&started).await;
    assert_eq!(stage.runtime.tail(&started.id, 100_000).await.unwrap().len(), 200);
}

#[tokio::test]
async fn a_command_that_cannot_run_is_refused_with_its_name() {
    let stage = Stage::new();
    let order = stage.order(Command::List(vec!["no-such-program".to_owned()]), &[]).await;
    let Err(RuntimeError::Refused(text)) = stage.runtime.start(&order).await else { panic!("not refused") };
    assert!(text.contains("`no-such-program`") && text.contains("PATH"), "{text}");
    assert_eq!(stage.runtime.list().await.unwrap(), []);
    wait_until("its warden has gone", || stage.mark.bearers().is_empty()).await;
}

#[tokio::test]
async fn a_replica_that_runs_already_is_taken_as_it_is() {
    let stage = Stage::new();
    let order = stage.order(test_app(), &[]).await;
    let first = stage.runtime.start(&order).await.unwrap();
    assert_eq!(stage.runtime.start(&order).await.unwrap(), first);
    let second = stage.runtime.start(&StartOrder { index: 1, ..order }).await.unwrap();
    assert_ne!(second.endpoint, first.endpoint);
    ready(&first).await;
    ready(&second).await;
}

#[tokio::test]
async fn a_replica_sees_its_own_environment_and_not_the_proxys() {
    let stage = Stage::new();
    let shell = Command::Shell("pwd; env; exit 0".to_owned());
    let started = stage.start_command(shell, &[("GREETING", "hello"), ("PORT", "1")]).await;
    stage.exited(&started.id).await;
    let lines = stage.runtime.tail(&started.id, 200).await.unwrap();
    let here = stage.dir.path().canonicalize().unwrap().display().to_string();
    assert_eq!(lines.first(), Some(&here));
    assert!(lines.contains(&"GREETING=hello".to_owned()));
    let Address::Tcp(address) = started.endpoint.address else { panic!("a process has a TCP endpoint") };
    assert!(lines.contains(&format!("PORT={}", address.port())), "{lines:?}");
    assert!(std::env::var_os("CARGO_MANIFEST_DIR").is_some(), "cargo gives this test a variable to hide");
    assert!(!lines.iter().any(|line| line.starts_with("CARGO_")), "{lines:?}");
}

#[tokio::test]
async fn cpu_time_counts_children_and_those_that_have_ended() {
    let stage = Stage::new();
    let shell = format!("{} & wait", app::binary().display());
    let started = stage.start_command(Command::Shell(shell), &[]).await;
    ready(&started).await;
    let before = stage.runtime.cpu_time(&started.id).await.unwrap();
    assert_eq!(get(&started, "/burn?ms=400").as_deref(), Some("burnt\n"));
    let used = stage.runtime.cpu_time(&started.id).await.unwrap().saturating_sub(before);
    assert!(used >= Duration::from_millis(350) && used < Duration::from_secs(5), "{used:?}");

    stage.runtime.stop(&started.id, GRACE).await.unwrap();

    let burnt = "i=0; while [ $i -lt 300000 ]; do i=$((i+1)); done";
    let shell = Command::Shell(format!("sh -c '{burnt}'; (sh -c '{burnt}' &) ; exec sleep 1000"));
    let started = stage.start_command(shell, &[]).await;
    let running = |name| stage.mark.bearers_named(name).len();
    wait_until("both loops have ended", || running("sleep") == 1 && running("sh") == 0).await;
    let used = stage.runtime.cpu_time(&started.id).await.unwrap();
    assert!(used >= Duration::from_millis(50), "{used:?}");
}

#[tokio::test]
async fn memory_counts_children() {
    let stage = Stage::new();
    let shell = format!("{} & wait", app::binary().display());
    let started = stage.start_command(Command::Shell(shell), &[]).await;
    ready(&started).await;
    let memory = async || stage.runtime.memory(&started.id).await.unwrap();
    let before = memory().await;
    assert!(before.held > 0 && before.limit.is_none(), "{before:?}");
    assert_eq!(get(&started, "/hold-memory?mb=100").as_deref(), Some("held\n"));
    let grown = memory().await.held - before.held;
    assert!((100 << 20..120 << 20).contains(&grown), "{grown}");
    assert_eq!(get(&started, "/hold-memory?mb=0").as_deref(), Some("held\n"));
    assert!(memory().await.held < before.held + (20 << 20));

    stage.runtime.stop(&started.id, GRACE).await.unwrap();
    assert!(stage.runtime.memory(&started.id).await.is_err());
}

#[tokio::test]
async fn children_that_left_the_group_end_with_the_replica() {
    let stage = Stage::new();
    let shell = format!("sleep 1001 & setsid sleep 1002 & exec {}", app::binary().display());
    let started = stage.start_command(Command::Shell(shell), &[]).await;
    ready(&started).await;
    wait_until("both children run", || stage.mark.bearers_named("sleep").len() == 2).await;
    assert_eq!(get(&started, "/exit?code=0"), None);
    assert_eq!(stage.exited(&started.id).await.code, Some(0));
    assert_eq!(stage.mark.bearers(), []);
}

#[tokio::test]
async fn a_child_may_finish_after_the_shell_that_started_it() {
    let stage = Stage::new();
    let shell = format!("{}; echo never", app::binary().display());
    let started = stage.start_command(Command::Shell(shell), &[]).await;
    ready(&started).await;
    let asked = started.clone();
    let answer = tokio::task::spawn_blocking(move || get(&asked, "/sleep?ms=700"));
    wait_until("the request has arrived", || stage.events().count("start") == 2).await;
    stage.runtime.stop(&started.id, GRACE).await.unwrap();
    assert_eq!(answer.await.unwrap().as_deref(), Some("slept\n"));
}

#[tokio::test]
async fn a_replica_does_not_outlive_its_warden() {
    let stage = Stage::new();
    let started = stage.start(&[]).await;
    ready(&started).await;
    let wardens = stage.mark.bearers_named("pilotlight");
    assert_eq!(wardens.len(), 1);
    kill(wardens[0]);
    assert_eq!(stage.exited(&started.id).await.code, Some(137));
    wait_until("the replica has gone", || stage.mark.bearers().is_empty()).await;
}

#[tokio::test]
async fn dropping_the_runtime_ends_everything() {
    let stage = Stage::new();
    let started = stage.start(&[("IGNORE_TERM", "1")]).await;
    ready(&started).await;
    let Stage { runtime, mark, .. } = stage;
    let mut events = runtime.watch();
    drop(runtime);
    wait_until("nothing is left", || mark.bearers().is_empty()).await;
    assert_eq!(events.recv().await, None);
}

/// The proxy is killed with SIGKILL, with a replica that has children in and out of its process group.
#[tokio::test]
async fn nothing_outlives_a_killed_proxy() {
    let mark = Mark::new();
    let dir = tempfile::tempdir().unwrap();
    let (name, value) = mark.env();
    let report = dir.path().join("report");
    let yaml = format!(
        "listen: 127.0.0.1:0\nadmin: {{listen: 127.0.0.1:0}}\nruntime: process\nautoscale: {{min: 1}}\n\
         command: sleep 1003 & setsid sleep 1004 & exec {}\n\
         env: {{{name}: \"{value}\", IGNORE_TERM: \"1\", REPORT: {}}}\n",
        app::binary().display(),
        report.display()
    );
    std::fs::write(dir.path().join("jcloud.yml"), yaml).unwrap();
    let mut proxy = std::process::Command::new(env!("CARGO_BIN_EXE_pilotlight"))
        .current_dir(dir.path())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let sleepers = || mark.bearers_named("sleep").len();
    wait_until("the replica and its children run", || {
        sleepers() == 2 && Report::read(&report).count("listening") == 1
    })
    .await;
    proxy.kill().unwrap();
    proxy.wait().unwrap();
    wait_until("nothing is left", || mark.bearers().is_empty()).await;
    assert_eq!(Report::read(&report).count("exit"), 0, "there was no time to say goodbye");
}
