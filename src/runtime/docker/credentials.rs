//! Who we are to a registry: what `docker login` has left in `~/.docker/config.json`, or in a helper that the
//! file names. Nothing is kept here, and nothing is logged but that something could not be read.

use std::collections::HashMap;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bollard::auth::DockerCredentials;
use serde::Deserialize;
use tokio::io::AsyncWriteExt;
use tokio::process::Command;

use super::reference::Reference;

/// For one run of a helper.
const HELPER: Duration = Duration::from_secs(10);

/// The user name by which a helper says that the secret is a token.
const TOKEN: &str = "<token>";

/// Docker's client configuration, as far as it concerns registries.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct Credentials {
    auths: HashMap<String, Auth>,
    creds_store: Option<String>,
    cred_helpers: HashMap<String, String>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Auth {
    #[serde(rename = "auth")]
    pair: Option<String>,
    username: Option<String>,
    password: Option<String>,
    identitytoken: Option<String>,
    registrytoken: Option<String>,
}

impl std::fmt::Debug for Auth {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Auth")
    }
}

/// What a helper answers.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Answer {
    username: String,
    secret: String,
}

impl Credentials {
    /// Reads `$DOCKER_CONFIG/config.json` or `~/.docker/config.json`; without one there are no credentials.
    pub(super) async fn load() -> Self {
        let Some(path) = config_file() else { return Self::default() };
        match tokio::fs::read(&path).await {
            Ok(bytes) => serde_json::from_slice(&bytes).unwrap_or_else(|error| {
                tracing::warn!(path = %path.display(), %error, "Docker's configuration makes no sense: pulling without credentials");
                Self::default()
            }),
            Err(error) => {
                if error.kind() != std::io::ErrorKind::NotFound {
                    tracing::warn!(path = %path.display(), %error, "cannot read Docker's configuration: pulling without credentials");
                }
                Self::default()
            }
        }
    }

    /// For the registry of `reference`.
    pub(super) async fn of(&self, reference: &Reference) -> Option<DockerCredentials> {
        let key = reference.registry_key();
        let helper = self.cred_helpers.get(key).or_else(|| self.cred_helpers.get(&reference.registry));
        if let Some(helper) = helper.or(self.creds_store.as_ref())
            && let Some(found) = ask(helper, key).await
        {
            return Some(found);
        }
        let spellings =
            [key.to_owned(), format!("https://{key}"), format!("https://{key}/v1/"), format!("http://{key}")];
        spellings.iter().find_map(|spelling| self.auths.get(spelling)).and_then(|auth| auth.decode(key))
    }

    /// For all registries that `references` name, as the build call takes them.
    pub(super) async fn of_all(&self, references: &[Reference]) -> HashMap<String, DockerCredentials> {
        let mut found = HashMap::new();
        for reference in references {
            let key = reference.registry_key();
            if !found.contains_key(key)
                && let Some(credentials) = self.of(reference).await
            {
                found.insert(key.to_owned(), credentials);
            }
        }
        found
    }
}

impl Auth {
    fn decode(&self, key: &str) -> Option<DockerCredentials> {
        let pair = self.pair.as_ref().filter(|pair| !pair.is_empty()).and_then(|pair| {
            let text = String::from_utf8(STANDARD.decode(pair).ok()?).ok()?;
            let (user, password) = text.split_once(':')?;
            Some((user.to_owned(), password.trim_end_matches('\0').to_owned()))
        });
        let (username, password) = pair.unzip();
        let credentials = DockerCredentials {
            username: username.or_else(|| self.username.clone()),
            password: password.or_else(|| self.password.clone()),
            identitytoken: self.identitytoken.clone(),
            registrytoken: self.registrytoken.clone(),
            serveraddress: Some(key.to_owned()),
            ..Default::default()
        };
        // What `docker login` leaves beside a helper is an entry with nothing in it.
        let says_something = credentials.username.is_some()
            || credentials.identitytoken.is_some()
            || credentials.registrytoken.is_some();
        says_something.then_some(credentials)
    }
}

