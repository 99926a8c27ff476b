//! A sandbox: a container that does nothing but hold a network, so that a replica can be stopped and started in it
//! without the engine making one, which is most of a start's time. Its address stays for as long as it runs.
//!
//! Owns making and removing sandboxes. A replica in one is an ordinary container, whose network is the sandbox's: its
//! names, its name servers and all that it joins. Whether one is worth its price is for `kept` to say.

use std::collections::HashMap;

use bollard::models::{ContainerCreateBody, ContainerSummary, HostConfig, HostConfigLogConfig};
use bollard::query_parameters::{CreateContainerOptionsBuilder, CreateImageOptionsBuilder};
use futures_util::StreamExt;

use super::calls::Operation;
use super::engine::LOOK;
use super::failure::Failure;
use super::start::{CREATE, START};
use super::{DockerRuntime, labels, look, pause};
use crate::runtime::{Address, Endpoint, RuntimeError, StartOrder, Status};

/// What replicas in this sandbox are told to join.
pub(super) fn mode(sandbox: &str) -> String {
    format!("container:{sandbox}")
}

/// The sandbox that a container's network mode names.
pub(super) fn of_mode(mode: &str) -> Option<&str> {
    mode.strip_prefix("container:")
}

/// A sandbox that runs.
pub(super) struct Sandbox {
    /// The container.
    pub(super) id: String,
    /// Where a replica in it listens.
    pub(super) endpoint: Endpoint,
}

impl DockerRuntime {
    /// Makes the sandbox of the replica that `order` asks for.
    pub(super) async fn make_sandbox(&self, order: &StartOrder) -> Result<Sandbox, RuntimeError> {
        let what = format!("keep the network of app {}", order.app);
        let explain = |failure: Failure| failure.explain(&what);
        self.network.ensure(&self.engine, &self.identity).await?;
        let name = labels::sandbox_name(&self.identity, order);
        let id = match self.create_sandbox(order, &name).await {
            Err(failure) if failure.is_not_found() => {
                self.import_pause().await.map_err(explain)?;
                self.create_sandbox(order, &name).await
            }
            // One that was left behind: whose network it has is unknown.
            Err(failure) if failure.is_conflict() => {
                self.clear_sandbox(&name).await?;
                self.create_sandbox(order, &name).await
            }
            created => created,
        }
        .map_err(explain)?;
        let begun = self.begin_sandbox(order, &id, &what).await;
        match begun {
            Ok(endpoint) => Ok(Sandbox { id, endpoint }),
            Err(error) => {
                self.discard(&id).await;
                Err(error)
            }
        }
    }

    async fn begin_sandbox(
        &self,
        order: &StartOrder,
        id: &str,
        what: &str,
    ) -> Result<Endpoint, RuntimeError> {
        self.join_further(order, id, None, what).await?;
        let started =
            self.engine
                .call(Operation::Start, what, START, |docker| async move {
                    docker.start_container(id, None).await
                })
                .await;
        started.map_err(|failure| failure.explain(what))?;
        let inspected = self.inspect(id).await.map_err(|failure| failure.explain(what))?;
        match inspected.as_ref().map(look::status) {
            Some(Status::Running(endpoint)) => Ok(endpoint),
            _ => {
                Err(RuntimeError::Refused(format!("cannot {what}: its sandbox has ended, or has no address")))
            }
        }
    }

    async fn create_sandbox(&self, order: &StartOrder, name: &str) -> Result<String, Failure> {
        let what = format!("create container {name}");
        let body = body(labels::of_sandbox(&self.identity, order), self.network.name());
        let options = CreateContainerOptionsBuilder::new().name(name).build();
        let created = self.engine.call(Operation::Create, &what, CREATE, |docker| async move {
            docker.create_container(Some(options), body).await
        });
        Ok(created.await?.id)
    }

    /// Gives the engine the image of all sandboxes.
    async fn import_pause(&self) -> Result<(), Failure> {
        let what = "make the image of sandboxes";
        let Some(root) = pause::root() else {
            return Err(Failure::Status { code: 404, message: "there is none for this processor".into() });
        };
        let options = CreateImageOptionsBuilder::new()
            .from_src("-")
            .repo(pause::IMAGE)
            .tag(pause::TAG)
            .changes(vec![format!("CMD [\"{}\"]", pause::COMMAND)])
            .build();
        let session = self.engine.begin(Operation::Build).await?;
        let body = bollard::body_full(root.into());
        let mut messages = session.docker.create_image(Some(options), Some(body), None).boxed();
        while let Some(message) = self.engine.next(Operation::Build, what, CREATE, &mut messages).await {
            message?;
        }
        Ok(())
    }

