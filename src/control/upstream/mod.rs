//! The task that looks after one app's upstreams, which are not ours to start: it looks names up, tries addresses,
//! and publishes those that answer. `peers` keeps the books; what is there to scale, start or stop is nothing.

pub mod peers;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use http::header::HOST;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use crate::app::clock::{self, Millis};
use crate::app::{App, Policy, Trouble, TroubleKind};
use crate::config::spec::{AppSpec, Origin, Source};
use crate::control::observe::Lit;
use crate::control::resolve::{Resolver, Unresolved};
use crate::control::status::Status;
use crate::control::supervisor::Message;
use crate::control::upstream::peers::{Peers, Try, Turn};
use crate::runtime::{Proof, Unreached, reach};

/// When who is refused may come again. One that is down is tried each second, see `peers`, so by then it is known
/// whether it is back.
const RETRY: Duration = Duration::from_secs(2);

/// One app's upstreams, and who looks after them.
pub struct Upstream {
    parts: Parts,
    tasks: JoinSet<Report>,
    peers: Peers,
    /// Since when requests are counted.
    lit: Lit,
    /// Since when none is up.
    down_since: Option<Millis>,
    /// Key and generation of each that the data plane has.
    published: Vec<(u64, u32)>,
    /// The proxy stops: nobody is told anything else any more.
    closed: bool,
}

/// What the task needs.
pub struct Parts {
    /// The app.
    pub app: Arc<App>,
    /// Its policy; the source is [`Source::Upstream`].
    pub policy: Arc<Policy>,
    /// Where it shows what it does.
    pub status: Arc<ArcSwap<Status>>,
    /// Where it is told.
    pub inbox: mpsc::Receiver<Message>,
    /// Looks names up.
    pub resolver: Resolver,
}

/// What a task of its own has to say.
enum Report {
    LookedUp(Origin, Result<Vec<SocketAddr>, Unresolved>),
    Checked(u64, Result<(), Unreached>),
}

/// Whether an app is run by [`Upstream`].
#[must_use]
pub fn is_upstream(spec: &AppSpec) -> bool {
    matches!(spec.workload.source, Source::Upstream(_))
}

impl Upstream {
    /// A task that knows nothing yet.
    #[must_use]
    pub fn new(parts: Parts) -> Self {
        let now = clock::now();
        let mut upstream = Self {
            parts,
            tasks: JoinSet::new(),
            peers: Peers::default(),
            lit: Lit { since: now, before: 0 },
            down_since: None,
            published: Vec::new(),
            closed: false,
        };
        upstream.take_policy(now);
        upstream
    }

    /// Runs until the app is retired or nobody can tell it anything any more.
    pub async fn run(mut self) {
        loop {
            self.step();
            let wait = self.peers.next_due().map(|due| due.since(clock::now()));
            let app = Arc::clone(&self.parts.app);
            tokio::select! {
                message = self.parts.inbox.recv() => match message {
                    Some(Message::Reload(policy)) => {
                        self.parts.policy = policy;
                        self.take_policy(clock::now());
                    }
                    Some(Message::Close) => self.close(),
                    // What is open goes on: nothing of it is ours to stop.
                    Some(Message::Retire | Message::Leave) => return self.close(),
                    Some(
                        Message::Found(_)
                        | Message::Unreachable(_)
                        | Message::Changed(..)
                        | Message::GiveWay
                        | Message::Needs(_),
                    ) => {}
                    None => return,
                },
                Some(report) = self.tasks.join_next() => match report {
                    Ok(report) => self.note(report),
                    Err(error) => tracing::error!(app = app.name, %error, "a task of the upstreams failed"),
                },
                () = app.called() => {}
                () = tokio::time::sleep(wait.unwrap_or_default()), if wait.is_some() => {}
            }
        }
    }

    fn take_policy(&mut self, now: Millis) {
        let spec = &self.parts.policy.spec;
        self.parts.app.set_limit(spec.max_concurrency);
        self.parts.app.set_slow_start(spec.slow_start);
        if let Source::Upstream(origins) = &spec.workload.source {
            self.peers.set_origins(origins, &spec.health, now);
        }
    }

