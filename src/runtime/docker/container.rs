//! What a replica's container is made of: the body of the create call. Owns the security defaults and the
//! limits; calls nobody.
//!
//! Defaults, unless the engine knows better:
//! - `no-new-privileges`: a set-uid program in the image gives nothing.
//! - Capabilities: all dropped but those with which ordinary images get from root to their own user: change a
//!   file's owner (`CHOWN`, `FOWNER`, `DAC_OVERRIDE`), become another user (`SETUID`, `SETGID`), signal workers that
//!   have (`KILL`), listen on port 80 (`NET_BIND_SERVICE`). Of Docker's own set that leaves out raw sockets,
//!   device nodes, chroot, file capabilities and the audit log.
//! - At most 1024 processes and threads: enough for a thread a connection, too few for a fork bomb.
//! - Memory without swap on top: an app over its limit ends at once and says so, and does not crawl.
//! - An init as PID 1: it reaps orphans, and a program without a SIGTERM handler ends at SIGTERM instead of
//!   using up its whole grace, since the kernel shields PID 1 from signals that it has not asked for.
//!   Images that bring an init of their own keep it (s6 must be PID 1).
//! - No restart by the engine: replacing a replica is the supervisor's business.
//! - Logs of at most three files of 10 MB, where the engine keeps them as `json-file`.

use std::collections::HashMap;

use bollard::models::{
    ContainerCreateBody, DeviceRequest, EndpointSettings, HostConfig, HostConfigLogConfig, ImageConfig,
    Mount, MountType, NetworkingConfig, RestartPolicy, RestartPolicyNameEnum,
};

use super::engine::Host;
use crate::config::spec::{Command, Resources, Volume, VolumeSource, WORKSPACE, Workload};
use crate::runtime::{Revision, WORKSPACE_VARIABLE};

/// What is taken from every container or left to it, in the words that the revision's hash covers.
pub(super) const SECURITY: &[&str] =
    &["no-new-privileges", "cap-drop=ALL", CAPABILITIES_WORD, "pids=1024", "init"];

const CAPABILITIES_WORD: &str = "cap-add=CHOWN,DAC_OVERRIDE,FOWNER,KILL,NET_BIND_SERVICE,SETGID,SETUID";
const PIDS_LIMIT: i64 = 1024;

/// Programs that are an init themselves, by the last part of their path.
const INITS: &[&str] = &["init", "tini", "dumb-init", "docker-init", "catatonit", "s6-svscan", "systemd"];

/// Where and as what a container is made.
#[derive(Debug, Clone)]
pub(super) struct Frame<'a> {
    /// The network that it joins.
    pub(super) network: &'a str,
    /// The name by which others find it there; `None`: by none.
    pub(super) name: Option<&'a str>,
    /// Thousandths of a core that it may use while it starts, where that is more than its instance's.
    pub(super) boost_millis: u32,
    /// What the host has.
    pub(super) host: &'a Host,
    /// Whether the image brings its own init.
    pub(super) own_init: bool,
    /// The app's workspace, where it has one.
    pub(super) workspace: Option<Mount>,
}

/// The body of the create call. A `command` takes the place of the image's CMD; an ENTRYPOINT stays, as with
/// `docker run IMAGE COMMAND`.
pub(super) fn body(
    revision: &Revision,
    labels: HashMap<String, String>,
    frame: Frame<'_>,
) -> ContainerCreateBody {
    let workload = &revision.workload;
    let networking_config = frame.name.map(|name| found_by(name, frame.network));
    ContainerCreateBody {
        image: Some(revision.image_id.clone()),
        cmd: workload.command.as_ref().map(words),
        env: Some(env(workload, revision.port)),
        labels: Some(labels),
        networking_config,
        host_config: Some(host_config(workload, frame)),
        ..Default::default()
    }
}

/// Has the engine's name server tell containers on that network where it is.
fn found_by(name: &str, network: &str) -> NetworkingConfig {
    let endpoint = EndpointSettings { aliases: Some(vec![name.to_owned()]), ..Default::default() };
    NetworkingConfig { endpoints_config: Some(HashMap::from([(network.to_owned(), endpoint)])) }
}

