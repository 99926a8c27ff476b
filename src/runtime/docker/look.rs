//! What the engine says of containers, in the runtime's words. Pure: calls nobody.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use bollard::models::{
    ContainerInspectResponse, ContainerState, ContainerSummary, ContainerSummaryStateEnum, EndpointSettings,
};

use super::kept::{Kept, OnEngine, Standing};
use super::{labels, sandbox};
use crate::runtime::{Address, Endpoint, Exit, Found, ReplicaId, Status};

/// A replica in a list's answer. `None` without an ID. The list knows nothing of memory, so
/// [`Exit::out_of_memory`] is never set here.
pub(super) fn found(summary: ContainerSummary) -> Option<Found> {
    let id = summary.id?;
    let labels = summary.labels.unwrap_or_default();
    let label = |name: &str| labels.get(name).cloned().unwrap_or_default();
    let mode = summary.host_config.and_then(|config| config.network_mode);
    let networks = summary.network_settings.and_then(|settings| settings.networks);
    let endpoint = || endpoint(mode.as_deref(), networks.as_ref(), &labels);
    let alive = match summary.state {
        Some(ContainerSummaryStateEnum::RUNNING) => endpoint().map(Status::Running),
        Some(ContainerSummaryStateEnum::PAUSED) => endpoint().map(Status::Frozen),
        _ => None,
    };
    let status = alive.unwrap_or_else(|| {
        let code = summary.status.as_deref().and_then(exit_code);
        Status::Exited(Exit { code, out_of_memory: false })
    });
    Some(Found {
        id: ReplicaId(id),
        app: label(labels::APP),
        revision: label(labels::REVISION),
        index: label(labels::REPLICA).parse().unwrap_or_default(),
        status,
    })
}

/// Whether it is no replica, but holds a network for one.
pub(super) fn is_sandbox(summary: &ContainerSummary) -> bool {
    sandbox_for(summary).is_some()
}

/// The name of the replica that a sandbox is for.
pub(super) fn sandbox_for(summary: &ContainerSummary) -> Option<&str> {
    summary.labels.as_ref()?.get(labels::SANDBOX).map(String::as_str)
}

/// The sandbox that a replica is in, or is to be started in.
pub(super) fn sandbox_of(summary: &ContainerSummary) -> Option<&str> {
    summary.host_config.as_ref()?.network_mode.as_deref().and_then(sandbox::of_mode)
}

/// Where a replica in a sandbox listens now; `None` where it does not run.
pub(super) fn endpoint_in(sandbox: &ContainerSummary) -> Option<Endpoint> {
    let mode = sandbox.host_config.as_ref()?.network_mode.as_deref();
    let networks = sandbox.network_settings.as_ref()?.networks.as_ref();
    let runs = sandbox.state == Some(ContainerSummaryStateEnum::RUNNING);
    endpoint(mode, networks, sandbox.labels.as_ref()?).filter(|_| runs)
}

/// The networks that a container is on, by their names.
pub(super) type Networks = HashMap<String, EndpointSettings>;

/// The networks that a container is on.
pub(super) fn networks_of(inspected: &ContainerInspectResponse) -> Option<&Networks> {
    inspected.network_settings.as_ref()?.networks.as_ref()
}

/// Whether the network of that name, or of that ID or the beginning of one, is among these.
pub(super) fn is_on(networks: &Networks, network: &str) -> bool {
    let has_id = |on: &EndpointSettings| on.network_id.as_ref().is_some_and(|id| id.starts_with(network));
    networks.contains_key(network) || networks.values().any(has_id)
}

/// The container's name.
pub(super) fn name(summary: &ContainerSummary) -> Option<&str> {
    Some(summary.names.as_ref()?.first()?.trim_start_matches('/'))
}

/// A replica in a list's answer as the books of what is kept have it.
pub(super) fn on_engine(summary: &ContainerSummary) -> Option<OnEngine> {
    use ContainerSummaryStateEnum::{CREATED, EXITED, PAUSED, RUNNING};
    let runs = match summary.state? {
        RUNNING | PAUSED => true,
        CREATED | EXITED => false,
        _ => return None,
    };
    let labels = summary.labels.as_ref()?;
    let mode = summary.host_config.as_ref()?.network_mode.as_deref();
    let network = match mode.and_then(sandbox::of_mode) {
        Some(sandbox) => {
            Some(Standing { sandbox: sandbox.to_owned(), endpoint: endpoint(mode, None, labels)? })
        }
        None => None,
    };
    let kept = Kept { id: summary.id.clone()?, network };
    Some(OnEngine { app: labels.get(labels::APP)?.clone(), name: name(summary)?.to_owned(), kept, runs })
}

/// What an inspection's answer says. A container that restarts, or that has no address on its network, cannot serve, and
/// counts as not running.
pub(super) fn status(inspected: &ContainerInspectResponse) -> Status {
    let state = inspected.state.as_ref();
    if let Some(endpoint) = endpoint_of(inspected) {
        if state.is_some_and(runs) {
            return Status::Running(endpoint);
        }
        if state.is_some_and(|state| state.running == Some(true) && state.paused == Some(true)) {
            return Status::Frozen(endpoint);
        }
    }
    Status::Exited(state.map_or(Exit::UNKNOWN, exit))
}

