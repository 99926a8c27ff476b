//! What a supervisor is told, by the control plane and by its own tasks, entered in its books.

use std::sync::Arc;

use crate::app::clock::{self, Millis};
use crate::app::replica::Replica;
use crate::app::scout::Offer;
use crate::app::waking::Tier;
use crate::app::{Policy, Trouble, TroubleKind};
use crate::config::spec::Metric;
use crate::control::observe::{self, Lit};
use crate::control::output::{LastWords, Lines};
use crate::control::probe::{Lost, StartError};
use crate::control::record::Outcome;
use crate::control::supervisor::slot::{Phase, Starting};
use crate::control::supervisor::tasks::{self, Failed, Report, Took};
use crate::control::supervisor::{Message, Stage, Supervisor};
use crate::runtime::{Change, Endpoint, Exit, ReplicaId, RuntimeError, Started, Status};

impl Supervisor {
    /// Enters what the control plane says.
    pub(super) fn take(&mut self, message: Message) {
        let now = clock::now();
        match message {
            Message::Found(found) if self.adopted => self.compare(found),
            // What was never taken over goes with its app, or is left to the next start.
            Message::Found(_) if matches!(self.stage, Stage::Closed | Stage::Leaving) => {}
            Message::Found(found) if self.stage == Stage::Retiring => {
                self.adopted = true;
                for it in found {
                    self.clear(it);
                }
            }
            Message::Found(found) => self.adopt(found, now),
            Message::Unreachable(_) if self.adopted => {}
            Message::Unreachable(why) => {
                let refuse = self.setbacks.is_long_outage(now);
                let retry_at = now.after(std::time::Duration::from_secs(2));
                let kind = TroubleKind::Runtime;
                self.set_trouble(Some(Trouble { kind, why, refuse, retry_at }));
            }
            Message::Changed(id, change) => self.changed(&id, change, now),
            Message::GiveWay => self.give_way(),
            Message::Reload(policy) => self.reload(policy, now),
            Message::Needs(apps) => self.know_needs(apps),
            Message::Close => self.close(Stage::Closed, now),
            Message::Leave => self.close(Stage::Leaving, now),
            // Its replicas are ended with the next step, or when nobody needs them any more.
            Message::Retire => self.close(Stage::Retiring, now),
        }
    }

    fn close(&mut self, stage: Stage, now: Millis) {
        let why = "shutting down".to_owned();
        let kind = TroubleKind::ShuttingDown;
        self.app.set_trouble(Some(Trouble { kind, why, refuse: true, retry_at: now }));
        self.stage = stage;
        self.setbacks.give_up();
        self.preparing.close();
    }

    fn reload(&mut self, policy: Arc<Policy>, now: Millis) {
        let workload_changed = policy.spec.workload != self.policy.spec.workload;
        let health_changed = policy.spec.health != self.policy.spec.health;
        if !Arc::ptr_eq(&policy.meter, &self.policy.meter) {
            // Its counts begin now.
            self.counted_when_out = None;
            self.lit = self.lit.map(|_| Lit { since: now, before: 0 });
            self.blind_until = Some(now.after(observe::SHORTEST));
        }
        if policy.spec.autoscale.metric != self.policy.spec.autoscale.metric {
            // Samples of something else.
            self.gauge.clear();
        }
        self.policy = policy;
        self.app.set_limit(self.policy.spec.max_concurrency);
        self.app.set_slow_start(self.policy.spec.slow_start);
        if self.stage == Stage::Retiring {
            // Wanted again: what drains may serve again.
            self.stage = Stage::Open;
            self.set_trouble(None);
            self.allow_returns();
            // What it is to be may never have been prepared: that was given up when it was not wanted.
            self.prepare_anew();
        }
        if health_changed {
            self.watch_all(now);
        }
        if workload_changed {
            self.setbacks.forgive();
            // Whatever was wrong, it may be put right.
            self.set_trouble(None);
            self.prepare_anew();
        }
    }

    fn changed(&mut self, id: &ReplicaId, change: Change, now: Millis) {
        let Some(at) = self.slots.iter().position(|slot| slot.id() == Some(id)) else { return };
        if let Phase::Starting(starting) = &self.slots[at].phase {
            starting.nudge.notify_one();
            return;
        }
        match change {
            // The news may be of a time before: it is told one after another, and a start that overtakes it is fast.
            Change::Exited(exit) if self.slots[at].running().is_some_and(|running| running.reused) => {
                self.check(at, Some(exit));
            }
            Change::Exited(exit) => self.died(at, Some(&exit), now),
            // Mostly by ourselves, and then it is known.
            Change::Paused => match self.slots[at].phase {
                Phase::Ready(_) | Phase::Suspect(_) | Phase::Draining { .. } | Phase::Frozen { .. } => {
                    self.check(at, None);
                }
                _ => {}
            },
            Change::Unhealthy => self.health_changed(at, now, |unwell| unwell.by_image = true),
            Change::Healthy => self.health_changed(at, now, |unwell| unwell.by_image = false),
        }
    }

