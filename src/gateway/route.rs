//! Which app a request is for: host first, then the longest path prefix, in one immutable table.
//!
//! Built by the control plane, replaced as a whole; looking up allocates nothing.

use std::collections::HashMap;
use std::sync::Arc;

use foldhash::fast::FixedState;
use memchr::memchr;

use crate::app::{App, Policy};
use crate::config::spec::{EdgeSpec, HostPattern, RedirectSpec, RouteSpec};
use crate::gateway::respond::Reject;

/// All routes of a proxy.
#[derive(Debug, Default)]
pub struct RouteTable {
    entries: Vec<Entry>,
    exact: Hosts,
    /// Keyed by what follows `*.`.
    wildcard: Hosts,
    any: Paths,
    edge: EdgeSpec,
}

/// One app in the table.
#[derive(Debug)]
pub struct Entry {
    /// The app.
    pub app: Arc<App>,
    /// Its policy as of this table.
    pub policy: Arc<Policy>,
}

/// A quick hash will do: clients choose what is looked up, never what is in the table.
type Hosts = HashMap<Box<str>, Paths, FixedState>;

/// Path prefixes of one host, longest first.
type Paths = Vec<(Box<str>, Target)>;

/// What a route leads to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Target {
    /// The app at this place in the table, see [`RouteTable::entry`].
    App(usize),
    /// The redirect at this place in the table, see [`RouteTable::redirect`].
    Redirect(usize),
}

/// Where a request goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Found {
    /// Whom it is for.
    pub target: Target,
    /// Length of the path prefix that matched, 0 for `/`.
    pub prefix: usize,
}

/// Longest host name, RFC 1035 section 2.3.4.
const MAX_HOST: usize = 255;

impl RouteTable {
    /// A table of these apps, and of what the proxy answers by itself.
    #[must_use]
    pub fn new(entries: Vec<Entry>, edge: EdgeSpec) -> Self {
        let mut table = Self::default();
        for (index, entry) in entries.iter().enumerate() {
            for route in &entry.policy.spec.routes {
                table.add(route, Target::App(index));
            }
        }
        for (index, redirect) in edge.redirects.iter().enumerate() {
            table.add(&redirect.from, Target::Redirect(index));
        }
        let hosts = table.exact.values_mut().chain(table.wildcard.values_mut());
        for paths in hosts.chain([&mut table.any]) {
            paths.sort_by_key(|(path, _)| std::cmp::Reverse(path.len()));
        }
        table.entries = entries;
        table.edge = edge;
        table
    }

    fn add(&mut self, route: &RouteSpec, target: Target) {
        let paths = match &route.host {
            HostPattern::Exact(name) => self.exact.entry(name.as_str().into()).or_default(),
            HostPattern::Wildcard(name) => self.wildcard.entry(name.as_str().into()).or_default(),
            HostPattern::Any => &mut self.any,
        };
        let prefix = if route.path == "/" { "" } else { &route.path };
        paths.push((prefix.into(), target));
    }

    /// What the proxy does by itself.
    #[must_use]
    pub fn edge(&self) -> &EdgeSpec {
        &self.edge
    }

    /// An app of the table.
    #[must_use]
    pub fn entry(&self, index: usize) -> &Entry {
        &self.entries[index]
    }

    /// A redirect of the table.
    #[must_use]
    pub fn redirect(&self, index: usize) -> &RedirectSpec {
        &self.edge.redirects[index]
    }

    /// Why a host and a path for which nothing was found get nothing.
    #[must_use]
    pub fn miss(&self, host: &str) -> Reject {
        if self.knows(host) { Reject::NoRoute } else { Reject::UnknownHost(self.edge.unknown_host) }
    }

    /// Whether a route names this host, whatever its path.
    #[must_use]
    pub fn knows(&self, host: &str) -> bool {
        let mut lower = [0; MAX_HOST];
        let Some(host) = normalise(host, &mut lower) else { return false };
        let mut parents = host.match_indices('.').map(|(dot, _)| &host[dot + 1..]);
        !self.any.is_empty()
            || self.exact.contains_key(host)
            || parents.any(|parent| self.wildcard.contains_key(parent))
    }

