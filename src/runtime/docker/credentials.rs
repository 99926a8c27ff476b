//! Who we are to a registry: what `docker login` has left in `~/.docker/config.json`, or in a helper that the
//! file names. Nothing is kept here, and nothing is logged but that something could not be read.

use std::collections::{BTreeMap, HashMap};
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

/// The words by which a helper says that it has nothing for a registry.
const NOT_FOUND: &str = "credentials not found in native keychain";

/// Docker's client configuration, as far as it concerns registries.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct Credentials {
    /// In an order of their own, so that of several spellings of one host the same is taken each time.
    auths: BTreeMap<String, Auth>,
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
        let Some(path) = config_file().await else { return Self::default() };
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
        // Entries may be written as addresses; as Docker reads them, the host alone counts then.
        let same_host =
            || self.auths.iter().find(|(written, _)| host(written) == host(key)).map(|(_, auth)| auth);
        self.auths.get(key).or_else(same_host).and_then(|auth| auth.decode(key))
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

/// The host that an address or a bare name means.
fn host(written: &str) -> &str {
    let bare =
        written.strip_prefix("https://").or_else(|| written.strip_prefix("http://")).unwrap_or(written);
    bare.split('/').next().unwrap_or(bare)
}

async fn config_file() -> Option<PathBuf> {
    let set = |name| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    if let Some(folder) = set("DOCKER_CONFIG") {
        return Some(folder.join("config.json"));
    }
    let home = match set("HOME") {
        Some(home) => home,
        // A service that systemd starts has no HOME unless its unit names a user.
        None => home_of(
            rustix::process::getuid().as_raw(),
            &tokio::fs::read_to_string("/etc/passwd").await.ok()?,
        )?,
    };
    Some(home.join(".docker/config.json"))
}

/// The home of a user, as `passwd` has it.
fn home_of(user: u32, passwd: &str) -> Option<PathBuf> {
    let mut users = passwd.lines().map(|line| line.split(':').collect::<Vec<_>>());
    let fields = users.find(|fields| fields.get(2).and_then(|id| id.parse().ok()) == Some(user))?;
    fields.get(5).filter(|home| !home.is_empty()).map(PathBuf::from)
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
        // It complains on either.
        let complaint = [output.stdout, output.stderr].concat();
        let complaint = String::from_utf8_lossy(&complaint);
        if complaint.trim() == NOT_FOUND {
            tracing::debug!(program, registry = key, "the credential helper has no credentials");
        } else {
            tracing::warn!(program, registry = key, status = %output.status, complaint = complaint.trim(), "the credential helper fails: pulling without its credentials");
        }
        return None;
    }
    let answer: Answer = match serde_json::from_slice(&output.stdout) {
        Ok(answer) => answer,
        Err(error) => {
            tracing::warn!(program, registry = key, %error, "the credential helper's answer makes no sense: pulling without its credentials");
            return None;
        }
    };
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
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()?;
    if let Some(mut stdin) = child.stdin.take() {
        match stdin.write_all(input.as_bytes()).await {
            // One that knows a single registry need not read which is meant.
            Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => {}
            written => written?,
        }
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
    async fn an_entry_may_be_an_address() {
        for written in [
            "r.example:5000",
            "https://r.example:5000/v2/",
            "http://r.example:5000/",
            "https://r.example:5000",
        ] {
            let config = parse(&format!(r#"{{"auths": {{"{written}": {{"auth": "bWU6eA=="}}}}}}"#));
            assert!(config.of(&Reference::parse("r.example:5000/app")).await.is_some(), "{written}");
            assert!(config.of(&Reference::parse("r.example/app")).await.is_none(), "{written}");
        }
    }

    #[tokio::test]
    async fn a_helper_need_not_listen() {
        let more_than_a_pipe_holds = "x".repeat(1 << 20);
        let output = run("true", &more_than_a_pipe_holds).await.unwrap();
        assert!(output.status.success());
    }

    #[test]
    fn who_has_no_home_in_the_environment_has_one_in_passwd() {
        let passwd = "root:x:0:0:root:/root:/bin/bash\nnobody:x:65534:65534::/nonexistent:\nodd\n";
        assert_eq!(home_of(0, passwd), Some("/root".into()));
        assert_eq!(home_of(65534, passwd), Some("/nonexistent".into()));
        assert_eq!(home_of(7, passwd), None);
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
