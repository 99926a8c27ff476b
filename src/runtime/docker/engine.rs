//! The way to the engine: its socket, the API version that both sides speak, and a time limit on every call.
//! Owns connecting and forgetting; what the calls mean is the business of the files beside this one.
//!
//! The connection is lazy, and the version is negotiated, never pinned: engines here speak 1.41, newer ones
//! refuse anything below 1.44. bollard leaves the version out of its paths, so it is put there by a hook; what
//! was negotiated is forgotten when the engine goes away, since another may come back.

use std::future::Future;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwapOption;
use bollard::{BollardRequest, ClientVersion, Docker};
use futures_util::{Stream, StreamExt};
use http::uri::PathAndQuery;
use tokio::sync::Mutex;
use tokio::time::timeout;

use super::calls::{Calls, Operation};
use super::failure::{self, Failure};

/// For anything that only looks.
pub(super) const LOOK: Duration = Duration::from_secs(5);

/// Where the engine listens unless told otherwise.
const DEFAULT_SOCKET: &str = "/var/run/docker.sock";

/// bollard's own limit, above all of ours: ours name the call and decide what happens next.
const BOLLARD_LIMIT_SECS: u64 = 24 * 60 * 60;

/// The newest API version whose answers this code was written for.
const NEWEST: ClientVersion = ClientVersion { major_version: 1, minor_version: 53 };

/// A Docker Engine, present or not.
pub(super) struct Engine {
    socket: PathBuf,
    /// `None` until the first call, and after the engine went away.
    session: ArcSwapOption<Session>,
    /// Held by the one caller that negotiates, so that a crowd does not.
    negotiating: Mutex<()>,
    calls: Calls,
}

/// What was agreed with an engine that answered.
#[derive(Debug)]
pub(super) struct Session {
    /// Speaks the negotiated version.
    pub(super) docker: Docker,
    /// What the engine said of its host.
    pub(super) host: Host,
}

/// An engine's host, as far as it limits containers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Host {
    /// Cores.
    pub(super) cores: u32,
    /// Bytes.
    pub(super) memory: u64,
    /// What becomes of a container's output unless asked otherwise.
    pub(super) log_driver: String,
}

impl Engine {
    /// An engine at `socket`; `None` means `DOCKER_HOST` where it names a Unix socket, else the usual place.
    pub(super) fn at(socket: Option<PathBuf>) -> Self {
        let socket = socket.unwrap_or_else(|| socket_of(std::env::var("DOCKER_HOST").ok().as_deref()));
        Self { socket, session: ArcSwapOption::empty(), negotiating: Mutex::new(()), calls: Calls::default() }
    }

    /// What it was asked so far.
    pub(super) fn calls(&self) -> &Calls {
        &self.calls
    }

    /// The session, negotiated if there is none.
    pub(super) async fn session(&self) -> Result<Arc<Session>, Failure> {
        if let Some(session) = self.session.load_full() {
            return Ok(session);
        }
        // Whoever finds it negotiated when the turn comes has not asked for it.
        let mut asks = false;
        // The wait for another's turn counts too: behind a mute engine a queue would add up.
        let negotiated = timeout(LOOK, async {
            let _turn = self.negotiating.lock().await;
            if let Some(session) = self.session.load_full() {
                return Ok(session);
            }
            asks = true;
            self.calls.begin(Operation::Connect);
            let session = Arc::new(Session::open(&self.socket).await?);
            self.session.store(Some(Arc::clone(&session)));
            Ok(session)
        })
        .await
        .unwrap_or_else(|_| Err(Failure::Unreachable(failure::mute_engine(&self.socket, LOOK))));
        if asks && let Err(failure) = &negotiated {
            self.calls.fail(Operation::Connect, failure);
        }
        negotiated
    }

    /// The session for a call that the caller makes of it.
    pub(super) async fn begin(&self, operation: Operation) -> Result<Arc<Session>, Failure> {
        self.calls.begin(operation);
        self.session().await.inspect_err(|failure| self.calls.fail(operation, failure))
    }

    /// One call, under our own time limit. `what` names it in errors.
    pub(super) async fn call<T, F>(
        &self,
        operation: Operation,
        what: &str,
        limit: Duration,
        call: impl FnOnce(Docker) -> F,
    ) -> Result<T, Failure>
    where
        F: Future<Output = Result<T, bollard::errors::Error>>,
    {
        let session = self.begin(operation).await?;
        let outcome = timeout(limit, call(session.docker.clone())).await;
        outcome
            .map_err(|_| Failure::timed_out(what, limit))
            .and_then(|answer| answer.map_err(|error| Failure::of(error, &self.socket)))
            .inspect_err(|failure| self.note(operation, failure))
    }

