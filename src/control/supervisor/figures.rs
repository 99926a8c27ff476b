//! What a supervisor sees of its app, in figures: counted by the data plane, or sampled each second where no counter
//! tells. Decides nothing.

use std::sync::Arc;

use crate::app::clock::{self, Millis};
use crate::config::spec::Metric;
use crate::control::decide::Observation;
use crate::control::observe::{self, Lit};
use crate::control::supervisor::slot::{Phase, Slot};
use crate::control::supervisor::{Supervisor, count, tasks};

impl Supervisor {
    /// What a decision is made on.
    pub(super) fn observe(&mut self, now: Millis) -> Observation {
        let spec = &self.policy.spec.autoscale;
        let lit = self.lit.unwrap_or(Lit { since: now, before: 0 });
        let meter = &self.policy.meter;
        let rps = observe::rate(meter, spec.panic_window, lit, now);
        let since = |window| lit.since.max(now.before(window));
        let (stable, panic) = match spec.metric {
            // Replicas that were adopted, or have lost their meter to a reload, carry a load of which nothing is
            // known yet.
            _ if self.blind_until.is_some_and(|until| now < until) => (None, None),
            Metric::Rps => (Some(observe::rate(meter, spec.stable_window, lit, now)), Some(rps)),
            Metric::Concurrency | Metric::Cpu => {
                (self.gauge.average(since(spec.stable_window)), self.gauge.average(since(spec.panic_window)))
            }
            // A replica that goes takes what it held out of the sum at once, and the others grow into its work only
            // slowly: averages would let one after another go. The highest counts for a window longer.
            Metric::Memory => {
                (self.gauge.highest(since(spec.stable_window)), self.gauge.highest(since(spec.panic_window)))
            }
        };
        for at in 0..self.slots.len() {
            self.note_ended(at);
        }
        Observation {
            ready: count(&self.slots, |slot| matches!(slot.phase, Phase::Ready(_) | Phase::Suspect(_))),
            starting: count(&self.slots, Slot::is_coming),
            needed: self.app.is_needed(),
            in_flight: self.slots.iter().map(|slot| u64::from(slot.in_flight())).sum(),
            held: self.app.held() as u64,
            stable,
            panic,
            rps,
            first_ready: self.first_ready,
            last_ended: self.last_ended,
        }
    }

    /// Remembers when a request last ended on a replica, which may soon be forgotten.
    pub(super) fn note_ended(&mut self, at: usize) {
        let ended = self.slots[at].running().and_then(|running| running.replica.last_ended());
        self.last_ended = self.last_ended.max(ended);
    }

    /// Takes a sample of what no counter tells.
    pub(super) fn sample(&mut self) {
        let spec = &self.policy.spec.autoscale;
        match spec.metric {
            Metric::Rps => {}
            Metric::Concurrency => {
                let inside: u32 = self.slots.iter().map(Slot::inside).sum();
                let value = f64::from(inside) + self.app.held() as f64;
                self.gauge.push(clock::now(), value, spec.stable_window);
            }
            Metric::Cpu => {
                let ready = self.slots.iter().filter(|slot| slot.is_ready());
                let ids: Vec<_> = ready.filter_map(Slot::id).cloned().collect();
                if !ids.is_empty() && !std::mem::replace(&mut self.reading, true) {
                    self.tasks.spawn(tasks::cpu_times(Arc::clone(&self.runtime), ids));
                }
            }
            Metric::Memory => {
                // While one revision takes over from another both hold what each holds when idle: counted together
                // they would ask for more of the new one with every deploy.
                let ready = self.slots.iter().filter(|slot| slot.is_ready() && self.is_current(slot));
                let ids: Vec<_> = ready.filter_map(Slot::id).cloned().collect();
                if !ids.is_empty() && !std::mem::replace(&mut self.reading, true) {
                    self.tasks.spawn(tasks::memory(Arc::clone(&self.runtime), ids));
                }
            }
        }
    }
}
