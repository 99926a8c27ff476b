//! The configuration as it is run: every default filled in, every value checked, durations and sizes in
//! one unit. Owns the types only; reading and checking a file is the rest of this folder's business.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use http::{HeaderName, HeaderValue};
use serde::{Deserialize, Serialize};

mod edge;

pub use edge::{
    Certificates, ClientsSpec, EdgeSpec, HttpsSpec, ListenAddress, Peers, RedirectSpec, TlsSpec, UnknownHost,
};

use super::diagnostic::Diagnostic;

/// Where a container finds its app's workspace.
pub const WORKSPACE: &str = "/data/workspace";

/// One checked `jcloud.yml`.
#[derive(Debug, Clone, PartialEq)]
pub struct Config {
    /// What concerns the proxy as a whole.
    pub proxy: ProxySpec,
    /// The apps, in the order of the file. Names are unique, and so are routes.
    pub apps: Vec<AppSpec>,
    /// What the proxy answers by itself.
    pub edge: EdgeSpec,
    /// What is no mistake, but not what one may think either; in the order of the file.
    pub warnings: Vec<Diagnostic>,
}

/// What concerns the proxy as a whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProxySpec {
    /// Public addresses at which HTTP is spoken as it is. There is at least one public address, here or in `tls`.
    pub listen: Vec<ListenAddress>,
    /// TLS, where it is spoken.
    pub tls: Option<TlsSpec>,
    /// Data plane threads; at least one.
    pub workers: usize,
    /// What runs the replicas.
    pub runtime: RuntimeKind,
    /// How to reach the Docker Engine, and what containers may do.
    pub docker: DockerSpec,
    /// Address of the admin API.
    pub admin: SocketAddr,
    /// Where the proxy keeps its identity; absolute. By default `.pilotlight` beside the file.
    pub state_dir: PathBuf,
    /// How long a stopping proxy waits for requests that are under way.
    pub shutdown_timeout: Duration,
    /// What is logged, and how.
    pub log: LogSpec,
    /// Where a line for each request goes; `None`: nowhere.
    pub access_log: Option<AccessLogSpec>,
}

/// What runs the replicas.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RuntimeKind {
    /// A container on this host's Docker Engine.
    Docker,
    /// A child process given `$PORT` or `$SOCKET`.
    Process,
}

/// How to reach the Docker Engine, and what containers may do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DockerSpec {
    /// The engine's socket; `None` means `DOCKER_HOST` where it names a Unix socket, else `/var/run/docker.sock`.
    pub socket: Option<PathBuf>,
    /// The network that replicas join; `None` means one of this instance's own.
    pub network: Option<String>,
    /// How long a pull may go without any progress.
    pub pull_timeout: Duration,
    /// For how many apps the network of a stopped replica is kept.
    pub prepared: usize,
    /// How many replicas are started at once; at least one.
    pub max_concurrent_starts: usize,
    /// Host paths that `volumes` may name, with all that lies below them; absolute.
    pub allow: Vec<PathBuf>,
}

impl Default for DockerSpec {
    fn default() -> Self {
        Self {
            socket: None,
            network: None,
            pull_timeout: Duration::from_mins(2),
            prepared: 50,
            max_concurrent_starts: 8,
            allow: Vec::new(),
        }
    }
}

/// What is logged, and how.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogSpec {
    /// A `tracing` filter, such as `info` or `pilotlight=debug`.
    pub level: String,
    /// `None`: text on a terminal, else JSON.
    pub format: Option<LogFormat>,
}

/// The form of a log line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One object a line.
    Json,
}

/// Where a line for each request goes, and how it looks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AccessLogSpec {
    /// Where to.
    pub target: AccessTarget,
    /// How a line looks.
    pub format: AccessFormat,
}

/// Where lines go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AccessTarget {
    /// Standard output.
    Stdout,
    /// A file, absolute, that is appended to.
    File(PathBuf),
}

/// How a line of the access log looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AccessFormat {
    /// As most web servers write it, with host, app and times behind it.
    Combined,
    /// One object a line.
    Json,
}

