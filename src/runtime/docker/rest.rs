//! The tiers between running and removed: frozen, which is the engine's pause, and stopped but kept, in a network that
//! is kept as well where that pays.
//!
//! A replica is first started on a network like any other. When it is stopped, and its app may have a place, it is made
//! anew within a sandbox, since a container's network cannot be changed; from then on that same container is started and
//! stopped.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use bollard::models::ContainerSummary;
use bollard::query_parameters::RemoveContainerOptionsBuilder;
use tokio::sync::SemaphorePermit;

use super::calls::Operation;
use super::engine::LOOK;
use super::failure::Failure;
use super::kept::{Kept, OnEngine, Standing};
use super::sandbox::{self, Sandbox};
use super::start::{CREATE, START};
use super::{DockerRuntime, gone, labels, look, turns};
use crate::runtime::{Exit, ReplicaId, RuntimeError, StartOrder, Started, Status};

impl DockerRuntime {
    pub(super) async fn freeze_replica(&self, id: &ReplicaId) -> Result<(), RuntimeError> {
        let what = format!("freeze container {id}");
        let paused = self
            .engine
            .call(Operation::Pause, &what, LOOK, |docker| async move { docker.pause_container(&id.0).await })
            .await;
        match paused {
            Err(failure) if failure.is_not_found() => Err(gone()),
            // Paused already, perhaps, which engines call a conflict or a failure of their own.
            Err(failure @ Failure::Status { .. }) => match self.looked(id).await {
                Ok(Status::Frozen(_)) => Ok(()),
                _ => Err(failure.explain(&what)),
            },
            paused => paused.map_err(|failure| failure.explain(&what)),
        }
    }

    pub(super) async fn thaw_replica(&self, id: &ReplicaId) -> Result<(), RuntimeError> {
        let what = format!("thaw container {id}");
        let thawed = self.engine.call(Operation::Unpause, &what, LOOK, |docker| async move {
            docker.unpause_container(&id.0).await
        });
        match thawed.await {
            Err(failure) if failure.is_not_found() => Err(gone()),
            Err(failure @ Failure::Status { .. }) => match self.looked(id).await {
                Ok(Status::Running(_)) => Ok(()),
                Ok(Status::Exited(exit)) => Err(exit.into()),
                _ => Err(failure.explain(&what)),
            },
            thawed => thawed.map_err(|failure| failure.explain(&what)),
        }
    }

    async fn looked(&self, id: &ReplicaId) -> Result<Status, Failure> {
        Ok(self.inspect(&id.0).await?.as_ref().map_or(Status::Gone, look::status))
    }

    /// Stops a replica and keeps what a start by `order` begins with.
    pub(super) async fn rest_replica(
        &self,
        id: &ReplicaId,
        order: &StartOrder,
        grace: Duration,
    ) -> Result<Option<ReplicaId>, RuntimeError> {
        let what = format!("stop container {id}");
        let Some(inspected) = self.end_replica(id, grace, &what).await? else { return Ok(None) };
        // A stop that failed may still be at work: what is entered as kept is to have ended.
        match self.looked(id).await.map_err(|failure| failure.explain(&what))? {
            Status::Exited(_) => {}
            Status::Gone => return Ok(None),
            Status::Running(_) | Status::Frozen(_) => {
                return Err(RuntimeError::Refused(format!("cannot {what}: it has not ended")));
            }
        }
        let _turn = self.turn_to_rest(order).await;
        let name = labels::name(&self.identity, order);
        let mode = look::network_mode(&inspected).unwrap_or_default();
        if let Some(sandbox) = sandbox::of_mode(mode) {
            let runs = self.sandbox_runs(sandbox).await;
            let Some(endpoint) = look::endpoint_of(&inspected).filter(|_| runs) else {
                // Without its sandbox it cannot start again.
                self.stop_replica(id, Duration::ZERO).await?;
                return Ok(None);
            };
            self.boost_next_start(id, order).await;
            let network = Some(Standing { sandbox: sandbox.to_owned(), endpoint });
            self.kept.keep(&order.app, &name, Kept { id: id.0.clone(), network });
            return Ok(Some(id.clone()));
        }
        // First the network, and then what stands in its way: without one the container is kept as it is.
        let Some(sandbox) = self.sandbox_for(order, &name).await else {
            self.boost_next_start(id, order).await;
            self.kept.keep(&order.app, &name, Kept { id: id.0.clone(), network: None });
            return Ok(Some(id.clone()));
        };
        let kept = match self.remove(&id.0).await {
            Ok(()) => self.keep_within(sandbox, order, &name).await,
            Err(error) => {
                self.discard(&sandbox.id).await;
                self.kept.forget(&name);
                Err(error)
            }
        };
        self.kept.end(&name);
        kept.map(Some)
    }

