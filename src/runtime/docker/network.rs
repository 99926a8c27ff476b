//! The network that replicas join: one of this instance's own, made when first needed, or one that the
//! user names, which is left alone. And those that an app joins beside it.

use std::collections::HashMap;
use std::time::Duration;

use bollard::models::{NetworkConnectRequest, NetworkCreateRequest};
use tokio::sync::Mutex;

use super::calls::Operation;
use super::engine::{Engine, LOOK};
use super::failure::Failure;
use super::labels;
use crate::runtime::{Identity, RuntimeError};

/// For making or removing a network.
const CHANGE: Duration = Duration::from_secs(30);

/// The network that replicas join.
pub(super) struct Network {
    name: String,
    own: bool,
    /// Whether it has been seen, of an own one. Held while it is made: engines before API 1.44 make a second
    /// network of the same name without a word.
    seen: Mutex<bool>,
}

impl Network {
    /// `named` by the user, or this instance's own.
    pub(super) fn new(named: Option<String>, identity: &Identity) -> Self {
        let own = named.is_none();
        Self { name: named.unwrap_or_else(|| labels::network(identity)), own, seen: Mutex::new(false) }
    }

    /// Whether it is this instance's own, to be made when missing.
    pub(super) fn is_own(&self) -> bool {
        self.own
    }

    /// Whether it gives a container an address of its own.
    pub(super) fn is_a_bridge(&self) -> bool {
        !matches!(self.name.as_str(), "host" | "none") && !self.name.starts_with("container:")
    }

    /// Whether containers on it are found by name.
    pub(super) fn has_names(&self) -> bool {
        self.is_a_bridge() && !matches!(self.name.as_str(), "bridge" | "default")
    }

    /// What containers are told to join.
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// Makes sure that it exists, where it is our own. Costs no call once it has been seen.
    pub(super) async fn ensure(&self, engine: &Engine, identity: &Identity) -> Result<(), RuntimeError> {
        if !self.own {
            return Ok(());
        }
        // Whoever goes first may be waiting for a mute engine; those behind do not add their waits to it.
        let turn = tokio::time::timeout(CHANGE, self.seen.lock()).await;
        let what = "make the network that replicas join";
        let mut seen = turn.map_err(|_| Failure::timed_out(what, CHANGE).explain(what))?;
        if !*seen {
            if !self.look(engine, identity).await? {
                self.make(engine, identity).await?;
            }
            *seen = true;
        }
        Ok(())
    }

    /// The engine says that it is not there.
    pub(super) async fn forget(&self) {
        *self.seen.lock().await = false;
    }

    /// Removes it, where it is our own and no container uses it.
    pub(super) async fn remove(&self, engine: &Engine, identity: &Identity) -> Result<(), RuntimeError> {
        if !self.own {
            return Ok(());
        }
        let mut seen = self.seen.lock().await;
        if !self.look(engine, identity).await? {
            return Ok(());
        }
        let what = format!("remove network {}", self.name);
        let name = self.name.clone();
        let removed =
            engine
                .call(Operation::Network, &what, CHANGE, |docker| async move {
                    docker.remove_network(&name).await
                })
                .await;
        match removed {
            Ok(()) | Err(Failure::Status { code: 404, .. }) => {
                *seen = false;
                Ok(())
            }
            // Still in use: somebody's container stays, and so does its network.
            Err(Failure::Status { code: 403, .. }) => Ok(()),
            Err(failure) => Err(failure.explain(&what)),
        }
    }

    /// Whether it exists and is ours.
    async fn look(&self, engine: &Engine, identity: &Identity) -> Result<bool, RuntimeError> {
        let what = format!("look at network {}", self.name);
        let name = self.name.clone();
        let found = engine.call(Operation::Network, &what, LOOK, |docker| async move {
            docker.inspect_network(&name, None).await
        });
        match found.await {
            Ok(found) if labels::are_ours(identity, found.labels.as_ref()) => Ok(true),
            Ok(_) => Err(RuntimeError::Refused(format!(
                "the Docker network {0} exists and is not this proxy's: remove it (`docker network rm {0}`), or set docker.network",
                self.name
            ))),
            Err(failure) if failure.is_not_found() => Ok(false),
            Err(failure) => Err(failure.explain(&what)),
        }
    }

    async fn make(&self, engine: &Engine, identity: &Identity) -> Result<(), RuntimeError> {
        let what = format!("make network {}", self.name);
        let request = NetworkCreateRequest {
            name: self.name.clone(),
            driver: Some("bridge".into()),
            labels: Some(HashMap::from([(labels::INSTANCE.to_owned(), identity.id.clone())])),
            ..Default::default()
        };
        let made =
            engine
                .call(Operation::Network, &what, CHANGE, |docker| async move {
                    docker.create_network(request).await
                })
                .await;
        match made {
            Ok(_) => {
                tracing::info!(network = self.name, "made the network that replicas join");
                Ok(())
            }
            Err(failure) if failure.is_conflict() || failure.is_uncertain() => {
                if self.look(engine, identity).await? { Ok(()) } else { Err(failure.explain(&what)) }
            }
            Err(failure) => Err(failure.explain(&what)),
        }
    }
}

/// Connects a container that does not run yet to a network of the user's.
pub(super) async fn connect(engine: &Engine, network: &str, container: &str) -> Result<(), Failure> {
    let what = format!("connect a container to network {network}");
    // Before a container runs, engines here take any name at all, and its start would fail in their words.
    engine
        .call(
            Operation::Network,
            &what,
            LOOK,
            |docker| async move { docker.inspect_network(network, None).await },
        )
        .await?;
    let request = NetworkConnectRequest { container: container.to_owned(), ..Default::default() };
    engine
        .call(Operation::Network, &what, CHANGE, |docker| async move {
            docker.connect_network(network, request).await
        })
        .await
}
