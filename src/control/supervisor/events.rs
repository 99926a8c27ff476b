//! What a supervisor is told, by the control plane and by its own tasks, entered in its books.

use std::sync::Arc;

use crate::app::clock::{self, Millis};
use crate::app::replica::Replica;
use crate::app::{Policy, Trouble, TroubleKind};
use crate::config::spec::Metric;
use crate::control::observe::{self, Lit};
use crate::control::output::{LastWords, Lines};
use crate::control::probe::{Lost, StartError};
use crate::control::record::{Outcome, Phase as Start};
use crate::control::supervisor::slot::{Phase, Running, Slot, Unwell};
use crate::control::supervisor::tasks::{self, Failed, Report, Took};
use crate::control::supervisor::{Message, Stage, Supervisor};
use crate::runtime::{Change, Endpoint, Exit, Found, ReplicaId, RuntimeError, Started, Status};

impl Supervisor {
    /// Enters what the control plane says.
    pub(super) fn take(&mut self, message: Message) {
        let now = clock::now();
        match message {
            Message::Found(found) if self.adopted => self.compare(found),
            // What was never taken over goes with its app, or is left to the next start.
            Message::Found(_) if self.stage == Stage::Closed => {}
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
            Message::Reload(policy) => self.reload(policy, now),
            Message::Close => self.close(Stage::Closed, now),
            Message::Retire => {
                self.close(Stage::Retiring, now);
                self.retire_all(now);
            }
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

    /// Takes over what runs. All of it serves until it is known which revision is wanted.
    fn adopt(&mut self, found: Vec<Found>, now: Millis) {
        self.adopted = true;
        self.setbacks.end_outage();
        self.set_trouble(None);
        if self.app.held() == 0 {
            // Who came meanwhile has left again.
            self.app.forget_wake();
        }
        for it in found {
            let taken = self.slots.iter().any(|slot| slot.index == it.index);
            match it.status {
                Status::Running(endpoint) if !taken => {
                    tracing::info!(app = self.app.name, replica = %it.id, "adopting a replica");
                    let replica = Replica::new(endpoint);
                    replica.gate().close();
                    let unwell = Unwell::default();
                    let running = Running { id: it.id, replica, since: now, health: None, unwell };
                    let (number, phase) = (self.next_number(), Phase::Suspect(running));
                    self.slots.push(Slot { number, index: it.index, revision: it.revision, phase });
                    self.verify(self.slots.len() - 1);
                    // It was ready before: its time of silence begins now, and is not over yet.
                    self.first_ready.get_or_insert(now);
                    self.blind_until = Some(now.after(observe::SHORTEST));
                }
                _ => self.clear(it),
            }
        }
        self.prepare();
    }

    /// Compares the books with what exists. What differs is looked at by itself: the list may be older than the
    /// last start or stop.
    fn compare(&mut self, found: Vec<Found>) {
        for slot in &self.slots {
            let Some(id) = slot.id().filter(|_| slot.running().is_some()) else { continue };
            let runs = |it: &Found| it.id == *id && matches!(it.status, Status::Running(_));
            if !found.iter().any(runs) {
                let (runtime, number, id) = (Arc::clone(&self.runtime), slot.number, id.clone());
                self.tasks.spawn(async move { Report::Checked(number, runtime.status(&id).await) });
            }
        }
        for it in found {
            let known = |slot: &Slot| slot.index == it.index && slot.id().is_none_or(|id| *id == it.id);
            if !self.slots.iter().any(known) {
                tracing::warn!(app = self.app.name, replica = %it.id, "removing a replica that nobody asked for");
                self.clear(it);
            }
        }
    }

    /// Stops and removes something that no slot stood for. Until it is gone one does, so that nothing is started
    /// by its name.
    fn clear(&mut self, found: Found) {
        let number = self.next_number();
        self.slots.push(Slot {
            number,
            index: found.index,
            revision: found.revision,
            phase: Phase::Stopping,
        });
        self.stop(self.slots.len() - 1, found.id);
    }

    fn changed(&mut self, id: &ReplicaId, change: Change, now: Millis) {
        let Some(at) = self.slots.iter().position(|slot| slot.id() == Some(id)) else { return };
        if let Phase::Starting(starting) = &self.slots[at].phase {
            starting.nudge.notify_one();
            return;
        }
        match change {
            Change::Exited(exit) => self.died(at, Some(&exit), now),
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
            Report::Cancelled(slot) => self.slots.retain(|it| it.number != slot),
            Report::Stopped(slot, stopped) => {
                self.slots.retain(|it| it.number != slot);
                if let Err(error) = stopped {
                    tracing::error!(app = self.app.name, %error, "a replica could not be stopped");
                }
            }
            Report::Verified(slot, verified) => self.verified(slot, verified, now),
            Report::Checked(slot, status) => match (self.place(slot), status) {
                (Some(at), Ok(Status::Exited(exit))) => self.died(at, Some(&exit), now),
                (Some(at), Ok(Status::Gone)) => self.died(at, None, now),
                _ => {}
            },
            Report::Tidied => {}
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
                if let Some(percent) = self.cpu.take(now, times, cpu_millis)
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
                self.note_cold_start(since, &started, took, now);
                let Started { id, endpoint, .. } = started;
                let took = now.since(since);
                tracing::info!(app = self.app.name, replica = %id, endpoint = %endpoint.address, ?took, "ready");
                let replica = Replica::new(endpoint);
                replica.warm_up(now);
                self.make_ready(at, id, replica, now);
            }
            // Given up in the moment in which it became ready.
            (Ok((Started { id, .. }, _)), None) => self.stop(at, id),
            (Err(failed), began) => {
                let index = self.slots.swap_remove(at).index;
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

    /// Counts a start that somebody has waited for while the app was out.
    fn note_cold_start(&self, since: Millis, started: &Started, took: Took, now: Millis) {
        let Some(woken_at) = self.app.woken_at().filter(|_| self.first_ready.is_none()) else { return };
        let start = took.call.saturating_sub(started.created.unwrap_or_default());
        let mut phases =
            vec![(Start::Queue, since.since(woken_at)), (Start::Start, start), (Start::Probe, took.probe)];
        phases.extend(started.created.map(|created| (Start::Create, created)));
        self.record.cold_start(now.since(woken_at), &phases);
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
    fn died(&mut self, at: usize, exit: Option<&Exit>, now: Millis) {
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
            Report::Stopped(number, tasks::stop(&*runtime, &id, grace).await)
        });
        if was_live && self.setbacks.died(since, now) {
            let soon = told(&format!(", {:.1} s after it was ready", lived.as_secs_f64()));
            self.fail(TroubleKind::StartFailed, soon, now);
        }
    }
}
