//! On the way down and back up: what is drained is frozen, stopped or removed, what rests goes further down when its
//! time is up, and is called back when it is wanted.
//!
//! Owns how far down a replica goes, by the times that the file gives. How many are wanted is not its business, and it
//! touches nothing that has requests: who comes here is drained.

use std::sync::Arc;

use crate::app::clock::{self, Millis};
use crate::app::waking::Tier;
use crate::control::probe::StartError;
use crate::control::supervisor::slot::{Owned, Phase, Slot};
use crate::control::supervisor::tasks::{self, Report, Thaw, Took};
use crate::control::supervisor::{Stage, Supervisor, count};
use crate::runtime::{ReplicaId, RuntimeError};

/// Resolves at that time; never where there is none.
pub(super) async fn until(time: Option<Millis>) {
    match time {
        Some(time) => tokio::time::sleep(time.since(clock::now())).await,
        None => std::future::pending().await,
    }
}

impl Supervisor {
    /// Sends a drained replica as far down as it may go.
    pub(super) fn send_down(&mut self, at: usize, now: Millis) {
        match self.tier_below(&self.slots[at], now) {
            Tier::Frozen => self.freeze(at, now),
            Tier::Stopped => self.rest(at),
            Tier::Removed => self.remove(at),
        }
    }

    fn tier_below(&self, drained: &Slot, now: Millis) -> Tier {
        let given_up = matches!(drained.phase, Phase::Draining { returns: true, .. });
        if !given_up || !self.may_rest(drained) {
            return Tier::Removed;
        }
        let spec = &self.policy.spec.autoscale;
        let freezes = if self.is_in_use() {
            count(&self.slots, Slot::is_frozen) < spec.warm_pool
        } else {
            spec.freeze_after.is_some() && now.since(self.silent_since(now)) < spec.idle
        };
        if freezes { Tier::Frozen } else { self.tier_of_stopped() }
    }

    /// Never more are kept than may run.
    fn tier_of_stopped(&self) -> Tier {
        let spec = &self.policy.spec.autoscale;
        let stopped = count(&self.slots, |slot| matches!(slot.phase, Phase::Stopped { .. }));
        let in_vain = self.keeps_in_vain.is_some()
            && self.keeps_in_vain.as_ref() == self.revision.as_ref().map(|revision| &revision.hash);
        if spec.remove_after.is_zero() || in_vain || stopped >= spec.max {
            Tier::Removed
        } else {
            Tier::Stopped
        }
    }

    /// Whether it is worth keeping: it could serve again as it is.
    pub(super) fn may_rest(&self, slot: &Slot) -> bool {
        self.stage == Stage::Open && self.is_wanted(slot)
    }

    /// Whether the app is to have any replica.
    fn is_in_use(&self) -> bool {
        self.lit.is_some() && self.decision.as_ref().is_some_and(|decision| decision.desired > 0)
    }

    fn silent_since(&self, now: Millis) -> Millis {
        if self.is_in_use() { now } else { self.last_ended.max(self.first_ready).unwrap_or(now) }
    }

    fn freeze(&mut self, at: usize, now: Millis) {
        self.note_ended(at);
        let since = self.silent_since(now);
        let slot = &mut self.slots[at];
        let Phase::Draining { mut running, .. } = std::mem::replace(&mut slot.phase, Phase::Stopping) else {
            unreachable!("it is drained")
        };
        // What has no CPU cannot be asked how it is.
        running.health = None;
        let (runtime, number, id) = (Arc::clone(&self.runtime), slot.number, running.id.clone());
        slot.phase = Phase::Freezing { running, since, recalled: false };
        self.tasks.spawn(async move { Report::Frozen(number, runtime.freeze(&id).await) });
    }

    /// Enters that a replica is frozen, or cannot be.
    pub(super) fn note_frozen(&mut self, at: usize, frozen: Result<(), RuntimeError>, now: Millis) {
        let slot = &mut self.slots[at];
        if !matches!(slot.phase, Phase::Freezing { .. }) {
            return;
        }
        let Phase::Freezing { running, since, recalled } =
            std::mem::replace(&mut slot.phase, Phase::Stopping)
        else {
            unreachable!("looked at above")
        };
        let id = running.id.clone();
        slot.phase = Phase::Frozen { running, since };
        match frozen {
            Ok(()) if recalled => self.thaw(at, now),
            Ok(()) => tracing::debug!(app = self.app.name, replica = %id, "frozen"),
            // Perhaps it is frozen, perhaps it runs: thawing does no harm, and a look at all there is tells.
            Err(error @ (RuntimeError::Unreachable(_) | RuntimeError::TimedOut(_))) => {
                tracing::warn!(app = self.app.name, replica = %id, %error, "cannot freeze a replica");
                if recalled {
                    self.thaw(at, now);
                }
            }
            Err(error) => {
                tracing::warn!(app = self.app.name, replica = %id, %error, "cannot freeze a replica; stopping it");
                self.stop_frozen(at);
            }
        }
    }

