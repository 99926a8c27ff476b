//! A replica as the data plane sees it: an endpoint behind a gate, and the claim that lets one request use it.
//! Starting and stopping it is the supervisor's business alone.

use std::sync::OnceLock;
use std::time::Duration;

use tokio::sync::watch;

use crate::app::App;
use crate::app::affinity::{self, Secret, Token};
use crate::app::clock::{self, Millis};
use crate::app::ejection::{Ejection, TimeOut};
use crate::app::gate::{Gate, Left};
use crate::runtime::Endpoint;
use crate::sync::{Arc, AtomicU64, Ordering};

/// One running instance of an app that may be given requests while its gate is open.
#[derive(Debug)]
pub struct Replica {
    /// Never used twice in the life of a process, so that a pool can be keyed by it.
    pub key: u64,
    /// Where its requests go.
    pub endpoint: Endpoint,
    gate: Gate,
    /// When a request last ended here, in [`Millis`]; 0: none has. Written beside the gate's word, whose cache
    /// line the leaver owns anyway.
    last_ended: AtomicU64,
    ejection: Ejection,
    /// When it became ready, in [`Millis`]; 0: long ago.
    ready_since: AtomicU64,
    /// Its endpoint as a number, by which requests fall to it.
    place: u64,
    /// Made when somebody asks for it.
    token: OnceLock<Token>,
    /// Whether who stands aside is to go.
    parting: watch::Sender<bool>,
}

static NEXT_KEY: AtomicU64 = AtomicU64::new(1);

impl Replica {
    /// A replica with an open gate, which has been ready for long.
    #[must_use]
    pub fn new(endpoint: Endpoint) -> Arc<Self> {
        let key = NEXT_KEY.fetch_add(1, Ordering::Relaxed);
        let place = affinity::number(endpoint.address.to_string());
        Arc::new(Self {
            key,
            endpoint,
            gate: Gate::new(),
            last_ended: AtomicU64::new(0),
            ejection: Ejection::new(),
            ready_since: AtomicU64::new(0),
            place,
            token: OnceLock::new(),
            parting: watch::Sender::new(false),
        })
    }

    /// Its admission word.
    #[must_use]
    pub fn gate(&self) -> &Gate {
        &self.gate
    }

    /// Whether it is passed over.
    #[must_use]
    pub fn ejection(&self) -> &Ejection {
        &self.ejection
    }

    /// When a request last ended here.
    #[must_use]
    pub fn last_ended(&self) -> Option<Millis> {
        read(&self.last_ended)
    }

    /// It has just been started: it warms up from now on.
    pub fn warm_up(&self, now: Millis) {
        self.ready_since.store(now.0, Ordering::Relaxed);
    }

    /// Since when it warms up; `None`: it was ready before anybody looked.
    #[must_use]
    pub fn ready_since(&self) -> Option<Millis> {
        read(&self.ready_since)
    }

    /// It takes no more requests, and those who stand aside are asked to go.
    pub fn part(&self) {
        self.gate.close();
        self.parting.send_replace(true);
    }

    /// It takes requests again.
    pub fn return_to_service(&self) {
        self.parting.send_replace(false);
        self.gate.reopen();
    }

    pub(super) fn place(&self) -> u64 {
        self.place
    }

    /// What stands for it towards clients of its app.
    #[must_use]
    pub fn token(&self, secret: &Secret, app: &str) -> Token {
        *self.token.get_or_init(|| secret.token(app, &self.endpoint.address))
    }

    /// Whether requests may go there as a matter of course.
    pub(super) fn is_in(&self) -> bool {
        !self.gate.is_closed() && !self.ejection.is_out()
    }
}

/// A time, where 0 stands for none.
fn read(at: &AtomicU64) -> Option<Millis> {
    match at.load(Ordering::Relaxed) {
        0 => None,
        at => Some(Millis(at)),
    }
}

/// The right of one request to use one replica, given back when dropped.
#[derive(Debug)]
pub struct Claim {
    app: Arc<App>,
    replica: Arc<Replica>,
    generation: u32,
    /// Taken although the replica is out, for want of others.
    trial: bool,
    /// It does not keep the replica.
    aside: bool,
}

impl Claim {
    /// Enters the replica's gate, unless it is closed or `limit` are inside.
    #[must_use]
    pub fn take(app: &Arc<App>, replica: &Arc<Replica>, limit: u32) -> Option<Self> {
        let generation = replica.gate.enter(limit)?;
        let trial = replica.ejection.is_out();
        Some(Self { app: Arc::clone(app), replica: Arc::clone(replica), generation, trial, aside: false })
    }

    /// What is claimed.
    #[must_use]
    pub fn replica(&self) -> &Arc<Replica> {
        &self.replica
    }

    /// Whose it is.
    #[must_use]
    pub fn app(&self) -> &Arc<App> {
        &self.app
    }

    /// Connections made in another generation are not to be used.
    #[must_use]
    pub fn generation(&self) -> u32 {
        self.generation
    }

    /// From now on it keeps neither the replica nor the app awake, as if its request had ended.
    pub fn step_aside(&mut self) {
        if !std::mem::replace(&mut self.aside, true) {
            self.note_end();
            self.replica.gate.step_aside();
        }
    }

    /// Resolves when the replica is to go, for who stands aside; for others never.
    pub async fn parted(&self) {
        if !self.aside {
            return std::future::pending().await;
        }
        let mut parting = self.replica.parting.subscribe();
        let _lives_as_long = parting.wait_for(|parting| *parting).await;
    }

    fn note_end(&self) {
        self.replica.last_ended.store(clock::coarse().0, Ordering::Relaxed);
    }

    /// Closes the replica's gate because it cannot be reached, and asks the supervisor to look. Whether it was this
    /// that closed it: of those who find out together one counts.
    #[expect(clippy::must_use_candidate, reason = "it is called for what it does")]
    pub fn report_unreachable(&self) -> bool {
        let first = self.replica.gate.close_first();
        self.app.call();
        first
    }

    /// The replica has failed this request. Gives its time out where that begins now: to be run to its end.
    #[must_use]
    pub fn report_failed(&self) -> Option<Ejected> {
        let others = || self.app.has_other_than(&self.replica);
        let TimeOut { round, time } = self.replica.ejection.failed(others)?;
        self.app.tally().note_ejection();
        Some(Ejected { app: Arc::clone(&self.app), replica: Arc::clone(&self.replica), round, time })
    }

    /// The replica has answered this request.
    pub fn report_answered(&self) {
        self.replica.ejection.answered(self.trial);
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        let left = if self.aside {
            self.replica.gate.leave_aside()
        } else {
            self.note_end();
            self.replica.gate.leave()
        };
        match left {
            Left::Room => self.app.pass_on(),
            Left::Closing => {}
            Left::Empty => self.app.call(),
        }
    }
}

/// A replica's time out, which somebody has to bring to its end.
#[derive(Debug)]
pub struct Ejected {
    app: Arc<App>,
    /// Who is out.
    pub replica: Arc<Replica>,
    round: u64,
    /// For how long.
    pub time: Duration,
}

impl Ejected {
    /// Waits for the end and lets the replica serve again, whoever waits for one first. Whether it was still out.
    pub async fn run(&self) -> bool {
        tokio::time::sleep(self.time).await;
        let ended = self.replica.ejection.end(self.round);
        if ended {
            self.app.pass_on();
        }
        ended
    }
}