    /// Enters what a task reports.
    pub(super) fn note(&mut self, report: Report) {
        let now = clock::now();
        match report {
            Report::Prepared(workload, prepared) => self.prepared(&workload, prepared, now),
            Report::Started(slot, started) => self.started(slot, started, now),
            Report::Stale(slot) => self.start_afresh(slot, now),
            Report::Cancelled(slot, left) => self.end_slot(slot, left),
            Report::Stopped(slot, id, stopped) => {
                if let Err(error) = &stopped {
                    tracing::error!(app = self.app.name, replica = %id, %error, "a replica could not be stopped");
                    if self.is_alone() {
                        // No other is started until it is gone: whoever waits for one is to know why.
                        self.fail_runtime(error, now);
                    }
                }
                self.end_slot(slot, stopped.is_err().then_some(id));
            }
            Report::Verified(slot, verified) => self.verified(slot, verified, now),
            Report::Checked(slot, generation, heard, status) => {
                // Frozen and thawed since, it is another thing than was looked at.
                let place = self.place(slot).filter(|at| self.slots[*at].generation() == generation);
                match (place, status, heard) {
                    // What was heard knows more of why.
                    (Some(at), Ok(Status::Exited(_) | Status::Gone), Some(exit)) => {
                        self.died(at, Some(&exit), now);
                    }
                    (Some(at), Ok(status), _) => self.checked(at, status, now),
                    _ => {}
                }
            }
            Report::Rested(slot, id, rested) => {
                if let Some(at) = self.place(slot) {
                    self.note_rested(at, id, rested, now);
                }
            }
            Report::Frozen(slot, frozen) => {
                if let Some(at) = self.place(slot) {
                    self.note_frozen(at, frozen, now);
                }
            }
            Report::Thawed(slot, thawed) => {
                if let Some(at) = self.place(slot) {
                    self.note_thawed(at, thawed, now);
                }
            }
            Report::Tidied => {}
            Report::Settled(id, settled) => {
                if let Err(error) = settled {
                    tracing::warn!(app = self.app.name, replica = %id, %error, "a replica keeps the cores that it had for its start");
                }
            }
            Report::Health(slot, is_well) => {
                if let Some(at) = self.place(slot) {
                    self.health_changed(at, now, |unwell| unwell.by_path = !is_well);
                    self.watch(at);
                }
            }
            Report::CpuTimes(times) => {
                self.reading = false;
                let spec = &self.policy.spec;
                let given = self.revision.as_ref().map(|revision| revision.cpu_millis);
                let cpu_millis = given.unwrap_or(spec.workload.resources.cpu_millis);
                if let Some(percent) =
                    self.cpu.take(now, times, cpu_millis, spec.boost.cpu_millis > cpu_millis)
                    && spec.autoscale.metric == Metric::Cpu
                {
                    self.gauge.push(now, percent, spec.autoscale.stable_window);
                }
            }
            Report::Memory(replicas) => {
                self.reading = false;
                let spec = &self.policy.spec;
                if let Some(replicas) = replicas.filter(|_| spec.autoscale.metric == Metric::Memory) {
                    let percent = observe::memory_percent(&replicas, spec.workload.resources.memory);
                    self.gauge.push(now, percent, spec.autoscale.stable_window);
                }
            }
        }
    }

    /// Nothing is left of a slot's replica, or what could not be stopped. That is left to the next look at all there is,
    /// unless another would be started beside it which must not be.
    pub(super) fn end_slot(&mut self, number: u64, left: Option<ReplicaId>) {
        let Some(at) = self.place(number) else { return };
        match left.filter(|_| self.is_alone() && self.stage == Stage::Open) {
            Some(id) => self.stop(at, id),
            None => drop(self.slots.swap_remove(at)),
        }
    }

    fn place(&self, number: u64) -> Option<usize> {
        self.slots.iter().position(|slot| slot.number == number)
    }

