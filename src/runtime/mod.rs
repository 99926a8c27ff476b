//! What runs replicas, behind one trait: containers of a Docker Engine, or child processes.
//!
//! A runtime does what it is told and reports what it sees. It decides nothing: how many replicas there are,
//! when one is ready and what a failure means is the control plane's business.

pub mod docker;
mod identity;
pub mod process;
pub mod reach;
pub mod revision;
#[cfg(test)]
pub(crate) mod scripted;
mod sockets;
pub mod unix;

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use prometheus_client::registry::Registry;
use tokio::sync::mpsc;

use self::docker::{DockerRuntime, DockerSettings};
use self::process::{ProcessRuntime, ProcessSettings};
use crate::config::spec::{HealthSpec, ProxySpec, RuntimeKind, Workload};

pub use identity::Identity;
pub use reach::{Proof, Unreached};

/// Tells a replica where its app's workspace is, unless its `env` says something else.
const WORKSPACE_VARIABLE: &str = "JCLOUD_WORKSPACE";

/// The runtime that the proxy's file names.
#[must_use]
pub fn of(proxy: &ProxySpec, identity: &Identity) -> Arc<dyn Runtime> {
    let instance = identity.clone();
    match proxy.runtime {
        RuntimeKind::Docker => {
            let (spec, state_dir) = (proxy.docker.clone(), proxy.state_dir.clone());
            let settings = DockerSettings { spec, instance, state_dir };
            Arc::new(DockerRuntime::new(settings))
        }
        RuntimeKind::Process => {
            // The proxy's own executable, even after an upgrade has replaced the file.
            let warden = PathBuf::from("/proc/self/exe");
            let state_dir = proxy.state_dir.clone();
            Arc::new(ProcessRuntime::new(ProcessSettings { warden, instance, state_dir }))
        }
    }
}

/// What a call of a runtime resolves to.
pub type Reply<'a, T> = BoxFuture<'a, Result<T, RuntimeError>>;

/// Starts, stops and watches replicas. Every call ends within a time of its own choosing, whatever the engine does.
pub trait Runtime: Send + Sync + 'static {
    /// `docker` or `process`, for people.
    fn name(&self) -> &'static str;

    /// Makes sure that whatever the workload runs is there (an image built or pulled), and says what revision that makes.
    fn prepare<'a>(&'a self, app: &'a str, workload: &'a Arc<Workload>) -> Reply<'a, Revision>;

    /// Starts one replica; resolves when the start call has returned, not when the replica is ready.
    /// A replica of that name which is there already, is ours and fits, is taken as it is.
    fn start<'a>(&'a self, order: &'a StartOrder) -> Reply<'a, Started>;

    /// SIGTERM, `grace`, SIGKILL; then nothing of it is left. A replica that is gone already is a success.
    fn stop<'a>(&'a self, id: &'a ReplicaId, grace: Duration) -> Reply<'a, ()>;

    /// Ends one like [`Self::stop`], and keeps what a start by `order`, which it was started by, begins with; gives what
    /// that is known by. `None`: nothing is kept. Where it fails, what is left of the replica is for [`Self::stop`].
    fn rest<'a>(
        &'a self,
        id: &'a ReplicaId,
        order: &'a StartOrder,
        grace: Duration,
    ) -> Reply<'a, Option<ReplicaId>>;

    /// Makes, and does not start, what a start by `order` begins with; gives what that is known by. `None`: there is no
    /// such thing.
    fn lay_out<'a>(&'a self, _order: &'a StartOrder) -> Reply<'a, Option<ReplicaId>> {
        Box::pin(std::future::ready(Ok(None)))
    }

    /// Ends the boost that a start has given: from now on it may use so many thousandths of a core.
    fn settle<'a>(&'a self, _id: &'a ReplicaId, _cpu_millis: u32) -> Reply<'a, ()> {
        Box::pin(std::future::ready(Ok(())))
    }

    /// Takes its CPU away; it keeps its memory. One that is frozen already is a success.
    fn freeze<'a>(&'a self, id: &'a ReplicaId) -> Reply<'a, ()>;

    /// Gives its CPU back; resolves when it may run, not when it answers. One that is not frozen is a success.
    fn thaw<'a>(&'a self, id: &'a ReplicaId) -> Reply<'a, ()>;

    /// Everything of this instance's that exists, running or not.
    fn list(&self) -> Reply<'_, Vec<Found>>;

    /// What has become of one replica.
    fn status<'a>(&'a self, id: &'a ReplicaId) -> Reply<'a, Status>;

    /// The last `lines` lines that it wrote, oldest first.
    fn tail<'a>(&'a self, id: &'a ReplicaId, lines: usize) -> Reply<'a, Vec<String>>;

    /// Where it listens by TCP, as seen from inside, for a replica that cannot be reached; `None` where nobody can say.
    fn listening<'a>(&'a self, _id: &'a ReplicaId) -> BoxFuture<'a, Option<Vec<SocketAddr>>> {
        Box::pin(std::future::ready(None))
    }

    /// CPU time that it has used since its start.
    fn cpu_time<'a>(&'a self, id: &'a ReplicaId) -> Reply<'a, Duration>;

    /// Memory that it holds now.
    fn memory<'a>(&'a self, id: &'a ReplicaId) -> Reply<'a, MemoryUse>;

    /// Memory is short: gives up what it keeps in memory for the replica that rests and has not been used for longest, whose
    /// next start makes it anew.
    fn give_way(&self) -> BoxFuture<'_, ()> {
        Box::pin(std::future::ready(()))
    }

    /// Whether a network is kept for a replica of that app.
    fn keeps_network(&self, _app: &str) -> bool {
        false
    }

    /// Adds what it counts of its own work to what is shown at `/metrics`.
    fn register(&self, _registry: &mut Registry) {}

    /// What happens to replicas without our asking, from now on. The task behind it ends when the receiver is dropped.
    fn watch(&self) -> mpsc::Receiver<Event>;

    /// Tries once whether a replica can be reached and, where `health` has a path, answers well; where it has none,
    /// `proof` says what is enough.
    fn reach<'a>(
        &'a self,
        endpoint: &'a Endpoint,
        health: &'a HealthSpec,
        proof: Proof,
    ) -> BoxFuture<'a, Result<(), Unreached>> {
        Box::pin(reach::once(endpoint, health, "localhost", proof))
    }

    /// Removes what earlier revisions have left behind and nothing runs on any more: images of builds before. What
    /// cannot be removed stays, and is no failure.
    fn tidy(&self) -> BoxFuture<'_, ()> {
        Box::pin(std::future::ready(()))
    }

    /// Takes away what the runtime made for all replicas together (a network), where no replica uses it any more.
    /// Called once, by a proxy that ends and takes its replicas along.
    fn close(&self) -> Reply<'_, ()>;
}

