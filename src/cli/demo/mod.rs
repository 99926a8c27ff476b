//! `pilotlight demo`: the main job in a minute, with an app that this binary brings along. Plays beside a proxy that is
//! served as any other is, from a `jcloud.yml` of the demo's own; leaves nothing behind.

pub mod app;
mod place;
mod script;
mod stage;
mod tell;

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::process::ExitCode;

use clap::Args;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::oneshot;

use self::place::{Place, PlaceError};
use self::stage::{PlayError, Stage};
use self::tell::{Teller, quote};
use super::serve::{Proxy, ServeArgs, StartError};
use super::{ConfigArgs, RuntimeArg, logging, process_env};
use crate::config::spec::{DockerSpec, RuntimeKind};
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
    #[error("replicas are left running: the next demo takes them along, or `docker rm` does")]
    Left,
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
    let place = Place::open()?;
    // Before anything is written: the folder may be that of a demo that runs.
    let instance = Instance::take(&place.state_dir())?;
    let settings = DockerSettings {
        spec: DockerSpec::default(),
        instance: instance.identity.clone(),
        state_dir: place.state_dir(),
    };
    let docker = DockerRuntime::new(settings);
    let played = perform(&args, &place, instance, &docker).await;
    // An impatient Ctrl-C leaves replicas behind. By what is in the folder the next demo knows them again.
    if docker.list().await.is_ok_and(|left| !left.is_empty()) {
        return played.and(Err(DemoError::Left));
    }
    place.clear()?;
    played
}

async fn perform(
    args: &DemoArgs,
    place: &Place,
    instance: Instance,
    docker: &DockerRuntime,
) -> Result<(), DemoError> {
    let (runtime, why) = choose(args.runtime, docker).await?;
    let file = place.furnish(runtime)?;
    let serve = ServeArgs {
        config: ConfigArgs {
            config: place.file(),
            listen: vec![free_or_any(PUBLIC)],
            admin: Some(free_or_any(ADMIN)),
            runtime: None,
        },
        stop_replicas: true,
    };
    let config = config::load(&place.file(), &serve.config.overrides(), &process_env)?;
    logging::start(&config.proxy.log);
    let proxy = Proxy::bind(config, instance, serve)?;
    let (public, admin) = proxy.addresses();
    let stage = Stage::new(Teller::new(), public, admin);
    let played = beside(proxy, async {
        introduce(&stage, &why, place, &file)?;
        tokio::select! {
            played = play(&stage, args.once) => played,
            watched = stage.watch() => watched,
        }
    })
    .await;
    if runtime == RuntimeKind::Docker {
        docker.remove_built_images().await;
    }
    played
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
        (Err(error), None) => {
            Ok((RuntimeKind::Process, format!("process: child processes, since there is {error}")))
        }
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
async fn beside(proxy: Proxy, played: impl Future<Output = Result<(), PlayError>>) -> Result<(), DemoError> {
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let (stop, stopped) = oneshot::channel::<()>();
    let mut proxy = tokio::task::spawn_blocking(move || proxy.run(async { drop(stopped.await) }));
    let result = tokio::select! {
        biased;
        // The proxy hears it by itself. Told as well, it would take one of the two for a second one.
        _ = interrupt.recv() => Ok(()),
        _ = terminate.recv() => Ok(()),
        played = played => {
            drop(stop);
            played.map_err(DemoError::from)
        }
        ended = &mut proxy => return Err(match ended {
            Ok(Err(error)) => error.into(),
            _ => DemoError::Ended,
        }),
    };
    let ended = proxy.await.map_err(|_panicked| DemoError::Ended)?;
    ended.map_err(DemoError::from).and(result)
}
