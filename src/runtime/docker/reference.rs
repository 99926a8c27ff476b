//! What an image is called, taken apart the way Docker does.

/// The registry that is meant where none is named.
pub(super) const HUB: &str = "docker.io";

/// A reference such as `ghcr.io/me/app:1.2`, as far as pulling needs it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Reference {
    /// The registry's host (and port); `docker.io` where none is named.
    pub(super) registry: String,
    /// Everything before the tag or digest.
    pub(super) repository: String,
    /// A tag, or a digest (`sha256:...`); `latest` where none is given, since without one the engine pulls all.
    pub(super) version: String,
}

impl Reference {
    /// Takes `text` apart; whether it is well-formed is for the engine to say.
    pub(super) fn parse(text: &str) -> Self {
        let (name, digest) = text.split_once('@').map_or((text, None), |(name, digest)| (name, Some(digest)));
        let path_at = name.rfind('/').map_or(0, |slash| slash + 1);
        let (repository, tag) = match name[path_at..].rfind(':') {
            Some(colon) => (&name[..path_at + colon], Some(&name[path_at + colon + 1..])),
            None => (name, None),
        };
        let registry = match repository.split_once('/') {
            Some((host, _)) if host.contains(['.', ':']) || host == "localhost" => host,
            _ => HUB,
        };
        Self {
            registry: registry.to_owned(),
            repository: repository.to_owned(),
            version: digest.or(tag).filter(|version| !version.is_empty()).unwrap_or("latest").to_owned(),
        }
    }

    /// The registry's key in Docker's configuration.
    pub(super) fn registry_key(&self) -> &str {
        match self.registry.as_str() {
            HUB | "index.docker.io" | "registry-1.docker.io" => "https://index.docker.io/v1/",
            other => other,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references_as_docker_reads_them() {
        for (text, registry, repository, version) in [
            ("nginx", "docker.io", "nginx", "latest"),
            ("me/app:1.2", "docker.io", "me/app", "1.2"),
            ("ghcr.io/me/app:1.2", "ghcr.io", "ghcr.io/me/app", "1.2"),
            ("localhost/app", "localhost", "localhost/app", "latest"),
            ("host:5000/app", "host:5000", "host:5000/app", "latest"),
            ("host:5000/app:3", "host:5000", "host:5000/app", "3"),
            ("app:1@sha256:0f", "docker.io", "app", "sha256:0f"),
            ("app:", "docker.io", "app", "latest"),
        ] {
            let parsed = Reference::parse(text);
            let expected = Reference {
                registry: registry.into(),
                repository: repository.into(),
                version: version.into(),
            };
            assert_eq!(parsed, expected, "{text}");
        }
    }
}
