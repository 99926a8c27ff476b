//! `upstream`: where something listens that is not ours to start.
//!
//! Owns the notation, and which keys say nothing of it: those about starting, sizing and scaling replicas.

use std::fmt;
use std::net::IpAddr;

use http::Uri;
use http::uri::PathAndQuery;

use super::diagnostic::Span;
use super::reader::{Reader, short};
use super::route::parse_host;
use super::schema::AppFile;
use super::slot::Slot;
use super::spec::{HostPattern, ListenAddress, Origin};
use super::table::Value;
use super::tree::Node;
use super::value::{Many, text};

impl Value for Origin {
    fn read(node: &Node, reader: &mut Reader) -> Option<Self> {
        const FORM: &str = "write `http://name:port`";
        let written = text(node, "a URL", reader)?;
        let mut wrong = |message: &str, help: &str| {
            reader.mistake(node.span, format!("`{}`: {message}", short(&written)), help);
            None
        };
        if written.starts_with("https://") {
            return wrong("https to an upstream is not supported in this version yet", FORM);
        }
        let Some(rest) = written.strip_prefix("http://") else {
            return wrong("not a URL with `http://`", FORM);
        };
        let Ok(uri) = written.parse::<Uri>() else { return wrong("not a URL", FORM) };
        let path = uri.path_and_query().map_or("/", PathAndQuery::as_str);
        if path != "/" || rest.contains(['?', '#']) {
            return wrong("an upstream has no path", "requests go on with their own; end it after the port");
        }
        let Some(authority) = uri.authority().filter(|authority| !authority.as_str().contains('@')) else {
            return wrong("not a host and a port", FORM);
        };
        let host = authority.host().trim_start_matches('[').trim_end_matches(']').to_ascii_lowercase();
        if host.parse::<IpAddr>().is_err() && !matches!(parse_host(&host), Ok(HostPattern::Exact(_))) {
            return wrong("not a host name", FORM);
        }
        // A port that is no number reads as none.
        let written_port = authority.as_str().len() > authority.host().len();
        match authority.port_u16() {
            Some(0) => wrong("the port is 0", FORM),
            None if written_port => wrong("not a port", FORM),
            port => Some(Self { host, port: port.unwrap_or(80) }),
        }
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { host, port } = self;
        if host.contains(':') { write!(f, "[{host}]:{port}") } else { write!(f, "{host}:{port}") }
    }
}

/// Reports upstreams that are listed twice or are the proxy itself.
pub(crate) fn check(origins: &Many<Origin>, listen: &[ListenAddress], reader: &mut Reader) {
    for (index, (origin, span)) in origins.0.iter().enumerate() {
        if let Some((_, first)) = origins.0[..index].iter().find(|(other, _)| other == origin) {
            let message = format!("the upstream {origin} is listed twice");
            reader.conflict(*span, message, (*first, "first here"), "remove one of the two");
        }
        let ip = origin.host.parse::<IpAddr>().ok();
        let ours = |address: &ListenAddress| {
            let ListenAddress::Tcp(address) = address else { return false };
            let (at, any) = (address.ip(), address.ip().is_unspecified());
            // IPv6 sockets leave IPv4 alone.
            let here = |ip: IpAddr| {
                ip == at || (any && ip.is_ipv4() == at.is_ipv4() && (ip.is_loopback() || ip.is_unspecified()))
            };
            let local = origin.host == "localhost" && (any || at.is_loopback());
            address.port() == origin.port && (local || ip.is_some_and(here))
        };
        if listen.iter().any(ours) {
            let message = format!("the upstream {origin} is this proxy itself");
            reader.mistake(*span, message, "write where the app listens");
        }
    }
}

impl AppFile {
    /// Keys about starting, sizing and scaling replicas, and where they stand.
    fn about_replicas(&self) -> [(&'static str, Option<Span>); 18] {
        let start_timeout = self.health.get().and_then(|health| health.start_timeout.key());
        [
            ("image", self.image.key()),
            ("build", self.build.key()),
            ("command", self.command.key()),
            ("port", self.port.key()),
            ("socket", self.socket.key()),
            ("instance", self.instance.key()),
            ("resources", self.resources.key()),
            ("env", self.env.key()),
            ("env_file", self.env_file.key()),
            ("volumes", self.volumes.key()),
            ("drain_timeout", self.drain_timeout.key()),
            ("stop_grace", self.stop_grace.key()),
            ("autoscale", self.autoscale.key()),
            ("autoscale_min", self.autoscale_min.key()),
            ("autoscale_max", self.autoscale_max.key()),
            ("health.start_timeout", start_timeout),
            ("health.probe", self.health.get().and_then(|health| health.probe.key())),
            ("needs", self.needs.key()),
        ]
    }

    /// Reports keys that say nothing of what is not ours to start.
    pub(crate) fn check_upstream(&self, reader: &mut Reader) {
        let Some(upstream) = self.upstream.key() else { return };
        for (name, key) in self.about_replicas() {
            if let Some(key) = key {
                let message =
                    format!("`{name}` beside `upstream`, which is not ours to start, size or scale");
                reader.conflict(key, message, (upstream, "`upstream`"), "remove one of the two");
            }
        }
    }

    /// Takes out of the defaults what does not go with this app's own keys.
    pub(crate) fn cover_upstream(&self, under: &mut Self) {
        if self.about_replicas().iter().any(|(_, key)| key.is_some()) {
            under.upstream = Slot::Absent;
        }
        if self.upstream.is_absent() {
            return;
        }
        *under = Self {
            image: Slot::Absent,
            build: Slot::Absent,
            command: Slot::Absent,
            port: Slot::Absent,
            socket: Slot::Absent,
            instance: Slot::Absent,
            resources: Slot::Absent,
            env: Slot::Absent,
            env_file: Slot::Absent,
            volumes: Slot::Absent,
            needs: Slot::Absent,
            autoscale: Slot::Absent,
            autoscale_min: Slot::Absent,
            autoscale_max: Slot::Absent,
            ..std::mem::take(under)
        };
    }
}
