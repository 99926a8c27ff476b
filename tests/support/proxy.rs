//! The real binary with a `jcloud.yml` and a folder of its own. Whatever becomes of the test, the proxy, its
//! replicas, containers and networks are gone when the guard is dropped.

use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::net::SocketAddr;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tempfile::TempDir;

use super::app::Report;
use super::http;
use super::wait::{wait_for, wait_for_async};
use super::{app, docker, processes};

/// For a proxy that is no longer wanted: from SIGTERM to SIGKILL.
const FAREWELL: Duration = Duration::from_secs(5);

/// What a proxy is started with.
pub(crate) struct Setup {
    runtime: &'static str,
    place: Place,
    args: Vec<String>,
    env: Vec<(String, String)>,
    /// A program and its arguments, which becomes the proxy.
    within: Vec<String>,
    dir: TempDir,
}

impl Setup {
    /// Replicas are processes. `yaml` is the app's part of `jcloud.yml`, or its `apps:`; `{app}` in it stands for
    /// the test app's binary, `{report}` for the folder in which replicas write down what happens to them.
    pub(crate) fn process(yaml: &str) -> Self {
        Self::new(yaml, "process")
    }

    /// Replicas are containers. `yaml` as above; `{app}` in it stands for the test app's image. Replicas write down
    /// what happens to them where `docker: {allow: ["{report}"]}`, `volumes: ["{report}:/report"]` and
    /// `env: {REPORT: /report}` are in it.
    pub(crate) fn docker(yaml: &str) -> Self {
        Self::new(yaml, "docker")
    }

    /// Replicas are containers. A copy of the folder `source`, in which `pilotlight` is started with no argument
    /// but the addresses of a test.
    pub(crate) fn docker_folder(source: &Path) -> Self {
        let setup = Self::empty("docker", Place::Users);
        fs::create_dir(setup.home()).expect("a folder in it, too");
        for entry in fs::read_dir(source).expect("the folder can be read") {
            let entry = entry.expect("so can its entries");
            // A proxy that was tried out there has left its state directory.
            if entry.file_type().expect("and looked at").is_file() {
                fs::copy(entry.path(), setup.home().join(entry.file_name())).expect("files can be copied");
            }
        }
        setup
    }

    fn new(yaml: &str, runtime: &'static str) -> Self {
        let setup = Self::empty(runtime, Place::Ours);
        setup.write_config(yaml);
        setup
    }

    fn empty(runtime: &'static str, place: Place) -> Self {
        let dir = TempDir::new().expect("a folder can be made");
        fs::create_dir(dir.path().join("report")).expect("and one in it");
        Self { runtime, place, args: Vec::new(), env: Vec::new(), within: Vec::new(), dir }
    }

    /// One more argument.
    pub(crate) fn arg(mut self, arg: &str) -> Self {
        self.args.push(arg.to_owned());
        self
    }

    /// One more variable.
    pub(crate) fn env(mut self, name: &str, value: &str) -> Self {
        self.env.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Started by a program, these words, that becomes the proxy which the words behind them call.
    pub(crate) fn within(mut self, words: Vec<String>) -> Self {
        self.within = words;
        self
    }

    /// The folder of `jcloud.yml`.
    pub(crate) fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// Starts it, and waits until it listens.
    pub(crate) async fn start(self) -> Proxy {
        let mut proxy = Proxy { setup: self, child: None, public: Vec::new(), admin: None };
        proxy.start().await;
        proxy
    }

    /// Runs it to its end, for one that is not to come up, and says how that went and what it wrote.
    pub(crate) async fn fail(self) -> (ExitStatus, String) {
        let mut proxy = Proxy { setup: self, child: None, public: Vec::new(), admin: None };
        proxy.spawn();
        let status = proxy.ended().await;
        (status, proxy.log())
    }

    fn write_config(&self, yaml: &str) {
        let app = match self.runtime {
            "docker" => docker::APP_IMAGE.to_owned(),
            _ => app::binary().display().to_string(),
        };
        let yaml = yaml.replace("{app}", &app).replace("{report}", &self.report_dir().display().to_string());
        let head = format!(
            "listen: 127.0.0.1:0\nadmin: {{listen: 127.0.0.1:0}}\nstate_dir: {}\nlog: {{level: 'info,pilotlight=debug,replica=info', format: text}}\n",
            self.state_dir().display()
        );
        let head = if self.place == Place::Ours { head } else { String::new() };
        // In one step, as an editor would: a proxy that looks meanwhile sees the old or the new.
        let draft = self.dir().join("jcloud.yml.new");
        fs::write(&draft, head + &yaml).expect("the folder can be written");
        fs::rename(&draft, self.config_file()).expect("and the file put in its place");
    }

    /// Where `jcloud.yml` lies.
    fn home(&self) -> PathBuf {
        match self.place {
            Place::Ours => self.dir().to_owned(),
            // Images are named after it, and those of two tests are to have two names.
            Place::Users => self.dir().join(format!("app-{}", std::process::id())),
        }
    }

    fn config_file(&self) -> PathBuf {
        self.home().join("jcloud.yml")
    }

    fn state_dir(&self) -> PathBuf {
        match self.place {
            Place::Ours => self.dir().join("state"),
            Place::Users => self.home().join(".pilotlight"),
        }
    }

    fn report_dir(&self) -> PathBuf {
        self.dir().join("report")
    }

    fn log_file(&self) -> PathBuf {
        self.dir().join("proxy.log")
    }
}

/// Where `jcloud.yml` lies, and who has written it.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    /// In the folder itself, beside all that a test keeps there.
    Ours,
    /// In a folder of its own, as a user has it: the proxy is started there, and nothing is put into it.
    Users,
}

