//! `pilotlight demo`: the main job in half a minute, with an app that this binary brings along. Plays beside a proxy that is
//! served as any other is, from a `jcloud.yml` of the demo's own; leaves nothing behind.

pub mod app;
mod place;
mod script;
mod stage;
mod tell;

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::process::ExitCode;
use std::sync::Arc;

use clap::Args;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::mpsc;

use self::place::{Place, PlaceError};
use self::stage::{PlayError, Stage};
use self::tell::{Teller, quote};
use super::serve::{ORDERS, Order, Proxy, ServeArgs, StartError};
use super::{ConfigArgs, RuntimeArg, logging, process_env};
use crate::config::spec::{DockerSpec, ListenAddress, LogFormat, LogSpec, RuntimeKind};
use crate::config::{self, ADMIN, ConfigErrors};
use crate::control::instance::{Instance, InstanceError};
use crate::runtime::Runtime;
use crate::runtime::docker::{DockerRuntime, DockerSettings};

/// Where the demo listens if it can. Nobody but this machine is to reach it.
const PUBLIC: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 8080);

/// Arguments of `demo`.
#[derive(Debug, Clone, Args)]
pub struct DemoArgs {
    /// End when all is played, instead of serving on until Ctrl-C.
    #[arg(long)]
    once: bool,
    /// What runs the replicas; where nothing is said, Docker if there is an engine, else processes.
    #[arg(long, value_enum)]
    runtime: Option<RuntimeArg>,
}