fn host_config(workload: &Workload, frame: Frame<'_>) -> HostConfig {
    let Resources { cpu_millis, memory, gpus } = clamp(workload.resources, frame.host);
    let memory = i64::try_from(memory).unwrap_or(i64::MAX);
    let rotate = frame.host.log_driver == "json-file";
    HostConfig {
        nano_cpus: Some(nano_cpus(boosted(cpu_millis, frame.boost_millis, frame.host))),
        memory: Some(memory),
        memory_swap: Some(memory),
        pids_limit: Some(PIDS_LIMIT),
        security_opt: Some(vec!["no-new-privileges".into()]),
        cap_drop: Some(vec!["ALL".into()]),
        cap_add: CAPABILITIES_WORD
            .strip_prefix("cap-add=")
            .map(|caps| caps.split(',').map(Into::into).collect()),
        init: Some(!frame.own_init),
        restart_policy: Some(RestartPolicy {
            name: Some(RestartPolicyNameEnum::NO),
            maximum_retry_count: None,
        }),
        network_mode: Some(frame.network.to_owned()),
        device_requests: (gpus > 0).then(|| vec![gpu_request(gpus)]),
        mounts: Some(workload.volumes.iter().map(mount).chain(frame.workspace).collect()),
        log_config: rotate.then(|| HostConfigLogConfig {
            typ: Some("json-file".into()),
            config: Some(HashMap::from([
                ("max-size".to_owned(), "10m".to_owned()),
                ("max-file".to_owned(), "3".to_owned()),
            ])),
        }),
        ..Default::default()
    }
}

/// What a replica gets of what was asked for: no more cores and memory than there are, since the engine refuses more.
/// Of GPUs it does not say how many it has.
pub(super) fn clamp(asked: Resources, host: &Host) -> Resources {
    Resources {
        cpu_millis: asked.cpu_millis.min(host.cores.saturating_mul(1000)),
        memory: asked.memory.min(host.memory),
        gpus: asked.gpus,
    }
}

/// Thousandths of a core while it starts. More than its share is no harm to others: the kernel divides what is scarce
/// among containers alike, and a limit only says what one may have where others leave it.
pub(super) fn boosted(cpu_millis: u32, boost_millis: u32, host: &Host) -> u32 {
    cpu_millis.max(boost_millis.min(host.cores.saturating_mul(1000)))
}

/// As the engine counts them.
pub(super) fn nano_cpus(cpu_millis: u32) -> i64 {
    i64::from(cpu_millis) * 1_000_000
}

/// Whether an image starts with an init of its own.
pub(super) fn brings_init(config: &ImageConfig) -> bool {
    let first = |words: &Option<Vec<String>>| words.as_ref().and_then(|words| words.first()).cloned();
    let Some(program) = first(&config.entrypoint).or_else(|| first(&config.cmd)) else { return false };
    INITS.contains(&program.rsplit('/').next().unwrap_or(&program))
}

fn words(command: &Command) -> Vec<String> {
    match command {
        Command::List(words) => words.clone(),
        Command::Shell(line) => vec!["sh".into(), "-c".into(), line.clone()],
    }
}

/// `PORT` tells an app that asks where to listen, and another variable where its workspace is; one of the user's own
/// stays.
fn env(workload: &Workload, port: u16) -> Vec<String> {
    let workspace = workload.workspace.then(|| (WORKSPACE_VARIABLE, WORKSPACE.to_owned()));
    let ours = [("PORT", port.to_string())].into_iter().chain(workspace);
    let ours = ours.filter(|(name, _)| !workload.env.contains_key(*name));
    let users = workload.env.iter().map(|(name, value)| format!("{name}={value}"));
    users.chain(ours.map(|(name, value)| format!("{name}={value}"))).collect()
}

/// What `docker run --gpus N` asks for. The engine gives the host's first N to each container that asks
/// (`countToDevices` in moby, `daemon/nvidia_linux.go`), and to none for itself alone.
fn gpu_request(count: u32) -> DeviceRequest {
    DeviceRequest {
        driver: Some(String::new()),
        count: Some(count.into()),
        capabilities: Some(vec![vec!["gpu".into()]]),
        ..Default::default()
    }
}

