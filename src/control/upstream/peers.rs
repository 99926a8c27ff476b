//! The books on one app's upstreams: which addresses its names lead to, which of them are up, when each is to be
//! tried and looked up again. Pure: no clock, no I/O.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use crate::app::clock::Millis;
use crate::app::replica::Replica;
use crate::config::spec::{HealthSpec, Origin};
use crate::runtime::{Address, Endpoint, Unreached};

/// Failed checks in a row before one that was up is taken out.
const UNHEALTHY: u32 = 3;

/// Between two tries of one that is down: the first pause, which doubles, and the longest.
const PAUSES: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(1));

/// How long a name's addresses are taken for right, and how long while none of them is up.
const LOOKUPS: (Duration, Duration) = (Duration::from_secs(30), Duration::from_secs(2));

/// All upstreams of an app.
#[derive(Debug, Default)]
pub struct Peers {
    names: Vec<Name>,
    /// No longer meant, with requests that may still be open on them.
    leaving: Vec<Arc<Replica>>,
}

/// One entry of the list in the file, and what it leads to.
#[derive(Debug)]
struct Name {
    origin: Origin,
    peers: Vec<Peer>,
    /// When it was last looked up; `None`: never, or it is an address itself.
    looked_up: Option<Millis>,
    looking: bool,
    /// Why the last lookup failed.
    why: Option<String>,
}

/// One address.
#[derive(Debug)]
pub struct Peer {
    /// As the data plane knows it; its gate is open while it is up.
    pub replica: Arc<Replica>,
    address: SocketAddr,
    state: State,
    /// When it is to be tried next.
    due: Millis,
    checking: bool,
}

#[derive(Debug)]
enum State {
    /// Not tried yet.
    New,
    Up {
        /// Failed checks in a row.
        failures: u32,
    },
    Down {
        why: String,
        /// Before the next try.
        pause: Duration,
    },
}

/// One try to be made.
#[derive(Debug)]
pub struct Try {
    /// The replica's key, for [`Peers::checked`].
    pub key: u64,
    /// Where.
    pub endpoint: Endpoint,
    /// Which entry of the list has led there.
    pub origin: Origin,
}

/// What a try has changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Turn {
    /// It takes requests from now on.
    Up(SocketAddr),
    /// It takes no more.
    Down(SocketAddr, String),
}

impl Peer {
    fn new(address: SocketAddr, now: Millis) -> Self {
        let replica = Replica::new(Endpoint { address: Address::Tcp(address) });
        replica.gate().close();
        Self { replica, address, state: State::New, due: now, checking: false }
    }

    /// Whether it takes requests.
    #[must_use]
    pub fn is_up(&self) -> bool {
        matches!(self.state, State::Up { .. })
    }

    fn down(&mut self, why: String, now: Millis) -> Turn {
        self.replica.gate().close();
        self.state = State::Down { why: why.clone(), pause: PAUSES.0 };
        self.due = now;
        Turn::Down(self.address, why)
    }

    /// Enters a try's outcome; gives what that has changed.
    fn checked(&mut self, outcome: Result<(), Unreached>, interval: Duration, now: Millis) -> Option<Turn> {
        self.checking = false;
        if matches!(&outcome, Err(Unreached { ours: true, .. })) {
            self.due = now.after(interval);
            return None;
        }
        match (outcome.map_err(|unreached| unreached.why), &mut self.state) {
            (Ok(()), State::Up { failures }) => {
                *failures = 0;
                self.due = now.after(interval);
                None
            }
            (Ok(()), _) => {
                self.state = State::Up { failures: 0 };
                self.due = now.after(interval);
                self.replica.warm_up(now);
                self.replica.gate().reopen();
                Some(Turn::Up(self.address))
            }
            (Err(_), State::Up { failures }) if *failures + 1 < UNHEALTHY => {
                *failures += 1;
                self.due = now.after(interval);
                None
            }
            (Err(why), State::Down { why: last, pause }) => {
                *last = why;
                self.due = now.after(*pause);
                *pause = (*pause * 2).min(PAUSES.1).min(interval);
                None
            }
            (Err(why), State::New | State::Up { .. }) => {
                let turn = self.down(why, now);
                self.due = now.after(PAUSES.0);
                Some(turn)
            }
        }
    }
}

impl Name {
    fn new(origin: Origin, now: Millis) -> Self {
        let literal = origin.host.parse::<IpAddr>().ok();
        let peers = literal.map(|ip| Peer::new(SocketAddr::new(ip, origin.port), now)).into_iter().collect();
        Self { origin, peers, looked_up: None, looking: false, why: None }
    }

    fn is_literal(&self) -> bool {
        self.origin.host.parse::<IpAddr>().is_ok()
    }

    /// Those that are meant. A name with addresses of both families mostly stands for one server, which need not
    /// listen on both: IPv6 counts where nothing of IPv4 is up.
    fn in_use(&self) -> impl Iterator<Item = &Peer> {
        let is_v4 = |peer: &&Peer| peer.address.is_ipv4();
        let has_v4 = self.peers.iter().any(|peer| is_v4(&peer));
        let up_v4 = self.peers.iter().filter(is_v4).any(Peer::is_up);
        let up_v6 = self.peers.iter().filter(|peer| !is_v4(peer)).any(Peer::is_up);
        let v4 = up_v4 || (has_v4 && !up_v6);
        self.peers.iter().filter(move |peer| peer.address.is_ipv4() == v4)
    }