/// A proxy, running or not.
pub(crate) struct Proxy {
    setup: Setup,
    child: Option<Child>,
    public: Vec<SocketAddr>,
    admin: Option<SocketAddr>,
}

impl Proxy {
    /// The first public address.
    pub(crate) fn address(&self) -> SocketAddr {
        self.public[0]
    }

    /// All public addresses, in the order of the file.
    pub(crate) fn addresses(&self) -> &[SocketAddr] {
        &self.public
    }

    /// The admin API's address.
    pub(crate) fn admin(&self) -> SocketAddr {
        self.admin.expect("known since the start")
    }

    /// The proxy's process.
    pub(crate) fn pid(&self) -> Pid {
        Pid::from_child(self.child.as_ref().expect("it runs"))
    }

    /// The folder of `jcloud.yml`.
    pub(crate) fn dir(&self) -> &Path {
        self.setup.dir()
    }

    /// The identity that its containers carry.
    pub(crate) fn instance(&self) -> String {
        let text = fs::read_to_string(self.setup.state_dir().join("instance"))
            .expect("a proxy that listens has one");
        text.trim().to_owned()
    }

    /// What replicas wrote down, those included that are gone.
    pub(crate) fn report(&self) -> Report {
        Report::read(&self.setup.report_dir())
    }

