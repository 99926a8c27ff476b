//! What goes on inside a container, where the kernel that runs it is ours to ask.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};

use bollard::models::ContainerInspectResponse;

use super::{DockerRuntime, look};
use crate::runtime::{Address, ReplicaId, Status, sockets};

/// Where the engine's own name server listens in each container on a network that was made by hand.
const NAME_SERVER: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 11));

impl DockerRuntime {
    /// Where a container listens. The engine may run on another machine, or see other process numbers than we do: the
    /// process that it names counts only where its network has the container's address.
    pub(super) async fn listening_inside(&self, id: &ReplicaId) -> Option<Vec<SocketAddr>> {
        let inspected = self.inspect(&id.0).await.inspect_err(|failure| {
            tracing::debug!(replica = %id, ?failure, "cannot look at a container");
        });
        let (net, ip) = network_of(&inspected.ok()??)?;
        let look = tokio::task::spawn_blocking(move || look_inside(&net, ip));
        look.await.inspect_err(|error| tracing::error!(replica = %id, %error, "reading /proc failed")).ok()?
    }
}

/// The folder with its network's tables, and its own address there. A container on the host's network has none: all
/// that listens on the host would seem to be its own.
fn network_of(inspected: &ContainerInspectResponse) -> Option<(PathBuf, Ipv4Addr)> {
    let pid = inspected.state.as_ref()?.pid.filter(|pid| *pid > 0)?;
    let Status::Running(endpoint) = look::status(inspected) else { return None };
    match endpoint.address {
        Address::Tcp(SocketAddr::V4(address)) if !address.ip().is_loopback() => {
            Some((format!("/proc/{pid}/net").into(), *address.ip()))
        }
        _ => None,
    }
}

fn look_inside(net: &Path, ip: Ipv4Addr) -> Option<Vec<SocketAddr>> {
    if !sockets::has_address(net, ip)? {
        return None;
    }
    let found = sockets::listening(net)?.into_iter().map(|it| it.address);
    Some(found.filter(|address| address.ip() != NAME_SERVER).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_network_that_may_be_somebody_elses_says_nothing() {
        let ours = Path::new("/proc/self/net");
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        assert!(look_inside(ours, Ipv4Addr::LOCALHOST).unwrap().contains(&address));
        assert_eq!(look_inside(ours, Ipv4Addr::new(192, 0, 2, 1)), None);
        assert_eq!(look_inside(Path::new("/proc/0/net"), Ipv4Addr::LOCALHOST), None);
    }
}
