//! `pilotlight serve`: puts the parts together, and hears the signals.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use arc_swap::ArcSwap;
use clap::Args;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::Instant;

use crate::admin;
use crate::admin::metrics::{Metrics, Traffic};
use crate::app::affinity::Secret;
use crate::cli::{self, ConfigArgs, logging, process_env};
use crate::config::spec::{AccessLogSpec, AccessTarget, Config, EdgeSpec, ListenAddress, ProxySpec};
use crate::config::{self, ConfigErrors};
use crate::control::certificates::{self, CertificateError, Store};
use crate::control::hosts::Hosts;
use crate::control::instance::{Instance, InstanceError};
use crate::control::{Board, Command, Control};
use crate::gateway::access_log::{AccessLog, Writing};
use crate::gateway::listener::Listener;
use crate::gateway::pool::Shared;
use crate::gateway::route::RouteTable;
use crate::gateway::worker::{self, Door, Gateway};
use crate::runtime;

/// Commands that wait for the control plane.
const COMMANDS: usize = 16;

/// How long the end of the access log may take to be written: a disk may hang.
const LAST_LINES: Duration = Duration::from_secs(5);

/// Arguments of `serve`.
#[derive(Debug, Clone, Args)]
pub struct ServeArgs {
    #[command(flatten)]
    pub(super) config: ConfigArgs,
    /// Take the replicas along when the proxy stops, instead of leaving them to the next start.
    #[arg(long)]
    pub(super) stop_replicas: bool,
}

