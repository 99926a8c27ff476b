//! Whatever a client asks for, the table finds the route that is the most specific by the plain rule.
//!
//! The first line is a host, the second a path; each further line is a route: a host, and a path behind a space.

#![no_main]

use std::path::Path;
use std::sync::{Arc, LazyLock};

use libfuzzer_sys::fuzz_target;
use pilotlight::app::{App, Policy};
use pilotlight::config::spec::{AppSpec, EdgeSpec, HostPattern, RouteSpec};
use pilotlight::config::{Overrides, parse};
use pilotlight::gateway::route::{Entry, Found, RouteTable, Target};

static SPEC: LazyLock<AppSpec> = LazyLock::new(|| {
    let text = "runtime: process\ncommand: [\"true\"]\n";
    let config = parse(text, Path::new("/x/jcloud.yml"), &Overrides::default(), &|_| None);
    config.expect("a sound file").apps.remove(0)
});

fuzz_target!(|text: &str| {
    let mut lines = text.split('\n');
    let (Some(host), Some(path)) = (lines.next(), lines.next()) else { return };
    // What the checks before let through.
    if host.len() > 255 || !path.starts_with('/') {
        return;
    }
    let mut routes: Vec<RouteSpec> = Vec::new();
    for route in lines.filter_map(route) {
        // A file with two equal ones is refused.
        if !routes.contains(&route) {
            routes.push(route);
        }
    }
    let entries = routes.iter().map(|route| {
        let spec = AppSpec { routes: vec![route.clone()], ..SPEC.clone() };
        Entry { app: App::new("app"), policy: Policy::new(Arc::new(spec), None) }
    });
    let table = RouteTable::new(entries.collect(), EdgeSpec::default());
    let found = table.find(host, path);
    let best = routes.iter().enumerate().filter_map(|(at, route)| Some((rank(route, host, path)?, at))).max();
    let expected = best.map(|((_, prefix), at)| Found { target: Target::App(at), prefix });
    assert_eq!(found, expected, "{host:?} {path:?} {routes:?}");
    assert!(found.is_none() || table.knows(host));
});

/// A route as a checked file has it: a host in small letters without a port, a path without a slash at its end.
fn route(line: &str) -> Option<RouteSpec> {
    let (host, path) = line.split_once(' ')?;
    let plain = |host: &str| {
        let fits = |byte: u8| {
            byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'-' | b'.' | b'_')
        };
        !host.is_empty() && host.bytes().all(fits) && host.split('.').all(|label| !label.is_empty())
    };
    let host = match (host, host.strip_prefix("*.")) {
        ("*", _) => HostPattern::Any,
        (_, Some(parent)) if plain(parent) => HostPattern::Wildcard(parent.to_owned()),
        (name, None) if plain(name) => HostPattern::Exact(name.to_owned()),
        _ => return None,
    };
    let sound = path == "/" || (path.starts_with('/') && !path.ends_with('/'));
    sound.then(|| RouteSpec { host, path: path.to_owned() })
}

/// How specific a route is that fits: its host's kind and length, then its path's length.
fn rank(route: &RouteSpec, host: &str, path: &str) -> Option<((usize, usize), usize)> {
    let name = match host.find(']') {
        Some(end) if host.starts_with('[') => &host[..=end],
        _ if host.starts_with('[') => host,
        _ => host.split(':').next()?,
    };
    let name = name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase();
    let host = match &route.host {
        HostPattern::Exact(exact) => (*exact == name).then_some((2, 0)),
        HostPattern::Wildcard(parent) => {
            name.strip_suffix(parent)?.ends_with('.').then_some((1, parent.len()))
        }
        HostPattern::Any => Some((0, 0)),
    }?;
    if route.path == "/" {
        return Some((host, 0));
    }
    let rest = path.strip_prefix(&route.path)?;
    (rest.is_empty() || rest.starts_with('/')).then_some((host, route.path.len()))
}