/// Why the demo does not come to its end.
#[derive(Debug, thiserror::Error)]
enum DemoError {
    #[error("{0}")]
    Place(#[from] PlaceError),
    #[error(
        "a demo of this user runs already, as process {0}: end that one, or set TMPDIR to another folder"
    )]
    Running(String),
    #[error("{0}")]
    Instance(InstanceError),
    #[error(
        "not all of it is removed ({0}): the next demo does that, or `docker ps --filter label=pilotlight.app=pilotlight-demo` shows it"
    )]
    Left(String),
    #[error("{0}")]
    Config(#[from] ConfigErrors),
    #[error("{0}")]
    Start(#[from] StartError),
    #[error("{0}")]
    NoEngine(crate::runtime::RuntimeError),
    #[error("{0}")]
    Play(#[from] PlayError),
    #[error("the proxy has ended")]
    Ended,
    #[error("cannot start: {0}")]
    System(#[from] std::io::Error),
}

impl From<InstanceError> for DemoError {
    fn from(error: InstanceError) -> Self {
        match error {
            InstanceError::Held { holder, .. } => Self::Running(holder),
            other => Self::Instance(other),
        }
    }
}

/// Plays it.
#[must_use]
pub fn run(args: DemoArgs) -> ExitCode {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let played = runtime.map_err(DemoError::System).and_then(|runtime| runtime.block_on(demo(args)));
    match played {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("pilotlight demo: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn demo(args: DemoArgs) -> Result<(), DemoError> {
    let mut interrupts = Interrupts::new()?;
    let place = Place::open()?;
    // Before anything is written, and until all is removed: the folder may be that of a demo that runs.
    let instance = Arc::new(Instance::take(&place.state_dir())?);
    let settings = DockerSettings {
        spec: DockerSpec::default(),
        instance: instance.identity.clone(),
        state_dir: place.state_dir(),
    };
    let docker = DockerRuntime::new(settings);
    let played = perform(&args, &place, &instance, &docker, &mut interrupts).await;
    // By what is in the folder the next demo knows again what could not be removed.
    let cleared = clear(place, &docker, &mut interrupts).await;
    if let (Err(error), Err(_)) = (&played, &cleared) {
        eprintln!("pilotlight demo: {error}");
    }
    cleared.and(played)
}

async fn perform(
    args: &DemoArgs,
    place: &Place,
    instance: &Arc<Instance>,
    docker: &DockerRuntime,
    interrupts: &mut Interrupts,
) -> Result<(), DemoError> {
    let (runtime, why) = choose(args.runtime, docker).await?;
    let file = place.furnish(runtime)?;
    let open = |public, admin| {
        let config = ConfigArgs {
            config: place.file(),
            listen: vec![ListenAddress::Tcp(public)],
            admin: Some(admin),
            runtime: None,
        };
        let serve = ServeArgs { config, stop_replicas: true };
        let config = config::load(&place.file(), &serve.config.overrides(), &process_env)?;
        Ok::<_, DemoError>(Proxy::bind(config, Arc::clone(instance), serve)?)
    };
    logging::start(&LogSpec { level: "warn".to_owned(), format: Some(LogFormat::Text) });
    let any = |address: SocketAddr| SocketAddr::new(address.ip(), 0);
    let proxy = match open(free_or_any(PUBLIC), free_or_any(ADMIN)) {
        // Somebody was faster.
        Err(DemoError::Start(StartError::Listen { .. })) => open(any(PUBLIC), any(ADMIN)),
        opened => opened,
    }?;
    let (public, admin) = proxy.addresses();
    let public = public.expect("it was opened at an address with a port");
    let stage = Stage::new(Teller::new(), public, admin);
    let played = async {
        introduce(&stage, &why, place, &file)?;
        tokio::select! {
            played = play(&stage, args.once) => played,
            watched = stage.watch() => watched,
        }
    };
    beside(proxy, played, interrupts).await
}

/// Removes all that the demo has made, or says what may be left.
async fn clear(place: Place, docker: &DockerRuntime, interrupts: &mut Interrupts) -> Result<(), DemoError> {
    if place.has_image() {
        tokio::select! {
            removed = docker.remove_everything() => removed.map_err(|error| DemoError::Left(error.to_string()))?,
            () = interrupts.any() => return Err(DemoError::Left("interrupted".to_owned())),
        }
    }
    Ok(place.clear()?)
}

/// What runs the replicas, and why that.
async fn choose(
    wanted: Option<RuntimeArg>,
    docker: &DockerRuntime,
) -> Result<(RuntimeKind, String), DemoError> {
    const DOCKER: &str =
        "docker: containers of an image FROM scratch, which holds this executable and its libraries";
    if let Some(RuntimeArg::Process) = wanted {
        return Ok((RuntimeKind::Process, "process: child processes".to_owned()));
    }
    match (docker.list().await, wanted) {
        (Ok(_), _) => Ok((RuntimeKind::Docker, DOCKER.to_owned())),
        (Err(error), Some(_)) => Err(DemoError::NoEngine(error)),
        (Err(error), None) => Ok((RuntimeKind::Process, format!("process: child processes ({error})"))),
    }
}

/// The address, or another port of it where somebody has that one.
fn free_or_any(address: SocketAddr) -> SocketAddr {
    match TcpListener::bind(address) {
        Ok(_free) => address,
        Err(_taken) => SocketAddr::new(address.ip(), 0),
    }
}

fn introduce(stage: &Stage, why: &str, place: &Place, file: &str) -> Result<(), PlayError> {
    let teller = &stage.teller;
    teller.heading(format!("pilotlight {} demo", env!("CARGO_PKG_VERSION")))?;
    teller.fact("runtime", why)?;
    teller.fact("app", format!("http://localhost:{}/ping", stage.public.port()))?;
    teller.fact("admin", format!("http://localhost:{}/api/apps", stage.admin.port()))?;
    teller.fact("file", place.file().display())?;
    Ok(quote(file)?)
}

async fn play(stage: &Stage, once: bool) -> Result<(), PlayError> {
    script::play(stage).await?;
    if once {
        return Ok(());
    }
    stage.teller.heading("It serves on: call it as you like. Ctrl-C ends it and takes all of it along")?;
    std::future::pending().await
}

/// Runs the proxy on a thread of its own until `played` has come to its end, or somebody interrupts.
async fn beside(
    proxy: Proxy,
    played: impl Future<Output = Result<(), PlayError>>,
    interrupts: &mut Interrupts,
) -> Result<(), DemoError> {
    let (tell, orders) = mpsc::channel(ORDERS);
    let mut proxy = tokio::task::spawn_blocking(move || proxy.run(Some(orders)));
    let result = tokio::select! {
        biased;
        () = interrupts.any() => Ok(()),
        played = played => played.map_err(DemoError::from),
        ended = &mut proxy => return Err(match ended {
            Ok(Err(error)) => error.into(),
            _ => DemoError::Ended,
        }),
    };
    // Its end is waited for below, whether it hears this or not.
    let _heard = tell.send(Order::Stop).await;
    let ended = tokio::select! {
        ended = &mut proxy => ended,
        () = interrupts.any() => {
            let _heard = tell.send(Order::Leave).await;
            proxy.await
        }
    };
    ended.map_err(|_panicked| DemoError::Ended)?.map_err(DemoError::from).and(result)
}

/// Whoever wants the demo to end: Ctrl-C, a supervisor, or a terminal that was closed.
struct Interrupts([Signal; 3]);

impl Interrupts {
    /// From now on.
    fn new() -> std::io::Result<Self> {
        let [interrupt, terminate, hangup] =
            [SignalKind::interrupt(), SignalKind::terminate(), SignalKind::hangup()].map(signal);
        Ok(Self([interrupt?, terminate?, hangup?]))
    }

    async fn any(&mut self) {
        let [interrupt, terminate, hangup] = &mut self.0;
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
            _ = hangup.recv() => {}
        }
    }
}
