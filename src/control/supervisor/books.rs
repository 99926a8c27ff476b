//! Acting on a decision: starting, taking back, draining, stopping. Each step changes a slot and, where the
//! runtime has to do something, leaves that to a task.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Notify, OnceCell, oneshot};

use crate::app::clock::Millis;
use crate::app::replica::Replica;
use crate::app::{Trouble, TroubleKind};
use crate::config::spec::Probe;
use crate::control::probe;
use crate::control::supervisor::slot::{Offered, Owned, Phase, Running, Slot, Starting, Unwell};
use crate::control::supervisor::tasks::{self, Ahead, Launch, Report};
use crate::control::supervisor::{Stage, Supervisor};
use crate::runtime::{ReplicaId, Revision, RuntimeError, StartOrder};

/// In which an image's HEALTHCHECK says that a replica is ill, by what Docker does where the image says nothing else:
/// three checks, of which each comes after 30 s and takes 30 s at most.
const ILL_BY_IMAGE: Duration = Duration::from_mins(3);

impl Supervisor {
    /// Brings the replicas of the current revision to `desired`, and those of others to an end.
    pub(super) fn act(&mut self, desired: u32, now: Millis) {
        let live = self.slots.iter().filter(|slot| slot.is_live() && self.is_wanted(slot)).count();
        let desired = usize::try_from(desired).unwrap_or(usize::MAX);
        if desired > live {
            let missing = desired - live - self.take_back(desired - live);
            if self.needs_are_ready(now) {
                if !self.is_in_the_way(|slot| slot.is_frozen() && self.may_rest(slot)) {
                    let missing = missing - self.recall(missing, now);
                    if !self.is_in_the_way(|_| false) {
                        self.start(self.missing_to_start(missing), now);
                    }
                }
            } else if self.revision.is_none() {
                // Meanwhile its image can come.
                self.start(missing, now);
            }
        } else {
            self.waits_for_nothing();
            self.give_up(live - desired, desired == 0);
        }
        self.retire_unwell(desired, now);
        self.retire_stale(desired, now);
        self.advance_drains(now);
    }

    /// Whether there is never a second replica, not even while one takes over from another: what nobody reaches from
    /// outside and is there once may be a database, and two would spoil what both have mounted.
    pub(super) fn is_alone(&self) -> bool {
        let spec = &self.policy.spec;
        spec.routes.is_empty() && spec.autoscale.max == 1
    }

    /// Whether there must not be another, since something runs that is not such a one.
    fn is_in_the_way(&self, may_be: impl Fn(&Slot) -> bool) -> bool {
        let runs = |slot: &Slot| !matches!(slot.phase, Phase::Stopped { .. }) && !may_be(slot);
        self.is_alone() && self.slots.iter().any(runs)
    }

    /// Whether a slot is of the revision that is wanted. Until that is known every one is: what runs serves.
    pub(super) fn is_current(&self, slot: &Slot) -> bool {
        self.revision.as_ref().is_none_or(|revision| revision.hash == slot.revision)
    }

    /// Whether a slot is one of those that a decision counts: of the current revision, and well.
    pub(super) fn is_wanted(&self, slot: &Slot) -> bool {
        self.is_current(slot) && slot.is_well()
    }

    /// Lets drained replicas of the current revision take requests again; gives how many.
    fn take_back(&mut self, wanted: usize) -> usize {
        let mut taken = 0;
        for at in 0..self.slots.len() {
            let returns = matches!(self.slots[at].phase, Phase::Draining { returns: true, .. });
            if taken == wanted || !returns || !self.is_wanted(&self.slots[at]) {
                continue;
            }
            if let Phase::Draining { running, .. } =
                std::mem::replace(&mut self.slots[at].phase, Phase::Stopping)
            {
                running.replica.return_to_service();
                self.slots[at].phase = Phase::Ready(running);
                taken += 1;
            }
        }
        taken
    }

    /// Starts so many, if it is known what and the last failure is long enough ago.
    fn start(&mut self, count: usize, now: Millis) {
        if count == 0 || self.setbacks.is_waiting() {
            return;
        }
        let Some(revision) = self.revision.clone() else {
            self.prepare();
            return;
        };
        for _ in 0..count {
            self.launch(&revision, now);
        }
    }

    fn launch(&mut self, revision: &Arc<Revision>, now: Millis) {
        // One that was stopped starts faster than one that is not there yet.
        let kept = self
            .slots
            .iter()
            .position(|slot| matches!(slot.phase, Phase::Stopped { .. }) && slot.revision == revision.hash);
        let index = match kept {
            Some(at) => self.slots.swap_remove(at).index,
            None => self.free_index(),
        };
        self.launch_at(self.order(revision, index), false, now);
    }