/// How a runtime knows a replica: a container's full ID, or a process's name.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ReplicaId(pub String);

impl fmt::Display for ReplicaId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.get(..12).unwrap_or(&self.0))
    }
}

/// One specification of how to run an app, fixed for good.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Revision {
    /// Twelve hex digits over what shapes the replica; equal exactly where a running replica may be kept.
    pub hash: String,
    /// What to run.
    pub workload: Arc<Workload>,
    /// The image's ID (not its tag, which moves); empty for a process.
    pub image_id: String,
    /// Where the replica listens; 0 where the runtime chooses one for each.
    pub port: u16,
    /// Thousandths of a core that a replica may use: the instance's, or all that the host has where that is less.
    pub cpu_millis: u32,
}

/// What to start.
#[derive(Debug, Clone)]
pub struct StartOrder {
    /// Whose.
    pub app: String,
    /// How.
    pub revision: Arc<Revision>,
    /// Which of the app's replicas; the name is made from it, so no two that live have the same.
    pub index: u32,
    /// Whether somebody waits for it: it goes before those that are only to be there in time.
    pub awaited: bool,
    /// Thousandths of a core that it may use until [`Runtime::settle`], where that is more than its revision's.
    pub boost_millis: u32,
}

/// A replica whose start call has returned.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Started {
    /// Which.
    pub id: ReplicaId,
    /// Where its requests go.
    pub endpoint: Endpoint,
    /// How much of the call it took until the replica existed, for a runtime that makes it before it starts it.
    pub created: Option<Duration>,
    /// Whether it was there from a time before, and not made for this start: it may have ended once already.
    pub kept: bool,
}

/// Where a replica's requests go. What is spoken there is the app's to say, not the replica's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    /// The socket.
    pub address: Address,
}

/// A socket's address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Address {
    /// TCP.
    Tcp(SocketAddr),
    /// A Unix socket.
    Unix(PathBuf),
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(addr) => addr.fmt(f),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

/// Memory that a replica holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MemoryUse {
    /// Bytes that cannot be taken back from it.
    pub held: u64,
    /// Bytes at which it is ended; `None` where the runtime does not limit it.
    pub limit: Option<u64>,
}

