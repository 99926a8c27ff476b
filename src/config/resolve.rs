//! From the file as written to the configuration as run: defaults filled in, values checked against each other.
//!
//! Slots that hold a reported mistake are passed over here, so that one mistake is not reported twice.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use super::app::{Context, Registry};
use super::choice::LogLevel;
use super::diagnostic::{Span, in_order};
use super::layout::Layout;
use super::reader::Reader;
use super::schema::ProxyFile;
use super::slot::Slot;
use super::spec::{Config, DockerSpec, LogSpec, ProxySpec, RuntimeKind};
use super::value::{HostPath, Int, Many, Time};
use super::{Overrides, edge};

/// The default of `listen`.
pub(crate) const LISTEN: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), 8080);
/// The default of `admin.listen`.
pub const ADMIN: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 9900);

/// Turns the layout into the configuration; mistakes go to the reader, and the result counts only where there are none.
pub(crate) fn resolve(layout: Layout, overrides: &Overrides, reader: &mut Reader) -> Config {
    let allow = allowed(&layout.proxy, reader);
    let file = layout.proxy;
    let proxy = proxy(file.clone(), overrides, allow.clone(), reader);
    let context =
        Context { runtime: proxy.runtime, allow, listen: proxy.listen.clone(), single: layout.single };
    let mut registry = Registry::default();
    let apps = layout.apps.into_iter().map(|entry| context.app(entry, &mut registry, reader)).collect();
    let edge = edge::resolve(&file, &mut registry.claims, reader);
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
    overrides: &Overrides,
    allow: Option<Vec<PathBuf>>,
    reader: &mut Reader,
) -> ProxySpec {
    let docker = file.docker.or_default();
    let log = file.log.or_default();
    let admin = file.admin.or_default().listen;
    let as_written = overrides.listen.is_none() && overrides.admin.is_none();
    if let Some(Many(listen)) = file.listen.get().filter(|_| as_written) {
        check_listen(listen, &admin, reader);
    }
    let listen =
        file.listen.or(Many(Vec::new())).0.into_iter().map(|(address, _)| address).collect::<Vec<_>>();
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    ProxySpec {
        listen: overrides.listen.clone().unwrap_or(if listen.is_empty() { vec![LISTEN] } else { listen }),
        workers: file.workers.get().and_then(|Int(workers)| usize::try_from(*workers).ok()).unwrap_or(cores),
        runtime: overrides.runtime.unwrap_or(file.runtime.or(RuntimeKind::Docker)),
        docker: DockerSpec {
            socket: docker.socket.get().map(|path| reader.resolve(&path.0)),
            network: docker.network.get().map(|word| word.0.clone()),
            pull_timeout: time(docker.pull_timeout, 120),
            allow: allow.unwrap_or_default(),
        },
        admin: overrides.admin.unwrap_or(admin.or(ADMIN)),
        state_dir: reader.resolve(&file.state_dir.or(HostPath(".pilotlight".to_owned())).0),
        shutdown_timeout: time(file.shutdown_timeout, 30),
        log: LogSpec {
            level: log.level.or(LogLevel("info".to_owned())).0,
            format: log.format.get().copied(),
        },
    }
}

/// Reports sockets that cannot both be had.
fn check_listen(listen: &[(SocketAddr, Span)], admin: &Slot<SocketAddr>, reader: &mut Reader) {
    let help = "give one of them another port";
    for (index, (address, span)) in listen.iter().enumerate() {
        if let Some((other, first)) = listen[..index].iter().find(|(other, _)| overlap(*other, *address)) {
            let message = format!("{address} and {other} overlap");
            reader.conflict(*span, message, (*first, "first here"), "remove one of the two");
        }
        match admin {
            Slot::Given(at) if overlap(at.value, *address) => {
                let message = format!("{address} overlaps the admin API's address");
                reader.conflict(*span, message, (at.span, "the admin API's"), help);
            }
            Slot::Absent if overlap(ADMIN, *address) => {
                reader.mistake(*span, format!("{address} overlaps the admin API's address, {ADMIN}"), help);
            }
            _ => {}
        }
    }
}

/// Whether one takes the other's port. Port 0 is another one each time; IPv6 sockets leave IPv4 alone.
fn overlap(one: SocketAddr, two: SocketAddr) -> bool {
    let any = one.ip().is_unspecified() || two.ip().is_unspecified();
    one.port() == two.port()
        && one.port() != 0
        && one.is_ipv4() == two.is_ipv4()
        && (any || one.ip() == two.ip())
}

/// A duration, or so many seconds.
pub(crate) fn time<const MIN: u64, const MAX: u64>(slot: Slot<Time<MIN, MAX>>, seconds: u64) -> Duration {
    slot.or(Time(Duration::from_secs(seconds))).0
}