    /// The next item of a stream that the engine sends for `operation`; silence for `limit` is a failure. `None` at its end.
    pub(super) async fn next<T>(
        &self,
        operation: Operation,
        what: &str,
        limit: Duration,
        stream: &mut (impl Stream<Item = Result<T, bollard::errors::Error>> + Unpin),
    ) -> Option<Result<T, Failure>> {
        let item = match timeout(limit, stream.next()).await {
            Ok(None) => return None,
            Ok(Some(item)) => item.map_err(|error| Failure::of(error, &self.socket)),
            Err(_) => Err(Failure::timed_out(what, limit)),
        };
        Some(item.inspect_err(|failure| self.note(operation, failure)))
    }

    /// A stream of `operation`, read by its caller, has broken off.
    pub(super) fn broke(&self, operation: Operation, error: bollard::errors::Error) -> Failure {
        let failure = Failure::of(error, &self.socket);
        self.note(operation, &failure);
        failure
    }

    /// Forgets what was negotiated: the engine went away.
    pub(super) fn forget(&self) {
        self.session.store(None);
    }

    fn note(&self, operation: Operation, failure: &Failure) {
        self.calls.fail(operation, failure);
        if failure.ends_session() {
            self.forget();
        }
    }
}

impl Session {
    async fn open(socket: &Path) -> Result<Self, Failure> {
        let failed = |error| Failure::of(error, socket);
        // Any version will do to ask for the version: that path is not versioned.
        let plain = Docker::connect_with_unix(&socket.to_string_lossy(), BOLLARD_LIMIT_SECS, &NEWEST)
            .map_err(failed)?
            .with_request_modifier(url_safe_credentials);
        let version = plain.clone().negotiate_version().await.map_err(failed)?.client_version();
        let docker =
            plain.with_request_modifier(move |request| versioned(url_safe_credentials(request), &version));
        let info = docker.info().await.map_err(failed)?;
        let host = Host {
            cores: info
                .ncpu
                .and_then(|cores| u32::try_from(cores).ok())
                .filter(|&n| n > 0)
                .unwrap_or(u32::MAX),
            memory: info
                .mem_total
                .and_then(|bytes| u64::try_from(bytes).ok())
                .filter(|&n| n > 0)
                .unwrap_or(u64::MAX),
            log_driver: info.logging_driver.unwrap_or_default(),
        };
        tracing::info!(
            socket = %socket.display(),
            engine = info.server_version.as_deref().unwrap_or("unknown"),
            api = %version,
            "connected to the Docker Engine"
        );
        Ok(Self { docker, host })
    }
}

/// Puts the negotiated version in front of the path.
fn versioned(mut request: BollardRequest, version: &ClientVersion) -> BollardRequest {
    let mut parts = request.uri().clone().into_parts();
    let path = parts.path_and_query.as_ref().map_or("/", PathAndQuery::as_str);
    parts.path_and_query = PathAndQuery::try_from(format!("/v{version}{path}")).ok();
    if let Ok(uri) = http::Uri::from_parts(parts) {
        *request.uri_mut() = uri;
    }
    request
}

/// The engine reads these headers as URL-safe base64 and drops in silence what is not; bollard writes the
/// standard alphabet.
fn url_safe_credentials(mut request: BollardRequest) -> BollardRequest {
    for name in ["x-registry-auth", "x-registry-config"] {
        let Some(value) = request.headers().get(name).and_then(|value| value.to_str().ok()) else { continue };
        if let Ok(safe) = value.replace('+', "-").replace('/', "_").parse() {
            request.headers_mut().insert(name, safe);
        }
    }
    request
}

/// What `DOCKER_HOST` says, where it names a Unix socket.
fn socket_of(docker_host: Option<&str>) -> PathBuf {
    docker_host.and_then(|host| host.strip_prefix("unix://")).unwrap_or(DEFAULT_SOCKET).into()
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    fn request(uri: &str) -> BollardRequest {
        http::Request::builder()
            .uri(uri)
            .header("x-registry-auth", "a+b/c=")
            .body(bollard::body_full(Bytes::new()))
            .unwrap()
    }

    #[test]
    fn the_version_goes_in_front_of_the_path() {
        let version = ClientVersion { major_version: 1, minor_version: 41 };
        let request = versioned(request("unix://2f72/containers/json?all=true"), &version);
        assert_eq!(request.uri().to_string(), "unix://2f72/v1.41/containers/json?all=true");
    }

    #[test]
    fn credentials_are_url_safe() {
        let request = url_safe_credentials(request("unix://2f72/images/create"));
        assert_eq!(request.headers()["x-registry-auth"], "a-b_c=");
    }

    #[test]
    fn docker_host_counts_where_it_names_a_unix_socket() {
        assert_eq!(
            socket_of(Some("unix:///run/user/1/docker.sock")),
            PathBuf::from("/run/user/1/docker.sock")
        );
        assert_eq!(socket_of(Some("tcp://10.0.0.1:2375")), PathBuf::from(DEFAULT_SOCKET));
        assert_eq!(socket_of(None), PathBuf::from(DEFAULT_SOCKET));
    }
}
