//! `pilotlight demo`, as a newcomer starts it: what it shows, and that nothing of it is left.

mod support;

use std::fs;
use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, geteuid, kill_process};
use tempfile::TempDir;

use support::docker::{containers, docker, remove_built, remove_labelled};
use support::http::get;
use support::processes::{self, Mark};
use support::proxy::record_instance;
use support::wait::{LIMIT, wait_for, wait_within};

/// For a demo that is no longer wanted: from SIGTERM to SIGKILL.
const FAREWELL: Duration = Duration::from_secs(20);

/// A demo in a folder of its own. Whatever becomes of the test, its processes end with it.
struct Demo {
    child: Option<Child>,
    dir: TempDir,
    mark: Mark,
    /// Whose containers these are, once that is known.
    instance: Option<String>,
}

impl Demo {
    fn start(args: &[&str], env: &[(&str, &str)]) -> Self {
        let dir = TempDir::new().expect("a folder can be made");
        let mut demo = Self { child: None, dir, mark: Mark::new(), instance: None };
        demo.start_again(args, env);
        demo
    }

    /// Starts one in the same place, after the one before has ended.
    fn start_again(&mut self, args: &[&str], env: &[(&str, &str)]) {
        let out = fs::File::create(self.dir.path().join("out")).expect("a file can be made");
        let child = Command::new(env!("CARGO_BIN_EXE_pilotlight"))
            .arg("demo")
            .args(args)
            .envs(env.iter().copied())
            .envs([self.mark.env()])
            .env("TMPDIR", self.dir.path())
            .stdin(Stdio::null())
            .stdout(out.try_clone().expect("two may write it"))
            .stderr(out)
            .spawn();
        self.child = Some(child.expect("the binary under test runs"));
    }

    /// The identity of its proxy, once it has one.
    async fn instance(&mut self) -> String {
        let file = self.folder().join(".pilotlight/instance");
        let read =
            || fs::read_to_string(&file).ok().map(|id| id.trim().to_owned()).filter(|id| id.len() == 12);
        let instance = wait_for("the demo has an identity", read).await;
        record_instance(&instance);
        self.instance = Some(instance.clone());
        instance
    }

    /// The folder that it works in.
    fn folder(&self) -> PathBuf {
        self.dir.path().join(format!("pilotlight-demo-{}", geteuid().as_raw()))
    }

    /// All that it has shown so far.
    fn shown(&self) -> String {
        fs::read_to_string(self.dir.path().join("out")).expect("it was made")
    }

    /// Act by act, so that each has its time.
    async fn plays(&mut self) {
        for act in ["1. ", "2. ", "3. ", "4. ", "5. ", " calls in ", "6. "] {
            self.shows(act).await;
        }
    }

    /// It builds an image before its first act, so this may take its time.
    async fn shows(&mut self, text: &str) {
        wait_within(3 * LIMIT, format!("the demo shows {text:?}"), || {
            let ended = self.child.as_mut().and_then(|child| child.try_wait().expect("it is our child"));
            let shown = self.shown().contains(text);
            assert!(shown || ended.is_none(), "it has ended before it has shown {text:?}");
            shown.then_some(())
        })
        .await;
    }

    /// The address in one of the first lines.
    fn address(&self, fact: &str) -> SocketAddr {
        let shown = self.shown();
        let line = shown.lines().find(|line| line.trim().starts_with(fact)).expect("it is told");
        let port = line.split("localhost:").nth(1).and_then(|rest| rest.split('/').next());
        SocketAddr::from(([127, 0, 0, 1], port.expect("with a port").parse().expect("a number")))
    }

    fn pid(&self) -> Pid {
        Pid::from_child(self.child.as_ref().expect("it runs"))
    }

    fn signal(&self, signal: Signal) {
        kill_process(self.pid(), signal).expect("it runs");
    }

    async fn ended(&mut self) -> ExitStatus {
        let child = self.child.as_mut().expect("it runs");
        let status = wait_for("the demo ends", || child.try_wait().expect("it is our child")).await;
        self.child = None;
        status
    }

    /// It ended well, and neither its folder nor a process is left.
    async fn ends_well(mut self) -> String {
        let status = self.ended().await;
        let shown = self.shown();
        assert!(status.success(), "{status}:\n{shown}");
        assert!(!self.folder().exists(), "its folder is left");
        assert_eq!(self.mark.bearers(), [], "processes are left");
        shown
    }
}

impl Drop for Demo {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("--- what the demo showed ---\n{}--- end ---", self.shown());
        }
        // Gently at first: it takes its containers along.
        if let Some(child) = self.child.take() {
            processes::end(child, FAREWELL);
        }
        if let Some(instance) = &self.instance {
            remove_labelled(&format!("pilotlight.instance={instance}"));
            remove_built(instance);
        }
    }
}