/// One app.
#[derive(Debug, Clone, PartialEq)]
pub struct AppSpec {
    /// Unique; `[a-z0-9]([a-z0-9-]*[a-z0-9])?`, at most 40 characters, so that it fits a container's name.
    pub name: String,
    /// Where its requests come in; none where it is only needed by others.
    pub routes: Vec<RouteSpec>,
    /// Whether the route's path prefix is taken off before the request goes on.
    pub strip_prefix: bool,
    /// What is changed in headers on their way.
    pub headers: HeadersSpec,
    /// What shapes a replica: a change here is a new revision.
    pub workload: Workload,
    /// What replicas speak.
    pub protocol: Protocol,
    /// How a replica shows that it is ready.
    pub health: HealthSpec,
    /// From the request's head to the response's head, time held included.
    pub timeout: Duration,
    /// How often one client may ask; `None`: as often as it likes.
    pub rate_limit: Option<RateSpec>,
    /// Bytes of a request's body; `None`: no limit.
    pub max_body: Option<u64>,
    /// How long a client may stop in the middle of a body.
    pub body_timeout: Duration,
    /// How long a WebSocket may stay open.
    pub websocket: WebSocketSpec,
    /// Whether who has waited for a replica is told where the time went.
    pub server_timing: bool,
    /// How many requests may wait, and how long.
    pub hold: HoldSpec,
    /// Requests in flight on one replica; `None`: no limit. At least one.
    pub max_concurrency: Option<u32>,
    /// What binds a client to a replica; `None`: nothing does.
    pub affinity: Option<Affinity>,
    /// How long a replica that has just become ready gets less than its share; zero: never.
    pub slow_start: Duration,
    /// How long an idle upstream connection is kept.
    pub keep_alive: Duration,
    /// How long deploys, removal and shutdown wait for open requests.
    pub drain_timeout: Duration,
    /// Between SIGTERM and SIGKILL.
    pub stop_grace: Duration,
    /// What a replica may use while it starts.
    pub boost: BoostSpec,
    /// Apps of which each has a replica that is ready before one of this app starts; sorted, each once, and no app needs
    /// itself by way of others.
    pub needs: Vec<String>,
    /// How many replicas, and why.
    pub autoscale: AutoscaleSpec,
}

/// What a replica may use while it starts, beyond its instance's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BoostSpec {
    /// Thousandths of a core; fewer than the instance's, or 0: nothing beyond.
    pub cpu_millis: u32,
    /// From ready to the boost's end.
    pub after_ready: Duration,
}

/// What replicas speak.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Protocol {
    /// HTTP/1.1.
    Http1,
    /// HTTP/2 on clear text, known beforehand.
    H2c,
    /// gRPC by HTTP/2 on clear text, everything else by HTTP/1.1.
    #[default]
    Auto,
}

/// How long a WebSocket may stay open.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WebSocketSpec {
    /// How long neither side may send a message; `None`: as long as they like.
    pub idle_timeout: Option<Duration>,
    /// How long one may be open at all; `None`: no limit.
    pub max_age: Option<Duration>,
    /// Whether an open one keeps the app awake.
    pub counts: bool,
}

/// How often one client may ask.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct RateSpec {
    /// Requests per second in the long run; above 0.
    pub rps: f64,
    /// At once after a while of silence; at least one.
    pub burst: u32,
}

/// What binds a client to a replica.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Affinity {
    /// A cookie of the proxy's own.
    Cookie,
    /// Its address.
    Ip,
    /// What it says in this header.
    Header(HeaderName),
}

/// One way in: a host and a path prefix.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RouteSpec {
    /// Which hosts.
    pub host: HostPattern,
    /// A path prefix on segment boundaries: starts with `/`, ends without one unless it is `/` itself.
    pub path: String,
}

/// Which hosts a route takes. Names are lower case, without port or trailing dot.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum HostPattern {
    /// This name alone.
    Exact(String),
    /// `*.example.com`, kept as `example.com`: every name below it, not the name itself.
    Wildcard(String),
    /// Whatever the client says.
    Any,
}

/// What is changed in an app's headers on their way.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct HeadersSpec {
    /// Of requests, after the proxy's own changes.
    pub request: HeaderChanges,
    /// Of responses, those included that the proxy gives in the app's stead.
    pub response: HeaderChanges,
}

/// Changes of headers, in the order in which they are made. None is of a header that belongs to one connection.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct HeaderChanges {
    /// Taken off.
    pub remove: Vec<HeaderName>,
    /// Put in the place of any of that name.
    pub set: Vec<(HeaderName, HeaderValue)>,
    /// Put beside any of that name.
    pub add: Vec<(HeaderName, HeaderValue)>,
}

