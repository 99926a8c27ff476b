//! A place on the real engine for one test: an instance of its own, an image, and a guard that takes
//! everything away again, also when the test panics. Fails where there is no engine; never skips.

use std::collections::BTreeMap;
use std::hash::{BuildHasher, RandomState};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Arc, LazyLock, Mutex, Weak};
use std::time::Duration;

use pilotlight::config::spec::{self, DockerSpec, Resources, Source, Workload};
use pilotlight::runtime::docker::{DockerRuntime, DockerSettings};
use pilotlight::runtime::{
    Address, Change, Endpoint, Event, Exit, Identity, Revision, Runtime, StartOrder, Started,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::mpsc::Receiver;
use tokio::time::timeout;

/// What nothing here should take; hit only by a failure.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// The port that the test image exposes.
pub(crate) const PORT: u16 = 7000;

/// An instance of its own on the engine.
pub(crate) struct Lab {
    pub(crate) id: String,
    pub(crate) runtime: DockerRuntime,
    pub(crate) image: Arc<Image>,
    pub(crate) folder: Folder,
}

impl Lab {
    pub(crate) fn new() -> Self {
        Self::with(DockerSpec::default())
    }

    pub(crate) fn with(spec: DockerSpec) -> Self {
        let id = random_id();
        let instance = Identity { id: id.clone(), key: [3; 32] };
        let folder = Folder::new(&id);
        let settings = DockerSettings { spec, instance, state_dir: folder.0.join("state") };
        Self { runtime: DockerRuntime::new(settings), image: Image::shared(), folder, id }
    }

    /// Runs the test image with these arguments.
    pub(crate) fn workload(&self, args: &[&str]) -> Workload {
        Workload {
            source: Source::Image(self.image.name.clone()),
            command: Some(spec::Command::List(args.iter().map(ToString::to_string).collect())),
            port: None,
            socket: false,
            resources: Resources { cpu_millis: 500, memory: 64 << 20, gpus: 0 },
            env: BTreeMap::new(),
            volumes: Vec::new(),
            workspace: false,
            networks: Vec::new(),
            named: false,
            dir: PathBuf::from("/"),
        }
    }

    pub(crate) async fn order(&self, workload: Workload) -> StartOrder {
        let revision: Revision = self.runtime.prepare("web", &Arc::new(workload)).await.unwrap();
        StartOrder {
            app: "web".into(),
            revision: Arc::new(revision),
            index: 0,
            awaited: true,
            boost_millis: 0,
        }
    }

    /// One replica that has answered: it runs, and listens.
    pub(crate) async fn serving(&self, args: &[&str]) -> Started {
        let order = self.order(self.workload(args)).await;
        let started = self.runtime.start(&order).await.unwrap();
        wait_until_listening(&started.endpoint).await;
        started
    }

    /// What a replica has written, once that is all: the engine takes it down in its own time.
    pub(crate) async fn written(&self, of: &Started, is_all: impl Fn(&[String]) -> bool) -> Vec<String> {
        let written = async {
            loop {
                let lines = self.runtime.tail(&of.id, 100).await.unwrap();
                if is_all(&lines) {
                    return lines;
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        timeout(PATIENCE, written).await.expect("all that it has written")
    }

    /// The name that `order`'s container has.
    pub(crate) fn name(&self, order: &StartOrder) -> String {
        format!("pilotlight-{}-{}-{}-{}", &self.id[..8], order.app, order.revision.hash, order.index)
    }

    pub(crate) fn network(&self) -> String {
        format!("pilotlight-{}", &self.id[..8])
    }

    /// Puts a Dockerfile beside the test program in a folder to build.
    pub(crate) fn build_folder(&self, dockerfile: &str) -> PathBuf {
        let folder = self.folder.0.join("build");
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::copy(PROGRAM.as_path(), folder.join("replica")).unwrap();
        std::fs::write(folder.join("Dockerfile"), dockerfile).unwrap();
        folder
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        for (list, label, remove) in [
            (&["ps", "-aq", "--no-trunc"][..], "instance", &["rm", "-fv"][..]),
            (&["network", "ls", "-q"], "instance", &["network", "rm"]),
            (&["images", "-aq", "--no-trunc"], "built-by", &["rmi", "-f"]),
        ] {
            let label = format!("label=pilotlight.{label}={}", self.id);
            let listed = Command::new("docker").args(list).args(["--filter", &label]).output();
            let listed = listed.map(|output| String::from_utf8_lossy(&output.stdout).into_owned());
            for id in listed.unwrap_or_default().split_whitespace() {
                drop(Command::new("docker").args(remove).arg(id).output());
            }
        }
    }
}

/// The test program alone in an image, shared by the tests that run at the same time.
pub(crate) struct Image {
    pub(crate) name: String,
}

impl Image {
    fn shared() -> Arc<Self> {
        static SHARED: Mutex<Weak<Image>> = Mutex::new(Weak::new());
        let mut shared = SHARED.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        shared.upgrade().unwrap_or_else(|| {
            let image = Arc::new(Self::import());
            *shared = Arc::downgrade(&image);
            image
        })
    }

    fn import() -> Self {
        let name = format!("pilotlight-test-{}:1", random_id());
        let mut archive = tar::Builder::new(Vec::new());
        archive.append_path_with_name(PROGRAM.as_path(), "replica").unwrap();
        let expose = format!("EXPOSE {PORT}");
        let mut child = Command::new("docker")
            .args(["import", "--change", "ENTRYPOINT [\"/replica\"]", "--change", &expose, "-", &name])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .spawn()
            .expect("the docker command");
        std::io::Write::write_all(&mut child.stdin.take().unwrap(), &archive.into_inner().unwrap())
            .expect("a Docker Engine that takes an image");
        assert!(child.wait().unwrap().success(), "these tests need a Docker Engine");
        Self { name }
    }
}

impl Drop for Image {
    fn drop(&mut self) {
        drop(Command::new("docker").args(["rmi", "-f", &self.name]).output());
    }
}

/// A folder that goes away with the test.
pub(crate) struct Folder(pub(crate) PathBuf);

impl Folder {
    pub(crate) fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("pilotlight-test-{name}"));
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        drop(std::fs::remove_dir_all(&self.0));
    }
}

/// `replica.rs`, compiled to a program that needs nothing beside it.
static PROGRAM: LazyLock<PathBuf> = LazyLock::new(|| {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/docker_runtime/replica.rs");
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let fresh = folder.join(format!("replica-{}", std::process::id()));
    let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let compiled = Command::new(rustc)
        .args(["--edition=2024", "-Copt-level=1", "-Cstrip=symbols", "-Ctarget-feature=+crt-static", "-o"])
        .args([&fresh, &source])
        .status();
    assert!(compiled.expect("rustc").success());
    // In one step, so that another run of the tests never sees half of it.
    let program = folder.join("replica");
    std::fs::rename(fresh, &program).unwrap();
    program
});

/// Twelve hex digits that nobody else has.
pub(crate) fn random_id() -> String {
    format!("{:016x}", RandomState::new().hash_one(0))[..12].to_owned()
}

/// Runs the docker command and gives back what it prints.
pub(crate) fn docker(args: &[&str]) -> String {
    let output = Command::new("docker").args(args).output().expect("the docker command");
    assert!(output.status.success(), "docker {args:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

/// Whether the docker command succeeds.
pub(crate) fn docker_can(args: &[&str]) -> bool {
    Command::new("docker").args(args).output().expect("the docker command").status.success()
}

/// Asks the replica something and gives back its answer; empty if it ends instead.
pub(crate) async fn ask(endpoint: &Endpoint) -> String {
    let Address::Tcp(address) = endpoint.address else { panic!("{endpoint:?} is not TCP") };
    let mut answer = String::new();
    let asked = async {
        let mut stream = TcpStream::connect(address).await?;
        stream.write_all(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n").await?;
        stream.read_to_string(&mut answer).await
    };
    drop(timeout(PATIENCE, asked).await.expect("an answer or an end"));
    answer
}

/// Connects until something accepts; asks nothing.
pub(crate) async fn wait_until_listening(endpoint: &Endpoint) {
    let Address::Tcp(address) = endpoint.address else { panic!("{endpoint:?} is not TCP") };
    let connected = async {
        while TcpStream::connect(address).await.is_err() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    timeout(PATIENCE, connected).await.expect("a replica that listens");
}

/// Waits for the message that a stream of events begins with.
pub(crate) async fn wait_for_resync(events: &mut Receiver<Event>) {
    loop {
        let event = timeout(PATIENCE, events.recv()).await.expect("a Resync").expect("a watch that goes on");
        if event == Event::Resync {
            return;
        }
    }
}

/// Waits for the next change of a replica.
pub(crate) async fn next_change(events: &mut Receiver<Event>, of: &Started) -> Change {
    loop {
        let event = timeout(PATIENCE, events.recv()).await.expect("an event").expect("a watch that goes on");
        if let Event::Changed { id, app, change } = event {
            assert_eq!((&id, app.as_str()), (&of.id, "web"));
            return change;
        }
    }
}

pub(crate) fn exited(code: Option<i32>, out_of_memory: bool) -> Change {
    Change::Exited(Exit { code, out_of_memory })
}
