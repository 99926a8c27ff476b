//! One app from its keys: defaults filled in, keys checked against each other and against the other apps'.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::PathBuf;

use super::choice::Instance;
use super::diagnostic::{Diagnostic, Span};
use super::layout::AppEntry;
use super::name::{is_valid_name, valid_name};
use super::reader::{Reader, short};
use super::resolve::time;
use super::route::{Claims, Owner, PathPrefix};
use super::schema::{HealthFile, HoldFile, RateFile, ResourcesFile, WebSocketFile};
use super::slot::{At, Slot};
use super::spec::{
    AppSpec, HealthSpec, HoldSpec, HostPattern, ListenAddress, Probe, Protocol, RateSpec, Resources,
    RouteSpec, RuntimeKind, Source, WebSocketSpec, Workload,
};
use super::value::{Any, Int, Many, Number, Size, Time, Word};
use super::{autoscale, boost, needs, socket, upstream, volume};

/// What the apps before have taken.
#[derive(Default)]
pub(crate) struct Registry {
    names: HashMap<String, Option<Span>>,
    pub(crate) claims: Claims,
}

/// What all apps have in common.
pub(crate) struct Context {
    pub(crate) runtime: RuntimeKind,
    /// `docker.allow`; `None` where it is wrong.
    pub(crate) allow: Option<Vec<PathBuf>>,
    /// The proxy's own addresses.
    pub(crate) listen: Vec<ListenAddress>,
    /// The state directory, and where it is written.
    pub(crate) state_dir: (PathBuf, Option<Span>),
    /// Whether the app's keys stand at the top level.
    pub(crate) single: bool,
    /// Names of apps that others need.
    pub(crate) needed: BTreeSet<String>,
}

impl Context {
    /// The app as run, but for what it needs, which [`needs::resolve`] enters; mistakes go to the reader.
    pub(crate) fn app(&self, entry: AppEntry, registry: &mut Registry, reader: &mut Reader) -> AppSpec {
        let name = name(&entry, &mut registry.names, reader);
        let routes = self.routes(&entry, &name, &mut registry.claims, reader);
        let source = self.source(&entry, &name, reader);
        let is_needed = self.needed.contains(&name);
        let mut entry = entry;
        if is_needed && routes.is_empty() {
            let mut file = std::mem::take(&mut entry.body);
            autoscale::forget_common_bounds(&mut file, |key| entry.says(key));
            entry.body = file;
        }
        let AppEntry { body: file, .. } = entry;
        if let Some(volumes) = file.volumes.get() {
            volume::check(volumes, self.allow.as_deref(), reader);
        }
        if let Some(upstream) = file.upstream.get() {
            upstream::check(upstream, &self.listen, reader);
        }
        if let Some(socket) = file.socket.given().filter(|socket| socket.value) {
            let (state_dir, place) = &self.state_dir;
            socket::check(socket.key, self.runtime, (state_dir, *place), reader);
        }
        if let Some(disk) = file.disk_size.given() {
            volume::check_workspace(disk.key, file.volumes.get(), reader);
        }
        if is_needed && self.runtime == RuntimeKind::Docker {
            needs::check_reserve(&file.autoscale, reader);
        }
        let autoscale = autoscale::resolve(&file, is_needed && routes.is_empty(), reader);
        let mut env = BTreeMap::new();
        for (file, _) in file.env_file.or(Many(Vec::new())).0 {
            env.extend(file.0);
        }
        env.extend(file.env.or_default().0);
        let protocol = file.protocol.or(Protocol::default());
        AppSpec {
            name,
            routes,
            strip_prefix: file.strip_prefix.or(false),
            headers: file.headers.or_default().resolve(),
            workload: Workload {
                source,
                command: file.command.get().cloned(),
                port: file.port.get().and_then(|Int(port)| u16::try_from(*port).ok()),
                socket: file.socket.or(false),
                resources: resources(file.instance, file.resources),
                env,
                volumes: file.volumes.or(Many(Vec::new())).0.into_iter().map(|(volume, _)| volume).collect(),
                workspace: file.disk_size.get().is_some(),
                networks: networks(file.networks),
                named: false,
                dir: reader.dir.clone(),
            },
            protocol,
            health: health(file.health.or_default(), protocol, reader),
            timeout: time(file.timeout, 120),
            rate_limit: file.rate_limit.given().and_then(|file| rate(file, reader)),
            max_body: file.max_body.get().map(|Size(bytes)| *bytes),
            body_timeout: time(file.body_timeout, 60),
            websocket: websocket(file.websocket.or_default()),
            server_timing: file.server_timing.or(false),
            hold: hold(file.hold.or_default(), if file.upstream.is_absent() { 60 } else { 10 }),
            max_concurrency: file.max_concurrency.get().map(|limit| limit.u32()),
            affinity: file.affinity.get().cloned(),
            slow_start: time(file.slow_start, 0),
            keep_alive: time(file.keep_alive, 4),
            drain_timeout: time(file.drain_timeout, 30),
            stop_grace: time(file.stop_grace, 10),
            boost: boost::resolve(file.boost.or_default(), self.runtime),
            needs: Vec::new(),
            autoscale,
        }
    }

