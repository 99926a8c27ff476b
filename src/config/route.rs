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
        match parse_host(&written) {
            Ok(host) => Some(host),
            Err((message, help)) => {
                reader.mistake(node.span, format!("`{}` {message}", super::reader::short(&written)), help);
                None
            }
        }
    }
}

/// The pattern, or what is wrong and what to do.
fn parse_host(written: &str) -> Result<HostPattern, (&'static str, &'static str)> {
    let lower = written.to_ascii_lowercase();
    let host = lower.strip_suffix('.').unwrap_or(&lower);
    if host == "*" {
        return Ok(HostPattern::Any);
    }
    if host.contains("://") || host.contains('/') {
        return Err(("is no host name", "write the name alone; a path goes to `path`"));
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
        let path = url_path(&written, node, reader)?;
        if path.contains(['?', '#']) {
            reader.mistake(node.span, "a path prefix has no `?` and no `#`", "end it before them");
            return None;
        }
        let segments: Vec<_> = path.split('/').filter(|segment| !segment.is_empty()).collect();
        Some(Self(format!("/{}", segments.join("/"))))
    }
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

/// What both kinds of path have in common.
fn url_path<'a>(path: &'a str, node: &Node, reader: &mut Reader) -> Option<&'a str> {
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

/// The routes that are taken, by whom and where.
#[derive(Default)]
pub(crate) struct Claims {
    taken: HashMap<RouteSpec, (String, Option<Span>)>,
}

impl Claims {
    /// Claims a route for an app, or reports who has it. `place` is `None` only where there is one app alone.
    pub(crate) fn claim(&mut self, route: RouteSpec, app: &str, place: Option<Span>, reader: &mut Reader) {
        let shown = show_route(&route);
        let Some((owner, first)) = self.taken.get(&route) else {
            self.taken.insert(route, (app.to_owned(), place));
            return;
        };
        let (Some(place), Some(first)) = (place, *first) else { return };
        if owner == app {
            let message = format!("the route {shown} is listed twice");
            reader.conflict(place, message, (first, "first here"), "remove one of the two");
        } else {
            let message = format!("the apps `{owner}` and `{app}` both claim the route {shown}");
            let label = format!("claimed by `{owner}` here");
            reader.conflict(place, message, (first, &label), "give one of them another `host` or `path`");
        }
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