/// Why the proxy does not start.
#[derive(Debug, thiserror::Error)]
pub(super) enum StartError {
    #[error("{0}")]
    Config(#[from] ConfigErrors),
    #[error("{0}")]
    Instance(#[from] InstanceError),
    #[error("cannot listen on {address}: {error}{}", hint(address, key, error))]
    Listen { address: ListenAddress, key: &'static str, error: std::io::Error },
    #[error("cannot write the access log {}: {error}{}", path.display(), log_hint(error))]
    AccessLog { path: PathBuf, error: std::io::Error },
    #[error("{0}")]
    Certificates(#[from] CertificateError),
    #[error("cannot start its workers: {0}")]
    Workers(std::io::Error),
    #[error("cannot start: {0}")]
    System(#[from] std::io::Error),
}

/// What to do about an address that cannot be had, which `key` of the file names.
fn hint(address: &ListenAddress, key: &str, error: &std::io::Error) -> String {
    let Some(port) = address.port() else { return socket_hint(key, error) };
    match error.kind() {
        std::io::ErrorKind::AddrInUse => format!(
            "; stop what listens there (`ss -ltnp 'sport = :{port}'` shows it), or choose another address with `{key}`"
        ),
        std::io::ErrorKind::PermissionDenied => format!(
            "; ports below 1024 need root, or `setcap cap_net_bind_service=+ep` on the binary; or choose another with `{key}`"
        ),
        std::io::ErrorKind::AddrNotAvailable => format!(
            "; no interface of this host has that address: choose one that `ip addr` shows with `{key}`"
        ),
        _ => String::new(),
    }
}

/// What to do about a Unix socket that cannot be had.
fn socket_hint(key: &str, error: &std::io::Error) -> String {
    match error.kind() {
        std::io::ErrorKind::AddrInUse => format!(
            "; something listens there, or the file is no socket: stop or remove it, or choose another path with `{key}`"
        ),
        std::io::ErrorKind::NotFound => "; make its folder first".to_owned(),
        std::io::ErrorKind::PermissionDenied => {
            format!("; this user may not write in its folder: choose another path with `{key}`")
        }
        _ => String::new(),
    }
}

/// What to do about an access log that cannot be written.
fn log_hint(error: &std::io::Error) -> &'static str {
    match error.kind() {
        std::io::ErrorKind::NotFound => "; make its folder first",
        std::io::ErrorKind::PermissionDenied => {
            "; this user may not write there: choose another path with `access_log`"
        }
        std::io::ErrorKind::IsADirectory => "; name a file in it with `access_log`",
        _ => "",
    }
}

/// Serves until told to stop.
#[must_use]
pub fn run(args: &ServeArgs) -> ExitCode {
    match start(args) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("pilotlight: {error}");
            ExitCode::FAILURE
        }
    }
}

fn start(args: &ServeArgs) -> Result<(), StartError> {
    let config = config::load(&args.config.config, &args.config.overrides(), &process_env)?;
    logging::start(&config.proxy.log);
    let instance = Instance::take(&config.proxy.state_dir)?;
    Proxy::bind(config, Arc::new(instance), args.clone())?.run(None)
}

/// A proxy whose sockets are bound, before anything else is done.
pub(super) struct Proxy {
    config: Config,
    args: ServeArgs,
    instance: Arc<Instance>,
    listeners: Vec<Listener>,
    tls: Option<Arc<Store>>,
    admin: std::net::TcpListener,
    admin_address: SocketAddr,
    access_log: Option<(AccessLog, Writing)>,
}

impl Proxy {
    /// Binds what `config` names, which was read as `args` say.
    pub(super) fn bind(config: Config, instance: Arc<Instance>, args: ServeArgs) -> Result<Self, StartError> {
        log_warnings(&config);
        raise_open_files();
        let spec = &config.proxy;
        let tls = spec.tls.as_ref().map(|tls| certificates::load(&tls.certificates)).transpose()?;
        let access_log =
            spec.access_log.as_ref().map(|log| open_access_log(log, spec.workers)).transpose()?;
        let clear = spec.listen.iter().map(|address| (address, "listen", false));
        let secure = spec.tls.iter().flat_map(|tls| &tls.listen).map(|address| (address, "tls.listen", true));
        let bind = |(address, key, secure): (&ListenAddress, _, _)| {
            Listener::bind(address, secure, spec.workers).map_err(|error| StartError::Listen {
                address: address.clone(),
                key,
                error,
            })
        };
        let listeners = clear.chain(secure).map(bind).collect::<Result<Vec<_>, _>>()?;
        let refused = |error| StartError::Listen {
            address: ListenAddress::Tcp(spec.admin),
            key: "admin.listen",
            error,
        };
        let admin = std::net::TcpListener::bind(spec.admin).map_err(refused)?;
        admin.set_nonblocking(true)?;
        let admin_address = admin.local_addr()?;
        Ok(Self { config, args, instance, listeners, tls, admin, admin_address, access_log })
    }

    /// Where it listens: the first of the public addresses that has a port, and the admin API's.
    pub(super) fn addresses(&self) -> (Option<SocketAddr>, SocketAddr) {
        (public(&self.listeners), self.admin_address)
    }

    /// Serves until it is told to stop, by `orders` or, where there are none, by signals. Blocks.
    pub(super) fn run(self, orders: Option<mpsc::Receiver<Order>>) -> Result<(), StartError> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let ended = runtime.block_on(self.serve(orders));
        // What still runs is a blocking call that nobody waits for any more.
        runtime.shutdown_background();
        ended
    }

    async fn serve(self, orders: Option<mpsc::Receiver<Order>>) -> Result<(), StartError> {
        let Self { config, args, instance, listeners, tls, admin, admin_address, access_log } = self;
        let Config { proxy: spec, apps, edge, .. } = config;
        let secure_port = secure_port(&listeners);
        let edge = at_port(edge, secure_port);
        // Before anybody knows that there is somebody to be signalled.
        let mut orders = match orders {
            Some(orders) => orders,
            None => signals()?,
        };
        for Listener { address, secure, .. } in &listeners {
            tracing::info!(%address, tls = secure, "listening");
        }
        tracing::info!(address = %admin_address, "admin API");
        let board = Arc::new(Board::default());
        let routes = Arc::new(ArcSwap::from_pointee(RouteTable::default()));
        let replicas = runtime::of(&spec, &instance.identity);
        let (access_log, writing) = access_log.unzip();
        let (connections, unrouted) = Default::default();
        let traffic = Traffic { connections, unrouted, access_log: access_log.clone() };
        let metrics = Arc::new(Metrics::new(Arc::clone(&board), traffic.clone(), &*replicas));
        let mut control = Control::new(Arc::clone(&replicas), Arc::clone(&routes), Arc::clone(&board));
        if let Some(first) = public(&listeners) {
            control.look_up(Hosts::watch(first));
        }
        let (commands, inbox) = mpsc::channel(COMMANDS);
        // The routes stand before the first connection is accepted.
        control.apply(apps, edge);
        let control = tokio::spawn(control.run(inbox));
        let admin = tokio::net::TcpListener::from_std(admin)?;
        let admin = tokio::spawn(admin::serve(admin, admin::Sources { board, metrics, runtime: replicas }));

        let (stop, stopping) = watch::channel(None);
        let gateway = Gateway {
            routes,
            shared: Shared::default(),
            stop: stopping,
            connections: traffic.connections,
            unrouted: traffic.unrouted,
            tls: tls.clone().map(certificates::acceptor).transpose()?,
            secret: Secret::of(&instance.identity.key),
            access_log: access_log.clone(),
        };
        let watching = tls.zip(spec.tls.as_ref()).map(|(store, tls)| {
            tokio::spawn(certificates::watch(store, tls.certificates.clone())).abort_handle()
        });
        let workers = start_workers(spec.workers, &gateway, &listeners).map_err(StartError::Workers)?;
        // Whoever waits for these may count on everything behind them.
        instance.tell_addresses(listeners.iter().map(|listener| listener.address.clone()), admin_address)?;

        while let Some(Order::Reload) = orders.recv().await {
            if let Some(log) = &access_log {
                log.reopen();
            }
            reload(&args, &spec, secure_port, &commands).await;
        }
        tracing::info!(timeout = ?spec.shutdown_timeout, "stopping: no new connections, what runs may finish");
        let _ended = commands.send(Command::Close).await;
        // The workers' duplicates are the only ones now: what they close is closed.
        drop(listeners);
        stop.send_replace(Some(Instant::now() + spec.shutdown_timeout));
        let finished = async {
            let cut = tokio::task::spawn_blocking(|| join(workers)).await.unwrap_or(0);
            if cut > 0 {
                tracing::warn!(connections = cut, "shutdown_timeout is over: connections were cut");
            }
            let (done, ended) = oneshot::channel();
            if commands.send(Command::End(args.stop_replicas, done)).await.is_ok() {
                let _ended = ended.await;
            }
        };
        tokio::select! {
            () = finished => {}
            () = told_to_leave(orders) => tracing::warn!("interrupted again: leaving at once"),
        }
        admin.abort();
        control.abort();
        if let Some(watching) = watching {
            watching.abort();
        }
        if let (Some(log), Some(writing)) = (access_log, writing) {
            let written = tokio::task::spawn_blocking(|| {
                log.close();
                writing.join()
            });
            if tokio::time::timeout(LAST_LINES, written).await.is_err() {
                tracing::warn!("the access log takes too long: its last lines are lost");
            }
        }
        Ok(())
    }
}

fn open_access_log(spec: &AccessLogSpec, workers: usize) -> Result<(AccessLog, Writing), StartError> {
    AccessLog::open(spec, workers).map_err(|error| match &spec.target {
        AccessTarget::File(path) => StartError::AccessLog { path: path.clone(), error },
        AccessTarget::Stdout => StartError::System(error),
    })
}

fn start_workers(
    count: usize,
    gateway: &Gateway,
    listeners: &[Listener],
) -> std::io::Result<Vec<JoinHandle<usize>>> {
    let start = |worker| {
        let doors = listeners.iter().map(|listener| {
            listener.for_worker(worker).map(|socket| Door { socket, secure: listener.secure })
        });
        worker::spawn(worker, gateway.clone(), doors.collect::<std::io::Result<_>>()?)
    };
    (0..count).map(start).collect()
}

fn join(workers: Vec<JoinHandle<usize>>) -> usize {
    workers.into_iter().map(|worker| worker.join().unwrap_or(0)).sum()
}

/// The first public address that has a port.
fn public(listeners: &[Listener]) -> Option<SocketAddr> {
    listeners.iter().find_map(|listener| match listener.address {
        ListenAddress::Tcp(address) => Some(address),
        ListenAddress::Unix(_) => None,
    })
}

/// The first port at which TLS is spoken.
fn secure_port(listeners: &[Listener]) -> Option<u16> {
    listeners.iter().filter(|listener| listener.secure).find_map(|listener| listener.address.port())
}

/// Who is sent to TLS is sent to where this process speaks it, whatever the file says by now.
fn at_port(mut edge: EdgeSpec, port: Option<u16>) -> EdgeSpec {
    if let (Some(redirect), Some(port)) = (&mut edge.https.redirect, port) {
        *redirect = port;
    }
    edge
}

fn log_warnings(config: &Config) {
    for warning in &config.warnings {
        tracing::warn!("{warning}");
    }
}

/// Reads the file again. A bad one changes nothing, and neither does one whose apps are written for another runtime
/// than the one that runs.
async fn reload(
    args: &ServeArgs,
    running: &ProxySpec,
    secure_port: Option<u16>,
    commands: &mpsc::Sender<Command>,
) {
    let (path, overrides) = (args.config.config.clone(), args.config.overrides());
    let loaded = tokio::task::spawn_blocking(move || config::load(&path, &overrides, &process_env)).await;
    match loaded {
        Ok(Ok(Config { proxy, .. })) if proxy.runtime != running.runtime => {
            let (now, was) = (cli::name_of(proxy.runtime), cli::name_of(running.runtime));
            tracing::error!(
                "the file is not taken, nothing has changed: `runtime` is now {now}, and this proxy runs {was} until its next start"
            );
        }
        Ok(Ok(mut config)) => {
            log_warnings(&config);
            // A check of the apps' volumes, which they have passed.
            config.proxy.docker.allow.clone_from(&running.docker.allow);
            if config.proxy != *running {
                tracing::warn!("the proxy's own keys have changed: they take effect at the next start");
            }
            tracing::info!(apps = config.apps.len(), "reading the file again");
            let _ended = commands.send(Command::Apply(config.apps, at_port(config.edge, secure_port))).await;
        }
        Ok(Err(errors)) => tracing::error!("the file is not taken, nothing has changed:\n{errors}"),
        Err(error) => tracing::error!(%error, "reading the file again failed"),
    }
}

/// What a proxy is told from outside.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Order {
    /// Read the file again.
    Reload,
    /// Let what runs finish, and end.
    Stop,
    /// End at once, whatever still runs.
    Leave,
}

