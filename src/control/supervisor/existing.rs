//! What the runtime has, held against the books: taken over when the proxy starts, compared later, looked at where the two
//! differ. What nobody stands for is removed.

use std::sync::Arc;

use crate::app::clock::Millis;
use crate::control::observe;
use crate::control::supervisor::Supervisor;
use crate::control::supervisor::slot::{Phase, Running, Slot};
use crate::control::supervisor::tasks::Report;
use crate::runtime::{Exit, Found, Status};

impl Supervisor {
    /// Takes over what runs. All of it serves until it is known which revision is wanted.
    pub(super) fn adopt(&mut self, found: Vec<Found>, now: Millis) {
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
                    let running = Running::unproved(it.id, endpoint, false, now);
                    let (number, phase) = (self.next_number(), Phase::Suspect(running));
                    self.slots.push(Slot { number, index: it.index, revision: it.revision, phase });
                    self.verify(self.slots.len() - 1);
                    // It was ready before: its time of silence begins now, and is not over yet.
                    self.first_ready.get_or_insert(now);
                    self.blind_until = Some(now.after(observe::SHORTEST));
                }
                Status::Frozen(endpoint) if !taken => {
                    let running = Running::unproved(it.id, endpoint, false, now);
                    let (number, phase) = (self.next_number(), Phase::Frozen { running, since: now });
                    self.slots.push(Slot { number, index: it.index, revision: it.revision, phase });
                }
                Status::Exited(exit) if !taken && exit.is_orderly() => {
                    let (number, phase) = (self.next_number(), Phase::Stopped { id: it.id, since: now });
                    self.slots.push(Slot { number, index: it.index, revision: it.revision, phase });
                }
                _ => self.clear(it),
            }
        }
        self.prepare();
    }

    /// Compares the books with what exists. What differs is looked at by itself: the list may be older than the
    /// last start or stop.
    pub(super) fn compare(&mut self, found: Vec<Found>) {
        for at in 0..self.slots.len() {
            let slot = &self.slots[at];
            let Some(id) = slot.id() else { continue };
            let as_it_should = |it: &Found| match (&slot.phase, &it.status) {
                // Changing: whoever changes them looks.
                (Phase::Starting(_) | Phase::Freezing { .. } | Phase::Thawing { .. }, _) => true,
                (Phase::Frozen { .. }, status) => matches!(status, Status::Frozen(_)),
                (Phase::Stopped { .. }, status) => matches!(status, Status::Exited(_)),
                (_, status) => matches!(status, Status::Running(_)),
            };
            if !found.iter().any(|it| it.id == *id && as_it_should(it)) {
                self.check(at, None);
            }
        }
        for it in found {
            let known = |slot: &Slot| {
                slot.index == it.index
                    && slot.revision == it.revision
                    && slot.id().is_none_or(|id| *id == it.id)
            };
            if !self.slots.iter().any(known) {
                tracing::warn!(app = self.app.name, replica = %it.id, "removing a replica that nobody asked for");
                self.clear(it);
            }
        }
    }

    /// Has it looked at what has become of a replica, of which this was `heard`.
    pub(super) fn check(&mut self, at: usize, heard: Option<Exit>) {
        let slot = &self.slots[at];
        let Some(id) = slot.id().cloned() else { return };
        let (runtime, number, generation) = (Arc::clone(&self.runtime), slot.number, slot.generation());
        self.tasks
            .spawn(async move { Report::Checked(number, generation, heard, runtime.status(&id).await) });
    }

    /// Enters what has become of a replica that was looked at.
    pub(super) fn checked(&mut self, at: usize, status: Status, now: Millis) {
        match (&self.slots[at].phase, status) {
            (Phase::Stopped { .. }, Status::Gone) => drop(self.slots.swap_remove(at)),
            // Started by somebody else's hand: it serves, and goes down as others do.
            (Phase::Stopped { id, .. }, Status::Running(endpoint)) => {
                let running = Running::unproved(id.clone(), endpoint, true, now);
                self.slots[at].phase = Phase::Suspect(running);
                self.verify(at);
            }
            (Phase::Frozen { .. }, Status::Running(_)) => self.thaw(at, now),
            (Phase::Ready(_) | Phase::Suspect(_) | Phase::Draining { .. }, Status::Frozen(_)) => {
                // By somebody else: it does not serve.
                self.died(at, Some(&Exit::UNKNOWN), now);
            }
            (_, Status::Exited(exit)) => self.died(at, Some(&exit), now),
            (_, Status::Gone) => self.died(at, None, now),
            (_, Status::Running(_) | Status::Frozen(_)) => {}
        }
    }

    /// Stops and removes something that no slot stood for. Until it is gone one does, so that nothing is started
    /// by its name.
    pub(super) fn clear(&mut self, found: Found) {
        let number = self.next_number();
        self.slots.push(Slot {
            number,
            index: found.index,
            revision: found.revision,
            phase: Phase::Stopping,
        });
        self.stop(self.slots.len() - 1, found.id);
    }
}
