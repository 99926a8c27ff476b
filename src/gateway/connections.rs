//! Clients' connections at all workers: how many there are, and how many there may be.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use dashmap::DashMap;
use tokio::sync::Notify;

/// Clients' connections at all workers. A worker stays until none is open, since another may use upstream
/// connections that live on its thread.
#[derive(Debug, Default)]
pub struct Connections {
    open: AtomicUsize,
    accepted: AtomicU64,
    refused: [AtomicU64; Full::ALL.len()],
    ended: [AtomicU64; End::ALL.len()],
    /// Of those clients that are counted one by one; nothing where there is no such bound.
    of_client: DashMap<IpAddr, usize>,
    emptied: Notify,
}

/// Which bound a connection was too much for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Full {
    /// That of all clients together.
    All,
    /// That of one client.
    Client,
}

impl Full {
    /// Both, as they are counted.
    pub const ALL: [Self; 2] = [Self::All, Self::Client];

    /// For people.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::All => "all",
            Self::Client => "client",
        }
    }
}

/// Why a client's connection was ended, where nothing was wrong with what it has said.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// The client took nothing of what was written for too long.
    Stalled,
    /// The same of one answer of HTTP/2, whose connection goes on.
    StalledStream,
    /// No request came for too long.
    Idle,
    /// What goes before a request, a TLS handshake or a PROXY header, did not come to its end in time.
    Handshake,
    /// It has carried as many requests as it may.
    Requests,
}

impl End {
    /// All of them, as they are counted.
    pub const ALL: [Self; 5] =
        [Self::Stalled, Self::StalledStream, Self::Idle, Self::Handshake, Self::Requests];

    /// For people.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Stalled => "stalled",
            Self::StalledStream => "stalled-stream",
            Self::Idle => "idle",
            Self::Handshake => "handshake",
            Self::Requests => "requests",
        }
    }
}

impl Connections {
    /// How many are open now, those included that have become something else than HTTP.
    #[must_use]
    pub fn open(&self) -> usize {
        self.open.load(Ordering::SeqCst)
    }

    /// How many were ever accepted.
    #[must_use]
    pub fn accepted(&self) -> u64 {
        self.accepted.load(Ordering::Relaxed)
    }

    /// How many were closed at once, since there were too many already.
    #[must_use]
    pub fn refused(&self, full: Full) -> u64 {
        self.refused[full as usize].load(Ordering::Relaxed)
    }

    /// How many were ended for this reason.
    #[must_use]
    pub fn ended(&self, why: End) -> u64 {
        self.ended[why as usize].load(Ordering::Relaxed)
    }

    /// One is ended for this reason.
    pub fn end(&self, why: End) {
        self.ended[why as usize].fetch_add(1, Ordering::Relaxed);
    }

    /// One was accepted.
    pub fn accept(&self) {
        self.accepted.fetch_add(1, Ordering::Relaxed);
    }

    /// One is closed at once.
    pub fn refuse(&self, full: Full) {
        self.refused[full as usize].fetch_add(1, Ordering::Relaxed);
    }

    /// One is open from now on.
    pub fn enter(&self) {
        self.open.fetch_add(1, Ordering::SeqCst);
    }

    /// One is open no more.
    pub fn leave(&self) {
        if self.open.fetch_sub(1, Ordering::SeqCst) == 1 {
            self.emptied.notify_waiters();
        }
    }

    /// Resolves when none is open.
    pub async fn emptied(&self) {
        loop {
            // Listening first: what becomes empty after the look is heard.
            let emptied = self.emptied.notified();
            if self.open() == 0 {
                return;
            }
            emptied.await;
        }
    }

    /// One more of this client's, unless it has `most` already.
    #[must_use]
    pub fn of_client(self: &Arc<Self>, ip: IpAddr, most: usize) -> Option<OfClient> {
        let mut count = self.of_client.entry(ip).or_default();
        if *count >= most {
            return None;
        }
        *count += 1;
        Some(OfClient { connections: Arc::clone(self), ip })
    }
}

/// One of a client's connections that are counted.
#[derive(Debug)]
pub struct OfClient {
    connections: Arc<Connections>,
    ip: IpAddr,
}

impl Drop for OfClient {
    fn drop(&mut self) {
        let counts = &self.connections.of_client;
        if let Some(mut count) = counts.get_mut(&self.ip) {
            *count -= 1;
        }
        counts.remove_if(&self.ip, |_, count| *count == 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_has_as_many_as_it_may_and_no_trace_is_left_of_it() {
        let connections = Arc::<Connections>::default();
        let (one, two) = (IpAddr::from([10, 0, 0, 1]), IpAddr::from([10, 0, 0, 2]));
        let first = connections.of_client(one, 2).expect("the first");
        let second = connections.of_client(one, 2).expect("the second");
        assert!(connections.of_client(one, 2).is_none());
        assert!(connections.of_client(two, 2).is_some(), "another's are its own");
        drop(first);
        assert!(connections.of_client(one, 2).is_some());
        drop(second);
        assert!(connections.of_client.is_empty());
    }
}