    /// One that no slot has. After a failure another than before: what failed may still be in the way, which of what must not
    /// be there twice it should be.
    pub(super) fn free_index(&self) -> u32 {
        let is_free =
            |index: &u32| !self.taken.contains(index) && self.slots.iter().all(|slot| slot.index != *index);
        let first = if self.is_alone() { 0 } else { self.setbacks.failures() };
        (first..=u32::MAX).find(is_free).expect("there are more numbers than replicas")
    }

    /// Starts once more what was kept of a time before and has not come up: a new one, of which nobody was told that the
    /// other has failed. Given up meanwhile, it is not started.
    pub(super) fn start_afresh(&mut self, slot: u64, now: Millis) {
        let Some(at) = self.slots.iter().position(|it| it.number == slot) else { return };
        let Slot { index, revision, phase, .. } = self.slots.swap_remove(at);
        let revision = self.revision.clone().filter(|current| current.hash == revision);
        if let (Phase::Starting(_), Some(revision)) = (phase, revision) {
            self.launch_at(self.order(&revision, index), true, now);
        }
    }

    pub(super) fn order(&self, revision: &Arc<Revision>, index: u32) -> StartOrder {
        let (app, revision) = (self.app.name.clone(), Arc::clone(revision));
        let (awaited, boost_millis) = (self.app.is_awaited(), self.policy.spec.boost.cpu_millis);
        StartOrder { app, revision, index, awaited, boost_millis }
    }

    fn launch_at(&mut self, order: StartOrder, instead_of_kept: bool, now: Millis) {
        let (cancel, cancelled) = oneshot::channel();
        let (id, nudge) = (Arc::new(OnceCell::new()), Arc::new(Notify::new()));
        let starting =
            Starting { id, nudge, cancel, offered: Offered::default(), since: now, instead_of_kept };
        let number = self.next_number();
        self.slots.push(Slot {
            number,
            index: order.index,
            revision: order.revision.hash.clone(),
            phase: Phase::Starting(starting),
        });
        let Some(Slot { phase: Phase::Starting(starting), .. }) = self.slots.last() else {
            unreachable!("pushed")
        };
        let goes_ahead = self.policy.spec.health.probe == Probe::Request;
        let ahead =
            goes_ahead.then(|| Ahead { app: Arc::clone(&self.app), offer: Arc::clone(&starting.offered.0) });
        let launch = Launch {
            slot: number,
            runtime: Arc::clone(&self.runtime),
            order,
            health: self.policy.spec.health.clone(),
            stop_grace: self.policy.spec.stop_grace,
            id: Arc::clone(&starting.id),
            nudge: Arc::clone(&starting.nudge),
            ahead,
            cancelled,
        };
        self.tasks.spawn(launch.run());
    }

    pub(super) fn next_number(&mut self) -> u64 {
        self.numbers += 1;
        self.numbers
    }

    /// Gives up so many of the current revision: first those that are only starting, then those with the fewest
    /// requests. To zero goes only what has none at all, but for sockets that do not count.
    fn give_up(&mut self, count: usize, to_zero: bool) {
        let mut order: Vec<usize> = (0..self.slots.len()).collect();
        order.retain(|at| self.slots[*at].is_live() && self.is_wanted(&self.slots[*at]));
        order.sort_by_key(|at| {
            let slot = &self.slots[*at];
            (!slot.is_coming(), slot.in_flight())
        });
        for at in order.into_iter().take(count) {
            if to_zero
                && let Phase::Ready(running) = &self.slots[at].phase
                && !running.replica.gate().close_if_idle()
            {
                continue;
            }
            self.retire(at, None, true);
        }
    }

    /// Ends what is of other revisions, one for each of the current one that is ready: those first that nobody could
    /// reach, then those with the fewest requests, so that as many as are wanted serve all the while.
    fn retire_stale(&mut self, desired: usize, now: Millis) {
        let ready = self.slots.iter().filter(|slot| slot.is_ready() && self.is_current(slot)).count();
        let mut needed = if self.is_alone() { 0 } else { desired.saturating_sub(ready) };
        let deadline = Some(now.after(self.policy.spec.drain_timeout));
        let mut order: Vec<usize> = (0..self.slots.len()).collect();
        order.retain(|at| !self.is_current(&self.slots[*at]));
        order.sort_by_key(|at| {
            let slot = &self.slots[*at];
            (!slot.is_ready(), std::cmp::Reverse(slot.in_flight()))
        });
        for at in order {
            match &mut self.slots[at].phase {
                Phase::Ready(_) | Phase::Suspect(_) if needed > 0 => needed -= 1,
                Phase::Starting(_) | Phase::Ready(_) | Phase::Suspect(_) | Phase::Thawing { .. } => {
                    self.retire(at, deadline, false);
                }
                // One that the autoscaler drains has had no deadline; a deploy sets it one.
                Phase::Draining { deadline: until @ None, returns, .. } => {
                    *until = deadline;
                    *returns = false;
                }
                Phase::Freezing { recalled, .. } => *recalled = false,
                // What rests is no part of a deploy: its time is up, see `tiers`.
                Phase::Draining { .. } | Phase::Stopping | Phase::Frozen { .. } | Phase::Stopped { .. } => {}
            }
        }
    }

