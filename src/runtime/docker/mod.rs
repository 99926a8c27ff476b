//! The runtime `docker`: a replica is a container on this host's Docker Engine.
//!
//! Owns the engine's calls and everything that is made there: containers, the instance's network, built
//! images. Decides nothing, and touches nothing without this instance's label. An engine that is not there
//! is an error of each call, never of [`DockerRuntime::new`].

mod boost;
mod build;
mod calls;
mod container;
mod context;
mod credentials;
mod engine;
mod events;
mod failure;
mod ignore;
mod image;
mod inside;
mod kept;
mod labels;
mod look;
mod network;
mod output;
mod pause;
mod progress;
mod pull;
mod reference;
mod rest;
mod sandbox;
mod start;
mod stats;
mod stop;
mod tidy;
mod turns;
mod workspace;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bollard::query_parameters::ListContainersOptionsBuilder;
use dashmap::{DashMap, DashSet};
use futures_util::future::BoxFuture;
use prometheus_client::registry::Registry;
use tokio::sync::{RwLock, mpsc};

pub use self::labels::built_image;

use self::calls::Operation;
use self::engine::{Engine, LOOK};
use self::kept::Books;
use self::network::Network;
use self::turns::Turns;
use super::{
    Event, Exit, Found, Identity, MemoryUse, ReplicaId, Reply, Revision, Runtime, RuntimeError, StartOrder,
    Started, Status,
};
use crate::config::spec::{DockerSpec, Workload};

/// What the runtime is made from.
#[derive(Debug, Clone)]
pub struct DockerSettings {
    /// How to reach the engine, and what containers may do.
    pub spec: DockerSpec,
    /// Whose containers these are.
    pub instance: Identity,
    /// Where the proxy keeps its identity: never part of an image.
    pub state_dir: PathBuf,
}

/// Containers on one Docker Engine.
pub struct DockerRuntime {
    engine: Arc<Engine>,
    identity: Identity,
    state_dir: PathBuf,
    network: Network,
    turns: Turns,
    /// What is stopped and kept.
    kept: Books,
    /// How long a pull may go without any progress.
    pull_timeout: Duration,
    /// IDs of images that bring an init of their own; filled by preparing.
    own_init: DashSet<String>,
    /// The ID of the image that was last built for each app.
    built: DashMap<String, String>,
    /// Held by each build for itself and the others, and by whoever removes images for itself alone.
    building: RwLock<()>,
}

impl DockerRuntime {
    /// A runtime that connects when it is first used. Never fails and never waits.
    #[must_use]
    pub fn new(settings: DockerSettings) -> Self {
        let DockerSettings { spec, instance, state_dir } = settings;
        Self {
            engine: Arc::new(Engine::at(spec.socket)),
            network: Network::new(spec.network, &instance),
            pull_timeout: spec.pull_timeout,
            identity: instance,
            state_dir,
            turns: Turns::new(spec.max_concurrent_starts),
            kept: Books::new(spec.prepared),
            own_init: DashSet::new(),
            built: DashMap::new(),
            building: RwLock::new(()),
        }
    }

    async fn list_replicas(&self) -> Result<Vec<Found>, RuntimeError> {
        let known_before = self.kept.names();
        let what = "list this proxy's containers";
        let options =
            ListContainersOptionsBuilder::new().all(true).filters(&labels::filter(&self.identity)).build();
        let listed =
            self.engine
                .call(Operation::List, what, LOOK, |docker| async move {
                    docker.list_containers(Some(options)).await
                })
                .await;
        let listed = listed.map_err(|failure| failure.explain(what))?;
        let (sandboxes, replicas): (Vec<_>, Vec<_>) = listed.into_iter().partition(look::is_sandbox);
        self.kept.adopt(replicas.iter().filter_map(look::on_engine));
        self.compare_kept(known_before, &replicas, &sandboxes).await;
        Ok(replicas.into_iter().filter_map(look::found).collect())
    }
}

