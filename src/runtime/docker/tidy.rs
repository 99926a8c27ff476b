//! Removing what builds of our own have left behind: the image of a build before, once it has lost its tag to the next
//! and nothing runs on it.
//!
//! Only images without a tag that bear this instance's label are removed, with those of their build's steps that
//! nothing else is built on, as `docker rmi` does. Never by force: the engine refuses where any container needs one.
//! The image of an app that the file no longer has keeps its tag, and makes its return fast.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use bollard::query_parameters::{ListImagesOptionsBuilder, RemoveImageOptionsBuilder};

use super::calls::Operation;
use super::engine::LOOK;
use super::failure::Failure;
use super::{DockerRuntime, labels};
use crate::runtime::RuntimeError;

/// For one image: its files are deleted before the engine answers.
const REMOVE: Duration = Duration::from_secs(30);

/// For all of them: builds wait meanwhile. What is left is found the next time.
const ALL: Duration = Duration::from_mins(1);

impl DockerRuntime {
    pub(super) async fn remove_leftovers(&self) {
        // A build takes its steps from images that could go here, and may give a tag back to one. Whoever builds
        // tidies up afterwards, so nothing needs to wait for it.
        let Ok(_no_build) = self.building.try_write() else { return };
        // Another proxy that builds an app of the same name takes the tag away from an image that is still wanted.
        let wanted: HashSet<_> = self.built.iter().map(|image| image.value().clone()).collect();
        let removed = self.remove_images_but(&wanted, HashMap::from([("dangling", vec!["true"])])).await;
        if let Err(error) = removed {
            tracing::debug!(%error, "cannot remove images of builds before");
        }
    }

    /// Removes all that is this instance's, for one that will not come back: replicas, network, and what it has built.
    ///
    /// # Errors
    /// The first failure; what is left then is found by the next attempt.
    pub async fn remove_everything(&self) -> Result<(), RuntimeError> {
        for found in self.list_replicas().await? {
            self.stop_replica(&found.id, Duration::from_secs(1)).await?;
        }
        self.network.remove(&self.engine, &self.identity).await?;
        self.remove_images_but(&HashSet::new(), HashMap::new()).await
    }

    async fn remove_images_but(
        &self,
        wanted: &HashSet<String>,
        filters: HashMap<&str, Vec<&str>>,
    ) -> Result<(), RuntimeError> {
        let what = "remove images that were built";
        match tokio::time::timeout(ALL, self.try_remove_images_but(wanted, filters)).await {
            Ok(removed) => removed.map_err(|failure| failure.explain(what)),
            Err(_elapsed) => Err(Failure::timed_out(what, ALL).explain(what)),
        }
    }

    async fn try_remove_images_but(
        &self,
        wanted: &HashSet<String>,
        mut filters: HashMap<&str, Vec<&str>>,
    ) -> Result<(), Failure> {
        let label = format!("{}={}", labels::BUILT_BY, self.identity.id);
        filters.insert("label", vec![&label]);
        let options = ListImagesOptionsBuilder::new().filters(&filters).build();
        let what = "list images that were built";
        let listed = self
            .engine
            .call(Operation::ListImages, what, LOOK, |docker| async move {
                docker.list_images(Some(options)).await
            })
            .await?;
        for image in listed.into_iter().map(|image| image.id).filter(|id| !wanted.contains(id)) {
            self.remove_image(&image).await?;
        }
        Ok(())
    }

    async fn remove_image(&self, id: &str) -> Result<(), Failure> {
        let what = format!("remove image {id}");
        let options = RemoveImageOptionsBuilder::new().force(false).noprune(false).build();
        let removed = self
            .engine
            .call(Operation::RemoveImage, &what, REMOVE, |docker| async move {
                docker.remove_image(id, Some(options), None).await
            })
            .await;
        match removed {
            Ok(_) => tracing::debug!(image = id, "removed an image that was built"),
            Err(failure) if failure.is_conflict() || failure.is_not_found() => {
                tracing::debug!(image = id, ?failure, "an image that was built stays");
            }
            Err(failure) => return Err(failure),
        }
        Ok(())
    }
}
