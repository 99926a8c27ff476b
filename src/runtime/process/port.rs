//! Ports for replicas. A claim is a number that nobody else in this process is given until it is dropped.
//!
//! Numbers are taken from outside the range in which the system picks ports for outgoing connections. From
//! inside it, such a connection could take the port before the replica does; and a probe that tries again
//! and again could be given that very port as its own, connect to itself, and find a replica "listening"
//! that is not there yet.

use std::collections::HashSet;
use std::fs;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::ops::RangeInclusive;
use std::sync::{Arc, Mutex, PoisonError};

use socket2::{Domain, Socket, Type};

/// Below are the ports that people choose by hand.
const LOWEST: u16 = 10_240;
/// Each try is two system calls; so many in vain mean that there is nothing to find.
const TRIES: usize = 1000;

/// The ports that are given out.
#[derive(Debug, Clone, Default)]
pub(super) struct Ports(Arc<Mutex<HashSet<u16>>>);

impl Ports {
    /// A port on which nobody listens; `None` where none can be found.
    pub(super) fn claim(&self) -> Option<PortClaim> {
        let range = choose_from(outgoing());
        for _ in 0..TRIES {
            let port = fastrand::u16(range.clone());
            if self.taken().insert(port) {
                let claim = PortClaim { port, ports: self.clone() };
                if is_free(port) {
                    return Some(claim);
                }
            }
        }
        None
    }

    /// The port that the configuration names, whoever has it.
    pub(super) fn fixed(&self, port: u16) -> PortClaim {
        self.taken().insert(port);
        PortClaim { port, ports: self.clone() }
    }

    fn taken(&self) -> std::sync::MutexGuard<'_, HashSet<u16>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One port, until it is dropped.
#[derive(Debug)]
pub(super) struct PortClaim {
    port: u16,
    ports: Ports,
}

impl PortClaim {
    pub(super) fn number(&self) -> u16 {
        self.port
    }
}

impl Drop for PortClaim {
    fn drop(&mut self) {
        self.ports.taken().remove(&self.port);
    }
}

/// The range that outgoing connections are given; Linux's default where it cannot be read.
fn outgoing() -> RangeInclusive<u16> {
    let text = fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range").unwrap_or_default();
    let mut ends = text.split_whitespace().filter_map(|end| end.parse().ok());
    match (ends.next(), ends.next()) {
        (Some(low), Some(high)) if low <= high => low..=high,
        _ => 32_768..=60_999,
    }
}

/// The larger of the two gaps beside that range; all of it where it leaves none.
fn choose_from(outgoing: RangeInclusive<u16>) -> RangeInclusive<u16> {
    let below = outgoing.start().saturating_sub(LOWEST);
    let above = u16::MAX - outgoing.end();
    match (below, above) {
        (0, 0) => outgoing,
        (below, above) if below >= above => LOWEST..=outgoing.start() - 1,
        _ => outgoing.end() + 1..=u16::MAX,
    }
}

/// Whether it can be bound, on any address, without listening there for a moment.
fn is_free(port: u16) -> bool {
    Socket::new(Domain::IPV4, Type::STREAM, None)
        .and_then(|socket| socket.bind(&SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, port).into()))
        .is_ok()
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    #[test]
    fn ports_lie_beside_the_range_for_outgoing_connections() {
        assert_eq!(choose_from(32_768..=60_999), 10_240..=32_767);
        assert_eq!(choose_from(1024..=60_999), 61_000..=65_535);
        assert_eq!(choose_from(1024..=65_535), 1024..=65_535);
    }

    #[test]
    fn a_port_with_a_listener_is_not_free() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        assert!(!is_free(listener.local_addr().unwrap().port()));
    }

    #[test]
    fn no_port_is_given_twice_while_it_is_claimed() {
        let ports = Ports::default();
        let claims: Vec<_> = (0..200).map(|_| ports.claim().unwrap()).collect();
        let numbers: HashSet<_> = claims.iter().map(PortClaim::number).collect();
        assert_eq!(numbers.len(), 200);
        drop(claims);
        assert!(ports.taken().is_empty());
    }
}
