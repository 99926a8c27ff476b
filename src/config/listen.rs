//! Where clients come in: the notation of addresses, and which of them cannot both be had.

use std::fmt;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use super::diagnostic::Span;
use super::reader::Reader;
use super::resolve::ADMIN;
use super::slot::Slot;
use super::spec::ListenAddress;
use super::table::Value;
use super::tree::Node;
use super::value::{parse_address, scalar};

const HELP: &str =
    "write `0.0.0.0:8080`, `[::]:8080`, `:8080`, `8080`, or a Unix socket: `unix:/run/pilotlight/http.sock`";

/// Longest path of a Unix socket that the system takes, unix(7): 108 bytes with the one that ends it.
pub(super) const LONGEST_PATH: usize = 107;

impl Value for ListenAddress {
    fn read(node: &Node, reader: &mut Reader) -> Option<Self> {
        let Some(text) = scalar(node).map(|(text, _)| text) else {
            reader.wrong_kind(node, "an address", HELP);
            return None;
        };
        if let Some(path) = text.strip_prefix("unix:").filter(|path| !path.is_empty()) {
            let path = reader.resolve(path);
            if path.as_os_str().len() > LONGEST_PATH {
                let message = format!("the path {} is too long for a Unix socket", path.display());
                reader.mistake(node.span, message, format!("{LONGEST_PATH} bytes at most"));
                return None;
            }
            return Some(Self::Unix(path));
        }
        if text.contains('/') {
            reader.wrong_kind(node, "an address", HELP);
            return None;
        }
        SocketAddr::read(node, reader).map(Self::Tcp)
    }
}

/// An address of the command line.
///
/// # Errors
/// What to write instead.
pub fn parse_listen(text: &str) -> Result<ListenAddress, String> {
    match text.strip_prefix("unix:").filter(|path| !path.is_empty()) {
        Some(path) => std::path::absolute(Path::new(path))
            .map(ListenAddress::Unix)
            .map_err(|error| format!("{path}: {error}")),
        None => parse_address(text).map(ListenAddress::Tcp).map_err(|_| HELP.to_owned()),
    }
}

/// Reports sockets that cannot both be had: public ones, and the admin API's.
pub(crate) fn check(listen: &[(ListenAddress, Span)], admin: &Slot<SocketAddr>, reader: &mut Reader) {
    let help = "give one of them another port";
    for (index, (address, span)) in listen.iter().enumerate() {
        if let Some((other, first)) = listen[..index].iter().find(|(other, _)| overlap(other, address)) {
            let message = if other == address {
                format!("{address} is listed twice")
            } else {
                format!("{address} and {other} overlap")
            };
            reader.conflict(*span, message, (*first, "first here"), "remove one of the two");
        }
        let taken = |admin: SocketAddr| overlap(&ListenAddress::Tcp(admin), address);
        match admin {
            Slot::Given(at) if taken(at.value) => {
                let message = format!("{address} overlaps the admin API's address");
                reader.conflict(*span, message, (at.span, "the admin API's"), help);
            }
            Slot::Absent if taken(ADMIN) => {
                reader.mistake(*span, format!("{address} overlaps the admin API's address, {ADMIN}"), help);
            }
            _ => {}
        }
    }
}

/// Whether one takes the other's place. Port 0 is another one each time; IPv6 sockets leave IPv4 alone.
fn overlap(one: &ListenAddress, two: &ListenAddress) -> bool {
    let (ListenAddress::Tcp(one), ListenAddress::Tcp(two)) = (one, two) else { return one == two };
    let any = one.ip().is_unspecified() || two.ip().is_unspecified();
    one.port() == two.port()
        && one.port() != 0
        && one.is_ipv4() == two.is_ipv4()
        && (any || one.ip() == two.ip())
}

impl ListenAddress {
    /// The port, where it has one.
    #[must_use]
    pub const fn port(&self) -> Option<u16> {
        match self {
            Self::Tcp(address) => Some(address.port()),
            Self::Unix(_) => None,
        }
    }

    /// The socket's path, where it is a Unix one.
    #[must_use]
    pub fn path(&self) -> Option<&PathBuf> {
        match self {
            Self::Tcp(_) => None,
            Self::Unix(path) => Some(path),
        }
    }
}

impl fmt::Display for ListenAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => address.fmt(f),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}
