//! What can go wrong between us and the engine, and how it is told to people. Owns the texts: each says what
//! is wrong and what to do about it.

use std::io;
use std::path::Path;
use std::time::Duration;

use bollard::errors::Error as EngineError;

use crate::runtime::RuntimeError;

/// Why a call of the engine came to nothing, before it is known what that means for the caller.
#[derive(Debug)]
pub(super) enum Failure {
    /// The engine answered, with an error.
    Status {
        /// HTTP status.
        code: u16,
        /// The engine's own words.
        message: String,
    },
    /// No answer within our time; what became of the call is unknown.
    TimedOut(String),
    /// The call never reached an engine.
    Unreachable(String),
    /// An answer that broke off or makes no sense; what became of the call is unknown.
    Broken(String),
}

impl Failure {
    /// What `error`, from a call over `socket`, comes down to.
    pub(super) fn of(error: EngineError, socket: &Path) -> Self {
        match error {
            // Another engine has taken the place of the one that the version was agreed with.
            EngineError::DockerResponseServerError { status_code: 400, message }
                if message.contains("client version") =>
            {
                Self::Unreachable(format!(
                    "the Docker Engine at {} speaks another version than was agreed, so it is connected to anew ({message})",
                    socket.display()
                ))
            }
            EngineError::DockerResponseServerError { status_code, message } => {
                Self::Status { code: status_code, message }
            }
            // An error line in the middle of a pull or build: the engine answered, and the answer is no.
            EngineError::DockerStreamError { error } => Self::Status { code: 500, message: error },
            EngineError::SocketNotFoundError(_) => Self::Unreachable(no_engine(socket)),
            EngineError::HyperLegacyError { err } if err.is_connect() => {
                Self::Unreachable(connect_failed(socket, io_kind(&err), &err))
            }
            other => Self::Broken(format!(
                "the Docker Engine at {} broke off in the middle of an answer: {other}",
                socket.display()
            )),
        }
    }

    /// The call `what` had no answer within `limit`.
    pub(super) fn timed_out(what: &str, limit: Duration) -> Self {
        Self::TimedOut(format!(
            "the Docker Engine has not answered within {} s (to: {what}): it is overloaded or stuck; look at `docker ps` and `journalctl -u docker`",
            limit.as_secs()
        ))
    }

    /// Whether the engine has said that there is no such thing.
    pub(super) fn is_not_found(&self) -> bool {
        matches!(self, Self::Status { code: 404, .. })
    }

    /// Whether the engine has said that something is in the way.
    pub(super) fn is_conflict(&self) -> bool {
        matches!(self, Self::Status { code: 409, .. })
    }

    /// Whether it is unknown what became of the call.
    pub(super) fn is_uncertain(&self) -> bool {
        matches!(self, Self::TimedOut(_) | Self::Broken(_))
    }

    /// Whether the engine has said that the network to join is not there.
    pub(super) fn is_network_missing(&self) -> bool {
        let Self::Status { message, .. } = self else { return false };
        message.contains("network") && message.contains("not found")
    }

    /// Whether the session's facts (API version) may be out of date: the engine went away or was replaced.
    pub(super) fn ends_session(&self) -> bool {
        match self {
            Self::Unreachable(_) | Self::Broken(_) => true,
            Self::Status { .. } | Self::TimedOut(_) => false,
        }
    }

    /// As the trait tells it; `what` is what was attempted (`start app web`).
    pub(super) fn explain(self, what: &str) -> RuntimeError {
        match self {
            Self::Unreachable(text) => RuntimeError::Unreachable(text),
            Self::TimedOut(text) => RuntimeError::TimedOut(text),
            Self::Broken(text) => RuntimeError::TimedOut(format!("cannot {what}: {text}")),
            Self::Status { message, .. } => RuntimeError::Refused(format!(
                "cannot {what}: the Docker Engine says: {message}{}",
                hint(&message)
            )),
        }
    }

    /// The engine's words, or ours.
    pub(super) fn into_text(self) -> String {
        match self {
            Self::Status { message: text, .. }
            | Self::TimedOut(text)
            | Self::Unreachable(text)
            | Self::Broken(text) => text,
        }
    }
}