/// Whether its processes run and may go on.
pub(super) fn runs(state: &ContainerState) -> bool {
    let is = |flag: Option<bool>| flag.unwrap_or(false);
    is(state.running) && !is(state.paused) && !is(state.restarting) && !is(state.dead)
}

/// How it ended; of one that runs or never ran nobody knows.
pub(super) fn exit(state: &ContainerState) -> Exit {
    let ended = !state.running.unwrap_or(false) && state.pid.unwrap_or(0) == 0 && has_run(state);
    Exit {
        code: state.exit_code.filter(|_| ended).and_then(|code| i32::try_from(code).ok()),
        out_of_memory: ended && state.oom_killed.unwrap_or(false),
    }
}

/// Its labels.
pub(super) fn labels_of(inspected: &ContainerInspectResponse) -> Option<&HashMap<String, String>> {
    inspected.config.as_ref()?.labels.as_ref()
}

/// The engine's zero time means never.
fn has_run(state: &ContainerState) -> bool {
    state.started_at.as_ref().is_some_and(|at| !at.starts_with("0001-"))
}

/// What its network is made from.
pub(super) fn network_mode(inspected: &ContainerInspectResponse) -> Option<&str> {
    inspected.host_config.as_ref()?.network_mode.as_deref()
}

/// Where it listens, or will: of one that does not run that is known where its network stands.
pub(super) fn endpoint_of(inspected: &ContainerInspectResponse) -> Option<Endpoint> {
    endpoint(network_mode(inspected), networks_of(inspected), labels_of(inspected)?)
}

/// Its address on the network that it was made for; on the host's own network that is the loopback, in a sandbox what
/// was written down when it was made.
fn endpoint(
    mode: Option<&str>,
    networks: Option<&Networks>,
    labels: &HashMap<String, String>,
) -> Option<Endpoint> {
    let port: u16 = labels.get(labels::PORT)?.parse().ok()?;
    let address: IpAddr = match mode {
        Some("host") => Ipv4Addr::LOCALHOST.into(),
        Some(mode) if sandbox::of_mode(mode).is_some() => labels.get(labels::ADDRESS)?.parse().ok()?,
        mode => {
            let name = mode.filter(|&name| name != "default").unwrap_or("bridge");
            let on = networks?.get(name)?;
            let given = [&on.ip_address, &on.global_ipv6_address];
            given.into_iter().flatten().find_map(|address| address.parse().ok())?
        }
    };
    Some(Endpoint { address: Address::Tcp(SocketAddr::new(address, port)) })
}

/// The code in `Exited (137) 3 minutes ago`.
fn exit_code(status: &str) -> Option<i32> {
    status.strip_prefix("Exited (")?.split(')').next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn on(network: &str, address: &str) -> HashMap<String, EndpointSettings> {
        let settings = EndpointSettings { ip_address: Some(address.into()), ..Default::default() };
        HashMap::from([(network.to_owned(), settings)])
    }

    fn address(mode: &str, networks: &HashMap<String, EndpointSettings>) -> Option<String> {
        let labels = [(labels::PORT, "80"), (labels::ADDRESS, "10.0.9.9")];
        let labels = labels.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
        endpoint(Some(mode), Some(networks), &labels).map(|endpoint| endpoint.address.to_string())
    }

    #[test]
    fn the_address_is_that_of_the_network_it_was_made_for() {
        assert_eq!(address("n", &on("n", "10.0.0.2")).as_deref(), Some("10.0.0.2:80"));
        assert_eq!(address("default", &on("bridge", "10.0.0.2")).as_deref(), Some("10.0.0.2:80"));
        assert_eq!(address("n", &on("other", "10.0.0.2")), None);
        let mut both = on("n", "10.0.0.2");
        both.extend(on("a-further-one", "10.0.1.2"));
        assert_eq!(address("n", &both).as_deref(), Some("10.0.0.2:80"));
        assert_eq!(address("n", &on("n", "")), None);
        assert_eq!(address("host", &HashMap::new()).as_deref(), Some("127.0.0.1:80"));
        assert_eq!(address("container:1f", &HashMap::new()).as_deref(), Some("10.0.9.9:80"));
    }

    #[test]
    fn exit_codes_of_a_list() {
        assert_eq!(exit_code("Exited (137) 3 minutes ago"), Some(137));
        assert_eq!(exit_code("Up 3 minutes"), None);
        assert_eq!(exit_code("Created"), None);
    }

    #[test]
    fn what_never_ran_has_no_exit_code() {
        let mut state = ContainerState {
            running: Some(false),
            exit_code: Some(0),
            started_at: Some("0001-01-01T00:00:00Z".into()),
            ..Default::default()
        };
        assert_eq!(exit(&state).code, None);
        state.started_at = Some("2026-01-01T00:00:00Z".into());
        assert_eq!(exit(&state).code, Some(0));
    }

    #[test]
    fn a_paused_container_does_not_run() {
        let mut state = ContainerState { running: Some(true), ..Default::default() };
        assert!(runs(&state));
        state.paused = Some(true);
        assert!(!runs(&state));
    }
}
