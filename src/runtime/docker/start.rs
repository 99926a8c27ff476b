//! Starting one replica: create, start, ask for the address. Three calls, since a page is waiting; two more for each
//! further network. One that was kept is only started (`rest`).
//!
//! Nothing is assumed. A name that is taken, and a call whose end nobody saw, mean looking at what is there;
//! only a container with this instance's label is ever taken or cleared away.

use std::time::Duration;

use bollard::query_parameters::CreateContainerOptionsBuilder;
use tokio::time::Instant;

use super::calls::Operation;
use super::container::{self, Frame};
use super::engine::LOOK;
use super::failure::Failure;
use super::{DockerRuntime, labels, look, network, output, sandbox, workspace};
use crate::runtime::{Endpoint, Exit, ReplicaId, RuntimeError, StartOrder, Started, Status};

pub(super) const CREATE: Duration = Duration::from_secs(30);
pub(super) const START: Duration = Duration::from_mins(1);

/// How often the way is cleared before giving up: once for a leftover, once for a lost network, once more.
const ATTEMPTS: u32 = 3;

/// Of a replica that ended before its start call had returned: how much of its output is told.
const LAST_LINES: usize = 20;

/// What became of a container that was told to start.
enum Begun {
    Runs(Endpoint),
    /// The own network was gone; the container has been removed.
    NetworkLost,
}

/// What stands under the name that a replica is to have.
enum Occupant {
    Fits(Started),
    Cleared,
}

impl DockerRuntime {
    pub(super) async fn start_replica(&self, order: &StartOrder) -> Result<Started, RuntimeError> {
        let what = format!("start app {}", order.app);
        let name = labels::name(&self.identity, order);
        if let Some(kept) = self.kept.take(&order.app, &name)
            && let Some(started) = self.start_kept(kept, order, &what).await?
        {
            return Ok(started);
        }
        let began = Instant::now();
        for _ in 0..ATTEMPTS {
            self.network.ensure(&self.engine, &self.identity).await?;
            match self.create(order, &name, None).await {
                Ok(id) => {
                    self.join_further(order, &id, None, &what).await?;
                    let created = Some(began.elapsed());
                    match self.begin(&id, &what).await? {
                        Begun::Runs(endpoint) => {
                            return Ok(Started { id: ReplicaId(id), endpoint, created, kept: false });
                        }
                        Begun::NetworkLost => self.network.forget().await,
                    }
                }
                Err(failure) if failure.is_conflict() || failure.is_uncertain() => {
                    match self.clear_name(order, &name).await? {
                        Some(Occupant::Fits(started)) => return Ok(started),
                        Some(Occupant::Cleared) => {}
                        // Nothing stands there. A conflict is over then; of a lost call nobody knows.
                        None if failure.is_conflict() => {}
                        None => return Err(failure.explain(&what)),
                    }
                }
                Err(failure) if failure.is_network_missing() && self.network.is_own() => {
                    self.network.forget().await;
                }
                Err(failure) if failure.is_not_found() => {
                    return Err(RuntimeError::Image(format!(
                        "cannot {what}: its image {} is no longer on the engine: {}",
                        order.revision.image_id,
                        failure.into_text()
                    )));
                }
                Err(failure) => return Err(failure.explain(&what)),
            }
        }
        Err(RuntimeError::Refused(format!(
            "cannot {what}: something keeps taking the container name {name}, or removing the network {}",
            self.network.name()
        )))
    }

    /// Makes a container, on the network that replicas join, or `within` a sandbox that has an endpoint for it.
    pub(super) async fn create(
        &self,
        order: &StartOrder,
        name: &str,
        within: Option<(&str, &Endpoint)>,
    ) -> Result<String, Failure> {
        let session = self.engine.session().await?;
        let revision = &order.revision;
        let mut labels = labels::of(&self.identity, order);
        let mode = within.map(|(sandbox, endpoint)| {
            labels.insert(labels::ADDRESS.to_owned(), sandbox::address_label(endpoint));
            sandbox::mode(sandbox)
        });
        let frame = Frame {
            network: mode.as_deref().unwrap_or_else(|| self.network.name()),
            name: (revision.workload.named && self.network.has_names()).then_some(order.app.as_str()),
            boost_millis: order.boost_millis,
            host: &session.host,
            own_init: self.own_init.contains(&revision.image_id),
            workspace: revision.workload.workspace.then(|| workspace::mount(&self.identity, &order.app)),
        };
        let body = container::body(revision, labels, frame);
        let options = CreateContainerOptionsBuilder::new().name(name).build();
        let what = format!("create container {name}");
        let created = self
            .engine
            .call(Operation::Create, &what, CREATE, |docker| async move {
                docker.create_container(Some(options), body).await
            })
            .await?;
        Ok(created.id)
    }