/// Nothing is at `socket`.
pub(super) fn no_engine(socket: &Path) -> String {
    format!(
        "no Docker Engine at {}: start it (`systemctl start docker`), or set docker.socket to where it listens",
        socket.display()
    )
}

/// Something accepts at `socket` but never says a word.
pub(super) fn mute_engine(socket: &Path, limit: Duration) -> String {
    format!(
        "the Docker Engine at {} has not answered within {} s: it is overloaded, stuck or still starting; look at `journalctl -u docker`",
        socket.display(),
        limit.as_secs()
    )
}

fn connect_failed(socket: &Path, kind: io::ErrorKind, error: &dyn std::error::Error) -> String {
    let at = socket.display();
    match kind {
        io::ErrorKind::NotFound => no_engine(socket),
        io::ErrorKind::PermissionDenied => format!(
            "no permission to use the Docker Engine's socket {at}: add this user to the group that owns it (`usermod -aG docker USER`, then log in again), or run as root"
        ),
        io::ErrorKind::ConnectionRefused => {
            format!(
                "nobody listens at {at}: the Docker Engine has stopped; start it (`systemctl start docker`)"
            )
        }
        _ => format!("the Docker Engine at {at} cannot be reached: {error}"),
    }
}

/// The kind of the I/O error at the bottom of `error`.
fn io_kind(error: &(dyn std::error::Error + 'static)) -> io::ErrorKind {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(io) = error.downcast_ref::<io::Error>() {
            return io.kind();
        }
        next = error.source();
    }
    io::ErrorKind::Other
}

/// What to do about engine errors that do not say so themselves.
fn hint(message: &str) -> &'static str {
    if message.contains("executable file not found") || message.contains("no such file or directory") {
        " (the command is not in the image: check `command`, or the image's CMD and ENTRYPOINT)"
    } else if message.contains("non-overlapping IPv4 address pool") {
        " (the engine has no addresses left for another network: `docker network prune`, or set docker.network)"
    } else if message.contains("with capabilities: [[gpu]]") || message.contains("GPU vendor from CDI") {
        " (the engine can give no GPU: install nvidia-container-toolkit, run `nvidia-ctk runtime configure --runtime=docker`, restart the engine; or use a C instance)"
    } else if message.contains("nvidia-container-cli") {
        " (the host's GPUs cannot be used: `nvidia-smi` must show at least as many as the instance has)"
    } else if message.contains("bind source path does not exist") {
        " (create the host path that `volumes` names)"
    } else {
        ""
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_say_what_to_do() {
        let socket = Path::new("/run/x.sock");
        let error = io::Error::other("odd");
        let refused = connect_failed(socket, io::ErrorKind::ConnectionRefused, &error);
        assert!(refused.contains("systemctl start docker"), "{refused}");
        let denied = connect_failed(socket, io::ErrorKind::PermissionDenied, &error);
        assert!(denied.contains("usermod -aG docker"), "{denied}");
        let missing = connect_failed(socket, io::ErrorKind::NotFound, &error);
        assert!(missing.contains("/run/x.sock") && missing.contains("docker.socket"), "{missing}");
        let other = connect_failed(socket, io::ErrorKind::Other, &error);
        assert!(other.contains("odd"), "{other}");
    }

    #[test]
    fn a_version_that_the_engine_refuses_ends_the_session() {
        let answered = |message: &str| {
            let error = EngineError::DockerResponseServerError { status_code: 400, message: message.into() };
            Failure::of(error, Path::new("/run/x.sock"))
        };
        assert!(answered("client version 1.41 is too old").ends_session());
        assert!(!answered("invalid reference format").ends_session());
        assert!(Failure::Broken(String::new()).ends_session());
        assert!(!Failure::TimedOut(String::new()).ends_session());
    }

    #[test]
    fn a_missing_network_is_told_from_a_missing_container() {
        let network = Failure::Status { code: 404, message: "network pilotlight-01234567 not found".into() };
        assert!(network.is_network_missing());
        let container = Failure::Status { code: 404, message: "No such container: x".into() };
        assert!(!container.is_network_missing());
    }
}