    /// All that it wrote, over all its starts.
    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.setup.log_file()).unwrap_or_default()
    }

    /// What `/api/apps` says of one app.
    pub(crate) async fn app(&self, name: &str) -> Value {
        let apps = http::get(self.admin(), "/api/apps").await.json();
        let found = apps.as_array().and_then(|apps| apps.iter().find(|app| app["name"] == name));
        found.unwrap_or_else(|| panic!("no app {name}: {apps}")).clone()
    }

    /// What `/api/apps` says of the only app.
    pub(crate) async fn only_app(&self) -> Value {
        let apps = http::get(self.admin(), "/api/apps").await.json();
        match apps.as_array().map(Vec::as_slice) {
            Some([app]) => app.clone(),
            _ => panic!("not one app: {apps}"),
        }
    }

    /// Waits until the only app has so many replicas ready.
    pub(crate) async fn ready(&self, count: u64) {
        wait_for_async(format!("{count} replicas are ready"), || async {
            (self.only_app().await["ready"] == count).then_some(())
        })
        .await;
    }

    /// Waits until the only app has so many replicas on their way out.
    pub(crate) async fn draining(&self, count: u64) {
        wait_for_async(format!("{count} replicas drain"), || async {
            (self.only_app().await["draining"] == count).then_some(())
        })
        .await;
    }

    /// Replaces the app's part of `jcloud.yml`, and says nothing.
    pub(crate) fn rewrite(&self, yaml: &str) {
        self.setup.write_config(yaml);
    }

    /// Replaces the app's part of `jcloud.yml` and says so with SIGHUP.
    pub(crate) fn reload(&self, yaml: &str) {
        self.rewrite(yaml);
        self.signal(Signal::HUP);
    }

    /// Makes one more argument count from the next start on.
    pub(crate) fn add_arg(&mut self, arg: &str) {
        self.setup.args.push(arg.to_owned());
    }

    /// The folder in which replicas write down what happens to them, for a test that puts something else there.
    pub(crate) fn report_dir(&self) -> PathBuf {
        self.setup.report_dir()
    }

    /// Gives its replicas a word: those whose `START_WHEN` is `{report}/WORD` listen from then on, and requests for
    /// [`until`](Self::until) are answered. For processes, which see the folder.
    pub(crate) fn tell(&self, word: &str) {
        fs::write(self.report_dir().join(word), "").expect("the folder can be written");
    }

    /// A path that is answered once [`tell`](Self::tell) has given this word.
    pub(crate) fn until(&self, word: &str) -> String {
        app::until(&self.report_dir().join(word))
    }

    /// Sends a signal.
    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(self.pid(), signal).expect("it runs");
    }

    /// SIGTERM; waits for the end.
    pub(crate) async fn stop(&mut self) -> ExitStatus {
        self.signal(Signal::TERM);
        self.ended().await
    }

    /// SIGKILL; waits for the end.
    pub(crate) async fn kill(&mut self) {
        self.signal(Signal::KILL);
        let status = self.ended().await;
        assert_eq!(status.signal(), Some(9), "it ended before it could be killed: {status}");
    }

    /// Waits for an end that comes by itself.
    pub(crate) async fn ended(&mut self) -> ExitStatus {
        let child = self.child.as_mut().expect("it runs");
        let status = wait_for("the proxy ends", || child.try_wait().expect("it is our child")).await;
        self.child = None;
        status
    }

    /// Starts it, anew where it ran before: same folder, same identity, other ports.
    pub(crate) async fn start(&mut self) {
        let listen = self.setup.state_dir().join("listen");
        let _ = fs::remove_file(&listen);
        self.spawn();
        let child = self.child.as_mut().expect("just started");
        let text = wait_for("the proxy listens", || {
            if let Some(status) = child.try_wait().expect("it is our child") {
                panic!("the proxy ended at its start: {status}");
            }
            fs::read_to_string(&listen).ok().filter(|text| text.contains("admin"))
        })
        .await;
        self.public = text.lines().filter_map(|line| line.parse().ok()).collect();
        self.admin = text.lines().find_map(|line| line.strip_prefix("admin ")?.parse().ok());
        record_instance(&self.instance());
    }

    fn spawn(&mut self) {
        assert!(self.child.is_none(), "it runs already");
        let log = OpenOptions::new()
            .create(true)
            .append(true)
            .open(self.setup.log_file())
            .expect("a log can be kept");
        let binary = env!("CARGO_BIN_EXE_pilotlight");
        let mut command = match self.setup.within.split_first() {
            None => Command::new(binary),
            Some((program, words)) => {
                let mut command = Command::new(program);
                command.args(words).arg(binary);
                command
            }
        };
        match self.setup.place {
            Place::Ours => {
                command.arg("serve").arg("--config").arg(self.setup.config_file());
                // A file that names the runtime itself is to be heard.
                let config = fs::read_to_string(self.setup.config_file()).expect("it was written");
                if !config.contains("runtime:") {
                    command.args(["--runtime", self.setup.runtime]);
                }
            }
            Place::Users => {
                command.current_dir(self.setup.home());
                command.args(["--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0"]);
            }
        }
        command.args(&self.setup.args).envs(self.setup.env.iter().cloned());
        command.stdin(Stdio::null()).stdout(log.try_clone().expect("two may write it")).stderr(log);
        self.child = Some(command.spawn().expect("the binary under test runs"));
    }

    /// Ends the process, gently at first. Blocks.
    fn end(&mut self) {
        if let Some(child) = self.child.take() {
            processes::end(child, FAREWELL);
        }
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.end();
        if self.setup.runtime == "docker"
            && let Ok(instance) = fs::read_to_string(self.setup.state_dir().join("instance"))
        {
            docker::remove_labelled(&format!("pilotlight.instance={}", instance.trim()));
            docker::remove_built(instance.trim());
        }
        if std::thread::panicking() {
            eprintln!("--- what the proxy wrote ---\n{}--- end ---", self.log());
        }
    }
}

/// Tells the suite whose containers to look for at its end.
pub(crate) fn record_instance(instance: &str) {
    let Some(path) = std::env::var_os("PILOTLIGHT_TEST_INSTANCES") else { return };
    let file: File = OpenOptions::new().append(true).open(path).expect("the suite made it");
    (&file).write_all(format!("{instance}\n").as_bytes()).expect("and it can be written");
}
