//! Pulling a missing image.

use std::time::Duration;

use bollard::models::CreateImageInfo;
use bollard::query_parameters::CreateImageOptionsBuilder;

use super::calls::Operation;
use super::credentials::Credentials;
use super::engine::Engine;
use super::failure::Failure;
use super::progress::Throttle;
use super::reference::{HUB, Reference};
use crate::runtime::RuntimeError;

/// Pulls the image that `name` names, with progress in the log. Gives up where nothing has come for `patience`;
/// the engine then ends the pull, since nobody waits for it any more.
pub(super) async fn pull(engine: &Engine, name: &str, patience: Duration) -> Result<(), RuntimeError> {
    let what = format!("pull image {name}");
    let reference = Reference::parse(name);
    let credentials = Credentials::load().await.of(&reference).await;
    let with_login = credentials.is_some();
    let explain = |failure| explain(failure, name, &reference, with_login, patience);
    let session = engine.begin(Operation::Pull).await.map_err(|failure| failure.explain(&what))?;
    tracing::info!(image = name, with_login, "the image is not on this host: pulling it");
    let options =
        CreateImageOptionsBuilder::new().from_image(&reference.repository).tag(&reference.version).build();
    let mut stream = session.docker.create_image(Some(options), None, credentials);
    let mut throttle = Throttle::new();
    while let Some(info) = engine.next(Operation::Pull, &what, patience, &mut stream).await {
        let info = info.map_err(explain)?;
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

fn explain(
    failure: Failure,
    name: &str,
    reference: &Reference,
    with_login: bool,
    patience: Duration,
) -> RuntimeError {
    let registry = &reference.registry;
    match failure {
        Failure::Status { message, .. } => RuntimeError::Image(format!(
            "the image {name} is not on this host and cannot be pulled: {}; the Docker Engine says: {message}",
            advice(&message, registry, with_login)
        )),
        // The engine has answered a moment ago: it is not what hangs.
        Failure::TimedOut(_) => RuntimeError::Image(format!(
            "the image {name} is not on this host and cannot be pulled: its registry {registry} has sent nothing for {} s; see that it is well, and the way to it, or raise docker.pull_timeout",
            patience.as_secs_f64()
        )),
        other => other.explain(&format!("pull image {name}")),
    }
}

/// How engines say that they get no answer of a registry.
const UNREACHABLE: &[&str] = &[
    "dial tcp",
    "no such host",
    "i/o timeout",
    "Client.Timeout",
    "deadline exceeded",
    "connection re",
    "EOF",
];

/// What to do about a pull that the engine or the registry refuses with these words. Of their statuses little can
/// be learnt: the engine passes on most refusals of a registry as errors of its own.
fn advice(message: &str, registry: &str, with_login: bool) -> String {
    let says = |words: &[&str]| words.iter().any(|word| message.contains(word));
    let login = match registry {
        HUB => "`docker login`".to_owned(),
        other => format!("`docker login {other}`"),
    };
    if says(&["no space left on device"]) {
        "the disk is full: `docker system prune` removes what no container uses".to_owned()
    } else if says(&["server gave HTTP response to HTTPS client"]) {
        format!(
            "its registry {registry} does without TLS: give it a certificate, or name it in `insecure-registries` of the engine's daemon.json"
        )
    } else if says(UNREACHABLE) {
        format!(
            "its registry {registry} cannot be reached: check its name, that it runs, and this host's network"
        )
    } else if says(&["no basic auth credentials", "unauthorized", "denied", "forbidden"]) {
        // Most public registries say the same of what they do not have.
        if with_login {
            format!(
                "its registry {registry} does not accept the login: check the image's name, and {login} anew"
            )
        } else {
            format!(
                "its registry {registry} wants a login: check the image's name, and {login} as the user that pilotlight runs as"
            )
        }
    } else if says(&["manifest unknown", "name unknown", "not found"]) {
        format!("its registry {registry} does not have it: check its name and its tag")
    } else {
        format!("check its name, and {login} if it is private")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Words of engines and registries as they are, as far as the suite has no such registry.
    #[test]
    fn advice_fits_what_went_wrong() {
        let hub = "pull access denied for no/such, repository does not exist or may require 'docker login': denied: requested access to the resource is denied";
        for (message, with_login, words) in [
            (hub, false, "and `docker login` as the user"),
            (hub, true, "does not accept the login: check the image's name"),
            (
                "Get \"https://registry-1.docker.io/v2/\": dial tcp: lookup registry-1.docker.io: no such host",
                false,
                "cannot be reached",
            ),
            (
                "write /var/lib/docker/tmp/GetImageBlob1: no space left on device",
                false,
                "docker system prune",
            ),
            (
                "Get \"https://10.0.0.1:5000/v2/\": http: server gave HTTP response to HTTPS client",
                false,
                "insecure-registries",
            ),
            ("Get \"http://10.0.0.1:5000/v2/\": context deadline exceeded", false, "cannot be reached"),
            ("manifest for nginx:no not found: manifest unknown", false, "its name and its tag"),
            ("toomanyrequests: You have reached your pull rate limit", false, "check its name"),
        ] {
            let advice = advice(message, "docker.io", with_login);
            assert!(advice.contains(words), "{message}: {advice}");
        }
    }
}
