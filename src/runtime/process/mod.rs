//! Child processes as replicas: for a laptop with no Docker, and for fast tests.
//!
//! A replica is a child of a child: the proxy starts its own executable as a [`warden`], which starts the
//! command and ends it, with all that it started, when the proxy is gone, whatever ended the proxy. Nothing
//! survives a proxy, so there is nothing to adopt. CPU and memory of the instance are not limited here.

mod output;
mod port;
mod procfs;
mod replica;
mod socket;
pub mod warden;

use std::collections::HashMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use tokio::sync::{broadcast, mpsc};

use self::port::Ports;
use self::replica::{Place, Replica, no_command};
use self::socket::Sockets;
use super::{
    Change, Event, Exit, Found, Identity, MemoryUse, ReplicaId, Reply, Revision, Runtime, RuntimeError,
    StartOrder, Started, Status,
};
use crate::config::spec::Workload;
use crate::runtime::revision::{self, Shape};

/// Events that a slow watcher may lag behind before it is told to look at everything again.
const EVENTS: usize = 256;

/// The folder of the state directory with a workspace for each app that has one.
const WORKSPACES: &str = "workspace";

/// What the runtime needs to know.
pub struct ProcessSettings {
    /// The executable whose `warden` subcommand runs [`warden::run`]; absolute. `/proc/self/exe` is the
    /// proxy's own, even after an upgrade has replaced the file.
    pub warden: PathBuf,
    /// Whose the replicas are.
    pub instance: Identity,
    /// The proxy's state directory, absolute: workspaces and sockets are in it. No other proxy uses it.
    pub state_dir: PathBuf,
}

/// Starts, stops and watches child processes. Dropping it ends them all at once.
pub struct ProcessRuntime {
    settings: ProcessSettings,
    ports: Ports,
    sockets: Sockets,
    replicas: Mutex<HashMap<ReplicaId, Arc<Replica>>>,
    events: broadcast::Sender<Event>,
}

impl ProcessRuntime {
    /// A runtime with no replicas; what the sockets of a proxy before have left is removed. Its calls are made on a
    /// tokio runtime with I/O and time.
    #[must_use]
    pub fn new(settings: ProcessSettings) -> Self {
        let (events, _) = broadcast::channel(EVENTS);
        let sockets = Sockets::new(&settings.state_dir);
        Self { settings, ports: Ports::default(), sockets, replicas: Mutex::default(), events }
    }

    fn replicas(&self) -> MutexGuard<'_, HashMap<ReplicaId, Arc<Replica>>> {
        self.replicas.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn find(&self, id: &ReplicaId) -> Option<Arc<Replica>> {
        self.replicas().get(id).cloned()
    }

    fn known(&self, id: &ReplicaId) -> Result<Arc<Replica>, RuntimeError> {
        self.find(id).ok_or_else(|| RuntimeError::Refused(format!("there is no replica {id}")))
    }

    /// The replica that the order asks for, where it runs already.
    fn standing(&self, order: &StartOrder) -> Option<Started> {
        self.replicas().values().find_map(|replica| {
            let same = replica.app == order.app
                && replica.revision == order.revision.hash
                && replica.index == order.index;
            match replica.status() {
                Status::Running(endpoint) if same => {
                    Some(Started { id: replica.id.clone(), endpoint, created: None, kept: false })
                }
                _ => None,
            }
        })
    }

    /// The folder that is the app's workspace, made where it is missing; `None` where it has none.
    async fn workspace(&self, order: &StartOrder) -> Result<Option<PathBuf>, RuntimeError> {
        if !order.revision.workload.workspace {
            return Ok(None);
        }
        let folder = self.settings.state_dir.join(WORKSPACES).join(&order.app);
        let made = tokio::fs::create_dir_all(&folder).await;
        made.map_err(|error| {
            RuntimeError::Refused(format!("cannot make the app's workspace: {error}\n{}", folder.display()))
        })?;
        Ok(Some(folder))
    }

    /// Where a replica is to listen.
    fn place(&self, revision: &Revision) -> Result<Place, RuntimeError> {
        if revision.workload.socket {
            return self.sockets.claim().map(Place::Socket);
        }
        match revision.port {
            0 => self.ports.claim().ok_or_else(|| RuntimeError::Refused("no free port was found".to_owned())),
            port => Ok(self.ports.fixed(port)),
        }
        .map(Place::Port)
    }

    async fn start_one(&self, order: &StartOrder) -> Result<Started, RuntimeError> {
        if let Some(started) = self.standing(order) {
            return Ok(started);
        }
        let place = self.place(&order.revision)?;
        let events = self.events.clone();
        let app = order.app.clone();
        let on_exit = move |id, exit: Exit| {
            // Nobody watching is no error.
            let _ = events.send(Event::Changed { id, app, change: Change::Exited(exit) });
        };
        let workspace = self.workspace(order).await?;
        let replica =
            Replica::start(&self.settings.warden, order, workspace.as_deref(), place, on_exit).await?;
        // One that has ended already is kept: its status and its last lines say why.
        let endpoint = replica.endpoint.clone();
        let started = Started { id: replica.id.clone(), endpoint, created: None, kept: false };
        self.replicas().insert(started.id.clone(), Arc::new(replica));
        Ok(started)
    }
}