    fn close(&mut self) {
        self.closed = true;
        let why = "shutting down".to_owned();
        let kind = TroubleKind::ShuttingDown;
        self.parts.app.set_trouble(Some(Trouble { kind, why, refuse: true, retry_at: clock::now() }));
    }

    /// Does what is due, and tells the data plane.
    fn step(&mut self) {
        let now = clock::now();
        for turn in self.peers.look_at_gates(now) {
            self.log(&turn);
        }
        for origin in self.peers.lookups(now) {
            let resolver = self.parts.resolver.clone();
            self.tasks.spawn(async move {
                let found = resolver.look_up(&origin.host, origin.port).await;
                Report::LookedUp(origin, found)
            });
        }
        for it in self.peers.tries(now) {
            self.tasks.spawn(check(it, Arc::clone(&self.parts.policy)));
        }
        self.publish();
        self.tell(now);
        self.show();
    }

    fn note(&mut self, report: Report) {
        let now = clock::now();
        match report {
            Report::LookedUp(origin, found) => {
                if let Some(why) =
                    self.peers.looked_up(&origin, found.map_err(|error| error.to_string()), now)
                {
                    tracing::warn!(app = self.parts.app.name, why, "an upstream's name is not known");
                }
            }
            Report::Checked(key, outcome) => {
                if let Some(turn) = self.peers.checked(key, outcome, &self.parts.policy.spec.health, now) {
                    self.log(&turn);
                }
            }
        }
    }

    fn log(&self, turn: &Turn) {
        let app = &self.parts.app.name;
        match turn {
            Turn::Up(address) => tracing::info!(app, %address, "an upstream is up"),
            Turn::Down(address, why) if self.peers.uses(*address) => {
                tracing::warn!(app, %address, why, "an upstream is down");
            }
            Turn::Down(address, why) => tracing::debug!(app, %address, why, "an address is not in use"),
        }
    }

    fn publish(&mut self) {
        let up: Vec<_> =
            self.peers.in_use().filter(|peer| peer.is_up()).map(|peer| Arc::clone(&peer.replica)).collect();
        let keys: Vec<_> = up.iter().map(|replica| (replica.key, replica.gate().generation())).collect();
        if keys != self.published {
            self.published = keys;
            self.parts.app.publish(up);
        }
    }

    /// Says that none is up: who comes is held for as long as a restart may take, and after that refused at once.
    fn tell(&mut self, now: Millis) {
        if self.closed {
            return;
        }
        if !self.published.is_empty() {
            if self.down_since.take().is_some() {
                self.parts.app.set_trouble(None);
            }
            return;
        }
        let spec = &self.parts.policy.spec;
        let since = *self.down_since.get_or_insert(now);
        let why = self.peers.fault().unwrap_or_else(|| "its name has not been looked up yet".to_owned());
        let refuse = now.since(since) >= spec.hold.timeout;
        let retry_at = now.after(RETRY);
        self.parts.app.set_trouble(Some(Trouble { kind: TroubleKind::Upstream, why, refuse, retry_at }));
    }

    /// Shows what is, for the admin API.
    fn show(&self) {
        let count = |number: usize| u32::try_from(number).unwrap_or(u32::MAX);
        let (all, ready) = (self.peers.in_use().count(), self.published.len());
        let fault = self.peers.fault().map(|why| format!("; {why}")).unwrap_or_default();
        let status = Status {
            desired: count(all),
            reason: format!("{ready} of {all} up{fault}"),
            ready: count(ready),
            starting: 0,
            draining: count(self.peers.leaving().len()),
            frozen: 0,
            frozen_since: None,
            stopped: 0,
            running: self.peers.replicas().map(Arc::clone).collect(),
            revision: None,
            lit: Some(self.lit),
        };
        self.parts.status.store(Arc::new(status));
    }
}

/// Tries one address once, as who it is taken for: by the `Host` that the app's rules set, else the one in the file.
async fn check(it: Try, policy: Arc<Policy>) -> Report {
    let set = policy.spec.headers.request.set.iter().find(|(name, _)| *name == HOST);
    let set = set.and_then(|(_, host)| host.to_str().ok()).map(str::to_owned);
    let host = set.unwrap_or_else(|| it.origin.to_string());
    Report::Checked(it.key, reach::once(&it.endpoint, &policy.spec.health, &host, Proof::Connection).await)
}
