//! A registry of images, Debian's `docker-registry`, one for each test that wants one, on a port of the system's choosing.
//! It ends with its guard, which also takes the images away that came from it.

use std::fs::{self, File};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use tempfile::TempDir;

use super::docker::{self, APP_IMAGE, docker, need_app_image};
use super::wait::wait_for;

/// The only user of a private registry, and the password: one whose base64 is not that of URLs.
pub(crate) const USER: &str = "me";
pub(crate) const PASSWORD: &str = "p?>~~??>>";

/// The line of `htpasswd -B` for the two.
const HTPASSWD: &str = "me:$2y$05$/slxdp8.pZR/KYBiAf9/VOWt.ifA3OFnBhiUm8WrmEFgVBfvizag6\n";

/// A registry on this host.
pub(crate) struct Registry {
    process: Child,
    address: SocketAddr,
    folder: TempDir,
    /// What it was given, under all names that an engine may know it by.
    names: Vec<String>,
}

/// An image that is in a registry, and not on the engine.
pub(crate) struct Pushed {
    /// Host, name and tag.
    pub(crate) tagged: String,
    /// Host, name and digest.
    pub(crate) pinned: String,
}

impl Registry {
    /// One that serves anybody.
    pub(crate) async fn open() -> Self {
        Self::start("").await
    }

    /// One that wants a login.
    pub(crate) async fn private() -> Self {
        Self::start("auth: {htpasswd: {realm: test, path: '{folder}/htpasswd'}}\n").await
    }

    async fn start(auth: &str) -> Self {
        need_app_image().await;
        let folder = TempDir::new().expect("a folder can be made");
        let at = folder.path();
        let config = format!(
            "version: 0.1\nhttp: {{addr: '127.0.0.1:0'}}\n\
             storage: {{filesystem: {{rootdirectory: '{{folder}}/images'}}}}\n{auth}"
        );
        let config = config.replace("{folder}", &at.display().to_string());
        fs::write(at.join("config.yml"), config).expect("and files in it");
        fs::write(at.join("htpasswd"), HTPASSWD).expect("as many as it takes");
        let file = |name: &str| File::create(at.join(name)).expect("logs among them");
        let process = Command::new("docker-registry")
            .arg("serve")
            .arg(at.join("config.yml"))
            .stdin(Stdio::null())
            .stdout(file("access.log"))
            .stderr(file("registry.log"))
            .spawn()
            .unwrap_or_else(|error| panic!("docker-registry: {error}: `tests/run prepare` installs it"));
        let nowhere = SocketAddr::from(([127, 0, 0, 1], 0));
        let mut registry = Self { process, address: nowhere, folder, names: Vec::new() };
        registry.address = registry.listens().await;
        registry
    }

    /// Where it listens, which it says in its log.
    async fn listens(&mut self) -> SocketAddr {
        let log = self.folder.path().join("registry.log");
        wait_for("the registry listens", || {
            let text = fs::read_to_string(&log).expect("the log is there");
            if let Some(status) = self.process.try_wait().expect("it is our child") {
                panic!("the registry ended at its start, {status}: {text}");
            }
            text.split_once("listening on ")?.1.split_once('"')?.0.parse().ok()
        })
        .await
    }

    /// Where it listens.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Takes the test app's image, with so many bytes more so that there is something to pull. `host` is how the
    /// engine gets here.
    pub(crate) async fn push(&mut self, host: SocketAddr, name: &str, bytes: usize) -> Pushed {
        let tagged = format!("{host}/{name}:1");
        let noise = self.folder.path().join("noise");
        let mut random = vec![0; bytes];
        fastrand::Rng::new().fill(&mut random);
        fs::write(&noise, random).expect("the folder can be written");
        // Nothing runs, so nothing is left behind but what is removed here.
        let container = docker(&["create", APP_IMAGE]).await;
        let made = async {
            docker::try_docker(&["cp", &noise.display().to_string(), &format!("{container}:/noise")]).await?;
            docker::try_docker(&["commit", &container, &tagged]).await
        };
        let made = made.await;
        docker(&["rm", &container]).await;
        made.unwrap_or_else(|error| panic!("the image {tagged} cannot be made: {error}"));
        self.names.push(tagged.clone());

        let login = self.folder.path().join("login");
        write_config(&login, &auths(host, PASSWORD));
        docker(&["--config", &login.display().to_string(), "push", "--quiet", &tagged]).await;
        let format = "{{index .RepoDigests 0}}";
        let pinned = docker(&["image", "inspect", "--format", format, &tagged]).await;
        self.names.push(pinned.clone());
        docker(&["rmi", &tagged]).await;
        for name in [&tagged, &pinned] {
            let there = docker::try_docker(&["image", "inspect", name]).await;
            assert!(there.is_err(), "{name} is still on the engine");
        }
        Pushed { tagged, pinned }
    }

    /// The requests for this method and beginning of a path that it has answered so far: their paths.
    pub(crate) fn answered(&self, method: &str, path: &str) -> Vec<String> {
        let log = fs::read_to_string(self.folder.path().join("access.log")).expect("the log is there");
        let requests = log.lines().filter_map(|line| line.split('"').nth(1)?.strip_prefix(method));
        let paths = requests.filter_map(|rest| rest.trim_start().split(' ').next());
        paths.filter(|it| it.starts_with(path)).map(str::to_owned).collect()
    }

    /// Ends it: nobody listens there any more.
    pub(crate) fn stop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        self.stop();
        for name in &self.names {
            docker::remove(&["rmi", "--force", name]);
        }
    }
}

/// Docker's configuration after `docker login` there with this password.
pub(crate) fn auths(host: SocketAddr, password: &str) -> Value {
    let pair = STANDARD.encode(format!("{USER}:{password}"));
    json!({"auths": {host.to_string(): {"auth": pair}}})
}

/// Puts Docker's configuration into a folder, which is made.
pub(crate) fn write_config(folder: &Path, config: &Value) {
    fs::create_dir_all(folder).expect("folders can be made");
    fs::write(folder.join("config.json"), config.to_string()).expect("and files in them");
}
