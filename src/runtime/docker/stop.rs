//! Ending one replica, and making sure that it is gone.
//!
//! The invariant: nothing is stopped or removed whose own label has not been read first. An ID is never used
//! twice by an engine, so what was ours when it was looked at is ours when it is removed.

use std::time::Duration;

use bollard::models::ContainerInspectResponse;
use bollard::query_parameters::{RemoveContainerOptionsBuilder, StopContainerOptionsBuilder};

use super::calls::Operation;
use super::engine::LOOK;
use super::{DockerRuntime, labels, look};
use crate::runtime::{ReplicaId, RuntimeError};

const REMOVE: Duration = Duration::from_secs(30);

/// How much longer than its grace a stop may take: the engine kills, unmounts, takes the address back.
const BEYOND_GRACE: Duration = Duration::from_secs(15);

/// Between two looks at a container that somebody else is removing: the first and the longest wait.
const POLL: (Duration, Duration) = (Duration::from_millis(10), Duration::from_millis(500));

impl DockerRuntime {
    pub(super) async fn stop_replica(&self, id: &ReplicaId, grace: Duration) -> Result<(), RuntimeError> {
        let what = format!("stop container {id}");
        let Some(inspected) = self.end_replica(id, grace, &what).await? else { return Ok(()) };
        self.remove(&id.0).await?;
        self.remove_sandbox_of(look::network_mode(&inspected)).await?;
        if let Some(name) = inspected.name.as_deref() {
            self.kept.forget(name.trim_start_matches('/'));
        }
        Ok(())
    }

    /// Ends what runs in a container of ours, which stays; gives what it was before. `None`: there is no such container.
    pub(super) async fn end_replica(
        &self,
        id: &ReplicaId,
        grace: Duration,
        what: &str,
    ) -> Result<Option<ContainerInspectResponse>, RuntimeError> {
        let Some(inspected) = self.inspect(&id.0).await.map_err(|failure| failure.explain(what))? else {
            return Ok(None);
        };
        if !labels::are_ours(&self.identity, look::labels_of(&inspected)) {
            return Err(RuntimeError::Refused(format!("cannot {what}: it is not this proxy's")));
        }
        let state = inspected.state.clone().unwrap_or_default();
        if state.paused.unwrap_or(false) {
            // A frozen process cannot act on SIGTERM. Should this fail, the removal kills it all the same.
            let thawed = self.engine.call(Operation::Unpause, what, LOOK, |docker| async move {
                docker.unpause_container(&id.0).await
            });
            if let Err(failure) = thawed.await {
                tracing::debug!(container = %id, ?failure, "cannot unpause a container before it is stopped");
            }
        }
        if state.running.unwrap_or(false) {
            self.terminate(id, grace, what).await;
        }
        Ok(Some(inspected))
    }

    /// SIGTERM (or the image's STOPSIGNAL), `grace`, SIGKILL. A failure here leaves the killing to the removal.
    async fn terminate(&self, id: &ReplicaId, grace: Duration, what: &str) {
        let options = StopContainerOptionsBuilder::new().t(whole_seconds(grace)).build();
        let stopped = self
            .engine
            .call(Operation::Stop, what, grace.saturating_add(BEYOND_GRACE), |docker| async move {
                docker.stop_container(&id.0, Some(options)).await
            })
            .await;
        match stopped {
            Err(failure) if !failure.is_not_found() => {
                tracing::warn!(container = %id, ?failure, "a container did not stop when told: it is killed");
            }
            _ => {}
        }
    }

    /// Removes a container of ours with its anonymous volumes, killing it if it runs, and looks that it is gone.
    pub(super) async fn remove(&self, id: &str) -> Result<(), RuntimeError> {
        let what = format!("remove container {id:.12}");
        let options = RemoveContainerOptionsBuilder::new().force(true).v(true).build();
        let removed = self
            .engine
            .call(Operation::Remove, &what, REMOVE, |docker| async move {
                docker.remove_container(id, Some(options)).await
            })
            .await;
        match removed {
            Err(failure) if failure.is_not_found() => Ok(()),
            // Somebody else is removing it, or nobody knows: then it is what is there that counts.
            Err(failure) if failure.is_conflict() || failure.is_uncertain() => {
                if self.vanishes(id, REMOVE).await? { Ok(()) } else { Err(failure.explain(&what)) }
            }
            Err(failure) => Err(failure.explain(&what)),
            Ok(()) if self.vanishes(id, LOOK).await? => Ok(()),
            Ok(()) => Err(RuntimeError::TimedOut(format!(
                "the Docker Engine says that it has removed container {id:.12}, and still shows it: look at `docker ps -a`"
            ))),
        }
    }

    /// Whether the container is gone, or goes within `limit`.
    async fn vanishes(&self, id: &str, limit: Duration) -> Result<bool, RuntimeError> {
        let looks = async {
            let mut wait = POLL.0;
            while self.inspect(id).await?.is_some() {
                tokio::time::sleep(wait).await;
                wait = (wait * 2).min(POLL.1);
            }
            Ok(())
        };
        match tokio::time::timeout(limit, looks).await {
            Ok(Ok(())) => Ok(true),
            Ok(Err(failure)) => {
                let failure: super::failure::Failure = failure;
                Err(failure.explain(&format!("look at container {id:.12}")))
            }
            Err(_) => Ok(false),
        }
    }
}

/// The engine takes whole seconds: a part of one is rounded up, so that nobody gets less than was promised.
fn whole_seconds(grace: Duration) -> i32 {
    let whole = grace.as_secs().saturating_add(u64::from(grace.subsec_nanos() > 0));
    i32::try_from(whole).unwrap_or(i32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn grace_is_rounded_up() {
        assert_eq!(whole_seconds(Duration::ZERO), 0);
        assert_eq!(whole_seconds(Duration::from_millis(1)), 1);
        assert_eq!(whole_seconds(Duration::from_secs(10)), 10);
        assert_eq!(whole_seconds(Duration::MAX), i32::MAX);
    }
}