    fn lookup_due(&self) -> Option<Millis> {
        if self.is_literal() || self.looking {
            return None;
        }
        let wait = if self.peers.iter().any(Peer::is_up) { LOOKUPS.0 } else { LOOKUPS.1 };
        Some(self.looked_up.map_or(Millis(0), |at| at.after(wait)))
    }
}

impl Peers {
    /// Makes these the entries; those that were there before keep what is known of them.
    pub fn set_origins(&mut self, origins: &[Origin], health: &HealthSpec, now: Millis) {
        let mut before = std::mem::take(&mut self.names);
        for origin in origins {
            let known = before.iter().position(|name| name.origin == *origin);
            let name = known.map_or_else(|| Name::new(origin.clone(), now), |at| before.swap_remove(at));
            self.names.push(name);
        }
        for gone in before.into_iter().flat_map(|name| name.peers) {
            self.leave(&gone);
        }
        for peer in self.names.iter_mut().flat_map(|name| &mut name.peers) {
            peer.due = peer.due.min(now.after(health.interval));
        }
    }

    fn leave(&mut self, peer: &Peer) {
        peer.replica.part();
        self.leaving.push(Arc::clone(&peer.replica));
    }

    /// Enters what a lookup has found. One that failed leaves the addresses as they were; gives why, the first time.
    pub fn looked_up(
        &mut self,
        origin: &Origin,
        found: Result<Vec<SocketAddr>, String>,
        now: Millis,
    ) -> Option<String> {
        let name = self.names.iter_mut().find(|name| name.origin == *origin)?;
        (name.looking, name.looked_up) = (false, Some(now));
        let found = match found {
            Ok(found) => found,
            Err(why) => return name.why.replace(why.clone()).is_none().then_some(why),
        };
        name.why = None;
        let (kept, gone) =
            std::mem::take(&mut name.peers).into_iter().partition(|peer| found.contains(&peer.address));
        name.peers = kept;
        for address in found {
            if name.peers.iter().all(|peer| peer.address != address) {
                name.peers.push(Peer::new(address, now));
            }
        }
        let gone: Vec<Peer> = gone;
        for peer in gone {
            self.leave(&peer);
        }
        None
    }

    /// The names to look up now; each is taken for being looked up.
    pub fn lookups(&mut self, now: Millis) -> Vec<Origin> {
        let due = self.names.iter_mut().filter(|name| name.lookup_due().is_some_and(|due| due <= now));
        let take = |name: &mut Name| {
            name.looking = true;
            name.origin.clone()
        };
        due.map(take).collect()
    }

    /// The tries to make now; each is taken for being made.
    pub fn tries(&mut self, now: Millis) -> Vec<Try> {
        let mut tries = Vec::new();
        for name in &mut self.names {
            for peer in name.peers.iter_mut().filter(|peer| !peer.checking && peer.due <= now) {
                peer.checking = true;
                let (key, endpoint) = (peer.replica.key, peer.replica.endpoint.clone());
                tries.push(Try { key, endpoint, origin: name.origin.clone() });
            }
        }
        tries
    }

    /// Enters a try's outcome; gives what that has changed.
    pub fn checked(
        &mut self,
        key: u64,
        outcome: Result<(), Unreached>,
        health: &HealthSpec,
        now: Millis,
    ) -> Option<Turn> {
        let mut peers = self.names.iter_mut().flat_map(|name| &mut name.peers);
        let peer = peers.find(|peer| peer.replica.key == key)?;
        peer.checked(outcome, health.interval, now)
    }

    /// Takes out those whose gates a worker has closed because it could not reach them.
    pub fn look_at_gates(&mut self, now: Millis) -> Vec<Turn> {
        let peers = self.names.iter_mut().flat_map(|name| &mut name.peers);
        let shut = peers.filter(|peer| peer.is_up() && peer.replica.gate().is_closed());
        let turns = shut.map(|peer| peer.down("a request could not be sent there".to_owned(), now)).collect();
        self.leaving.retain(|replica| replica.gate().inside() > 0);
        turns
    }

    /// When something is to be done next.
    #[must_use]
    pub fn next_due(&self) -> Option<Millis> {
        let peers = self.names.iter().flat_map(|name| &name.peers);
        let tries = peers.filter(|peer| !peer.checking).map(|peer| peer.due);
        tries.chain(self.names.iter().filter_map(Name::lookup_due)).min()
    }

    /// The addresses that are meant, up or not.
    pub fn in_use(&self) -> impl Iterator<Item = &Peer> {
        self.names.iter().flat_map(Name::in_use)
    }

    /// Whether this address is one of them.
    #[must_use]
    pub fn uses(&self, address: SocketAddr) -> bool {
        self.in_use().any(|peer| peer.address == address)
    }

    /// Those that are no longer meant, with requests still open.
    #[must_use]
    pub fn leaving(&self) -> &[Arc<Replica>] {
        &self.leaving
    }

    /// All that may have requests.
    pub fn replicas(&self) -> impl Iterator<Item = &Arc<Replica>> {
        let peers = self.names.iter().flat_map(|name| &name.peers);
        peers.map(|peer| &peer.replica).chain(&self.leaving)
    }

    /// What is wrong with one of them, for people; `None`: nothing is.
    #[must_use]
    pub fn fault(&self) -> Option<String> {
        let down = self.in_use().find_map(|peer| match &peer.state {
            State::Down { why, .. } => Some(format!("{} is down: {why}", peer.address)),
            State::New => Some(format!("{} has not been reached yet", peer.address)),
            State::Up { .. } => None,
        });
        down.or_else(|| self.names.iter().find_map(|name| name.why.clone()))
    }
}

#[cfg(test)]
mod tests;
