//! The Docker Engine as a person sees it: through the `docker` command, never through the code under test.

use std::fs;
use std::process::{Child, Command as StdCommand, Stdio};

use rustix::time::{ClockId, clock_gettime};
use serde_json::Value;
use tempfile::NamedTempFile;
use tokio::process::Command;

/// The test app in an image FROM scratch, made by `tests/run prepare`.
pub(crate) const APP_IMAGE: &str = "pilotlight-test-app:latest";

/// One `docker` command; panics with its words where it fails.
pub(crate) async fn docker(args: &[&str]) -> String {
    try_docker(args).await.unwrap_or_else(|error| panic!("docker {}: {error}", args.join(" ")))
}

/// One `docker` command, which may fail.
pub(crate) async fn try_docker(args: &[&str]) -> Result<String, String> {
    let output = Command::new("docker").args(args).stdin(Stdio::null()).output().await;
    let output = output.map_err(|error| error.to_string())?;
    if output.status.success() {
        Ok(String::from_utf8_lossy(&output.stdout).trim_end().to_owned())
    } else {
        Err(String::from_utf8_lossy(&output.stderr).trim_end().to_owned())
    }
}

/// Panics, saying what to do, where the test app's image is not there.
pub(crate) async fn need_app_image() {
    let found = try_docker(&["image", "inspect", APP_IMAGE]).await;
    found.unwrap_or_else(|error| panic!("{error}: `tests/run prepare` makes the images that tests need"));
}

/// One container, as `docker inspect` shows it.
#[derive(Debug, Clone)]
pub(crate) struct Container(Value);

impl Container {
    /// The whole ID.
    pub(crate) fn id(&self) -> &str {
        self.text("/Id")
    }

    /// The name, without the slash before it.
    pub(crate) fn name(&self) -> &str {
        self.text("/Name").trim_start_matches('/')
    }

    /// `running`, `paused`, `exited`, ...
    pub(crate) fn state(&self) -> &str {
        self.text("/State/Status")
    }

    /// When it was last started.
    pub(crate) fn started_at(&self) -> &str {
        self.text("/State/StartedAt")
    }

    /// One label; empty where there is none.
    pub(crate) fn label(&self, name: &str) -> &str {
        self.0["Config"]["Labels"][name].as_str().unwrap_or_default()
    }

    /// Anything else, by its JSON pointer.
    pub(crate) fn at(&self, pointer: &str) -> &Value {
        self.0.pointer(pointer).unwrap_or(&Value::Null)
    }

    fn text(&self, pointer: &str) -> &str {
        self.at(pointer).as_str().expect("docker says so of every container")
    }
}

/// All containers with that label (`name=value`), running or not, by name. One that goes meanwhile is left out.
pub(crate) async fn containers(label: &str) -> Vec<Container> {
    let ids = docker(&["ps", "--all", "--quiet", "--no-trunc", "--filter", &format!("label={label}")]).await;
    let mut found = Vec::new();
    for id in ids.lines() {
        let Ok(text) = try_docker(&["inspect", "--type", "container", id]).await else { continue };
        let Ok(Value::Array(all)) = serde_json::from_str(&text) else { panic!("docker speaks JSON: {text}") };
        found.extend(all.into_iter().map(Container));
    }
    found.sort_by(|one, other| one.name().cmp(other.name()));
    found
}

/// The replicas of one proxy that were started and have not ended, paused or not.
pub(crate) async fn replicas(instance: &str) -> Vec<Container> {
    let mut found = all_replicas(instance).await;
    found.retain(|container| !matches!(container.state(), "created" | "exited"));
    found
}

/// The replicas of one proxy that exist, those included that are kept and do not run.
pub(crate) async fn all_replicas(instance: &str) -> Vec<Container> {
    let mut found = containers(&format!("pilotlight.instance={instance}")).await;
    found.retain(|container| !container.label("pilotlight.replica").is_empty());
    found
}

/// The containers of one proxy that hold a network for a replica.
pub(crate) async fn sandboxes(instance: &str) -> Vec<Container> {
    let mut found = containers(&format!("pilotlight.instance={instance}")).await;
    found.retain(|container| !container.label("pilotlight.sandbox").is_empty());
    found
}

/// What happens to containers from now on. It is read as it comes: the engine itself keeps but a few events.
pub(crate) struct Events {
    reader: Child,
    file: NamedTempFile,
}

impl Events {
    /// Begins to listen. Nothing that happens after this call is missed.
    pub(crate) fn listen() -> Self {
        let file = NamedTempFile::new().expect("a file can be made");
        let out = file.reopen().expect("and opened once more");
        // By the clock that the engine goes by: how long the command takes to start must not matter.
        let now = clock_gettime(ClockId::Realtime);
        let since = format!("{}.{:09}", now.tv_sec, now.tv_nsec);
        let reader = StdCommand::new("docker")
            .args(["events", "--since", &since, "--filter", "type=container", "--format", "{{json .}}"])
            .stdin(Stdio::null())
            .stdout(out)
            .spawn()
            .expect("docker runs");
        Self { reader, file }
    }