    /// Lets a live slot take no more requests.
    pub(super) fn retire(&mut self, at: usize, deadline: Option<Millis>, returns: bool) {
        let slot = &mut self.slots[at];
        if let Phase::Starting(starting) = &slot.phase
            && !starting.offered.close_if_idle()
        {
            // A request has gone ahead: it goes when that has ended, as one that is ready.
            return;
        }
        match std::mem::replace(&mut slot.phase, Phase::Stopping) {
            // Its task stops what it has started, and reports.
            Phase::Starting(starting) => drop(starting.cancel.send(())),
            Phase::Ready(running) | Phase::Suspect(running) | Phase::Thawing { running, .. } => {
                running.replica.part();
                slot.phase = Phase::Draining { running, deadline, returns };
            }
            Phase::Freezing { running, since, .. } => {
                slot.phase = Phase::Freezing { running, since, recalled: false };
            }
            other => slot.phase = other,
        }
    }

    /// Ends everything: drained until `drain_timeout`, then stopped.
    pub(super) fn retire_all(&mut self, now: Millis) {
        let deadline = now.after(self.policy.spec.drain_timeout);
        for at in 0..self.slots.len() {
            self.retire(at, Some(deadline), false);
            if let Phase::Draining { deadline: until, returns, .. } = &mut self.slots[at].phase {
                *until = Some(until.map_or(deadline, |until| until.min(deadline)));
                *returns = false;
            }
        }
    }

    /// Lets what drains serve again where it is wanted.
    pub(super) fn allow_returns(&mut self) {
        for slot in &mut self.slots {
            if let Phase::Draining { deadline, returns, .. } = &mut slot.phase {
                (*deadline, *returns) = (None, true);
            }
        }
    }

    /// Sends on its way what is drained.
    pub(super) fn advance_drains(&mut self, now: Millis) {
        for at in 0..self.slots.len() {
            let Phase::Draining { running, deadline, .. } = &self.slots[at].phase else { continue };
            let open = running.replica.gate().inside();
            if open > 0 && deadline.is_some_and(|deadline| now >= deadline) {
                tracing::warn!(app = self.app.name, replica = %running.id, open, "drain_timeout is over");
            } else if open > 0 {
                continue;
            }
            self.send_down(at, now);
        }
    }

    /// Stops and removes a replica.
    pub(super) fn stop(&mut self, at: usize, id: ReplicaId) {
        self.note_ended(at);
        let slot = &mut self.slots[at];
        slot.phase = Phase::Stopping;
        let (runtime, number) = (Arc::clone(&self.runtime), slot.number);
        let grace = self.policy.spec.stop_grace;
        tracing::debug!(app = self.app.name, replica = %id, "stopping a replica");
        self.tasks.spawn(async move {
            let stopped = tasks::stop(&*runtime, &id, grace).await;
            Report::Stopped(number, id, stopped)
        });
    }

    /// Looks after replicas whose gates a worker has closed because it could not reach them.
    pub(super) fn look_at_gates(&mut self) {
        for at in 0..self.slots.len() {
            let is_shut =
                matches!(&self.slots[at].phase, Phase::Ready(running) if running.replica.gate().is_closed());
            if !is_shut {
                continue;
            }
            if let Phase::Ready(running) = std::mem::replace(&mut self.slots[at].phase, Phase::Stopping) {
                tracing::warn!(app = self.app.name, replica = %running.id, "a replica cannot be reached");
                self.slots[at].phase = Phase::Suspect(running);
                self.verify(at);
            }
        }
    }

    /// Finds out whether a suspect still runs, and where.
    pub(super) fn verify(&mut self, at: usize) {
        let slot = &self.slots[at];
        let Some(running) = slot.running() else { return };
        let (id, known) = (running.id.clone(), running.replica.endpoint.clone());
        let (runtime, number) = (Arc::clone(&self.runtime), slot.number);
        let health = self.policy.spec.health.clone();
        self.tasks.spawn(async move {
            Report::Verified(number, probe::verify(&*runtime, &id, &known, &health).await)
        });
    }

