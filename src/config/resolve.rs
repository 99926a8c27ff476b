//! From the file as written to the configuration as run: defaults filled in, values checked against each other.
//!
//! Slots that hold a reported mistake are passed over here, so that one mistake is not reported twice.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use super::app::{Context, Registry};
use super::choice::LogLevel;
use super::diagnostic::in_order;
use super::layout::Layout;
use super::reader::Reader;
use super::schema::ProxyFile;
use super::slot::Slot;
use super::spec::{Config, DockerSpec, ListenAddress, LogSpec, ProxySpec, RuntimeKind, TlsSpec};
use super::value::{HostPath, Int, Many, Time};
use super::{Overrides, access_log, edge, listen, needs, tls};

/// How many replicas are started at once, where the file does not say: a host has few cores, and an engine that does
/// fifty things at a time does each of them late.
const STARTS: u64 = 8;

/// For how many apps a network is kept, where the file does not say: some 650 MB of the engine's own.
const PREPARED: u64 = 50;

/// The default of `listen`.
pub(crate) const LISTEN: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), 8080);
/// The default of `admin.listen`.
pub const ADMIN: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 9900);

/// Turns the layout into the configuration; mistakes go to the reader, and the result counts only where there are none.
pub(crate) fn resolve(layout: Layout, overrides: &Overrides, reader: &mut Reader) -> Config {
    let allow = allowed(&layout.proxy, reader);
    let file = layout.proxy;
    let (tls, https) = tls::resolve(&file.tls, &file.listen, reader);
    let proxy = proxy(file.clone(), tls, overrides, allow.clone(), reader);
    let listen = proxy.listen.iter().chain(proxy.tls.iter().flat_map(|tls| &tls.listen)).cloned().collect();
    let state_dir = (proxy.state_dir.clone(), file.state_dir.given().map(|at| at.span));
    let written: Vec<_> = layout.apps.iter().map(needs::Written::of).collect();
    let needed = needs::all_names(&written);
    let context = Context { runtime: proxy.runtime, allow, listen, state_dir, single: layout.single, needed };
    let mut registry = Registry::default();
    let mut apps: Vec<_> =
        layout.apps.into_iter().map(|entry| context.app(entry, &mut registry, reader)).collect();
    needs::resolve(&mut apps, &written, reader);
    if context.runtime == RuntimeKind::Docker {
        needs::check_network(&file.docker, &written, reader);
    }
    let edge = edge::resolve(&file, https, &mut registry.claims, reader);
    // Defaults are looked at once for each app, and warned of once.
    Config { proxy, apps, edge, warnings: in_order(std::mem::take(&mut reader.warnings)) }
}

/// `docker.allow`; `None` where it is wrong, so that what it would have allowed is not reported as well.
fn allowed(proxy: &ProxyFile, reader: &Reader) -> Option<Vec<PathBuf>> {
    match &proxy.docker {
        Slot::Absent => Some(Vec::new()),
        Slot::Bad(_) => None,
        Slot::Given(at) => match &at.value.allow {
            Slot::Absent => Some(Vec::new()),
            Slot::Bad(_) => None,
            Slot::Given(allow) => {
                Some(allow.value.0.iter().map(|(path, _)| reader.resolve(&path.0)).collect())
            }
        },
    }
}

fn proxy(
    file: ProxyFile,
    tls: Option<TlsSpec>,
    overrides: &Overrides,
    allow: Option<Vec<PathBuf>>,
    reader: &mut Reader,
) -> ProxySpec {
    let docker = file.docker.or_default();
    let log = file.log.or_default();
    let admin = file.admin.or_default().listen;
    let as_written = overrides.listen.is_none() && overrides.admin.is_none();
    let written = file.listen.get().map(|Many(listen)| listen.clone()).unwrap_or_default();
    if as_written {
        listen::check(&[written.as_slice(), &tls::written(&file.tls)].concat(), &admin, reader);
    }
    let mut listen: Vec<_> = written.into_iter().map(|(address, _)| address).collect();
    if listen.is_empty() && tls.is_none() {
        listen.push(ListenAddress::Tcp(LISTEN));
    }
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    ProxySpec {
        listen: overrides.listen.clone().unwrap_or(listen),
        tls,
        workers: file.workers.get().and_then(|Int(workers)| usize::try_from(*workers).ok()).unwrap_or(cores),
        runtime: overrides.runtime.unwrap_or(file.runtime.or(RuntimeKind::Docker)),
        docker: DockerSpec {
            socket: docker.socket.get().map(|path| reader.resolve(&path.0)),
            network: docker.network.get().map(|word| word.0.clone()),
            pull_timeout: time(docker.pull_timeout, 120),
            max_concurrent_starts: docker.max_concurrent_starts.or(Int(STARTS)).u32() as usize,
            prepared: docker.prepared.or(Int(PREPARED)).u32() as usize,
            allow: allow.unwrap_or_default(),
        },
        admin: overrides.admin.unwrap_or(admin.or(ADMIN)),
        state_dir: reader.resolve(&file.state_dir.or(HostPath(".pilotlight".to_owned())).0),
        shutdown_timeout: time(file.shutdown_timeout, 30),
        log: LogSpec {
            level: log.level.or(LogLevel("info".to_owned())).0,
            format: log.format.get().copied(),
        },
        access_log: access_log::resolve(&file.access_log, reader),
    }
}

/// A duration, or so many seconds.
pub(crate) fn time<const MIN: u64, const MAX: u64>(slot: Slot<Time<MIN, MAX>>, seconds: u64) -> Duration {
    slot.or(Time(Duration::from_secs(seconds))).0
}