    /// Hosts times paths, each claimed for this app.
    fn routes(
        &self,
        entry: &AppEntry,
        name: &str,
        claims: &mut Claims,
        reader: &mut Reader,
    ) -> Vec<RouteSpec> {
        let file = &entry.body;
        if [file.host.is_bad(), file.hosts.is_bad(), file.path.is_bad(), file.paths.is_bad()].contains(&true)
        {
            return Vec::new();
        }
        let hosts = file.host.given().or(file.hosts.given());
        let paths = file.path.given().or(file.paths.given());
        let keys = [hosts.map(|at| at.key), paths.map(|at| at.key)];
        if self.needed.contains(name) && !keys.into_iter().flatten().any(|key| entry.says(key)) {
            // Its dependants reach it by name; what is said for all apps would let everybody in.
            if let (true, Some(key)) = (hosts.is_some() || paths.is_some(), &entry.key) {
                let message = format!(
                    "`{name}` has no `host` and no `path` of its own: nobody reaches it from outside"
                );
                let help = "those of `defaults` are not taken for an app that others need; write one if it is to be reached";
                reader.warning(key.span, message, help);
            }
            return Vec::new();
        }
        if let (false, None, None, Some(key)) = (self.single, hosts, paths, &entry.key) {
            let message = format!("the app `{name}` has neither `host` nor `path`");
            reader.mistake(
                key.span,
                message,
                "write where its requests come in (`host: \"*\"` takes every host), or have another app need it",
            );
            return Vec::new();
        }
        // What defaults say is claimed where the app stands: there the user will want to change something.
        let own = |span: Span| match entry.extent {
            Some(extent)
                if span < extent
                    || (span.end_line, span.end_column) > (extent.end_line, extent.end_column) =>
            {
                None
            }
            _ => Some(span),
        };
        let any = [(HostPattern::Any, None)];
        let root = [(PathPrefix("/".to_owned()), None)];
        let hosts: Vec<_> =
            hosts.map_or(any.to_vec(), |at| at.value.0.iter().cloned().map(|(h, s)| (h, own(s))).collect());
        let paths: Vec<_> =
            paths.map_or(root.to_vec(), |at| at.value.0.iter().cloned().map(|(p, s)| (p, own(s))).collect());
        let mut routes = Vec::new();
        for (host, host_span) in &hosts {
            for (path, path_span) in &paths {
                let route = RouteSpec { host: host.clone(), path: path.0.clone() };
                // A list is what repeats: its place says more than that of the one value beside it.
                let place = if hosts.len() > 1 { host_span.or(*path_span) } else { path_span.or(*host_span) };
                let place = place.or(entry.key.as_ref().map(|key| key.span));
                claims.claim(route.clone(), Owner::App(name.to_owned()), place, reader);
                routes.push(route);
            }
        }
        routes
    }

    /// Upstream, image, build or host, whichever the runtime needs.
    fn source(&self, entry: &AppEntry, name: &str, reader: &mut Reader) -> Source {
        let file = &entry.body;
        if !file.upstream.is_absent() {
            let origins = file.upstream.clone().or(Many(Vec::new())).0;
            return Source::Upstream(origins.into_iter().map(|(origin, _)| origin).collect());
        }
        if self.runtime == RuntimeKind::Process {
            if file.command.is_absent() {
                let place = if file.socket.get() == Some(&true) { "$SOCKET" } else { "$PORT" };
                let help =
                    format!("write `command:`, the server's start with `{place}`, or use `runtime: docker`");
                let message = format!("the app `{name}` has no `command`, and runtime process needs one");
                missing(entry, message, &help, reader);
            }
            return Source::Host;
        }
        if file.image.is_bad() || file.build.is_bad() {
            return Source::Host;
        }
        if let Some(Word(image)) = file.image.get() {
            return Source::Image(image.clone());
        }
        if let Some(build) = file.build.given() {
            let folder = reader.resolve(&build.value.0);
            if !folder.join("Dockerfile").is_file() {
                let message = format!("no Dockerfile in `{}`", build.value.0);
                reader.mistake(build.span, message, format!("it was looked for in {}", folder.display()));
            }
            return Source::Build(folder);
        }
        if !reader.dir.join("Dockerfile").is_file() {
            let message = format!(
                "the app `{name}` has nothing to run: no `image`, no `build`, no Dockerfile beside the file"
            );
            missing(entry, message, "write `image: name:tag`, or put a Dockerfile beside the file", reader);
        }
        Source::Build(reader.dir.clone())
    }
}