/// Thousandths of a core that this process may use, and so the most that one of its children can.
fn host_millis() -> u32 {
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    u32::try_from(cores).unwrap_or(u32::MAX).saturating_mul(1000)
}

impl Runtime for ProcessRuntime {
    fn name(&self) -> &'static str {
        "process"
    }

    fn prepare<'a>(&'a self, _app: &'a str, workload: &'a Arc<Workload>) -> Reply<'a, Revision> {
        async move {
            if workload.command.is_none() {
                return Err(no_command());
            }
            let port = workload.port.unwrap_or(0);
            let shape = Shape {
                image_id: "",
                command: workload.command.as_ref(),
                env: &workload.env,
                resources: workload.resources,
                volumes: &workload.volumes,
                workspace: workload.workspace,
                port,
                socket: workload.socket,
                security: &[],
                network: "",
                networks: &[],
                name: None,
            };
            let hash = revision::hash(&self.settings.instance, &shape);
            let (workload, image_id) = (Arc::clone(workload), String::new());
            let cpu_millis = workload.resources.cpu_millis.min(host_millis());
            Ok(Revision { hash, workload, image_id, port, cpu_millis })
        }
        .boxed()
    }

    fn start<'a>(&'a self, order: &'a StartOrder) -> Reply<'a, Started> {
        self.start_one(order).boxed()
    }

    fn stop<'a>(&'a self, id: &'a ReplicaId, grace: Duration) -> Reply<'a, ()> {
        async move {
            if let Some(replica) = self.find(id) {
                replica.stop(grace).await?;
                self.replicas().remove(id);
            }
            Ok(())
        }
        .boxed()
    }

    /// Of a process nothing can be kept.
    fn rest<'a>(
        &'a self,
        id: &'a ReplicaId,
        _: &'a StartOrder,
        grace: Duration,
    ) -> Reply<'a, Option<ReplicaId>> {
        async move { self.stop(id, grace).await.map(|()| None) }.boxed()
    }

    fn freeze<'a>(&'a self, id: &'a ReplicaId) -> Reply<'a, ()> {
        std::future::ready(self.known(id).and_then(|replica| replica.freeze(true))).boxed()
    }

    fn thaw<'a>(&'a self, id: &'a ReplicaId) -> Reply<'a, ()> {
        std::future::ready(self.known(id).and_then(|replica| replica.freeze(false))).boxed()
    }

    fn list(&self) -> Reply<'_, Vec<Found>> {
        let describe = |replica: &Arc<Replica>| Found {
            id: replica.id.clone(),
            app: replica.app.clone(),
            revision: replica.revision.clone(),
            index: replica.index,
            status: replica.status(),
        };
        let found = self.replicas().values().map(describe).collect();
        std::future::ready(Ok(found)).boxed()
    }

    fn status<'a>(&'a self, id: &'a ReplicaId) -> Reply<'a, Status> {
        let status = self.find(id).map_or(Status::Gone, |replica| replica.status());
        std::future::ready(Ok(status)).boxed()
    }

    fn tail<'a>(&'a self, id: &'a ReplicaId, lines: usize) -> Reply<'a, Vec<String>> {
        std::future::ready(self.known(id).map(|replica| replica.output.tail(lines))).boxed()
    }

    fn listening<'a>(&'a self, id: &'a ReplicaId) -> BoxFuture<'a, Option<Vec<SocketAddr>>> {
        async move { self.find(id)?.listening().await }.boxed()
    }

    fn cpu_time<'a>(&'a self, id: &'a ReplicaId) -> Reply<'a, Duration> {
        async move { self.known(id)?.cpu_time().await }.boxed()
    }

    fn memory<'a>(&'a self, id: &'a ReplicaId) -> Reply<'a, MemoryUse> {
        async move { self.known(id)?.memory().await }.boxed()
    }

    fn watch(&self) -> mpsc::Receiver<Event> {
        let (to_watcher, watcher) = mpsc::channel(EVENTS);
        let mut events = self.events.subscribe();
        tokio::spawn(async move {
            loop {
                let event = tokio::select! {
                    () = to_watcher.closed() => return,
                    event = events.recv() => match event {
                        Ok(event) => event,
                        Err(broadcast::error::RecvError::Lagged(_)) => Event::Resync,
                        Err(broadcast::error::RecvError::Closed) => return,
                    },
                };
                if to_watcher.send(event).await.is_err() {
                    return;
                }
            }
        });
        watcher
    }

    fn close(&self) -> Reply<'_, ()> {
        std::future::ready(Ok(())).boxed()
    }
}