    /// How often `action` (`create`, `start`, `die`, `destroy`, ...) has happened to replicas of one proxy so far.
    pub(crate) fn count(&self, instance: &str, action: &str) -> usize {
        self.all(instance).iter().filter(|event| event["Action"] == action).count()
    }

    /// All events of one proxy's replicas so far, oldest first.
    pub(crate) fn all(&self, instance: &str) -> Vec<Value> {
        let text = fs::read_to_string(self.file.path()).expect("the file is there");
        let events = text.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        let ours = events.filter(|event| {
            let labels = &event["Actor"]["Attributes"];
            labels["pilotlight.instance"] == instance && labels["pilotlight.replica"].is_string()
        });
        ours.collect()
    }
}

impl Drop for Events {
    fn drop(&mut self) {
        let _ = self.reader.kill();
        let _ = self.reader.wait();
    }
}

/// A container that a test made by itself; gone when dropped.
pub(crate) struct OwnContainer {
    /// The whole ID.
    pub(crate) id: String,
}

impl OwnContainer {
    /// `docker run --detach ARGS`.
    pub(crate) async fn run(args: &[&str]) -> Self {
        let label = format!("pilotlight.test.run=own-{}", std::process::id());
        super::proxy::record_instance(label.split_once('=').expect("it was made with one").1);
        let all = [&["run", "--detach", "--label", &label], args].concat();
        Self { id: docker(&all).await }
    }
}

impl Drop for OwnContainer {
    fn drop(&mut self) {
        remove(&["rm", "--force", "--volumes", &self.id]);
    }
}

/// A network that a test made by itself; gone when dropped, once nothing is on it.
pub(crate) struct OwnNetwork {
    /// Its name, which no other has.
    pub(crate) name: String,
}

impl OwnNetwork {
    /// The name that it will have; it is not made yet. `tag` tells those of one process apart.
    pub(crate) fn planned(tag: &str) -> Self {
        Self { name: format!("pilotlight-test-{tag}-{}", std::process::id()) }
    }

    /// Makes it.
    pub(crate) async fn make(&self) {
        let label = format!("pilotlight.test.run=own-{}", std::process::id());
        super::proxy::record_instance(label.split_once('=').expect("it was made with one").1);
        docker(&["network", "create", "--label", &label, &self.name]).await;
    }
}

impl Drop for OwnNetwork {
    fn drop(&mut self) {
        remove(&["network", "rm", &self.name]);
    }
}

/// An image without a tag that a test made by itself; gone when dropped.
pub(crate) struct OwnImage {
    /// The whole ID.
    pub(crate) id: String,
}

impl Drop for OwnImage {
    fn drop(&mut self) {
        remove(&["rmi", &self.id]);
    }
}

/// Removes all containers, networks and volumes with that label. Blocks: it is for what happens at the end.
#[expect(clippy::disallowed_methods, reason = "that nothing happens any more has no condition to wait for")]
pub(crate) fn remove_labelled(label: &str) {
    let filter = format!("label={label}");
    // The engine may be amid making one for a proxy that was killed: until it has been seen to make no more.
    let mut quiet = 0;
    while quiet < 2 {
        let found = listed(&["ps", "--all", "--quiet", "--no-trunc", "--filter", &filter]);
        quiet = if found.is_empty() { quiet + 1 } else { 0 };
        for id in found {
            remove(&["rm", "--force", "--volumes", &id]);
        }
        if quiet < 2 {
            std::thread::sleep(std::time::Duration::from_millis(250));
        }
    }
    for id in listed(&["network", "ls", "--quiet", "--no-trunc", "--filter", &filter]) {
        remove(&["network", "rm", &id]);
    }
    for name in listed(&["volume", "ls", "--quiet", "--filter", &filter]) {
        remove(&["volume", "rm", &name]);
    }
}

/// Removes the images that a proxy has built. What they were built from stays, for the next build. Blocks.
pub(crate) fn remove_built(instance: &str) {
    let filter = format!("label=pilotlight.built-by={instance}");
    // Each label is a layer of its own, which is listed once nothing is built on it any more.
    for _ in 0..3 {
        for id in listed(&["images", "--quiet", "--no-trunc", "--filter", &filter]) {
            remove(&["rmi", "--force", "--no-prune", &id]);
        }
    }
}

fn listed(args: &[&str]) -> Vec<String> {
    let output = StdCommand::new("docker").args(args).stdin(Stdio::null()).output();
    let text = output.map(|output| String::from_utf8_lossy(&output.stdout).into_owned()).unwrap_or_default();
    text.lines().map(str::to_owned).collect()
}

/// What went by itself in the meantime needs no removal; what stays is found by the suite's last step.
pub(crate) fn remove(args: &[&str]) {
    let _ = StdCommand::new("docker").args(args).stdout(Stdio::null()).stderr(Stdio::null()).status();
}