/// Reports what an app lacks, at its key where it has one.
fn missing(entry: &AppEntry, message: String, help: &str, reader: &mut Reader) {
    if let Some(key) = &entry.key {
        reader.mistake(key.span, message, help);
    } else {
        reader.found.push(Diagnostic::of_file(&reader.source, message).help(help));
    }
}

/// The app's name, which no other app may have.
fn name(entry: &AppEntry, names: &mut HashMap<String, Option<Span>>, reader: &mut Reader) -> String {
    let folder =
        || reader.dir.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let (written, place) = match (&entry.body.name, &entry.key) {
        (Slot::Given(at), _) => (at.value.0.clone(), Some(at.span)),
        (_, Some(key)) => (key.text.clone(), Some(key.span)),
        (_, None) => (valid_name(&folder()), None),
    };
    if let Some(place) = place.filter(|_| !is_valid_name(&written)) {
        let message = format!("`{}` is no name for an app", short(&written));
        let help = format!(
            "lower-case letters, digits and `-` between them, 40 at most: `{}`",
            valid_name(&written)
        );
        reader.mistake(place, message, help);
    } else if let (Some(Some(first)), Some(place)) = (names.get(&written), place) {
        let message = format!("two apps have the name `{written}`");
        reader.conflict(place, message, (*first, "first here"), "give one of them another name");
    }
    names.entry(written.clone()).or_insert(place);
    written
}

/// Their order in the file means nothing.
fn networks(file: Slot<Any<Word>>) -> Vec<String> {
    let names: BTreeSet<_> = file.or(Many(Vec::new())).0.into_iter().map(|(Word(name), _)| name).collect();
    names.into_iter().collect()
}

fn resources(instance: Slot<Instance>, resources: Slot<ResourcesFile>) -> Resources {
    let Instance { cpu_millis, memory, gpus } = instance.or(Instance::DEFAULT);
    let file = resources.or_default();
    Resources {
        cpu_millis: file.cpu.get().map_or(cpu_millis, |Number(cores)| millis(*cores)),
        memory: file.memory.or(Size(memory)).0,
        gpus,
    }
}

/// Thousandths of a number of cores.
fn millis(cores: f64) -> u32 {
    // The key's range (0.01 to 1024) keeps the product far inside.
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
    let millis = (cores * 1000.0).round() as u32;
    millis
}

fn health(file: HealthFile, protocol: Protocol, reader: &mut Reader) -> HealthSpec {
    let probe = file.probe.get().copied().unwrap_or_default();
    if let (Probe::Request, true, Some(key)) = (probe, file.path.is_absent(), file.probe.key()) {
        let help = "take it out: without a path a connection is enough, and requests go ahead anyway";
        reader.mistake(key, "`probe: request` without `path`", help);
    }
    HealthSpec {
        probe,
        http2: protocol == Protocol::H2c,
        path: file.path.get().map(|path| path.0.clone()),
        interval: time(file.interval, 10),
        timeout: time(file.timeout, 5),
        start_timeout: time(file.start_timeout, 90),
    }
}

fn websocket(file: WebSocketFile) -> WebSocketSpec {
    WebSocketSpec {
        idle_timeout: file.idle_timeout.get().map(|Time(time)| *time),
        max_age: file.max_age.get().map(|Time(time)| *time),
        counts: file.counts.or(true),
    }
}

fn rate(At { key, value: file, .. }: &At<RateFile>, reader: &mut Reader) -> Option<RateSpec> {
    if file.rps.is_absent() {
        reader.mistake(*key, "`rate_limit` without `rps`", "write `rps:`, requests per second of one client");
    }
    let rps = file.rps.get()?.0;
    // The key's range keeps it inside.
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
    let whole = rps.ceil().max(1.0) as u32;
    Some(RateSpec { rps, burst: file.burst.get().map_or(whole, |burst| burst.u32()) })
}

/// `seconds`: for the start of a replica, or for an upstream to come back, which clients are not to wait for as long.
fn hold(file: HoldFile, seconds: u64) -> HoldSpec {
    HoldSpec {
        max: usize::try_from(file.max.or(Int(1000)).0).unwrap_or(usize::MAX),
        timeout: time(file.timeout, seconds),
    }
}