    /// Removes the sandbox of that name, where it is ours.
    async fn clear_sandbox(&self, name: &str) -> Result<(), RuntimeError> {
        let what = format!("look at container {name}");
        let inspected = self.inspect(name).await.map_err(|failure| failure.explain(&what))?;
        let Some(inspected) = inspected else { return Ok(()) };
        if !labels::are_ours(&self.identity, look::labels_of(&inspected)) {
            return Err(RuntimeError::NameTaken(format!(
                "a container named {name} exists and is not this proxy's; remove or rename it"
            )));
        }
        self.remove(&inspected.id.unwrap_or_else(|| name.to_owned())).await
    }

    /// Removes a sandbox whose replica is gone.
    pub(super) async fn remove_lone_sandbox(&self, sandbox: &ContainerSummary) {
        let (Some(id), Some(name)) = (sandbox.id.as_deref(), look::sandbox_for(sandbox)) else { return };
        // The list may be older than the replica.
        if self.kept.is_making(name) {
            return;
        }
        match self.inspect(name).await {
            Ok(None) => {}
            Ok(Some(replica)) if look::network_mode(&replica).and_then(of_mode) != Some(id) => {}
            Ok(Some(_)) | Err(_) => return,
        }
        self.kept.forget(name);
        tracing::info!(replica = name, "removing the network of a replica that is gone");
        self.discard(id).await;
    }

    /// Removes the sandbox that a replica was in, where it was in one.
    pub(super) async fn remove_sandbox_of(&self, mode: Option<&str>) -> Result<(), RuntimeError> {
        match mode.and_then(of_mode) {
            Some(sandbox) => self.remove_sandbox(sandbox).await,
            None => Ok(()),
        }
    }

    /// Removes a sandbox, where it is ours.
    pub(super) async fn remove_sandbox(&self, sandbox: &str) -> Result<(), RuntimeError> {
        let what = format!("look at container {sandbox:.12}");
        let inspected = self.inspect(sandbox).await.map_err(|failure| failure.explain(&what))?;
        let is_ours =
            |labels| labels::are_ours(&self.identity, Some(labels)) && labels.contains_key(labels::SANDBOX);
        match inspected.as_ref().and_then(look::labels_of) {
            Some(labels) if is_ours(labels) => self.remove(sandbox).await,
            _ => Ok(()),
        }
    }

    /// Whether the sandbox that a stopped replica is to be started in still runs.
    pub(super) async fn sandbox_runs(&self, sandbox: &str) -> bool {
        let looked = self.engine.call(Operation::Inspect, "look at a sandbox", LOOK, |docker| async move {
            docker.inspect_container(sandbox, None).await
        });
        match looked.await {
            Ok(inspected) => inspected.state.as_ref().is_some_and(look::runs),
            // Where nobody says, the next start shows.
            Err(failure) => !failure.is_not_found(),
        }
    }
}

/// What a sandbox is made of.
fn body(labels: HashMap<String, String>, network: &str) -> ContainerCreateBody {
    ContainerCreateBody {
        image: Some(format!("{}:{}", pause::IMAGE, pause::TAG)),
        labels: Some(labels),
        // As the first process of its container it would be shielded from the polite one.
        stop_signal: Some("SIGKILL".into()),
        host_config: Some(HostConfig {
            network_mode: Some(network.to_owned()),
            cap_drop: Some(vec!["ALL".into()]),
            security_opt: Some(vec!["no-new-privileges".into()]),
            readonly_rootfs: Some(true),
            // One of its own, and those that the engine needs for a moment to start it.
            pids_limit: Some(16),
            init: Some(false),
            log_config: Some(HostConfigLogConfig { typ: Some("none".into()), config: None }),
            // A server that does not say SO_REUSEADDR cannot listen where a connection of the one before it is still
            // remembered: here none is.
            sysctls: Some(HashMap::from([("net.ipv4.tcp_max_tw_buckets".into(), "0".into())])),
            ..Default::default()
        }),
        ..Default::default()
    }
}

/// An endpoint's address as a label has it.
pub(super) fn address_label(endpoint: &Endpoint) -> String {
    match &endpoint.address {
        Address::Tcp(address) => address.ip().to_string(),
        Address::Unix(_) => String::new(),
    }
}