/// Orders that wait to be heard.
pub(super) const ORDERS: usize = 8;

/// What signals say, from now on. The task behind it ends with the runtime.
fn signals() -> std::io::Result<mpsc::Receiver<Order>> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut hangup = signal(SignalKind::hangup())?;
    let (tell, orders) = mpsc::channel(ORDERS);
    tokio::spawn(async move {
        let mut stopping = false;
        loop {
            let order = tokio::select! {
                _ = terminate.recv() => Order::Stop,
                // An impatient Ctrl-C. A second SIGTERM says nothing new: who means it sends SIGKILL.
                _ = interrupt.recv() => if stopping { Order::Leave } else { Order::Stop },
                _ = hangup.recv() => Order::Reload,
            };
            stopping |= order == Order::Stop;
            if tell.send(order).await.is_err() {
                return;
            }
        }
    });
    Ok(orders)
}

/// Resolves when a proxy that is stopping has no time for it.
async fn told_to_leave(mut orders: mpsc::Receiver<Order>) {
    while let Some(order) = orders.recv().await {
        if order == Order::Leave {
            return;
        }
    }
    std::future::pending::<()>().await;
}

/// Each connection is a file; the soft limit is often 1024.
fn raise_open_files() {
    use rustix::process::{Resource, getrlimit, setrlimit};
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    if let Err(error) = setrlimit(Resource::Nofile, limit) {
        tracing::warn!(%error, "cannot raise the limit on open files");
    }
}
