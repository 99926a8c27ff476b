//! Hosts and path prefixes: where an app's requests come in, and that no two apps claim the same.
//!
//! Owns their notation. How a request finds its route is the gateway's business.

use std::collections::HashMap;

use super::diagnostic::Span;
use super::reader::Reader;
use super::spec::{HostPattern, RouteSpec};
use super::table::Value;
use super::tree::Node;
use super::value::text;

impl Value for HostPattern {
    fn read(node: &Node, reader: &mut Reader) -> Option<Self> {
        let written = text(node, "a host name", reader)?;
        host(&written, node, reader)
    }
}

fn host(written: &str, node: &Node, reader: &mut Reader) -> Option<HostPattern> {
    match parse_host(written) {
        Ok(host) => Some(host),
        Err((message, help)) => {
            reader.mistake(node.span, format!("`{}` {message}", super::reader::short(written)), help);
            None
        }
    }
}

/// A host with all its paths, a host with a path prefix, or a path prefix of every host.
impl Value for RouteSpec {
    fn read(node: &Node, reader: &mut Reader) -> Option<Self> {
        let written = text(node, "a host name or a path", reader)?;
        if written.contains("://") {
            let message = format!("`{}` is a URL", super::reader::short(&written));
            reader.mistake(node.span, message, "write host and path alone: `www.example.com/old`");
            return None;
        }
        let (name, path) = written.split_at(written.find('/').unwrap_or(written.len()));
        let host = if name.is_empty() { HostPattern::Any } else { host(name, node, reader)? };
        let path = if path.is_empty() { "/" } else { path };
        Some(Self { host, path: prefix(path, node, reader)? })
    }
}

/// The pattern, or what is wrong and what to do.
pub(crate) fn parse_host(written: &str) -> Result<HostPattern, (&'static str, &'static str)> {
    let lower = written.to_ascii_lowercase();
    let host = lower.strip_suffix('.').unwrap_or(&lower);
    if host == "*" {
        return Ok(HostPattern::Any);
    }
    if host.contains("://") || host.contains('/') {
        return Err(("is no host name", "write the name alone, without `http://`; a path goes to `path`"));
    }
    if host.contains(':') {
        return Err(("has a port", "write the name alone: a host matches on every port of `listen`"));
    }
    if !host.is_ascii() {
        return Err(("is not ASCII", "write the name in its `xn--` form"));
    }
    let (name, wildcard) = match host.strip_prefix("*.") {
        Some(name) => (name, true),
        None => (host, false),
    };
    if name.contains('*') {
        return Err(("has a `*` in the wrong place", "write `*.example.com`: the first label, whole"));
    }
    let label = |label: &str| {
        (1..=63).contains(&label.len())
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label.bytes().all(|c| c.is_ascii_alphanumeric() || c == b'-' || c == b'_')
    };
    if name.len() > 253 || !name.split('.').all(label) {
        return Err((
            "is no host name",
            "write letters, digits and `-` between single dots: `www.example.com`",
        ));
    }
    Ok(if wildcard { HostPattern::Wildcard(name.to_owned()) } else { HostPattern::Exact(name.to_owned()) })
}

/// A path prefix on segment boundaries, without the slash at its end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PathPrefix(pub(crate) String);

impl Value for PathPrefix {
    fn read(node: &Node, reader: &mut Reader) -> Option<Self> {
        let written = text(node, "a path", reader)?;
        prefix(&written, node, reader).map(Self)
    }
}

fn prefix(written: &str, node: &Node, reader: &mut Reader) -> Option<String> {
    let path = url_path(written, node, reader)?;
    if path.contains(['?', '#']) {
        reader.mistake(node.span, "a path prefix has no `?` and no `#`", "end it before them");
        return None;
    }
    let segments: Vec<_> = path.split('/').filter(|segment| !segment.is_empty()).collect();
    Some(format!("/{}", segments.join("/")))
}

/// A path with its query that a replica is asked for.
#[derive(Debug, Clone)]
pub(crate) struct RequestPath(pub(crate) String);

impl Value for RequestPath {
    fn read(node: &Node, reader: &mut Reader) -> Option<Self> {
        let written = text(node, "a path", reader)?;
        url_path(&written, node, reader).map(|path| Self(path.to_owned()))
    }
}