/// A replica of which something was asked is not there any more.
fn gone() -> RuntimeError {
    Exit::UNKNOWN.into()
}

impl Runtime for DockerRuntime {
    fn name(&self) -> &'static str {
        "docker"
    }

    fn prepare<'a>(&'a self, app: &'a str, workload: &'a Arc<Workload>) -> Reply<'a, Revision> {
        Box::pin(self.prepare_image(app, workload))
    }

    fn start<'a>(&'a self, order: &'a StartOrder) -> Reply<'a, Started> {
        Box::pin(async move {
            let _turn = self.turns.to_start(order.awaited).await;
            self.start_replica(order).await
        })
    }

    fn stop<'a>(&'a self, id: &'a ReplicaId, grace: Duration) -> Reply<'a, ()> {
        Box::pin(self.stop_replica(id, grace))
    }

    fn rest<'a>(
        &'a self,
        id: &'a ReplicaId,
        order: &'a StartOrder,
        grace: Duration,
    ) -> Reply<'a, Option<ReplicaId>> {
        Box::pin(self.rest_replica(id, order, grace))
    }

    fn lay_out<'a>(&'a self, order: &'a StartOrder) -> Reply<'a, Option<ReplicaId>> {
        Box::pin(self.lay_out_replica(order))
    }

    fn settle<'a>(&'a self, id: &'a ReplicaId, cpu_millis: u32) -> Reply<'a, ()> {
        Box::pin(self.limit_cpu(id, cpu_millis))
    }

    fn give_way(&self) -> BoxFuture<'_, ()> {
        Box::pin(self.give_up_network())
    }

    fn keeps_network(&self, app: &str) -> bool {
        self.kept.has_network(app)
    }

    fn freeze<'a>(&'a self, id: &'a ReplicaId) -> Reply<'a, ()> {
        Box::pin(self.freeze_replica(id))
    }

    fn thaw<'a>(&'a self, id: &'a ReplicaId) -> Reply<'a, ()> {
        Box::pin(self.thaw_replica(id))
    }

    fn list(&self) -> Reply<'_, Vec<Found>> {
        Box::pin(self.list_replicas())
    }

    fn status<'a>(&'a self, id: &'a ReplicaId) -> Reply<'a, Status> {
        Box::pin(async move {
            let inspected = self.inspect(&id.0).await;
            let inspected =
                inspected.map_err(|failure| failure.explain(&format!("look at container {id}")))?;
            Ok(inspected.as_ref().map_or(Status::Gone, look::status))
        })
    }

    fn tail<'a>(&'a self, id: &'a ReplicaId, lines: usize) -> Reply<'a, Vec<String>> {
        Box::pin(async move {
            output::tail(&self.engine, &id.0, lines).await.map_err(|failure| {
                if failure.is_not_found() {
                    return gone();
                }
                failure.explain(&format!("read the output of container {id}"))
            })
        })
    }

    fn listening<'a>(&'a self, id: &'a ReplicaId) -> BoxFuture<'a, Option<Vec<SocketAddr>>> {
        Box::pin(self.listening_inside(id))
    }

    fn cpu_time<'a>(&'a self, id: &'a ReplicaId) -> Reply<'a, Duration> {
        Box::pin(self.used_cpu(id))
    }

    fn memory<'a>(&'a self, id: &'a ReplicaId) -> Reply<'a, MemoryUse> {
        Box::pin(self.held_memory(id))
    }

    fn register(&self, registry: &mut Registry) {
        self.engine.calls().register(registry);
        self.kept.register(registry);
    }

    fn watch(&self) -> mpsc::Receiver<Event> {
        events::watch(Arc::clone(&self.engine), self.identity.clone())
    }

    fn tidy(&self) -> BoxFuture<'_, ()> {
        Box::pin(self.remove_leftovers())
    }

    fn close(&self) -> Reply<'_, ()> {
        Box::pin(self.network.remove(&self.engine, &self.identity))
    }
}