    /// Calls back so many that are frozen, or just being frozen; gives how many there were.
    pub(super) fn recall(&mut self, wanted: usize, now: Millis) -> usize {
        // A start that failed says nothing of what runs already; an engine that is away does.
        if self.setbacks.is_waiting() && self.setbacks.in_outage() {
            return 0;
        }
        let mut recalled = 0;
        for at in 0..self.slots.len() {
            let is_frozen = matches!(self.slots[at].phase, Phase::Frozen { .. });
            if recalled < wanted && is_frozen && self.may_rest(&self.slots[at]) {
                self.thaw(at, now);
                recalled += 1;
            }
        }
        for at in 0..self.slots.len() {
            let may = recalled < wanted && self.may_rest(&self.slots[at]);
            if let Phase::Freezing { recalled: it @ false, .. } = &mut self.slots[at].phase
                && may
            {
                *it = true;
                recalled += 1;
            }
        }
        recalled
    }

    /// Gives a frozen replica its CPU back.
    pub(super) fn thaw(&mut self, at: usize, now: Millis) {
        let slot = &mut self.slots[at];
        let Phase::Frozen { running, .. } = std::mem::replace(&mut slot.phase, Phase::Stopping) else {
            unreachable!("it is frozen")
        };
        let thaw = Thaw {
            slot: slot.number,
            runtime: Arc::clone(&self.runtime),
            id: running.id.clone(),
            endpoint: running.replica.endpoint.clone(),
            health: self.policy.spec.health.clone(),
        };
        let task = Owned(self.tasks.spawn(thaw.run()));
        slot.phase = Phase::Thawing { running, since: now, task };
    }

    /// Enters that a replica answers again, or does not.
    pub(super) fn note_thawed(&mut self, at: usize, thawed: Result<Took, StartError>, now: Millis) {
        let slot = &mut self.slots[at];
        if !matches!(slot.phase, Phase::Thawing { .. }) {
            return;
        }
        let Phase::Thawing { running, since, .. } = std::mem::replace(&mut slot.phase, Phase::Stopping)
        else {
            unreachable!("looked at above")
        };
        let (id, replica) = (running.id.clone(), Arc::clone(&running.replica));
        // Unless it answers it is as it was, as far as anybody knows.
        slot.phase = Phase::Frozen { running, since };
        match thawed {
            Ok(took) => {
                tracing::info!(app = self.app.name, replica = %id, took = ?now.since(since), "thawed");
                self.note_wake(Tier::Frozen, None, took, now);
                replica.return_to_service();
                self.make_ready(at, id, replica, now);
            }
            // The engine may be back soon.
            Err(StartError::Runtime(error @ (RuntimeError::Unreachable(_) | RuntimeError::TimedOut(_)))) => {
                self.fail_runtime(&error, now);
            }
            // No fault of the app's that would have to be told: what starts in its place shows whether there is one.
            Err(error) => {
                tracing::error!(app = self.app.name, replica = %id, %error, "a replica does not come back; starting another");
                self.remove(at);
            }
        }
    }

    /// Stops a replica and keeps what can be kept.
    fn rest(&mut self, at: usize) {
        let slot = &self.slots[at];
        let revision = self.revision.clone().filter(|revision| revision.hash == slot.revision);
        let (Some(revision), Some(id)) = (revision, slot.id().cloned()) else { return self.remove(at) };
        let order = self.order(&revision, slot.index);
        self.note_ended(at);
        let slot = &mut self.slots[at];
        slot.phase = Phase::Stopping;
        let (runtime, number) = (Arc::clone(&self.runtime), slot.number);
        let grace = self.policy.spec.stop_grace;
        tracing::debug!(app = self.app.name, replica = %id, "stopping a replica, to be kept");
        self.tasks.spawn(async move {
            let rested = tasks::rest(&*runtime, &id, &order, grace).await;
            Report::Rested(number, Some(id), rested)
        });
    }