    /// How many apps the table has.
    #[must_use]
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether it has none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// The route for a host (as the client wrote it, a port and case allowed) and a path: the most specific host
    /// that has a prefix of the path.
    #[must_use]
    pub fn find(&self, host: &str, path: &str) -> Option<Found> {
        let mut lower = [0; MAX_HOST];
        let host = normalise(host, &mut lower)?;
        let exact = self.exact.get(host).and_then(|paths| longest(paths, path));
        exact.or_else(|| self.below(host, path)).or_else(|| longest(&self.any, path))
    }

    fn below(&self, host: &str, path: &str) -> Option<Found> {
        if self.wildcard.is_empty() {
            return None;
        }
        let parents = host.match_indices('.').map(|(dot, _)| &host[dot + 1..]);
        parents.filter_map(|parent| self.wildcard.get(parent)).find_map(|paths| longest(paths, path))
    }
}

fn longest(paths: &Paths, path: &str) -> Option<Found> {
    let fits =
        |prefix: &str| path.strip_prefix(prefix).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
    let (prefix, target) = paths.iter().find(|(prefix, _)| fits(prefix))?;
    Some(Found { target: *target, prefix: prefix.len() })
}

/// The name alone, in lower case; copied only where it has upper case.
fn normalise<'a>(host: &'a str, lower: &'a mut [u8; MAX_HOST]) -> Option<&'a str> {
    let name = if host.starts_with('[') {
        host.split_inclusive(']').next().unwrap_or(host)
    } else {
        memchr(b':', host.as_bytes()).map_or(host, |colon| &host[..colon])
    };
    let name = name.strip_suffix('.').unwrap_or(name);
    if !name.bytes().any(|byte| byte.is_ascii_uppercase()) {
        return Some(name);
    }
    let lower = lower.get_mut(..name.len())?;
    lower.copy_from_slice(name.as_bytes());
    lower.make_ascii_lowercase();
    std::str::from_utf8(lower).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Overrides, parse};

    /// A table of apps `0`, `1`, … with one route each.
    fn table(routes: &[(&str, &str)]) -> RouteTable {
        let text = "runtime: process\ncommand: [\"true\"]\n";
        let config = parse(text, std::path::Path::new("/x/jcloud.yml"), &Overrides::default(), &|_| None);
        let mut spec = config.unwrap().apps.remove(0);
        let mut entries = Vec::new();
        for (host, path) in routes {
            let host = match (*host, host.strip_prefix("*.")) {
                ("*", _) => HostPattern::Any,
                (_, Some(parent)) => HostPattern::Wildcard(parent.to_owned()),
                (name, None) => HostPattern::Exact(name.to_owned()),
            };
            spec.routes = vec![RouteSpec { host, path: (*path).to_owned() }];
            let policy = Policy::new(Arc::new(spec.clone()), None);
            entries.push(Entry { app: App::new("a"), policy });
        }
        RouteTable::new(entries, EdgeSpec::default())
    }

    #[test]
    fn the_most_specific_wins() {
        let table = table(&[
            ("a.example", "/"),
            ("a.example", "/api"),
            ("a.example", "/api/v2"),
            ("*.example", "/"),
            ("*.b.example", "/"),
            ("*", "/shared"),
            ("only.example", "/x"),
        ]);
        let find = |host: &str, path: &str| match table.find(host, path) {
            Some(Found { target: Target::App(entry), prefix }) => Some((entry, prefix)),
            _ => None,
        };
        assert_eq!(find("a.example", "/"), Some((0, 0)));
        assert_eq!(find("A.Example:8080", "/api"), Some((1, 4)));
        assert_eq!(find("a.example.", "/api/v1"), Some((1, 4)));
        assert_eq!(find("a.example", "/api/v2/x"), Some((2, 7)));
        assert_eq!(find("a.example", "/apix"), Some((0, 0)), "a prefix ends where a segment does");
        assert_eq!(find("c.example", "/api"), Some((3, 0)));
        assert_eq!(find("x.b.example", "/"), Some((4, 0)));
        assert_eq!(find("example", "/"), None, "a wildcard is not the name itself");
        assert_eq!(find("other", "/shared/1"), Some((5, 7)));
        assert_eq!(find("other", "/"), None);
        assert_eq!(find("only.example", "/y"), Some((3, 0)), "no path there: the next host that has one");
        assert!(table.find(&"A".repeat(300), "/shared").is_none());
        assert_eq!(find("[::1]:80", "/shared"), Some((5, 7)));
    }
}
