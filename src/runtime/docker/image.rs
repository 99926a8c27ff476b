//! What a replica is made from: looks for the image, has it pulled or built, and says what revision that makes.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bollard::models::{ImageConfig, ImageInspect};

use super::calls::Operation;
use super::container::{self, SECURITY};
use super::engine::LOOK;
use super::failure::Failure;
use super::{DockerRuntime, build, pull, turns};
use crate::config::spec::{Resources, Source, Workload};
use crate::runtime::revision::{self, Shape};
use crate::runtime::{Revision, RuntimeError};

/// Where a replica listens if neither the file nor the image says.
const DEFAULT_PORT: u16 = 8080;

/// A pull or build that goes on for so long will never end, however much it says. The engine keeps what it has done,
/// so the next attempt goes on from there.
const LONGEST: Duration = Duration::from_hours(1);

impl DockerRuntime {
    pub(super) async fn prepare_image(
        &self,
        app: &str,
        workload: &Arc<Workload>,
    ) -> Result<Revision, RuntimeError> {
        let image = match &workload.source {
            Source::Image(reference) => self.present(reference).await?,
            Source::Build(folder) => self.build(app, folder).await?,
            Source::Host | Source::Upstream(_) => {
                return Err(RuntimeError::Refused(format!(
                    "app {app} has neither `image` nor `build`: runtime docker needs one of them"
                )));
            }
        };
        let config = image.config.unwrap_or_default();
        let image_id = image.id.unwrap_or_default();
        if container::brings_init(&config) {
            self.own_init.insert(image_id.clone());
        }
        let given = self.given_by_host(app, workload.resources).await;
        let port = port(workload, &config);
        let hash = revision::hash(
            &self.identity,
            &Shape {
                image_id: &image_id,
                command: workload.command.as_ref(),
                env: &workload.env,
                resources: workload.resources,
                volumes: &workload.volumes,
                workspace: workload.workspace,
                port,
                socket: false,
                security: SECURITY,
                network: self.network.name(),
                networks: &workload.networks,
                name: (workload.named && self.network.has_names()).then_some(app),
            },
        );
        Ok(Revision { hash, workload: Arc::clone(workload), image_id, port, cpu_millis: given.cpu_millis })
    }

    /// The image that `reference` names, pulled if it is not there.
    async fn present(&self, reference: &str) -> Result<ImageInspect, RuntimeError> {
        if let Some(image) = self.inspect_image(reference).await? {
            return Ok(image);
        }
        let turn = turns::take(&self.turns.pulls).await;
        // Another app may have had it pulled meanwhile.
        if let Some(image) = self.inspect_image(reference).await? {
            return Ok(image);
        }
        let pull = pull::pull(&self.engine, reference, self.pull_timeout);
        let pulled = tokio::time::timeout(LONGEST, pull).await;
        pulled.unwrap_or_else(|_| Err(too_long(&format!("pull image {reference}"))))?;
        drop(turn);
        let pulled = self.inspect_image(reference).await?;
        pulled.ok_or_else(|| {
            RuntimeError::Image(format!("the image {reference} was pulled and is not there: pull it by hand (`docker pull {reference}`)"))
        })
    }

    /// The image that `folder` makes.
    async fn build(&self, app: &str, folder: &Path) -> Result<ImageInspect, RuntimeError> {
        let _keeps_images = self.building.read().await;
        let turn = turns::take(&self.turns.builds).await;
        let build = build::build(&self.engine, &self.identity, app, folder, &self.state_dir);
        let ended = tokio::time::timeout(LONGEST, build).await;
        let id = ended.unwrap_or_else(|_| Err(too_long(&format!("build the image of {app}"))))?;
        drop(turn);
        let image = self.inspect_image(&id).await?.ok_or_else(|| {
            RuntimeError::Image(format!("the image {id} was built and is gone again: build it again"))
        })?;
        self.built.insert(app.to_owned(), image.id.clone().unwrap_or_default());
        Ok(image)
    }

    async fn inspect_image(&self, reference: &str) -> Result<Option<ImageInspect>, RuntimeError> {
        let _turn = turns::take(&self.turns.looks).await;
        let what = format!("look at image {reference}");
        let looked = self
            .engine
            .call(Operation::InspectImage, &what, LOOK, |docker| async move {
                docker.inspect_image(reference).await
            })
            .await;
        match looked {
            Ok(image) => Ok(Some(image)),
            Err(failure) if failure.is_not_found() => Ok(None),
            Err(Failure::Status { code: 400, message }) => {
                let letters = if message.contains("lowercase") { "in small letters, " } else { "" };
                Err(RuntimeError::Image(format!(
                    "{reference} is not the name of an image: write it {letters}as in `nginx:1.27` or `ghcr.io/me/app:2`; the Docker Engine says: {message}"
                )))
            }
            Err(failure) => Err(failure.explain(&what)),
        }
    }

    /// What a replica gets of what was asked for. That it is less is said here, once for each revision, and not at each
    /// start.
    async fn given_by_host(&self, app: &str, asked: Resources) -> Resources {
        let Ok(session) = self.engine.session().await else { return asked };
        let given = container::clamp(asked, &session.host);
        if given != asked {
            tracing::warn!(
                app,
                asked_cores = f64::from(asked.cpu_millis) / 1000.0,
                given_cores = f64::from(given.cpu_millis) / 1000.0,
                asked_bytes = asked.memory,
                given_bytes = given.memory,
                "the host is smaller than the instance: each replica is limited to what there is"
            );
        }
        given
    }
}

fn too_long(what: &str) -> RuntimeError {
    let minutes = LONGEST.as_secs() / 60;
    RuntimeError::Image(format!(
        "cannot {what}: it was given up after {minutes} minutes; do it by hand, and look at what takes so long"
    ))
}

/// The file's port, else the image's only EXPOSE, else 8080.
fn port(workload: &Workload, config: &ImageConfig) -> u16 {
    let exposed = || {
        let ports = config.exposed_ports.iter().flatten();
        let mut tcp = ports.filter_map(|port| match port.split_once('/') {
            Some((number, "tcp")) => number.parse().ok(),
            Some(_) => None,
            None => port.parse().ok(),
        });
        tcp.next().filter(|_| tcp.next().is_none())
    };
    workload.port.or_else(exposed).unwrap_or(DEFAULT_PORT)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn workload(port: Option<u16>) -> Workload {
        Workload {
            source: Source::Image("x".into()),
            command: None,
            port,
            socket: false,
            resources: Resources { cpu_millis: 1, memory: 1, gpus: 0 },
            env: std::collections::BTreeMap::new(),
            volumes: Vec::new(),
            workspace: false,
            networks: Vec::new(),
            named: false,
            dir: "/".into(),
        }
    }

    fn exposing(ports: &[&str]) -> ImageConfig {
        ImageConfig {
            exposed_ports: Some(ports.iter().map(ToString::to_string).collect()),
            ..Default::default()
        }
    }

    #[test]
    fn the_only_exposed_port_counts() {
        assert_eq!(port(&workload(None), &exposing(&["80/tcp"])), 80);
        assert_eq!(port(&workload(None), &exposing(&["80/tcp", "53/udp"])), 80);
        assert_eq!(port(&workload(None), &exposing(&["80/tcp", "443/tcp"])), 8080);
        assert_eq!(port(&workload(None), &exposing(&[])), 8080);
        assert_eq!(port(&workload(Some(1)), &exposing(&["80/tcp"])), 1);
    }
}
