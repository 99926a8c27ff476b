//! The test app: where its binary is, and what its replicas wrote down.

use std::fs::{self, File};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::OnceLock;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tempfile::NamedTempFile;

use super::wait::wait_for;

/// The test app's binary: `TEST_APP` where the suite made one, else built here, once.
pub(crate) fn binary() -> &'static Path {
    static BINARY: OnceLock<PathBuf> = OnceLock::new();
    BINARY.get_or_init(|| std::env::var_os("TEST_APP").map_or_else(build, PathBuf::from))
}

/// Builds it beside the binary under test, whose folder and profile cargo has chosen.
fn build() -> PathBuf {
    let folder = Path::new(env!("CARGO_BIN_EXE_pilotlight")).parent().expect("a binary lies in a folder");
    let binary = folder.join("test-app");
    // Tests are processes of their own under nextest: one builds, the others wait.
    let lock = File::create(folder.join("test-app.lock")).expect("cargo's folder can be written");
    lock.lock().expect("files there can be locked");
    let mut build = Command::new(env!("CARGO"));
    build.args(["build", "--quiet", "--package", "test-app", "--manifest-path"]);
    build.arg(concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml"));
    build.arg("--target-dir").arg(folder.parent().expect("a profile's folder lies in the target folder"));
    if folder.ends_with("release") {
        build.arg("--release");
    }
    assert!(build.status().expect("cargo runs").success(), "the test app does not build");
    binary
}

/// A path that the test app answers once this file is there.
pub(crate) fn until(file: &Path) -> String {
    format!("/sleep?until={}", file.display())
}

/// What replicas wrote to the file or folder that `REPORT` named.
pub(crate) struct Report(Vec<Value>);

impl Report {
    /// Everything written so far; nothing where no replica has begun. A line that is being written is left out.
    pub(crate) fn read(path: &Path) -> Self {
        let files: Vec<PathBuf> = if path.is_dir() {
            let entries = fs::read_dir(path).expect("the report's folder can be read");
            entries.map(|entry| entry.expect("so can its entries").path()).collect()
        } else {
            vec![path.to_owned()]
        };
        let texts = files.iter().map(|file| fs::read_to_string(file).unwrap_or_default());
        let mut events: Vec<Value> = texts
            .flat_map(|text| {
                text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect::<Vec<_>>()
            })
            .collect();
        // Stable: within a file the order is right already, and its clock is coarser than that.
        events.sort_by_key(|event| event["at_ms"].as_i64());
        Self(events)
    }

    /// All events called `name`, oldest first.
    pub(crate) fn events(&self, name: &str) -> Vec<&Value> {
        self.0.iter().filter(|event| event["event"] == name).collect()
    }

    /// How many events are called `name`.
    pub(crate) fn count(&self, name: &str) -> usize {
        self.events(name).len()
    }

    /// The names of the replicas that began, in the order they did.
    pub(crate) fn replicas(&self) -> Vec<String> {
        self.events("boot").iter().filter_map(|event| event["replica"].as_str().map(str::to_owned)).collect()
    }

    /// The `x-seq` headers in the order in which requests arrived.
    pub(crate) fn order(&self) -> Vec<&str> {
        self.events("start").iter().filter_map(|event| event["seq"].as_str()).collect()
    }

    /// Requests that were open when a replica was told to end, over all replicas. Rightly none.
    pub(crate) fn open_at_sigterm(&self) -> u64 {
        self.events("sigterm").iter().filter_map(|event| event["open"].as_u64()).sum()
    }
}

/// One test app that a test runs by itself, without a proxy. Dropping it kills it.
pub(crate) struct Running {
    child: Child,
    report: NamedTempFile,
}

impl Running {
    /// Starts it with these variables, on a port that the system chooses.
    pub(crate) fn start(env: &[(&str, &str)]) -> Self {
        let report = NamedTempFile::new().expect("a file can be made");
        let child = Command::new(binary())
            .env("PORT", "0")
            .env("REPORT", report.path())
            .envs(env.iter().copied())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn()
            .expect("the test app runs");
        Self { child, report }
    }

    /// Where it listens, once it does.
    pub(crate) async fn address(&self) -> SocketAddr {
        wait_for("the test app listens", || {
            let port = self.report().events("listening").first()?["port"].as_u64()?;
            Some(SocketAddr::from(([127, 0, 0, 1], u16::try_from(port).ok()?)))
        })
        .await
    }

    /// What it wrote down.
    pub(crate) fn report(&self) -> Report {
        Report::read(self.report.path())
    }

    /// Sends SIGTERM.
    pub(crate) fn terminate(&self) {
        kill_process(Pid::from_child(&self.child), Signal::TERM).expect("it is there and ours");
    }

    /// Waits for its end.
    pub(crate) async fn ended(&mut self) -> ExitStatus {
        wait_for("the test app ends", || self.child.try_wait().expect("it is our child")).await
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
