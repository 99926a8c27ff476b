//! One replica: its warden, what it writes, how it ended. Dropping it ends the replica and all its tasks.

use std::ffi::{OsStr, OsString};
use std::io::{self, Write};
use std::net::{Ipv4Addr, SocketAddr};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream as StdStream;
use std::path::Path;
use std::process::{ExitStatus, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process_group};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::net::UnixStream;
use tokio::process::{Child, Command};
use tokio::sync::watch;
use tokio::task::AbortHandle;
use tokio::time::timeout;

use super::output::Output;
use super::port::PortClaim;
use super::socket::SocketClaim;
use super::{procfs, warden};
use crate::config::spec::{self, Workload};
use crate::runtime::{
    Address, Endpoint, Exit, MemoryUse, ReplicaId, RuntimeError, StartOrder, Status, WORKSPACE_VARIABLE,
};

/// Variables of the proxy's that a replica sees: what finds programs and names the user. Everything else is
/// the proxy's own; a secret reaches a replica where `env` names it, as it would reach a container.
const PASSED_ON: [&str; 12] = [
    "PATH",
    "HOME",
    "USER",
    "LOGNAME",
    "SHELL",
    "LANG",
    "LANGUAGE",
    "LC_ALL",
    "LC_CTYPE",
    "TZ",
    "TMPDIR",
    "VIRTUAL_ENV",
];
/// For a warden to start its command: a fork and an exec.
const START_LIMIT: Duration = Duration::from_secs(10);
/// From SIGKILL to the end: the kernel's own time, long only where a disk hangs.
const KILL_LIMIT: Duration = Duration::from_secs(10);
/// From the warden's end to the end of the output, which somebody else may hold open.
const OUTPUT_LIMIT: Duration = Duration::from_secs(1);

/// One replica, running or ended.
pub(super) struct Replica {
    pub(super) id: ReplicaId,
    pub(super) app: String,
    pub(super) revision: String,
    pub(super) index: u32,
    pub(super) output: Arc<Output>,
    pub(super) endpoint: Endpoint,
    warden: Pid,
    /// Whether its processes are stopped.
    frozen: AtomicBool,
    /// The warden's orders go here; its closing is the last of them.
    control: StdStream,
    /// Whether its end was asked for, and is no news.
    stopping: Arc<AtomicBool>,
    ended: watch::Receiver<Option<Exit>>,
    task: AbortHandle,
    /// Until it is removed: while workers may still send to where it was, no other is given its port.
    _port: Option<PortClaim>,
}

/// Where a replica was told to listen.
pub(super) enum Place {
    /// At a port of this host's.
    Port(PortClaim),
    /// On a Unix socket.
    Socket(SocketClaim),
}

impl Place {
    fn address(&self) -> Address {
        match self {
            Self::Port(claim) => Address::Tcp(SocketAddr::from((Ipv4Addr::LOCALHOST, claim.number()))),
            Self::Socket(claim) => Address::Unix(claim.path().to_owned()),
        }
    }

    /// The variable that tells the replica.
    fn variable(&self) -> (&'static str, OsString) {
        match self {
            Self::Port(claim) => ("PORT", claim.number().to_string().into()),
            Self::Socket(claim) => ("SOCKET", claim.path().into()),
        }
    }
}

impl Drop for Replica {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Replica {
    /// Starts one, and calls `on_exit` if it ends without having been told to.
    pub(super) async fn start(
        warden: &Path,
        order: &StartOrder,
        workspace: Option<&Path>,
        place: Place,
        on_exit: impl FnOnce(ReplicaId, Exit) + Send + 'static,
    ) -> Result<Self, RuntimeError> {
        let workload = &order.revision.workload;
        let words = command_line(workload)?;
        let (ours, theirs) = UnixStream::pair().map_err(|error| no_warden(warden, &error))?;
        let mut child = spawn(warden, &words, workload, workspace, place.variable(), theirs)?;
        let started = handshake(ours, &mut child).await?;
        let (app_pid, control) = match started {
            Handshake::Started(pid, control) => (pid, control),
            Handshake::Failed(reason) => return Err(cannot_run(words[0], workload, &reason)),
            Handshake::Ended(status) => return Err(exit_of(status).into()),
        };
        let id = ReplicaId(format!("pid-{}", app_pid.as_raw_nonzero()));
        let address = place.address();
        let (port, socket) = match place {
            Place::Port(claim) => (Some(claim), None),
            Place::Socket(claim) => (None, Some(claim)),
        };
        let (tell, ended) = watch::channel(None);
        let stopping = Arc::new(AtomicBool::new(false));
        let output = Arc::new(Output::default());
        let keeper = Keeper {
            warden: child_pid(&child)?,
            child,
            app_pid,
            app_started: procfs::started(app_pid),
            app: order.app.clone(),
            id: id.clone(),
            output: Arc::clone(&output),
            stopping: Arc::clone(&stopping),
            tell,
            socket,
        };
        Ok(Self {
            app: order.app.clone(),
            revision: order.revision.hash.clone(),
            index: order.index,
            output,
            endpoint: Endpoint { address },
            warden: keeper.warden,
            frozen: AtomicBool::new(false),
            control,
            stopping,
            ended,
            task: tokio::spawn(keeper.keep(on_exit)).abort_handle(),
            id,
            _port: port,
        })
    }

