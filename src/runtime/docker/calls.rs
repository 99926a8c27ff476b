//! What the engine was asked, counted by operation, for `/metrics`.

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::registry::Registry;

use super::failure::Failure;

/// What the engine is asked to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Operation {
    /// Agreeing on a version, and asking for the host.
    Connect,
    /// Making a container.
    Create,
    /// Starting one.
    Start,
    /// Looking at one.
    Inspect,
    /// Stopping one.
    Stop,
    /// Removing one.
    Remove,
    /// Changing what one may use.
    Update,
    /// Freezing one.
    Pause,
    /// Thawing one.
    Unpause,
    /// Listing all of ours.
    List,
    /// Reading a container's use of CPU.
    Stats,
    /// Reading its output.
    Logs,
    /// Listening to events.
    Events,
    /// Looking at an image.
    InspectImage,
    /// Listing those that our builds have left.
    ListImages,
    /// Removing one of them.
    RemoveImage,
    /// Pulling one.
    Pull,
    /// Building one.
    Build,
    /// Making, looking at, joining or removing a network.
    Network,
}

impl Operation {
    const fn name(self) -> &'static str {
        match self {
            Self::Connect => "connect",
            Self::Create => "create",
            Self::Start => "start",
            Self::Inspect => "inspect",
            Self::Stop => "stop",
            Self::Remove => "remove",
            Self::Update => "update",
            Self::Pause => "pause",
            Self::Unpause => "unpause",
            Self::List => "list",
            Self::Stats => "stats",
            Self::Logs => "logs",
            Self::Events => "events",
            Self::InspectImage => "inspect-image",
            Self::ListImages => "list-images",
            Self::RemoveImage => "remove-image",
            Self::Pull => "pull",
            Self::Build => "build",
            Self::Network => "network",
        }
    }
}

type Label = (&'static str, &'static str);

/// Calls and failures so far.
#[derive(Debug, Default)]
pub(super) struct Calls {
    made: Family<[Label; 1], Counter>,
    failed: Family<[Label; 2], Counter>,
}

impl Calls {
    /// Adds both to a registry.
    pub(super) fn register(&self, registry: &mut Registry) {
        let made = "Calls of the Docker Engine; a pull, a build and an event stream are one each";
        registry.register("docker_calls", made, self.made.clone());
        let failed = "Calls that failed: refused by the engine, timed out, broken off, or the engine was unreachable. \
                      That there is no such thing is an answer and no failure";
        registry.register("docker_call_failures", failed, self.failed.clone());
    }

    /// A call begins.
    pub(super) fn begin(&self, operation: Operation) {
        self.made.get_or_create(&[("operation", operation.name())]).inc();
    }

    /// A call has failed.
    pub(super) fn fail(&self, operation: Operation, failure: &Failure) {
        let reason = match failure {
            // Most looks are for something that may be gone.
            Failure::Status { code: 404, .. } => return,
            Failure::Status { .. } => "refused",
            Failure::TimedOut(_) => "timed-out",
            Failure::Unreachable(_) => "unreachable",
            Failure::Broken(_) => "broken-off",
        };
        self.failed.get_or_create(&[("operation", operation.name()), ("reason", reason)]).inc();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_there_is_no_failure() {
        let calls = Calls::default();
        let status = |code| Failure::Status { code, message: String::new() };
        for failure in [status(404), status(409), status(500), Failure::Broken(String::new())] {
            calls.begin(Operation::Inspect);
            calls.fail(Operation::Inspect, &failure);
        }
        let mut registry = Registry::default();
        calls.register(&mut registry);
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &registry).unwrap();
        for line in [
            "docker_calls_total{operation=\"inspect\"} 4",
            "docker_call_failures_total{operation=\"inspect\",reason=\"refused\"} 2",
            "docker_call_failures_total{operation=\"inspect\",reason=\"broken-off\"} 1",
        ] {
            assert!(text.contains(line), "{line}\n{text}");
        }
    }
}