/// What shapes a replica.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Workload {
    /// Where its file system comes from.
    pub source: Source,
    /// `None`: the image's own.
    pub command: Option<Command>,
    /// Where the replica listens; `None`: the image's only EXPOSE, else 8080.
    pub port: Option<u16>,
    /// Whether it listens on a Unix socket of its own instead; runtime process only.
    pub socket: bool,
    /// What it may use.
    pub resources: Resources,
    /// `env_file` and `env` merged, `${NAME}` filled in.
    pub env: BTreeMap<String, String>,
    /// What is mounted where.
    pub volumes: Vec<Volume>,
    /// Whether the app has a workspace, which all its replicas share and which outlives them.
    pub workspace: bool,
    /// Networks that it joins beside the proxy's own; sorted, each once.
    pub networks: Vec<String>,
    /// Whether replicas of other apps find it by its app's name; runtime docker only.
    pub named: bool,
    /// The folder of `jcloud.yml`, absolute: the working directory of a process.
    pub dir: PathBuf,
}

/// Where a replica's file system comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// A reference as `docker pull` takes it.
    Image(String),
    /// A folder with a `Dockerfile`, absolute.
    Build(PathBuf),
    /// The host's own; runtime process only.
    Host,
    /// Nothing is run: requests go to what listens there already. At least one, each once.
    Upstream(Vec<Origin>),
}

/// Where something listens that is not ours to start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Origin {
    /// A name or an address, in lower case; IPv6 without brackets.
    pub host: String,
    /// Not 0.
    pub port: u16,
}

/// What is run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command {
    /// Run as it is; never empty.
    List(Vec<String>),
    /// Run through `sh -c`.
    Shell(String),
}

/// What one replica may use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Resources {
    /// Thousandths of a core.
    pub cpu_millis: u32,
    /// Bytes.
    pub memory: u64,
    /// The host's first so many GPUs; 0: none.
    pub gpus: u32,
}

/// A mount.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Volume {
    /// Where it comes from.
    pub source: VolumeSource,
    /// Absolute path inside the replica.
    pub target: String,
    /// `:ro`.
    pub read_only: bool,
}

/// Where a mount comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum VolumeSource {
    /// A volume of the engine.
    Named(String),
    /// A path of the host, absolute; allowed by `docker.allow`.
    Host(PathBuf),
}

/// How a replica shows that it is ready, and that it still is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HealthSpec {
    /// Whether the path is asked for in HTTP/2.
    pub http2: bool,
    /// A path whose answer must be 2xx or 3xx; `None`: a connection is enough.
    pub path: Option<String>,
    /// What shows that one that starts is ready.
    pub probe: Probe,
    /// Between two checks of a ready replica.
    pub interval: Duration,
    /// For one check.
    pub timeout: Duration,
    /// From the start call's return to the first good check.
    pub start_timeout: Duration,
}

/// What shows that a replica that starts is ready, where its app has a health path.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Probe {
    /// A good answer at that path.
    #[default]
    Path,
    /// The same, or the answer to the first request that waits and may be sent again.
    Request,
}

/// How many requests may wait for a replica, and how long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HoldSpec {
    /// Tickets; 0 refuses at once.
    pub max: usize,
    /// For one ticket.
    pub timeout: Duration,
}

/// How many replicas.
#[derive(Debug, Clone, PartialEq)]
pub struct AutoscaleSpec {
    /// Fewest replicas.
    pub min: u32,
    /// Most replicas; at least `min` and at least one.
    pub max: u32,
    /// What is held to the target.
    pub metric: Metric,
    /// Per replica: requests per second, requests in flight, or per cent of the instance's CPU or memory. Above zero.
    pub target: f64,
    /// The window that decides in calm weather; at least 1 s.
    pub stable_window: Duration,
    /// The window that decides in a rush; at least 100 ms, no longer than `stable_window`.
    pub panic_window: Duration,
    /// From the end of the last request to zero.
    pub idle: Duration,
    /// From there to replicas that are paused; shorter than `idle`. `None`: they never are.
    pub freeze_after: Option<Duration>,
    /// From a replica's stop to its removal; zero: nothing is kept.
    pub remove_after: Duration,
    /// How many replicas that are not wanted any more are paused while others serve.
    pub warm_pool: u32,
    /// A rate (requests per second) below this counts as idle; 0: only silence does.
    pub idle_below: f64,
    /// How long a lower count must have been right.
    pub scale_down_delay: Duration,
}

/// What the autoscaler holds to its target.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Metric {
    /// Requests per second.
    Rps,
    /// Requests in flight.
    Concurrency,
    /// CPU time, in per cent of the instance's.
    Cpu,
    /// Memory that is held, in per cent of the instance's.
    Memory,
}
