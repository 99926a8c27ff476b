//! The task that alone owns one app's replicas: it observes, lets [`decide`](crate::control::decide) decide, and
//! acts. Whatever reads a replica's state to change it is in this folder.
//!
//! `figures` observes, `books` keeps the slots and acts on decisions, `tiers` sends what is not needed down and calls it
//! back, `preparing` finds out what to start, `needs` keeps up what that depends on, `events` takes what happened,
//! `existing` compares the books with what there is, `health` looks after those that are unwell, `setbacks` says when to
//! try again, `wakes` tells where the time of a wake went, `tasks` calls the runtime.

mod books;
mod events;
mod existing;
mod figures;
mod health;
mod needs;
mod preparing;
mod setbacks;
pub mod slot;
pub mod tasks;
#[cfg(test)]
mod tests;
mod tiers;
mod wakes;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::MissedTickBehavior;

use crate::app::clock::{self, Millis};
use crate::app::waking::Waking;
use crate::app::{App, Policy};
use crate::config::spec::Source;
use crate::control::decide::{self, Decision};
use crate::control::observe::{CpuUse, Gauge, Lit};
use crate::control::record::{Record, Verdict};
use crate::control::status::Status;
use crate::control::supervisor::needs::Needs;
use crate::control::supervisor::preparing::Preparing;
use crate::control::supervisor::setbacks::Setbacks;
use crate::control::supervisor::slot::{Phase, Slot};
use crate::control::supervisor::tasks::Report;
use crate::runtime::{Change, Found, ReplicaId, Revision, Runtime};

/// How often a lit app is looked at.
const TICK: Duration = Duration::from_secs(1);

/// An engine that restarts is back by then; until then requests are held, not refused.
pub const OUTAGE_GRACE: Duration = Duration::from_secs(15);

/// A replica that lived this long has worked: its end is no failure to start.
const SETTLED: Duration = Duration::from_secs(10);

/// What a supervisor is told.
#[derive(Debug)]
pub enum Message {
    /// All of the app's that exists: to be adopted the first time, compared later.
    Found(Vec<Found>),
    /// The runtime cannot even be asked what exists.
    Unreachable(String),
    /// Something happened to a replica.
    Changed(ReplicaId, Change),
    /// Memory is short: what has been frozen for longest is to go down.
    GiveWay,
    /// A new policy.
    Reload(Arc<Policy>),
    /// The apps that the policy's `needs` name.
    Needs(Vec<Arc<App>>),
    /// The proxy stops: nothing more is started.
    Close,
    /// The proxy ends and leaves what there is to the next: so does the task, when nothing changes any more.
    Leave,
    /// The app is to go: its replicas are drained and stopped, then the task ends.
    Retire,
}

/// One app's supervisor.
pub struct Supervisor {
    app: Arc<App>,
    policy: Arc<Policy>,
    runtime: Arc<dyn Runtime>,
    status: Arc<ArcSwap<Status>>,
    record: Arc<Record>,
    inbox: mpsc::Receiver<Message>,
    tasks: JoinSet<Report>,
    slots: Vec<Slot>,
    /// The newest slot's number.
    numbers: u64,
    /// What to start; `None` until the runtime has said what it is.
    revision: Option<Arc<Revision>>,
    preparing: Preparing,
    needs: Needs,
    /// The one whose deploy was tidied up after.
    tidied: Option<Arc<Revision>>,
    /// Until then nothing exists that is known, and nothing is started.
    adopted: bool,
    stage: Stage,
    state: decide::State,
    decision: Option<Decision>,
    /// Since when the app has not been out.
    lit: Option<Lit>,
    /// Until then the meter knows too little of what replicas carry that it has not seen from the first request on.
    blind_until: Option<Millis>,
    /// What the meter had counted when the app went out.
    counted_when_out: Option<u64>,
    first_ready: Option<Millis>,
    last_ended: Option<Millis>,
    /// How the app came back, until that is told.
    waking: Option<Arc<Waking>>,
    gauge: Gauge,
    cpu: CpuUse,
    /// A task asks replicas what they use.
    reading: bool,
    setbacks: Setbacks,
    /// The revision whose replicas do not start again from what they have left.
    keeps_in_vain: Option<String>,
    /// Something that rested was of an older revision, and is to be replaced.
    lays_out: bool,
    /// Indexes whose names are somebody else's, since the app was last out.
    taken: BTreeSet<u32>,
    /// Key and generation of each replica that the data plane has.
    published: Vec<(u64, u32)>,
}