/// What all kinds of path have in common.
pub(crate) fn url_path<'a>(path: &'a str, node: &Node, reader: &mut Reader) -> Option<&'a str> {
    let (message, help) = if !path.starts_with('/') {
        ("a path starts with `/`", format!("write `/{}`", super::reader::short(path)))
    } else if path.split('/').any(|segment| matches!(segment, "." | "..")) {
        ("a path has no `.` and no `..`", "write the path that is meant".to_owned())
    } else if !path.bytes().all(|byte| byte.is_ascii_graphic()) || path.contains('\\') {
        (
            "a path has no such character",
            "write spaces and other signs percent-encoded, such as `%20`".to_owned(),
        )
    } else {
        return Some(path);
    };
    reader.mistake(node.span, message, help);
    None
}

/// Who has a route.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Owner {
    /// The app of this name.
    App(String),
    /// The redirect at this place of the file's list.
    Redirect(usize),
}

/// The routes that are taken, by whom and where.
#[derive(Default)]
pub(crate) struct Claims {
    taken: HashMap<RouteSpec, (Owner, Option<Span>)>,
}

impl Claims {
    /// Claims a route, or reports who has it. `place` is `None` only where there is one app alone.
    pub(crate) fn claim(&mut self, route: RouteSpec, owner: Owner, place: Option<Span>, reader: &mut Reader) {
        let shown = show_route(&route);
        let Some((holder, first)) = self.taken.get(&route) else {
            self.taken.insert(route, (owner, place));
            return;
        };
        let Some(place) = place else { return };
        let (message, label, help) = match (holder, &owner) {
            (Owner::App(holder), Owner::App(app)) if holder == app => (
                format!("the route {shown} is listed twice"),
                "first here".to_owned(),
                "remove one of the two",
            ),
            (Owner::App(holder), Owner::App(app)) => (
                format!("the apps `{holder}` and `{app}` both claim the route {shown}"),
                format!("claimed by `{holder}` here"),
                "give one of them another `host` or `path`",
            ),
            (Owner::App(app), Owner::Redirect(_)) | (Owner::Redirect(_), Owner::App(app)) => (
                format!("the app `{app}` and a redirect both claim the route {shown}"),
                "claimed here".to_owned(),
                "give the app another `host` or `path`, or the redirect another `from`",
            ),
            (Owner::Redirect(_), Owner::Redirect(_)) => (
                format!("two redirects claim the route {shown}"),
                "first here".to_owned(),
                "remove one of the two",
            ),
        };
        match first {
            Some(first) => reader.conflict(place, message, (*first, &label), help),
            None => reader.mistake(place, message, help),
        }
    }

    /// Who gets a request for this host and path, and the length of the prefix that matches: as the gateway's table
    /// decides it, the most specific host that has a prefix of the path.
    pub(crate) fn find(&self, host: &str, path: &str) -> Option<(&Owner, usize)> {
        let parents =
            host.match_indices('.').map(|(dot, _)| HostPattern::Wildcard(host[dot + 1..].to_owned()));
        let mut hosts =
            [HostPattern::Exact(host.to_owned())].into_iter().chain(parents).chain([HostPattern::Any]);
        let ends = path.match_indices('/').map(|(slash, _)| slash).chain([path.len()]);
        let prefixes: Vec<&str> = ends.map(|end| &path[..end]).collect();
        hosts.find_map(|host| {
            prefixes.iter().rev().find_map(|prefix| {
                let path = if prefix.is_empty() { "/" } else { prefix };
                let route = RouteSpec { host: host.clone(), path: path.to_owned() };
                self.taken.get(&route).map(|(owner, _)| (owner, prefix.len()))
            })
        })
    }
}

/// `www.example.com/api`, `*/`.
#[must_use]
pub fn show_route(route: &RouteSpec) -> String {
    match &route.host {
        HostPattern::Exact(host) => format!("{host}{}", route.path),
        HostPattern::Wildcard(host) => format!("*.{host}{}", route.path),
        HostPattern::Any => format!("*{}", route.path),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_hosts() {
        let exact = |name: &str| Ok(HostPattern::Exact(name.to_owned()));
        assert_eq!(parse_host("WWW.Example.com."), exact("www.example.com"));
        assert_eq!(parse_host("localhost"), exact("localhost"));
        assert_eq!(parse_host("127.0.0.1"), exact("127.0.0.1"));
        assert_eq!(parse_host("*.example.com"), Ok(HostPattern::Wildcard("example.com".to_owned())));
        assert_eq!(parse_host("*"), Ok(HostPattern::Any));
        for wrong in [
            "a.*.com",
            "*a.com",
            "*.*.com",
            "a..b",
            ".a",
            "-a.com",
            "a b",
            "a:80",
            "[::1]",
            "http://a",
            "a/b",
            "bücher.de",
        ] {
            assert!(parse_host(wrong).is_err(), "{wrong}");
        }
        assert!(parse_host(&"a".repeat(64)).is_err());
    }
}
