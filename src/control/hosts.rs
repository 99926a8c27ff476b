//! Whether the file's host names lead anywhere: a name without DNS is no visitor's to find, and the first thing that
//! somebody who sets up a machine forgets. It warns, once for each name, says when that is over, and nothing waits for it.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use futures_util::{StreamExt, stream};
use tokio::sync::watch;

use crate::config::spec::{HostPattern, RouteSpec};
use crate::control::resolve::Resolver;

/// Names that are looked up at once. A call that hangs keeps its place, so there are never more of them.
const AT_ONCE: usize = 2;

/// Names that are looked up after each reading of the file, of those that were not found yet. Somebody with more of them
/// has other means.
const MOST: usize = 100;

/// Sees whether the file's hosts have DNS. The task behind it ends when this is dropped.
#[derive(Debug)]
pub struct Hosts(watch::Sender<BTreeSet<String>>);

impl Hosts {
    /// Knows no host yet. `public` is where this proxy is reached without DNS.
    #[must_use]
    pub fn watch(public: SocketAddr) -> Self {
        let (names, told) = watch::channel(BTreeSet::new());
        tokio::spawn(run(told, from_here(public)));
        Self(names)
    }

    /// These are the routes from now on.
    pub fn set<'a>(&self, routes: impl Iterator<Item = &'a RouteSpec>) {
        self.0.send_replace(routes.filter_map(name).collect());
    }
}

/// The name in a route, where DNS has to know it.
fn name(route: &RouteSpec) -> Option<String> {
    let HostPattern::Exact(name) = &route.host else { return None };
    let is_address = name.parse::<IpAddr>().is_ok();
    let is_local = name == "localhost" || name.ends_with(".localhost");
    (!is_address && !is_local).then(|| name.clone())
}

/// The address under which somebody on this machine reaches what listens there.
fn from_here(mut public: SocketAddr) -> SocketAddr {
    match public.ip() {
        IpAddr::V4(Ipv4Addr::UNSPECIFIED) => public.set_ip(Ipv4Addr::LOCALHOST.into()),
        IpAddr::V6(Ipv6Addr::UNSPECIFIED) => public.set_ip(Ipv6Addr::LOCALHOST.into()),
        _ => {}
    }
    public
}

/// Looks up whatever the file is read again for, until nobody wants to know any more.
async fn run(mut names: watch::Receiver<BTreeSet<String>>, public: SocketAddr) {
    let resolver = Resolver::new(AT_ONCE);
    let mut known = Known::default();
    while names.changed().await.is_ok() {
        let wanted = names.borrow_and_update().clone();
        known.found.retain(|name| wanted.contains(name));
        known.missed.retain(|name| wanted.contains(name));
        tokio::select! {
            () = look(&wanted, &mut known, &resolver, public) => {}
            changed = names.changed() => match changed {
                Ok(()) => names.mark_changed(),
                Err(_nobody) => return,
            },
        }
    }
}

/// What was learnt of names before.
#[derive(Debug, Default)]
struct Known {
    /// Those that DNS knows.
    found: BTreeSet<String>,
    /// Those that were warned of. They are looked up again with the file.
    missed: BTreeSet<String>,
}

async fn look(wanted: &BTreeSet<String>, known: &mut Known, resolver: &Resolver, public: SocketAddr) {
    let unknown: Vec<_> = wanted.difference(&known.found).cloned().collect();
    if unknown.len() > MOST {
        tracing::info!(
            hosts = unknown.len(),
            "only the first {MOST} hosts are looked up, to see whether DNS knows them"
        );
    }
    let ask = |name: String| async move { (resolver.look_up(&name, public.port()).await, name) };
    let mut answers = stream::iter(unknown.into_iter().take(MOST)).map(ask).buffer_unordered(AT_ONCE);
    while let Some((answer, name)) = answers.next().await {
        match answer {
            Ok(_) => {
                if known.missed.remove(&name) {
                    tracing::info!(host = name, "DNS knows this host now");
                }
                known.found.insert(name);
            }
            Err(error) if error.no_such_name => {
                if known.missed.insert(name.clone()) {
                    tracing::warn!(
                        host = name,
                        "DNS does not know this host, so visitors do not find it: add a record that points to this machine; until then try `curl -H 'Host: {name}' http://{public}/`"
                    );
                }
            }
            Err(error) => tracing::debug!(host = name, %error, "whether a host has DNS cannot be told"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(host: HostPattern) -> Option<String> {
        name(&RouteSpec { host, path: "/".to_owned() })
    }

    #[test]
    fn only_what_dns_has_to_know_is_looked_up() {
        let exact = |host: &str| named(HostPattern::Exact(host.to_owned()));
        assert_eq!(exact("www.example.com").as_deref(), Some("www.example.com"));
        for host in ["localhost", "app.localhost", "192.0.2.1"] {
            assert_eq!(exact(host), None, "{host}");
        }
        assert_eq!(named(HostPattern::Wildcard("example.com".to_owned())), None);
        assert_eq!(named(HostPattern::Any), None);
    }

    #[test]
    fn what_listens_everywhere_is_reached_by_the_loopback() {
        let told = |public: &str| from_here(public.parse().unwrap()).to_string();
        assert_eq!(told("0.0.0.0:80"), "127.0.0.1:80");
        assert_eq!(told("[::]:80"), "[::1]:80");
        assert_eq!(told("192.0.2.1:80"), "192.0.2.1:80");
    }

    #[tokio::test]
    async fn the_task_ends_with_its_owner() {
        let (names, told) = watch::channel(BTreeSet::new());
        let task = tokio::spawn(run(told, SocketAddr::from(([127, 0, 0, 1], 80))));
        names.send_replace(BTreeSet::from(["a..b".to_owned()]));
        drop(names);
        task.await.unwrap();
    }
}