    /// Where its requests go, or how it ended.
    pub(super) fn status(&self) -> Status {
        match &*self.ended.borrow() {
            None if self.frozen.load(Ordering::Relaxed) => Status::Frozen(self.endpoint.clone()),
            None => Status::Running(self.endpoint.clone()),
            Some(exit) => Status::Exited(exit.clone()),
        }
    }

    /// Takes the CPU of its process group away, or gives it back. What has left the group goes on.
    pub(super) fn freeze(&self, frozen: bool) -> Result<(), RuntimeError> {
        if let Status::Exited(exit) = self.status() {
            return Err(exit.into());
        }
        self.order(if frozen { warden::FREEZE } else { warden::THAW });
        self.frozen.store(frozen, Ordering::Relaxed);
        Ok(())
    }

    /// Ends it: SIGTERM, `grace`, SIGKILL.
    pub(super) async fn stop(&self, grace: Duration) -> Result<(), RuntimeError> {
        self.stopping.store(true, Ordering::Relaxed);
        self.order(warden::TERMINATE);
        if self.gone_within(grace).await {
            return Ok(());
        }
        self.order(warden::KILL);
        if self.gone_within(KILL_LIMIT).await {
            return Ok(());
        }
        Err(RuntimeError::TimedOut(format!("{} has not ended {KILL_LIMIT:?} after SIGKILL", self.id)))
    }

    /// CPU time used since the start, by it and by all that it started.
    pub(super) async fn cpu_time(&self) -> Result<Duration, RuntimeError> {
        self.ask_procfs(procfs::cpu_time_below).await
    }

    /// Memory held by it and by all that it started. Nothing limits it here.
    pub(super) async fn memory(&self) -> Result<MemoryUse, RuntimeError> {
        let held = self.ask_procfs(procfs::resident_below).await?;
        Ok(MemoryUse { held, limit: None })
    }

    /// Where it and all that it started listen; `None` where that is not to be seen.
    pub(super) async fn listening(&self) -> Option<Vec<SocketAddr>> {
        let asked = self.ask_procfs(procfs::listening_below).await;
        asked
            .inspect_err(|error| tracing::debug!(replica = %self.id, %error, "cannot look at a replica"))
            .ok()?
    }

    async fn ask_procfs<T: Send + 'static>(&self, ask: fn(Pid) -> T) -> Result<T, RuntimeError> {
        if let Status::Exited(exit) = self.status() {
            return Err(exit.into());
        }
        let warden = self.warden;
        tokio::task::spawn_blocking(move || ask(warden))
            .await
            .map_err(|error| RuntimeError::Refused(format!("reading /proc failed: {error}")))
    }

    /// One byte into a socket's empty buffer: it does not block, and a warden that has gone needs no orders.
    fn order(&self, order: u8) {
        let _ = (&self.control).write_all(&[order]);
    }

    async fn gone_within(&self, limit: Duration) -> bool {
        let mut ended = self.ended.clone();
        let gone = async move { ended.wait_for(Option::is_some).await.is_ok() };
        timeout(limit, gone).await.unwrap_or(false)
    }
}

/// The task that sees a replica through to its end.
struct Keeper {
    child: Child,
    warden: Pid,
    app_pid: Pid,
    /// With the PID, it names the process for good.
    app_started: Option<u64>,
    app: String,
    id: ReplicaId,
    output: Arc<Output>,
    stopping: Arc<AtomicBool>,
    tell: watch::Sender<Option<Exit>>,
    /// Given back, and what is there removed, when nothing of the replica is left.
    socket: Option<SocketClaim>,
}

impl Keeper {
    async fn keep(mut self, on_exit: impl FnOnce(ReplicaId, Exit)) {
        let stdout = self.child.stdout.take().expect("piped at its start");
        let stderr = self.child.stderr.take().expect("piped at its start");
        let (output, app, replica) = (Arc::clone(&self.output), self.app.clone(), self.id.0.clone());
        let reading = async {
            tokio::join!(output.collect(stdout, &app, &replica), output.collect(stderr, &app, &replica));
        };
        tokio::pin!(reading);
        let mut read_up = false;
        let ended = loop {
            tokio::select! {
                ended = self.child.wait() => break ended,
                () = &mut reading, if !read_up => read_up = true,
            }
        };
        let exit = ended.map_or(Exit::UNKNOWN, exit_of);
        self.clear_up(exit.code);
        if !read_up {
            let _ = timeout(OUTPUT_LIMIT, reading).await;
        }
        drop(self.socket);
        self.tell.send_replace(Some(exit.clone()));
        if !self.stopping.load(Ordering::Relaxed) {
            on_exit(self.id, exit);
        }
    }