    fn started(&mut self, slot: u64, started: Result<(Started, Took), Failed>, now: Millis) {
        let Some(at) = self.place(slot) else { return };
        let began = match &self.slots[at].phase {
            Phase::Starting(starting) => Some(starting.since),
            _ => None,
        };
        match (started, began) {
            (Ok((started, took)), Some(since)) => {
                self.record.started(Outcome::Ready);
                let started_again = started.kept;
                if let Phase::Starting(Starting { instead_of_kept: true, .. }) = &self.slots[at].phase {
                    // What was kept was at fault, and will be each time.
                    self.keeps_in_vain = self.revision.as_ref().map(|revision| revision.hash.clone());
                }
                let from = if started.kept { Tier::Stopped } else { Tier::Removed };
                self.note_wake(from, started.created, took, now);
                let Started { id, endpoint, .. } = started;
                let took = now.since(since);
                tracing::info!(app = self.app.name, replica = %id, endpoint = %endpoint.address, ?took, "ready");
                let offer = match &mut self.slots[at].phase {
                    Phase::Starting(starting) => starting.offered.keep(),
                    _ => None,
                };
                let (reused, replica) = (started_again, ready_replica(endpoint, offer.as_deref()));
                replica.warm_up(now);
                self.make_ready(at, id, replica, now);
                if let Some(running) = self.slots[at].running_mut() {
                    running.reused = reused;
                }
            }
            // Given up in the moment in which it became ready.
            (Ok((Started { id, .. }, _)), None) => self.stop(at, id),
            (Err(failed), began) => {
                let index = self.slots[at].index;
                self.end_slot(slot, failed.left.clone());
                if let StartError::Runtime(error @ RuntimeError::NameTaken(_)) = &failed.why {
                    // Nothing is wrong with the app: the next step tries another.
                    tracing::warn!(app = self.app.name, %error, "a name is taken");
                    self.taken.insert(index);
                } else if began.is_some() {
                    self.failed(&failed, now);
                }
            }
        }
    }

    fn failed(&mut self, failed: &Failed, now: Millis) {
        self.record.started(Outcome::Failed);
        let (last_words, output) = (LastWords::of(&failed.output), Lines::field(&failed.output));
        let hint = last_words.and_then(|words| words.hint);
        tracing::error!(app = self.app.name, error = %failed.why, hint, output, "a replica did not start");
        match &failed.why {
            StartError::Runtime(error) => {
                if matches!(error, RuntimeError::Image(_)) {
                    // It is gone since it was prepared: pull or build it again.
                    self.revision = None;
                }
                self.fail_runtime(error, now);
            }
            StartError::NotReady(why) => {
                // Below the first line: what an app writes is not for visitors.
                let last_words = last_words.map(|words| format!("\n{words}")).unwrap_or_default();
                self.fail(TroubleKind::StartFailed, format!("{why}{last_words}"), now);
            }
        }
    }

    fn verified(&mut self, slot: u64, verified: Result<Endpoint, Lost>, now: Millis) {
        let Some(at) = self.place(slot) else { return };
        let Phase::Suspect(running) = &self.slots[at].phase else { return };
        match verified {
            Ok(endpoint) => {
                let (id, replica) = (running.id.clone(), Arc::clone(&running.replica));
                // The same one is kept where it can be: requests may still be open on it.
                let replica = if replica.endpoint == endpoint {
                    replica
                } else {
                    replica.part();
                    Replica::new(endpoint)
                };
                replica.gate().reopen();
                self.make_ready(at, id, replica, now);
            }
            Err(Lost::Exited(exit)) => self.died(at, Some(&exit), now),
            Err(Lost::Gone) => self.died(at, None, now),
            // It runs, and some may still get their answers of it.
            Err(Lost::Silent) => {
                let deadline = now.after(self.policy.spec.drain_timeout);
                tracing::error!(app = self.app.name, replica = %running.id, "replacing a replica that nobody can reach");
                self.retire(at, Some(deadline), false);
            }
        }
    }

    /// A replica has ended by itself, or was removed: no request is given to it any more, and what is left of it is
    /// removed.
    pub(super) fn died(&mut self, at: usize, exit: Option<&Exit>, now: Millis) {
        let Some(running) = self.slots[at].running() else { return };
        let cut = running.replica.gate().busy();
        running.replica.part();
        let (id, since) = (running.id.clone(), running.since);
        let lived = now.since(since);
        let was_live = self.slots[at].is_live();
        let number = self.slots[at].number;
        self.note_ended(at);
        if cut > 0 {
            self.last_ended = Some(now);
        }
        self.slots[at].phase = Phase::Stopping;
        let (runtime, app) = (Arc::clone(&self.runtime), self.app.name.clone());
        let told = |when: &str| exit.map_or_else(|| format!("removed{when}"), |exit| exit.told(when));
        let (grace, why) = (self.policy.spec.stop_grace, told(""));
        self.tasks.spawn(async move {
            let output = tasks::last_words(&*runtime, &id).await;
            tracing::error!(app, replica = %id, ?lived, why, output = Lines::field(&output), "a replica has ended");
            let stopped = tasks::stop(&*runtime, &id, grace).await;
            Report::Stopped(number, id, stopped)
        });
        if was_live && self.setbacks.died(since, now) {
            let soon = told(&format!(", {:.1} s after it was ready", lived.as_secs_f64()));
            self.fail(TroubleKind::StartFailed, soon, now);
        }
    }
}

/// The replica as the data plane is to have it: the one that a request has gone ahead to, or may go to just now.
fn ready_replica(endpoint: Endpoint, offer: Option<&Offer>) -> Arc<Replica> {
    let Some(offer) = offer else { return Replica::new(endpoint) };
    offer.end();
    let replica = Arc::clone(offer.replica());
    if replica.gate().is_closed() {
        // Whoever went ahead has not reached it.
        replica.gate().reopen();
    }
    replica
}