fn mount(volume: &Volume) -> Mount {
    let (typ, source) = match &volume.source {
        VolumeSource::Named(name) => (MountType::VOLUME, name.clone()),
        VolumeSource::Host(path) => (MountType::BIND, path.to_string_lossy().into_owned()),
    };
    Mount {
        typ: Some(typ),
        source: Some(source),
        target: Some(volume.target.clone()),
        read_only: Some(volume.read_only),
        ..Default::default()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::path::PathBuf;
    use std::sync::Arc;

    use super::*;
    use crate::config::spec::Source;

    fn host(log_driver: &str) -> Host {
        Host { cores: 2, memory: 4 << 30, log_driver: log_driver.into() }
    }

    fn revision(command: Option<Command>, env: BTreeMap<String, String>) -> Revision {
        let workload = Workload {
            source: Source::Image("x".into()),
            command,
            port: None,
            socket: false,
            resources: Resources { cpu_millis: 4000, memory: 1 << 30, gpus: 2 },
            env,
            volumes: Vec::new(),
            workspace: true,
            networks: Vec::new(),
            named: false,
            dir: PathBuf::from("/"),
        };
        Revision {
            hash: "0".repeat(12),
            workload: Arc::new(workload),
            image_id: "sha256:1f".into(),
            port: 9000,
            cpu_millis: 2000,
        }
    }

    fn made(command: Option<Command>, env: BTreeMap<String, String>, host: &Host) -> ContainerCreateBody {
        body(
            &revision(command, env),
            HashMap::new(),
            Frame { network: "n", name: None, boost_millis: 0, host, own_init: false, workspace: None },
        )
    }

    #[test]
    fn no_more_than_the_host_has() {
        let host = host("json-file");
        let asked = Resources { cpu_millis: 32_000, memory: 64 << 30, gpus: 0 };
        assert_eq!(clamp(asked, &host), Resources { cpu_millis: 2000, memory: 4 << 30, gpus: 0 });
        let modest = Resources { cpu_millis: 100, memory: 1 << 20, gpus: 0 };
        assert_eq!(clamp(modest, &host), modest);
        assert_eq!(made(None, BTreeMap::new(), &host).host_config.unwrap().nano_cpus, Some(2_000_000_000));
    }

    #[test]
    fn a_boost_is_no_less_than_the_instance_and_no_more_than_the_host() {
        let host = host("");
        assert_eq!([0, 50, 1500, 9000].map(|boost| boosted(100, boost, &host)), [100, 100, 1500, 2000]);
    }

    #[test]
    fn gpus_are_asked_for_as_the_docker_command_does() {
        let requests = made(None, BTreeMap::new(), &host("")).host_config.unwrap().device_requests.unwrap();
        let sent = serde_json::to_value(requests).unwrap();
        assert_eq!(sent, serde_json::json!([{"Driver": "", "Count": 2, "Capabilities": [["gpu"]]}]));
    }

    #[test]
    fn logs_rotate_where_the_engine_keeps_files() {
        let log = |driver| made(None, BTreeMap::new(), &host(driver)).host_config.unwrap().log_config;
        assert_eq!(log("json-file").unwrap().config.unwrap()["max-size"], "10m");
        assert_eq!(log("journald"), None);
    }

    #[test]
    fn a_string_goes_through_a_shell_and_a_list_does_not() {
        let host = host("");
        let cmd = |command| made(Some(command), BTreeMap::new(), &host).cmd.unwrap();
        assert_eq!(cmd(Command::Shell("a b".into())), ["sh", "-c", "a b"]);
        assert_eq!(cmd(Command::List(vec!["a b".into()])), ["a b"]);
    }

    #[test]
    fn port_and_workspace_are_told_unless_the_user_tells_them() {
        let env = |vars| made(None, vars, &host("")).env.unwrap();
        assert_eq!(env(BTreeMap::new()), ["PORT=9000", "JCLOUD_WORKSPACE=/data/workspace"]);
        let own =
            BTreeMap::from([("PORT", "1"), ("JCLOUD_WORKSPACE", "/x")].map(|(k, v)| (k.into(), v.into())));
        assert_eq!(env(own), ["JCLOUD_WORKSPACE=/x", "PORT=1"]);
    }

    #[test]
    fn an_image_with_an_init_keeps_it() {
        let config = |entrypoint: &[&str], cmd: &[&str]| ImageConfig {
            entrypoint: Some(entrypoint.iter().map(ToString::to_string).collect()),
            cmd: Some(cmd.iter().map(ToString::to_string).collect()),
            ..Default::default()
        };
        assert!(brings_init(&config(&["/init"], &[])));
        assert!(brings_init(&config(&[], &["/usr/bin/tini", "--", "app"])));
        assert!(!brings_init(&config(&["/docker-entrypoint.sh"], &["init"])));
        assert!(!brings_init(&config(&[], &[])));
    }
}