    /// Enters what is kept of a replica that was stopped, `before`, or of none.
    pub(super) fn note_rested(
        &mut self,
        at: usize,
        before: Option<ReplicaId>,
        rested: Result<Option<ReplicaId>, RuntimeError>,
        now: Millis,
    ) {
        match rested {
            Ok(Some(id)) => self.slots[at].phase = Phase::Stopped { id, since: now },
            Ok(None) => drop(self.slots.swap_remove(at)),
            Err(error) => {
                tracing::error!(app = self.app.name, %error, "a replica cannot be kept");
                self.end_slot(self.slots[at].number, before);
            }
        }
    }

    /// Those that are frozen: since when they have had nothing to do, and where they are in the books.
    pub(super) fn frozen(&self) -> impl Iterator<Item = (Millis, usize)> {
        self.slots.iter().enumerate().filter_map(|(at, slot)| match &slot.phase {
            Phase::Frozen { since, .. } => Some((*since, at)),
            _ => None,
        })
    }

    /// Stops what has been frozen for longest.
    pub(super) fn give_way(&mut self) {
        let Some((_, at)) = self.frozen().min() else { return };
        self.stop_frozen(at);
    }

    fn stop_frozen(&mut self, at: usize) {
        match self.tier_of_stopped() {
            Tier::Removed => self.remove(at),
            Tier::Stopped | Tier::Frozen => self.rest(at),
        }
    }

    fn remove(&mut self, at: usize) {
        if let Some(id) = self.slots[at].id().cloned() {
            self.stop(at, id);
        }
    }

    /// Sends further down what has rested for as long as it may, and removes what could not serve any more.
    pub(super) fn lower(&mut self, now: Millis) {
        if !self.adopted || matches!(self.stage, Stage::Closed | Stage::Leaving) {
            return;
        }
        let (idle, remove_after) = (self.policy.spec.autoscale.idle, self.policy.spec.autoscale.remove_after);
        let mut reserve = if self.is_in_use() { self.policy.spec.autoscale.warm_pool } else { 0 };
        // Its name leads to all that is not stopped, and what is paused would let those wait who come by it.
        let could_be_thawed = !self.setbacks.is_waiting() && !self.waits_for_a_need();
        let is_found = self.is_in_use() && self.policy.spec.workload.named && could_be_thawed;
        for at in 0..self.slots.len() {
            let slot = &self.slots[at];
            if slot.is_dormant() && !self.may_rest(slot) {
                self.lays_out |= !self.is_current(slot);
                self.remove(at);
                continue;
            }
            match &slot.phase {
                Phase::Frozen { .. } if reserve > 0 => reserve -= 1,
                Phase::Frozen { since, .. } if is_found || now.since(*since) >= idle => self.stop_frozen(at),
                Phase::Stopped { since, .. } if now.since(*since) >= remove_after => self.remove(at),
                _ => {}
            }
        }
        // Only now that it is gone: an app has one network that is kept.
        if self.slots.is_empty() && std::mem::take(&mut self.lays_out) {
            self.lay_out();
        }
    }

    /// In place of what rests and is of an older revision, has one of the wanted one made: the next visitor is to wait no
    /// longer for a deploy. One is enough, and while others serve there is no need.
    fn lay_out(&mut self) {
        let keeps =
            self.stage == Stage::Open && self.lit.is_none() && self.tier_of_stopped() == Tier::Stopped;
        let Some(revision) = self.revision.clone().filter(|_| keeps) else { return };
        let order = self.order(&revision, self.free_index());
        let number = self.next_number();
        self.slots.push(Slot {
            number,
            index: order.index,
            revision: revision.hash.clone(),
            phase: Phase::Stopping,
        });
        let runtime = Arc::clone(&self.runtime);
        self.tasks.spawn(async move { Report::Rested(number, None, runtime.lay_out(&order).await) });
    }

    /// When something that rests goes further down. While the app is lit it is looked at every second anyway.
    pub(super) fn rest_ends(&self) -> Option<Millis> {
        if !self.adopted || matches!(self.stage, Stage::Closed | Stage::Leaving) || self.lit.is_some() {
            return None;
        }
        let spec = &self.policy.spec.autoscale;
        let ends = self.slots.iter().filter_map(|slot| match &slot.phase {
            Phase::Frozen { since, .. } => Some(since.after(spec.idle)),
            Phase::Stopped { since, .. } => Some(since.after(spec.remove_after)),
            _ => None,
        });
        ends.min()
    }
}