/// Whether the supervisor still starts anything.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    Open,
    Closed,
    Leaving,
    Retiring,
}

/// What a supervisor needs.
pub struct Parts {
    /// The app.
    pub app: Arc<App>,
    /// Its policy.
    pub policy: Arc<Policy>,
    /// What runs its replicas.
    pub runtime: Arc<dyn Runtime>,
    /// Where it shows what it does.
    pub status: Arc<ArcSwap<Status>>,
    /// Where it counts what it does.
    pub record: Arc<Record>,
    /// Where it is told.
    pub inbox: mpsc::Receiver<Message>,
}

impl Supervisor {
    /// A supervisor of an app of which nothing is known yet.
    #[must_use]
    pub fn new(parts: Parts) -> Self {
        let Parts { app, policy, runtime, status, record, inbox } = parts;
        app.set_limit(policy.spec.max_concurrency);
        app.set_slow_start(policy.spec.slow_start);
        Self {
            app,
            policy,
            runtime,
            status,
            record,
            inbox,
            tasks: JoinSet::new(),
            slots: Vec::new(),
            numbers: 0,
            revision: None,
            preparing: Preparing::default(),
            needs: Needs::default(),
            tidied: None,
            adopted: false,
            stage: Stage::Open,
            state: decide::State::default(),
            decision: None,
            lit: None,
            blind_until: None,
            counted_when_out: None,
            first_ready: None,
            last_ended: None,
            waking: None,
            gauge: Gauge::default(),
            cpu: CpuUse::default(),
            reading: false,
            setbacks: Setbacks::new(clock::now()),
            keeps_in_vain: None,
            lays_out: false,
            taken: BTreeSet::new(),
            published: Vec::new(),
        }
    }

