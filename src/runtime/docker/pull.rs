//! Pulling a missing image.

use std::time::Duration;

use bollard::models::CreateImageInfo;
use bollard::query_parameters::CreateImageOptionsBuilder;

use super::credentials::Credentials;
use super::engine::Engine;
use super::failure::Failure;
use super::progress::Throttle;
use super::reference::Reference;
use crate::runtime::RuntimeError;

/// A pull that is silent for so long has died.
const SILENCE: Duration = Duration::from_mins(2);

/// Pulls the image that `name` names, with progress in the log.
pub(super) async fn pull(engine: &Engine, name: &str) -> Result<(), RuntimeError> {
    let what = format!("pull image {name}");
    let reference = Reference::parse(name);
    let credentials = Credentials::load().await.of(&reference).await;
    let with_credentials = credentials.is_some();
    let session = engine.session().await.map_err(|failure| failure.explain(&what))?;
    tracing::info!(image = name, "the image is not on this host: pulling it");
    let options =
        CreateImageOptionsBuilder::new().from_image(&reference.repository).tag(&reference.version).build();
    let mut stream = session.docker.create_image(Some(options), None, credentials);
    let mut throttle = Throttle::new();
    while let Some(info) = engine.next(&what, SILENCE, &mut stream).await {
        let info = info.map_err(|failure| explain(failure, name, with_credentials))?;
        if throttle.is_due() {
            log(name, &info);
        }
    }
    tracing::info!(image = name, "pulled the image");
    Ok(())
}

fn log(image: &str, info: &CreateImageInfo) {
    let status = info.status.as_deref().unwrap_or_default();
    let layer = info.id.as_deref().unwrap_or_default();
    let detail = info.progress_detail.as_ref();
    let done = detail.and_then(|detail| detail.current);
    let total = detail.and_then(|detail| detail.total);
    tracing::info!(image, layer, done, total, "{status}");
}

fn explain(failure: Failure, name: &str, with_credentials: bool) -> RuntimeError {
    match failure {
        Failure::Status { message, .. } => {
            let login = if with_credentials {
                "check that its `docker login` still holds"
            } else {
                "`docker login` if it is private"
            };
            RuntimeError::Image(format!(
                "the image {name} is not on this host and cannot be pulled: check its name, and {login}; the Docker Engine says: {message}"
            ))
        }
        other => other.explain(&format!("pull image {name}")),
    }
}