/// A replica that exists, whoever started it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// Which.
    pub id: ReplicaId,
    /// The app that its label names.
    pub app: String,
    /// [`Revision::hash`] that its label names.
    pub revision: String,
    /// [`StartOrder::index`] that its label names.
    pub index: u32,
    /// Whether it runs, and where.
    pub status: Status,
}

/// What has become of a replica.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Status {
    /// It runs.
    Running(Endpoint),
    /// It has been started, and is given no CPU.
    Frozen(Endpoint),
    /// It exists but does not run.
    Exited(Exit),
    /// There is no such replica.
    Gone,
}

/// How a replica ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Exit {
    /// The exit code (128 + signal where a signal ended it); `None` where nobody knows.
    pub code: Option<i32>,
    /// Whether the kernel ended it for want of memory.
    pub out_of_memory: bool,
}

impl Exit {
    /// One of which nothing is known.
    pub(crate) const UNKNOWN: Self = Self { code: None, out_of_memory: false };

    /// Whether it may have been told to end, or never ran: nothing says that it would end again if it were started.
    #[must_use]
    pub fn is_orderly(&self) -> bool {
        // 128 + SIGKILL, 128 + SIGTERM.
        !self.out_of_memory && matches!(self.code, None | Some(0 | 137 | 143))
    }

    /// What happened, `when` it did, and what to do about it where that is known.
    #[must_use]
    pub fn told(&self, when: &str) -> String {
        self.with_advice(when, self.of_memory())
    }

    /// The same of one that was never ready, whose code may tell what is wrong with its command.
    #[must_use]
    pub fn before_ready(&self) -> String {
        self.with_advice(" before it was ready", self.of_memory().or(self.of_command()))
    }

    fn with_advice(&self, when: &str, advice: Option<&str>) -> String {
        let what = match (self.out_of_memory, self.code) {
            (true, _) => "out of memory".to_owned(),
            (false, Some(code)) => format!("exited with code {code}"),
            (false, None) => "exited".to_owned(),
        };
        advice.map_or_else(|| format!("{what}{when}"), |advice| format!("{what}{when}: {advice}"))
    }

    fn of_memory(&self) -> Option<&'static str> {
        match (self.out_of_memory, self.code) {
            (true, _) => Some("give it a larger `instance`, or less to do"),
            (_, Some(137)) => {
                Some("it was killed (SIGKILL), perhaps for want of memory: its instance's, or the host's")
            }
            _ => None,
        }
    }

    fn of_command(&self) -> Option<&'static str> {
        match self.code {
            Some(0) => Some("a replica lasts as long as its command, so have that stay in the foreground"),
            Some(126) => Some(
                "its command cannot be executed: check the file's mode, and that it is made for this machine's processor",
            ),
            Some(127) => Some("its command was not found, so check `command`"),
            _ => None,
        }
    }
}

impl fmt::Display for Exit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.told(""))
    }
}

impl From<Exit> for RuntimeError {
    fn from(exit: Exit) -> Self {
        Self::Exited { exit, output: Vec::new() }
    }
}

/// Something that happened to a replica, or to the view of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// One replica changed.
    Changed {
        /// Which.
        id: ReplicaId,
        /// Whose, as its label says.
        app: String,
        /// How.
        change: Change,
    },
    /// Events may have been missed: look at everything again.
    Resync,
}

/// How a replica changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// It ended.
    Exited(Exit),
    /// Its CPU was taken away, or given back, by us or by somebody else.
    Paused,
    /// Its HEALTHCHECK failed.
    Unhealthy,
    /// Its HEALTHCHECK passed again.
    Healthy,
}

/// Why a runtime could not do what it was told. The text says what to do about it.
#[derive(Debug, Clone, thiserror::Error)]
pub enum RuntimeError {
    /// Nobody answers at the engine's socket.
    #[error("{0}")]
    Unreachable(String),
    /// The image cannot be had: not there, not pulled, not built.
    #[error("{0}")]
    Image(String),
    /// The engine says no, and would say so again.
    #[error("{0}")]
    Refused(String),
    /// What the replica is to be named is somebody else's name: another index may be free.
    #[error("{0}")]
    NameTaken(String),
    /// The engine did not answer in time; what became of the call is unknown.
    #[error("{0}")]
    TimedOut(String),
    /// What was kept of a replica has ended again at once, and is removed; a new one may do better.
    #[error("{0}")]
    Stale(Exit),
    /// The replica ended before the call had returned.
    #[error("{exit}")]
    Exited {
        /// How.
        exit: Exit,
        /// Its last lines, where they would be lost with it.
        output: Vec<String>,
    },
}