    /// Connects the container `id` to the networks that the app names, but for those on which it is already.
    pub(super) async fn join_further(
        &self,
        order: &StartOrder,
        id: &str,
        joined: Option<&look::Networks>,
        what: &str,
    ) -> Result<(), RuntimeError> {
        for name in &order.revision.workload.networks {
            if name == self.network.name() || joined.is_some_and(|joined| look::is_on(joined, name)) {
                continue;
            }
            if let Err(failure) = network::connect(&self.engine, name, id).await {
                self.discard(id).await;
                return Err(match failure {
                    failure if failure.is_not_found() => RuntimeError::Refused(format!(
                        "cannot {what}: there is no Docker network {name}: make it (`docker network create {name}`), or take it out of `networks`"
                    )),
                    failure => failure.explain(&format!("{what}: connect it to network {name}")),
                });
            }
        }
        Ok(())
    }

    /// Starts the container `id`, which this call or one before it has created, and asks for its address.
    async fn begin(&self, id: &str, what: &str) -> Result<Begun, RuntimeError> {
        let started =
            self.engine
                .call(Operation::Start, what, START, |docker| async move {
                    docker.start_container(id, None).await
                })
                .await;
        match started {
            Ok(()) => {}
            Err(failure) if failure.is_network_missing() => {
                self.discard(id).await;
                if self.network.is_own() {
                    return Ok(Begun::NetworkLost);
                }
                return Err(RuntimeError::Refused(format!(
                    "cannot {what}: there is no Docker network {0}: make it (`docker network create {0}`), or leave docker.network out",
                    self.network.name()
                )));
            }
            // It may have started all the same: the look below tells.
            Err(failure) if failure.is_uncertain() => {
                let inspected = self.inspect(id).await.map_err(|failure| failure.explain(what))?;
                if !matches!(inspected.as_ref().map(look::status), Some(Status::Running(_))) {
                    return Err(failure.explain(what));
                }
            }
            Err(failure) => {
                self.discard(id).await;
                return Err(failure.explain(what));
            }
        }
        let inspected = self.inspect(id).await.map_err(|failure| failure.explain(what))?;
        let Some(inspected) = inspected else {
            return Err(Exit::UNKNOWN.into());
        };
        match look::status(&inspected) {
            Status::Running(endpoint) => Ok(Begun::Runs(endpoint)),
            _ if inspected.state.as_ref().is_some_and(look::runs) => {
                self.discard(id).await;
                Err(RuntimeError::Refused(format!(
                    "cannot {what}: its container has no address on the network {}; use one that gives addresses, such as a bridge",
                    self.network.name()
                )))
            }
            Status::Exited(exit) => {
                let output = self.last_lines(id).await;
                self.discard(id).await;
                Err(RuntimeError::Exited { exit, output })
            }
            Status::Frozen(_) | Status::Gone => Err(Exit::UNKNOWN.into()),
        }
    }

    /// Looks at what stands under `name`: takes it where it is ours, fits and runs, and removes it where it is
    /// ours and does not. `None`: nothing stands there.
    async fn clear_name(&self, order: &StartOrder, name: &str) -> Result<Option<Occupant>, RuntimeError> {
        let what = format!("look at container {name}");
        let Some(inspected) = self.inspect(name).await.map_err(|failure| failure.explain(&what))? else {
            return Ok(None);
        };
        let labels = look::labels_of(&inspected);
        if !labels::are_ours(&self.identity, labels) {
            return Err(RuntimeError::NameTaken(format!(
                "cannot start app {}: a container named {name} exists and is not this proxy's; remove or rename it",
                order.app
            )));
        }
        let id = ReplicaId(inspected.id.clone().unwrap_or_else(|| name.to_owned()));
        let fits = labels.and_then(|labels| labels.get(labels::REVISION)) == Some(&order.revision.hash);
        if let (true, Status::Running(endpoint)) = (fits, look::status(&inspected)) {
            return Ok(Some(Occupant::Fits(Started { id, endpoint, created: None, kept: true })));
        }
        self.remove(&id.0).await?;
        self.remove_sandbox_of(look::network_mode(&inspected)).await?;
        self.kept.forget(name);
        Ok(Some(Occupant::Cleared))
    }

    /// The last words of a replica that nobody will know by its ID.
    pub(super) async fn last_lines(&self, id: &str) -> Vec<String> {
        output::tail(&self.engine, id, LAST_LINES).await.unwrap_or_else(|failure| {
            tracing::debug!(container = id, ?failure, "cannot read a replica's output");
            Vec::new()
        })
    }

    /// Removes a container of this call's own making. What stays after a failure here is found by its label.
    pub(super) async fn discard(&self, id: &str) {
        if let Err(error) = self.remove(id).await {
            tracing::warn!(container = id.get(..12).unwrap_or(id), %error, "cannot remove a container that did not start");
        }
    }

    /// The engine's own account of a container, by ID or name; `None` where there is none.
    pub(super) async fn inspect(
        &self,
        id: &str,
    ) -> Result<Option<bollard::models::ContainerInspectResponse>, Failure> {
        let what = format!("look at container {id}");
        let inspected = self
            .engine
            .call(Operation::Inspect, &what, LOOK, |docker| async move {
                docker.inspect_container(id, None).await
            })
            .await;
        match inspected {
            Ok(inspected) => Ok(Some(inspected)),
            Err(failure) if failure.is_not_found() => Ok(None),
            Err(failure) => Err(failure),
        }
    }
}