    /// Makes a container to be started later, in a network that is kept where its app may have a place.
    pub(super) async fn lay_out_replica(
        &self,
        order: &StartOrder,
    ) -> Result<Option<ReplicaId>, RuntimeError> {
        let _turn = self.turn_to_rest(order).await;
        let name = labels::name(&self.identity, order);
        if let Some(sandbox) = self.sandbox_for(order, &name).await {
            let made = self.keep_within(sandbox, order, &name).await;
            self.kept.end(&name);
            return made.map(Some);
        }
        let what = format!("make a container for app {}", order.app);
        self.network.ensure(&self.engine, &self.identity).await?;
        let id = self.create(order, &name, None).await.map_err(|failure| failure.explain(&what))?;
        self.join_further(order, &id, None, &what).await?;
        self.kept.keep(&order.app, &name, Kept { id: id.clone(), network: None });
        Ok(Some(ReplicaId(id)))
    }

    /// A turn to make ready what is started later. What others find by its name has not much done to it, and they may wait
    /// for it behind all that goes out with them.
    async fn turn_to_rest(&self, order: &StartOrder) -> Option<SemaphorePermit<'_>> {
        if order.revision.workload.named { None } else { Some(turns::take(&self.turns.rests).await) }
    }

    /// A sandbox for a replica of that name, where its app may have one: not one that others find by its name, which would
    /// lead them there while nothing runs in it. What it is made for is being made until the
    /// books are told of its end.
    async fn sandbox_for(&self, order: &StartOrder, name: &str) -> Option<Sandbox> {
        if !self.network.is_a_bridge() || order.revision.workload.named {
            return None;
        }
        for other in self.kept.reserve(&order.app, name)? {
            self.evict(&other).await;
        }
        self.kept.begin(name);
        let made = self.make_sandbox(order).await;
        made.inspect_err(|error| {
            tracing::warn!(app = order.app, %error, "no network is kept for a replica that is stopped");
            self.kept.end(name);
            self.kept.forget(name);
        })
        .ok()
    }

    /// Makes the container of a replica within its sandbox, and enters both in the books.
    async fn keep_within(
        &self,
        sandbox: Sandbox,
        order: &StartOrder,
        name: &str,
    ) -> Result<ReplicaId, RuntimeError> {
        let Sandbox { id: sandbox, endpoint } = sandbox;
        match self.create(order, name, Some((&sandbox, &endpoint))).await {
            Ok(id) => {
                let kept = Kept { id: id.clone(), network: Some(Standing { sandbox, endpoint }) };
                self.kept.keep(&order.app, name, kept);
                Ok(ReplicaId(id))
            }
            Err(failure) => {
                self.discard(&sandbox).await;
                self.kept.forget(name);
                Err(failure.explain(&format!("make a container for app {}", order.app)))
            }
        }
    }

    /// Removes what rests in a network and has not been used for longest.
    pub(super) async fn give_up_network(&self) {
        if let Some(oldest) = self.kept.give_up_oldest() {
            tracing::info!(container = %format_args!("{:.12}", oldest.id), "memory is short: giving up the network of what is stopped");
            self.evict(&oldest).await;
        }
    }

    /// Removes a container that rests, and its network; not if it runs, whatever the books say.
    async fn evict(&self, kept: &Kept) {
        let what = format!("remove container {:.12}", kept.id);
        let options = RemoveContainerOptionsBuilder::new().force(false).v(true).build();
        let id = kept.id.as_str();
        let removed = self
            .engine
            .call(Operation::Remove, &what, CREATE, |docker| async move {
                docker.remove_container(id, Some(options)).await
            })
            .await;
        match removed {
            Ok(()) => {}
            Err(failure) if failure.is_not_found() => {}
            Err(failure) => {
                tracing::warn!(container = id, ?failure, "what rests for longest keeps its network");
                return;
            }
        }
        if let Some(network) = &kept.network
            && let Err(error) = self.remove_sandbox(&network.sandbox).await
        {
            tracing::warn!(%error, "a network that is not wanted any more is left");
        }
    }

    /// Holds the books against what the engine has, of what was in them before it was asked: what is not there is
    /// forgotten, and what lies in a network that has moved is removed. Sandboxes without a replica go.
    pub(super) async fn compare_kept(
        &self,
        known_before: HashSet<String>,
        replicas: &[ContainerSummary],
        sandboxes: &[ContainerSummary],
    ) {
        let listed: HashSet<_> = replicas.iter().filter_map(look::name).collect();
        for name in known_before.iter().filter(|name| !listed.contains(name.as_str())) {
            if !self.kept.is_making(name) {
                self.kept.forget(name);
            }
        }
        let endpoints: HashMap<_, _> =
            sandboxes.iter().filter_map(|it| Some((it.id.as_deref()?, look::endpoint_in(it)))).collect();
        for OnEngine { name, kept, runs, .. } in replicas.iter().filter_map(look::on_engine) {
            let Some(network) = kept.network.as_ref().filter(|_| !runs) else { continue };
            let stands = endpoints
                .get(network.sandbox.as_str())
                .is_some_and(|now| now.as_ref() == Some(&network.endpoint));
            if !stands && known_before.contains(&name) {
                tracing::info!(replica = name, "the network of a replica that is stopped is not as it was");
                self.kept.forget(&name);
                self.evict(&kept).await;
            }
        }
        let held: HashSet<_> = replicas.iter().filter_map(look::sandbox_of).collect();
        for sandbox in sandboxes {
            if sandbox.id.as_deref().is_some_and(|id| !held.contains(id)) {
                self.remove_lone_sandbox(sandbox).await;
            }
        }
    }

    /// Starts a container that was kept: one call where its network was kept too, since its address stands. `None`: it
    /// cannot be started any more, and is gone.
    pub(super) async fn start_kept(
        &self,
        kept: Kept,
        order: &StartOrder,
        what: &str,
    ) -> Result<Option<Started>, RuntimeError> {
        let id = kept.id.as_str();
        let started =
            self.engine
                .call(Operation::Start, what, START, |docker| async move {
                    docker.start_container(id, None).await
                })
                .await;
        match started {
            Ok(()) => {}
            Err(failure @ (Failure::TimedOut(_) | Failure::Broken(_) | Failure::Unreachable(_))) => {
                // What has become of it shows when its name is asked for the next time.
                return Err(failure.explain(what));
            }
            Err(failure) => {
                tracing::info!(
                    app = order.app,
                    ?failure,
                    "a container that was kept does not start; making another"
                );
                self.stop_replica(&ReplicaId(kept.id), Duration::ZERO).await?;
                // Where somebody has removed the container alone, its network is left.
                if let Some(network) = kept.network {
                    self.remove_sandbox(&network.sandbox).await?;
                }
                self.kept.forget(&labels::name(&self.identity, order));
                return Ok(None);
            }
        }
        let started =
            |endpoint| Started { id: ReplicaId(kept.id.clone()), endpoint, created: None, kept: true };
        if let Some(network) = &kept.network {
            return Ok(Some(started(network.endpoint.clone())));
        }
        let inspected = self.inspect(id).await.map_err(|failure| failure.explain(what))?;
        match inspected.as_ref().map_or(Status::Gone, look::status) {
            Status::Running(endpoint) => {
                // One that was made by a proxy which ended at that may not be on all of them.
                let joined = inspected.as_ref().and_then(look::networks_of);
                self.join_further(order, id, joined, what).await?;
                Ok(Some(started(endpoint)))
            }
            Status::Exited(exit) => {
                self.discard(id).await;
                Err(RuntimeError::Stale(exit))
            }
            Status::Frozen(_) | Status::Gone => Err(Exit::UNKNOWN.into()),
        }
    }
}
