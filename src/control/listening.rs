//! Words for a replica that runs and cannot be reached: where it does listen, and what to do about it. Pure: what it
//! is told was looked up by a runtime.
//!
//! Visitors read them too: nothing is in them but addresses and keys of the file.

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};

/// What to do about a replica that was looked for at `wanted` and listens at `found`, as seen from inside. Where its
/// port was `chosen` for it, it was told so in `$PORT`. `None` where it listens as it should.
#[must_use]
pub fn advice(wanted: SocketAddr, chosen: bool, found: &[SocketAddr]) -> Option<String> {
    let port = wanted.port();
    let there = if chosen { "$PORT".to_owned() } else { format!("0.0.0.0:{port}") };
    let (reached, others): (Vec<SocketAddr>, Vec<_>) =
        found.iter().partition(|address| takes(address.ip(), wanted.ip()));
    if reached.iter().any(|address| address.port() == port) {
        return None;
    }
    let hidden = others.iter().find(|address| address.port() == port);
    if let Some(address) = hidden.or(others.first().filter(|_| reached.is_empty())) {
        let why = if address.ip().is_loopback() && !wanted.ip().is_loopback() {
            "which nobody outside its container can reach".to_owned()
        } else {
            format!("and not on {}", wanted.ip())
        };
        return Some(format!("it listens on {address}, {why}: have it listen on {there}"));
    }
    let ports = ports(&reached);
    Some(match (&*ports, chosen) {
        ([], _) => format!(
            "nothing listens in it: have it listen on {there}; if it only takes longer to start, raise `health.start_timeout`"
        ),
        ([one], false) => format!("it listens on port {one}, not on {port}: set `port: {one}`"),
        (_, false) => format!("it listens on ports {}, not on {port}: set `port` to its own", list(&ports)),
        ([one], true) => format!("it listens on port {one}, not on $PORT: have it listen on $PORT"),
        (_, true) => format!("it listens on ports {}, not on $PORT: have it listen on $PORT", list(&ports)),
    })
}

/// What to do about a replica that was told of a Unix socket in `$SOCKET`, does not listen there, and listens by TCP at
/// `found`.
#[must_use]
pub fn advice_of_socket(found: &[SocketAddr]) -> String {
    match &*ports(found) {
        [] => "nothing listens at $SOCKET: have it listen there; if it only takes longer to start, raise `health.start_timeout`".to_owned(),
        [one] => format!("it listens on port {one}, not on the Unix socket $SOCKET: have it listen there"),
        several => {
            let several = list(several);
            format!("it listens on ports {several}, not on the Unix socket $SOCKET: have it listen there")
        }
    }
}

/// Their ports, sorted, each once.
fn ports<'a>(addresses: impl IntoIterator<Item = &'a SocketAddr>) -> Vec<u16> {
    let ports: BTreeSet<_> = addresses.into_iter().map(SocketAddr::port).collect();
    ports.into_iter().collect()
}

/// Whether a socket bound to `bound` takes connections to `wanted`. That of all of IPv6 takes those of IPv4 as well,
/// unless it was asked not to, which the kernel does not show.
fn takes(bound: IpAddr, wanted: IpAddr) -> bool {
    bound == wanted || (bound.is_unspecified() && (bound.is_ipv6() || wanted.is_ipv4()))
}

fn list(ports: &[u16]) -> String {
    ports.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of_container(found: &[&str]) -> Option<String> {
        told("172.18.0.2:8080", false, found)
    }

    fn told(wanted: &str, chosen: bool, found: &[&str]) -> Option<String> {
        let found: Vec<_> = found.iter().map(|address| address.parse().unwrap()).collect();
        advice(wanted.parse().unwrap(), chosen, &found)
    }

    #[test]
    fn what_listens_as_it_should_is_told_nothing() {
        for found in ["0.0.0.0:8080", "[::]:8080", "172.18.0.2:8080"] {
            assert_eq!(of_container(&["127.0.0.1:9", found]), None, "{found}");
        }
        assert_eq!(told("127.0.0.1:20000", true, &["127.0.0.1:20000"]), None);
    }

    #[test]
    fn a_container_that_speaks_to_itself() {
        let words = "which nobody outside its container can reach: have it listen on 0.0.0.0:8080";
        for found in ["127.0.0.1:8080", "[::1]:8080", "127.0.0.1:5000"] {
            assert_eq!(of_container(&[found]), Some(format!("it listens on {found}, {words}")));
        }
        for beside in ["0.0.0.0:9000", "127.0.0.1:9000"] {
            let right_port = of_container(&[beside, "127.0.0.1:8080"]);
            assert_eq!(right_port, Some(format!("it listens on 127.0.0.1:8080, {words}")));
        }
    }

    #[test]
    fn a_container_on_another_port() {
        let words = "it listens on port 5000, not on 8080: set `port: 5000`";
        assert_eq!(of_container(&["0.0.0.0:5000", "[::]:5000"]).as_deref(), Some(words));
        // What it keeps to itself is not meant for visitors.
        assert_eq!(of_container(&["127.0.0.1:9229", "[::]:5000"]).as_deref(), Some(words));
        let words = "it listens on ports 5000, 9000, not on 8080: set `port` to its own";
        assert_eq!(of_container(&["0.0.0.0:9000", "[::]:5000"]).as_deref(), Some(words));
    }

    #[test]
    fn a_container_on_another_of_its_addresses() {
        let words = "it listens on 10.0.0.2:8080, and not on 172.18.0.2: have it listen on 0.0.0.0:8080";
        assert_eq!(of_container(&["10.0.0.2:8080"]).as_deref(), Some(words));
    }

    #[test]
    fn a_container_that_does_not_listen() {
        let words = "nothing listens in it: have it listen on 0.0.0.0:8080; if it only takes longer to start, raise `health.start_timeout`";
        assert_eq!(of_container(&[]).as_deref(), Some(words));
    }

    #[test]
    fn a_process_that_was_told_its_port() {
        let wanted = "127.0.0.1:20000";
        let words = "it listens on port 5000, not on $PORT: have it listen on $PORT";
        assert_eq!(told(wanted, true, &["127.0.0.1:5000"]).as_deref(), Some(words));
        let words = "it listens on [::1]:20000, and not on 127.0.0.1: have it listen on $PORT";
        assert_eq!(told(wanted, true, &["[::1]:20000"]).as_deref(), Some(words));
        let words = "nothing listens in it: have it listen on $PORT; if it only takes longer to start, raise `health.start_timeout`";
        assert_eq!(told(wanted, true, &[]).as_deref(), Some(words));
    }

    #[test]
    fn a_process_that_was_told_its_socket() {
        let told = |found: &[&str]| {
            let found: Vec<_> = found.iter().map(|address| address.parse().unwrap()).collect();
            advice_of_socket(&found)
        };
        let words = "it listens on port 5000, not on the Unix socket $SOCKET: have it listen there";
        assert_eq!(told(&["127.0.0.1:5000", "[::1]:5000"]), words);
        let words = "it listens on ports 5000, 9000, not on the Unix socket $SOCKET: have it listen there";
        assert_eq!(told(&["0.0.0.0:9000", "127.0.0.1:5000"]), words);
        let words = "nothing listens at $SOCKET: have it listen there; if it only takes longer to start, raise `health.start_timeout`";
        assert_eq!(told(&[]), words);
    }

    #[test]
    fn a_process_whose_port_the_file_names() {
        let words = "it listens on port 5000, not on 8080: set `port: 5000`";
        assert_eq!(told("127.0.0.1:8080", false, &["127.0.0.1:5000"]).as_deref(), Some(words));
    }
}
