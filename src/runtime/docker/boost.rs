//! What a container may use of the host's CPU, which changes in its life: more while it starts than afterwards.
//!
//! A new container is made with its boost, and one that is kept is given it back when it is stopped, so that no start
//! waits for a call.

use bollard::models::ContainerUpdateBody;

use super::calls::Operation;
use super::engine::LOOK;
use super::failure::Failure;
use super::{DockerRuntime, container, gone};
use crate::runtime::{ReplicaId, RuntimeError, StartOrder};

impl DockerRuntime {
    /// Thousandths of a core from now on.
    pub(super) async fn limit_cpu(&self, id: &ReplicaId, cpu_millis: u32) -> Result<(), RuntimeError> {
        let what = format!("limit the CPU of container {id}");
        let limited = async {
            let session = self.engine.session().await?;
            let most = session.host.cores.saturating_mul(1000);
            self.update_cpu(&id.0, cpu_millis.min(most), &what).await
        };
        match limited.await {
            Err(failure) if failure.is_not_found() => Err(gone()),
            limited => limited.map_err(|failure| failure.explain(&what)),
        }
    }

    /// Gives a container that does not run what it may use when it is started. Without it that would only take longer.
    pub(super) async fn boost_next_start(&self, id: &ReplicaId, order: &StartOrder) {
        let what = format!("boost container {id}");
        let boosted = async {
            let session = self.engine.session().await?;
            let cpu_millis = container::boosted(order.revision.cpu_millis, order.boost_millis, &session.host);
            self.update_cpu(&id.0, cpu_millis, &what).await
        };
        if let Err(failure) = boosted.await {
            tracing::debug!(replica = %id, ?failure, "cannot boost the next start of a replica");
        }
    }

    async fn update_cpu(&self, id: &str, cpu_millis: u32, what: &str) -> Result<(), Failure> {
        let change =
            ContainerUpdateBody { nano_cpus: Some(container::nano_cpus(cpu_millis)), ..Default::default() };
        let update = self.engine.call(Operation::Update, what, LOOK, |docker| async move {
            docker.update_container(id, change).await
        });
        update.await
    }
}