/// The acts of the play: two calls that were cold, one that was warm, and a load that brought several replicas.
fn assert_played(shown: &str) {
    let calls: Vec<_> =
        shown.lines().filter(|line| line.contains("200 {\"message\":\"Ping!\"} in ")).collect();
    assert_eq!(calls.len(), 3, "{shown}");
    let idle = shown.lines().filter(|line| line.contains("idle for") && line.ends_with("→ 0")).count();
    assert_eq!(idle, 2, "out after the first calls, and after the load:\n{shown}");
    let load = shown.lines().find(|line| line.contains(" answered 200: half within ")).expect("a load");
    let number = |before: &str| -> u32 {
        let words: Vec<_> = load.split(before).next().expect("a part").split_whitespace().collect();
        words.last().expect("a word").parse().expect("a number")
    };
    assert!(number(" calls in ") >= 100, "{load}");
    assert_eq!(number(" calls in "), number(" answered 200"), "{shown}");
    assert!(number(" replicas") >= 2, "{shown}");
}

#[tokio::test]
async fn with_containers_it_plays_to_its_end_and_leaves_nothing() {
    let mut demo = Demo::start(&["--once"], &[]);
    let instance = demo.instance().await;
    demo.plays().await;
    let shown = demo.ends_well().await;
    assert!(shown.contains("runtime  docker: "), "{shown}");
    assert_played(&shown);
    assert_nothing_left(&instance).await;
}

async fn assert_nothing_left(instance: &str) {
    let ours = format!("pilotlight.instance={instance}");
    assert!(containers(&ours).await.is_empty(), "containers are left");
    let filter = format!("label={ours}");
    assert_eq!(docker(&["network", "ls", "--quiet", "--filter", &filter]).await, "", "its network is left");
    let built = format!("label=pilotlight.built-by={instance}");
    assert_eq!(docker(&["images", "--all", "--quiet", "--filter", &built]).await, "", "its image is left");
}

#[tokio::test]
async fn what_one_that_was_killed_has_left_goes_with_the_next() {
    let mut demo = Demo::start(&["--runtime", "docker"], &[]);
    let instance = demo.instance().await;
    demo.shows("2. ").await;
    demo.signal(Signal::KILL);
    demo.ended().await;
    assert!(
        !containers(&format!("pilotlight.instance={instance}")).await.is_empty(),
        "there is something left"
    );
    demo.start_again(&["--runtime", "process"], &[]);
    demo.shows("1. ").await;
    // As a terminal does that is closed.
    demo.signal(Signal::HUP);
    demo.ends_well().await;
    assert_nothing_left(&instance).await;
}

#[tokio::test]
async fn without_an_engine_it_plays_with_processes_and_says_so() {
    // Somebody has the usual ports: this test, or whoever was here before.
    let taken = ["127.0.0.1:8080", "127.0.0.1:9900"].map(TcpListener::bind);
    let mut demo = Demo::start(&["--once"], &[("DOCKER_HOST", "unix:///nowhere/docker.sock")]);
    demo.shows("1. The first call").await;
    assert_ne!(demo.address("app").port(), 8080);
    assert_ne!(demo.address("admin").port(), 9900);
    demo.plays().await;
    let shown = demo.ends_well().await;
    drop(taken);
    let why = "runtime  process: child processes (no Docker Engine at /nowhere/docker.sock: start it";
    assert!(shown.contains(why), "{shown}");
    assert!(!shown.contains('\x1b'), "colours in a file:\n{shown}");
    assert_played(&shown);
}

#[tokio::test]
async fn it_serves_until_it_is_interrupted() {
    let mut demo = Demo::start(&["--runtime", "process"], &[]);
    demo.plays().await;
    demo.shows("It serves on").await;
    assert_eq!(get(demo.address("app"), "/ping").await.text(), "{\"message\":\"Ping!\"}");
    // A second one of the same user would take the first one's folder.
    let second = Command::new(env!("CARGO_BIN_EXE_pilotlight"))
        .args(["demo", "--once"])
        .env("TMPDIR", demo.dir.path())
        .output()
        .expect("the binary under test runs");
    let said = String::from_utf8_lossy(&second.stderr).into_owned();
    assert_eq!(second.status.code(), Some(1), "{said}");
    assert!(said.contains(&format!("runs already, as process {}", demo.pid().as_raw_nonzero())), "{said}");
    demo.signal(Signal::INT);
    let shown = demo.ends_well().await;
    assert!(!shown.contains("WARN"), "{shown}");
}

#[tokio::test]
async fn an_engine_that_is_asked_for_must_be_there() {
    let args = ["--once", "--runtime", "docker"];
    let mut demo = Demo::start(&args, &[("DOCKER_HOST", "unix:///nowhere/docker.sock")]);
    assert_eq!(demo.ended().await.code(), Some(1));
    let shown = demo.shown();
    assert!(
        shown.starts_with("pilotlight demo: no Docker Engine at /nowhere/docker.sock: start it"),
        "{shown}"
    );
    assert!(!demo.folder().exists(), "its folder is left");
}

#[tokio::test]
async fn a_folder_of_somebody_else_is_not_used() {
    let dir = TempDir::new().expect("a folder can be made");
    let folder = dir.path().join(format!("pilotlight-demo-{}", geteuid().as_raw()));
    std::os::unix::fs::symlink(dir.path(), &folder).expect("a trap can be laid");
    let output = Command::new(env!("CARGO_BIN_EXE_pilotlight"))
        .args(["demo", "--once"])
        .env("TMPDIR", dir.path())
        .output()
        .expect("the binary under test runs");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(said.contains("is not this user's"), "{said}");
    assert_eq!(fs::read_dir(dir.path()).expect("it is there").count(), 1, "something was put into it");
}
