//! `clients`, `trusted_proxies` and `proxy_protocol`: what clients may do, and who speaks for others.

use std::net::IpAddr;
use std::sync::Arc;

use ipnet::IpNet;

use super::reader::{Reader, describe};
use super::resolve::time;
use super::schema::{ClientsFile, ProxyFile};
use super::slot::Slot;
use super::spec::{ClientsSpec, Peers};
use super::table::Value;
use super::tree::Node;
use super::value::{Int, Many, Size, scalar};

/// One of those that may speak to the proxy in a way that others may not.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Peer {
    /// All that have an address of this network.
    Network(IpNet),
    /// All that come by a Unix socket.
    Unix,
}

impl Value for Peer {
    fn read(node: &Node, reader: &mut Reader) -> Option<Self> {
        const HELP: &str =
            "write `10.0.0.0/8`, `192.0.2.7`, `2001:db8::/32`, or `unix` for who comes by a Unix socket";
        let Some((text, _)) = scalar(node) else {
            reader.wrong_kind(node, "a network", HELP);
            return None;
        };
        if text == "unix" {
            return Some(Self::Unix);
        }
        let address = text.parse::<IpAddr>().map(IpNet::from);
        let network = address.or_else(|_| text.parse::<IpNet>());
        let Ok(network) = network else {
            reader.mistake(node.span, format!("{} is no network", describe(node)), HELP);
            return None;
        };
        if network.trunc() != network {
            let message = format!("`{network}` is an address within the network `{}`", network.trunc());
            let help =
                format!("write `{}` for all of it, or `{}` for the one", network.trunc(), network.addr());
            reader.mistake(node.span, message, help);
            return None;
        }
        Some(Self::Network(network))
    }
}

/// What clients may do.
pub(crate) fn resolve(proxy: &ProxyFile) -> Arc<ClientsSpec> {
    let default = ClientsSpec::default();
    let file: ClientsFile = proxy.clients.clone().or_default();
    let count = |slot: Option<u64>| slot.and_then(|count| usize::try_from(count).ok());
    Arc::new(ClientsSpec {
        proxy_protocol: peers(&proxy.proxy_protocol),
        trusted_proxies: peers(&proxy.trusted_proxies),
        preserve_header_case: proxy.preserve_header_case.clone().or(false),
        header_bytes: size(&file.header_bytes, default.header_bytes),
        headers: count(file.headers.get().map(|Int(count)| *count)).unwrap_or(default.headers),
        uri_bytes: size(&file.uri_bytes, default.uri_bytes),
        header_timeout: time(file.header_timeout, default.header_timeout.as_secs()),
        idle_timeout: time(file.idle_timeout, default.idle_timeout.as_secs()),
        write_timeout: time(file.write_timeout, default.write_timeout.as_secs()),
        connections: count(file.connections.get().map(|Int(count)| *count)),
        connections_per_client: count(file.connections_per_client.get().map(|Int(count)| *count)),
        requests: file.requests_per_connection.get().map(|Int(count)| *count),
    })
}

fn size<const MIN: u64, const MAX: u64>(slot: &Slot<Size<MIN, MAX>>, default: usize) -> usize {
    slot.get().and_then(|Size(bytes)| usize::try_from(*bytes).ok()).unwrap_or(default)
}

fn peers(slot: &Slot<Many<Peer>>) -> Peers {
    let listed = slot.get().map(|Many(peers)| peers.as_slice()).unwrap_or_default();
    Peers {
        networks: listed
            .iter()
            .filter_map(|(peer, _)| match peer {
                Peer::Network(network) => Some(*network),
                Peer::Unix => None,
            })
            .collect(),
        local: listed.iter().any(|(peer, _)| matches!(peer, Peer::Unix)),
    }
}