    /// A warden leaves nothing behind, unless somebody killed it.
    fn clear_up(&self, code: Option<i32>) {
        let alive = self.app_started.is_some() && procfs::started(self.app_pid) == self.app_started;
        if alive {
            tracing::warn!(app = self.app, replica = %self.id, ?code, "the warden of a replica was ended: killing the replica");
            let _ = kill_process_group(self.app_pid, Signal::KILL);
        }
    }
}

/// What the warden said first.
enum Handshake {
    /// The command runs, as this process.
    Started(Pid, StdStream),
    /// It does not, and why.
    Failed(String),
    /// Nothing: it ended.
    Ended(ExitStatus),
}

async fn handshake(ours: UnixStream, child: &mut Child) -> Result<Handshake, RuntimeError> {
    let listen = async {
        let mut reader = BufReader::new(ours);
        let mut line = String::new();
        reader.read_line(&mut line).await?;
        let line = line.trim_end();
        if let Some(reason) = line.strip_prefix(warden::FAILED) {
            return Ok(Handshake::Failed(reason.to_owned()));
        }
        let pid = line.strip_prefix(warden::STARTED).and_then(|pid| Pid::from_raw(pid.parse().ok()?));
        match pid {
            Some(pid) => Ok(Handshake::Started(pid, reader.into_inner().into_std()?)),
            None => child.wait().await.map(Handshake::Ended),
        }
    };
    match timeout(START_LIMIT, listen).await {
        Ok(Ok(handshake)) => Ok(handshake),
        Ok(Err(error)) => {
            Err(RuntimeError::Refused(format!("the replica's warden cannot be heard: {error}")))
        }
        Err(_) => Err(RuntimeError::TimedOut(format!("no replica {START_LIMIT:?} after its start"))),
    }
}

fn spawn(
    warden: &Path,
    words: &[&OsStr],
    workload: &Workload,
    workspace: Option<&Path>,
    (variable, place): (&str, OsString),
    control: UnixStream,
) -> Result<Child, RuntimeError> {
    if !workload.dir.is_dir() {
        return Err(RuntimeError::Refused(format!(
            "the app's folder is not there\n{}",
            workload.dir.display()
        )));
    }
    let control: OwnedFd = control
        .into_std()
        .and_then(|control| control.set_nonblocking(false).map(|()| control.into()))
        .map_err(|error| no_warden(warden, &error))?;
    let passed_on = PASSED_ON.into_iter().filter_map(|name| Some((name, std::env::var_os(name)?)));
    Command::new(warden)
        .arg0("pilotlight")
        .args(["warden", "--"])
        .args(words)
        .env_clear()
        .envs(passed_on)
        .envs(workspace.map(|folder| (WORKSPACE_VARIABLE, folder)))
        .envs(&workload.env)
        // Last: requests go there, whatever the file says.
        .env(variable, place)
        .current_dir(&workload.dir)
        // Ctrl-C in the proxy's terminal is the proxy's to handle.
        .process_group(0)
        .stdin(Stdio::from(control))
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|error| no_warden(warden, &error))
}

fn command_line(workload: &Workload) -> Result<Vec<&OsStr>, RuntimeError> {
    match &workload.command {
        Some(spec::Command::List(words)) if !words.is_empty() => Ok(words.iter().map(OsStr::new).collect()),
        Some(spec::Command::Shell(line)) => Ok(vec![OsStr::new("sh"), OsStr::new("-c"), OsStr::new(line)]),
        _ => Err(no_command()),
    }
}

/// Runtime process has no image to take a command from.
pub(super) fn no_command() -> RuntimeError {
    RuntimeError::Refused("runtime process needs a `command` that listens on $PORT".to_owned())
}

/// The first line is for visitors too, so what the host looks like comes after it.
fn cannot_run(program: &OsStr, workload: &Workload, reason: &str) -> RuntimeError {
    let program = program.to_string_lossy();
    let hint = if program.contains('/') {
        format!("a relative path starts at {}", workload.dir.display())
    } else {
        "install it in a folder of $PATH, or write its whole path".to_owned()
    };
    RuntimeError::Refused(format!("cannot run its command: {reason}\n`{program}`: {hint}"))
}

fn no_warden(warden: &Path, error: &io::Error) -> RuntimeError {
    RuntimeError::Refused(format!("cannot start a replica's warden: {error}\n{}", warden.display()))
}

fn child_pid(child: &Child) -> Result<Pid, RuntimeError> {
    child.id().and_then(|id| Pid::from_raw(i32::try_from(id).ok()?)).ok_or(Exit::UNKNOWN.into())
}

/// The warden's exit code is the replica's; a signal that ended the warden itself counts as the replica's too.
fn exit_of(status: ExitStatus) -> Exit {
    use std::os::unix::process::ExitStatusExt;
    let code = status.code().or_else(|| status.signal().map(|signal| 128 + signal));
    Exit { code, out_of_memory: false }
}
