//! What a container uses, by the engine's statistics.

use std::time::Duration;

use bollard::models::{ContainerMemoryStats, ContainerStatsResponse};
use bollard::query_parameters::StatsOptionsBuilder;
use futures_util::StreamExt;

use super::calls::Operation;
use super::engine::LOOK;
use super::{DockerRuntime, gone};
use crate::runtime::{MemoryUse, ReplicaId, RuntimeError};

impl DockerRuntime {
    pub(super) async fn used_cpu(&self, id: &ReplicaId) -> Result<Duration, RuntimeError> {
        let used = self.stats(id).await?.cpu_stats.and_then(|stats| stats.cpu_usage?.total_usage);
        used.map(Duration::from_nanos).ok_or_else(gone)
    }

    pub(super) async fn held_memory(&self, id: &ReplicaId) -> Result<MemoryUse, RuntimeError> {
        self.stats(id).await?.memory_stats.as_ref().and_then(memory).ok_or_else(gone)
    }

    /// The engine answers with its next sample, of which it takes one a second: this takes up to a second, and
    /// what it says is fresh when it arrives.
    async fn stats(&self, id: &ReplicaId) -> Result<ContainerStatsResponse, RuntimeError> {
        let what = format!("ask what container {id} uses");
        let options = StatsOptionsBuilder::new().stream(false).one_shot(true).build();
        let answered = self.engine.call(Operation::Stats, &what, LOOK, |docker| async move {
            docker.stats(&id.0, Some(options)).next().await.transpose()
        });
        match answered.await {
            Ok(stats) => stats.ok_or_else(gone),
            Err(failure) if failure.is_not_found() => Err(gone()),
            Err(failure) => Err(failure.explain(&what)),
        }
    }
}

/// The working set: usage without the file cache that the kernel would drop first, as `docker stats` shows it
/// (`calculateMemUsageUnixNoCache` in docker/cli, `cli/command/container/stats_helpers.go`). cgroup v1 counts it in
/// `total_inactive_file`, v2 in `inactive_file`; where that is no less than the usage, the usage counts. A container
/// that does not run has no figures: `None`.
fn memory(stats: &ContainerMemoryStats) -> Option<MemoryUse> {
    let usage = stats.usage?;
    let counted = |name: &str| stats.stats.as_ref()?.get(name).copied().filter(|cache| *cache < usage);
    let cache = counted("total_inactive_file").or_else(|| counted("inactive_file")).unwrap_or(0);
    Some(MemoryUse { held: usage - cache, limit: stats.limit.filter(|limit| *limit > 0) })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn held(usage: u64, stats: &[(&str, u64)]) -> Option<u64> {
        let stats = stats.iter().map(|(name, value)| ((*name).to_owned(), *value)).collect();
        let stats = ContainerMemoryStats { usage: Some(usage), stats: Some(stats), ..Default::default() };
        memory(&stats).map(|memory| memory.held)
    }

    #[test]
    fn file_cache_that_can_be_dropped_is_not_held() {
        let v1 = [("cache", 70), ("inactive_file", 10), ("total_inactive_file", 40)];
        assert_eq!(held(100, &v1), Some(60), "cgroup v1 counts those below as well");
        assert_eq!(held(100, &[("file", 70), ("inactive_file", 30)]), Some(70), "cgroup v2");
        assert_eq!(held(100, &[]), Some(100));
        assert_eq!(held(100, &[("total_inactive_file", 100)]), Some(100), "figures of two moments");
    }

    #[test]
    fn what_does_not_run_has_no_figures() {
        assert_eq!(memory(&ContainerMemoryStats::default()), None);
        let unlimited = ContainerMemoryStats { usage: Some(1), limit: Some(0), ..Default::default() };
        assert_eq!(memory(&unlimited), Some(MemoryUse { held: 1, limit: None }));
    }
}