    /// Runs until the app is retired or nobody can tell it anything any more.
    pub async fn run(mut self) {
        let mut tick = tokio::time::interval(TICK);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let app = Arc::clone(&self.app);
            let rest_ends = self.rest_ends();
            tokio::select! {
                message = self.inbox.recv() => match message {
                    Some(message) => self.take(message),
                    None => return,
                },
                Some(report) = self.tasks.join_next() => match report {
                    Ok(report) => self.note(report),
                    Err(error) if error.is_cancelled() => {}
                    Err(error) => tracing::error!(app = self.app.name, %error, "a task of the supervisor failed"),
                },
                () = app.called() => {}
                () = tiers::until(rest_ends) => {}
                _ = tick.tick(), if !self.is_parked() => self.sample(),
            }
            self.step();
            if self.stage == Stage::Leaving && !self.slots.iter().any(Slot::is_changing) {
                return;
            }
            while self.stage == Stage::Retiring && self.slots.is_empty() {
                // A word that the app is wanted again may have come meanwhile.
                let Ok(message) = self.inbox.try_recv() else { return };
                self.take(message);
            }
        }
    }

    /// Out, with nothing to wait for: no clock needs to run.
    fn is_parked(&self) -> bool {
        self.slots.iter().all(Slot::is_dormant)
            && self.lit.is_none()
            && self.app.held() == 0
            && !self.setbacks.is_waiting()
            && !self.preparing.will_retry()
            && self.min() == 0
    }

    fn min(&self) -> u32 {
        let needed = u32::from(self.app.is_needed());
        if self.stage == Stage::Open { self.policy.spec.autoscale.min.max(needed) } else { 0 }
    }

    /// Looks, decides and acts once.
    fn step(&mut self) {
        let now = clock::now();
        self.look_at_gates();
        self.note_needed(now);
        if self.stage == Stage::Retiring && !self.app.is_needed() {
            self.retire_all(now);
        }
        self.advance_drains(now);
        if self.stage == Stage::Open && self.adopted {
            self.try_again(now);
            self.prepare_again(now);
            self.light(now);
        }
        self.pin_needs();
        // An app that is out is not decided about: what it was asked before it went out brings nothing back.
        if self.stage == Stage::Open && self.adopted && self.lit.is_some() {
            let seen = self.observe(now);
            let spec = &self.policy.spec.autoscale;
            let decision = decide::decide(spec, &self.state, &seen, now);
            self.note_change(&decision);
            self.state = decision.next.clone();
            let desired = decision.desired;
            self.decision = Some(decision);
            self.act(desired, now);
        }
        self.lower(now);
        self.tell_of_wake(false);
        self.tidy();
        self.publish();
        self.go_out();
        self.pin_needs();
        self.show();
    }

    /// Has what a build before has left removed, once nothing of it runs any more.
    fn tidy(&mut self) {
        let Some(revision) = &self.revision else { return };
        let done = self.tidied.as_ref().is_some_and(|tidied| Arc::ptr_eq(tidied, revision));
        if done || self.slots.iter().any(|slot| !self.is_current(slot)) {
            return;
        }
        if matches!(revision.workload.source, Source::Build(_)) {
            let runtime = Arc::clone(&self.runtime);
            self.tasks.spawn(async move {
                runtime.tidy().await;
                Report::Tidied
            });
        }
        self.tidied = Some(Arc::clone(revision));
    }

    /// Marks the beginning of a time that is not idle.
    fn light(&mut self, now: Millis) {
        let woken_at = self.app.woken_at();
        // A request that came in the moment in which the app went out has left no other trace than itself.
        let is_wanted = woken_at.is_some() || self.app.held() > 0 || self.min() > 0;
        let something_runs = self.slots.iter().any(|slot| slot.is_live() || slot.serving().is_some());
        if self.lit.is_none() && (is_wanted || something_runs) {
            let since = woken_at.map_or(now, |at| at.min(now));
            self.lit = Some(Lit { since, before: self.counted_when_out.take().unwrap_or_default() });
        }
    }

    /// Marks the end of it.
    fn go_out(&mut self) {
        if !self.slots.iter().all(Slot::is_dormant)
            || self.lit.is_none()
            || self.app.held() > 0
            || self.min() > 0
        {
            return;
        }
        if self.decision.as_ref().is_some_and(|decision| decision.desired > 0) {
            return;
        }
        self.tell_of_wake(true);
        self.waits_for_nothing();
        self.lit = None;
        self.counted_when_out = Some(self.policy.meter.total());
        self.first_ready = None;
        self.last_ended = None;
        self.gauge.clear();
        self.cpu = CpuUse::default();
        self.taken.clear();
        self.setbacks.end_outage();
        self.app.forget_wake();
        if self.app.trouble().is_some_and(|trouble| !trouble.refuse) {
            self.set_trouble(None);
        }
    }

    fn note_change(&self, decision: &Decision) {
        let before = self.decision.as_ref().map_or(0, |decision| decision.desired);
        self.record.decided(Verdict::of(before, decision.desired));
        if decision.desired != before {
            tracing::info!(app = self.app.name, desired = decision.desired, was = before, "{decision}");
        }
    }

    /// Shows what is, for the admin API.
    fn show(&self) {
        let status = Status {
            desired: self.decision.as_ref().map_or(0, |decision| decision.desired),
            reason: match (&self.decision, self.app.trouble()) {
                (_, Some(trouble)) => trouble.why.clone(),
                (Some(decision), None) => self.reason_of(decision),
                (None, None) if self.adopted => "no request yet".to_owned(),
                (None, None) => "looking at what runs".to_owned(),
            },
            ready: count(&self.slots, Slot::is_ready),
            starting: count(&self.slots, |slot| slot.is_live() && !slot.is_ready()),
            draining: count(&self.slots, |slot| !slot.is_live() && !slot.is_dormant()),
            frozen: count(&self.slots, |slot| matches!(slot.phase, Phase::Frozen { .. })),
            frozen_since: self.frozen().map(|(since, _)| since).min(),
            stopped: count(&self.slots, |slot| matches!(slot.phase, Phase::Stopped { .. })),
            running: self.slots.iter().filter_map(Slot::running).map(|it| Arc::clone(&it.replica)).collect(),
            revision: self.revision.clone(),
            lit: self.lit,
        };
        self.status.store(Arc::new(status));
    }
}

fn count(slots: &[Slot], which: impl Fn(&Slot) -> bool) -> u32 {
    u32::try_from(slots.iter().filter(|slot| which(slot)).count()).unwrap_or(u32::MAX)
}