fn config_file() -> Option<PathBuf> {
    let set = |name| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let folder = set("DOCKER_CONFIG").or_else(|| Some(set("HOME")?.join(".docker")))?;
    Some(folder.join("config.json"))
}

/// Asks `docker-credential-<helper>` for the secret of the registry `key`.
async fn ask(helper: &str, key: &str) -> Option<DockerCredentials> {
    let program = format!("docker-credential-{helper}");
    let answered = tokio::time::timeout(HELPER, run(&program, key)).await;
    let output = match answered {
        Ok(Ok(output)) => output,
        Ok(Err(error)) => {
            tracing::warn!(program, %error, "cannot run the credential helper: pulling without its credentials");
            return None;
        }
        Err(_) => {
            tracing::warn!(
                program,
                seconds = HELPER.as_secs(),
                "the credential helper does not answer: pulling without its credentials"
            );
            return None;
        }
    };
    if !output.status.success() {
        // Most often: there are none for this registry.
        tracing::debug!(program, registry = key, "the credential helper has no credentials");
        return None;
    }
    let answer: Answer = serde_json::from_slice(&output.stdout).ok()?;
    let mut found = DockerCredentials { serveraddress: Some(key.to_owned()), ..Default::default() };
    if answer.username == TOKEN {
        found.identitytoken = Some(answer.secret);
    } else {
        found.username = Some(answer.username);
        found.password = Some(answer.secret);
    }
    Some(found)
}

async fn run(program: &str, input: &str) -> std::io::Result<std::process::Output> {
    let mut child = Command::new(program)
        .arg("get")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()?;
    if let Some(mut stdin) = child.stdin.take() {
        stdin.write_all(input.as_bytes()).await?;
    }
    child.wait_with_output().await
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(json: &str) -> Credentials {
        serde_json::from_str(json).unwrap()
    }

    #[tokio::test]
    async fn what_docker_login_writes() {
        let config = parse(
            r#"{"auths": {"https://index.docker.io/v1/": {"auth": "bWU6cGE6c3M="}, "ghcr.io": {"identitytoken": "t"}, "quay.io": {}}, "HttpHeaders": {}}"#,
        );
        let hub = config.of(&Reference::parse("me/app")).await.unwrap();
        assert_eq!((hub.username.as_deref(), hub.password.as_deref()), (Some("me"), Some("pa:ss")));
        let ghcr = config.of(&Reference::parse("ghcr.io/me/app")).await.unwrap();
        assert_eq!(ghcr.identitytoken.as_deref(), Some("t"));
        assert_eq!(config.of(&Reference::parse("quay.io/me/app")).await, None);
        assert_eq!(config.of(&Reference::parse("other.example/app")).await, None);
    }

    #[tokio::test]
    async fn a_helper_that_is_not_there_leaves_the_file() {
        let config = parse(
            r#"{"auths": {"r.example": {"auth": "bWU6eA=="}}, "credsStore": "no-such-helper-of-anybody"}"#,
        );
        assert_eq!(
            config.of(&Reference::parse("r.example/app")).await.unwrap().username.as_deref(),
            Some("me")
        );
    }

    #[tokio::test]
    async fn one_entry_a_registry() {
        let config = parse(r#"{"auths": {"r.example": {"auth": "bWU6eA=="}}}"#);
        let images = ["r.example/a", "r.example/b", "scratch"].map(Reference::parse);
        let all = config.of_all(&images).await;
        assert_eq!(all.keys().collect::<Vec<_>>(), ["r.example"]);
    }

    #[test]
    fn secrets_are_not_printed() {
        let config = parse(r#"{"auths": {"r.example": {"auth": "c2VjcmV0"}}}"#);
        assert!(!format!("{config:?}").contains("c2VjcmV0"));
    }
}