    /// A replica answers: it takes requests from now on.
    pub(super) fn make_ready(&mut self, at: usize, id: ReplicaId, replica: Arc<Replica>, now: Millis) {
        // That it answers again does not make it well: its checks will tell.
        let (unwell, settling, reused) = match self.slots[at].running_mut() {
            Some(running) => (running.unwell, running.settling.take(), running.reused),
            None => (Unwell::default(), None, false),
        };
        let settling = Some(settling.unwrap_or_else(|| self.settle(&id)));
        self.slots[at].phase =
            Phase::Ready(Running { id, replica, since: now, reused, settling, health: None, unwell });
        self.watch(at);
        self.first_ready.get_or_insert(now);
        self.setbacks.end_outage();
        self.set_trouble(None);
    }

    /// Has a replica's boost end some time from now.
    fn settle(&mut self, id: &ReplicaId) -> Owned {
        // Whatever the file says now: what was kept or adopted may have had more.
        let (boost, cpu_millis) = (self.policy.spec.boost, self.policy.spec.workload.resources.cpu_millis);
        let (runtime, id) = (Arc::clone(&self.runtime), id.clone());
        Owned(self.tasks.spawn(async move {
            tokio::time::sleep(boost.after_ready).await;
            let settled = tasks::settle(&*runtime, &id, cpu_millis).await;
            Report::Settled(id, settled)
        }))
    }

    /// Publishes the replicas that take requests, where they have changed.
    pub(super) fn publish(&mut self) {
        let ready = self.slots.iter().filter(|slot| slot.is_ready()).filter_map(Slot::running);
        let ready: Vec<_> = ready.map(|running| Arc::clone(&running.replica)).collect();
        let keys: Vec<_> = ready.iter().map(|replica| (replica.key, replica.gate().generation())).collect();
        if keys != self.published {
            self.published = keys;
            self.app.publish(ready);
        }
    }

    /// A start, or what comes before it, has failed: who waits is told, unless another may still serve them.
    pub(super) fn fail(&mut self, kind: TroubleKind, why: String, now: Millis) {
        let retry_at = self.setbacks.fail(now);
        self.trouble(Trouble { kind, why, refuse: true, retry_at });
    }

    /// The runtime could not do what it was told.
    pub(super) fn fail_runtime(&mut self, error: &RuntimeError, now: Millis) {
        match error {
            RuntimeError::Exited { exit, .. } | RuntimeError::Stale(exit) => {
                self.fail(TroubleKind::StartFailed, exit.before_ready(), now);
            }
            RuntimeError::Image(_) | RuntimeError::Refused(_) | RuntimeError::NameTaken(_) => {
                self.fail(TroubleKind::Runtime, error.to_string(), now);
            }
            RuntimeError::Unreachable(_) | RuntimeError::TimedOut(_) => {
                let (refuse, retry_at) = self.setbacks.outage(now);
                self.trouble(Trouble {
                    kind: TroubleKind::Runtime,
                    why: error.to_string(),
                    refuse,
                    retry_at,
                });
            }
        }
    }

    /// Says why the app cannot serve. Once it is closed there is no other reason any more.
    pub(super) fn set_trouble(&self, trouble: Option<Trouble>) {
        if self.stage == Stage::Open {
            self.app.set_trouble(trouble);
        }
    }

    /// Says why there is nothing ready, where that is so. While others are on their way nobody is refused.
    pub(super) fn trouble(&self, trouble: Trouble) {
        let refuse = trouble.refuse && !self.slots.iter().any(Slot::is_live);
        if !self.slots.iter().any(Slot::is_ready) {
            self.set_trouble(Some(Trouble { refuse, ..trouble }));
        }
    }

    /// How long it takes until a replica that is ill from the start is known to be; of those of which there are several
    /// none is ended for that before another is well.
    fn time_to_fall_ill(&self) -> Duration {
        if !self.is_alone() {
            return Duration::ZERO;
        }
        let health = &self.policy.spec.health;
        let by_path = (health.interval + health.timeout) * (tasks::UNHEALTHY + 1);
        if health.path.is_some() { by_path.max(ILL_BY_IMAGE) } else { ILL_BY_IMAGE }
    }

    /// Ends the back-off when its time has come, and forgets failures once a replica has proved itself.
    pub(super) fn try_again(&mut self, now: Millis) {
        if self.setbacks.is_due(now) {
            // Held again from now on: the next attempt may succeed.
            if self.app.trouble().is_some_and(|trouble| trouble.refuse) {
                self.set_trouble(None);
            }
        }
        for slot in &self.slots {
            if let Phase::Ready(running) = &slot.phase
                && self.is_wanted(slot)
                && now.since(running.since) >= self.time_to_fall_ill()
            {
                self.setbacks.proved(running.since, now);
            }
        }
    }
}
