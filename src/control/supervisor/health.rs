//! Replicas that run and are not well: watched, replaced one for one, and left to serve as long as there is nothing
//! better. Where all are unwell the fault is mostly elsewhere, and taking them all away would make it worse. One that must
//! not be there twice is ended first.

use std::sync::Arc;

use crate::app::TroubleKind;
use crate::app::clock::Millis;
use crate::control::supervisor::Supervisor;
use crate::control::supervisor::slot::{Owned, Phase, Running, Unwell};
use crate::control::supervisor::tasks::Watch;

impl Supervisor {
    /// Watches a replica that runs by the health path, where there is one, from now on.
    pub(super) fn watch(&mut self, at: usize) {
        let Some(running) = self.slots[at].serving() else { return };
        let was_well = !running.unwell.by_path;
        let watch = Watch {
            slot: self.slots[at].number,
            runtime: Arc::clone(&self.runtime),
            app: Arc::clone(&self.app),
            replica: Arc::clone(&running.replica),
            health: self.policy.spec.health.clone(),
        };
        let is_watched = watch.health.path.is_some();
        let task = is_watched.then(|| Owned(self.tasks.spawn(watch.run(was_well))));
        if let Some(running) = self.slots[at].running_mut() {
            running.health = task;
        }
    }

    /// Watches all that run anew: the file says otherwise how.
    pub(super) fn watch_all(&mut self, now: Millis) {
        for at in 0..self.slots.len() {
            self.health_changed(at, now, |unwell| unwell.by_path = false);
            self.watch(at);
        }
    }

    /// Enters what somebody says of a replica's health.
    pub(super) fn health_changed(&mut self, at: usize, now: Millis, change: impl FnOnce(&mut Unwell)) {
        let Some(Running { id, unwell, .. }) = self.slots[at].running_mut() else { return };
        change(unwell);
        let is_unwell = unwell.by_path || unwell.by_image;
        if is_unwell && unwell.since.is_none() {
            unwell.since = Some(now);
            tracing::error!(app = self.app.name, replica = %id, "a replica is unhealthy and will be replaced");
        } else if !is_unwell && unwell.since.take().is_some() {
            tracing::info!(app = self.app.name, replica = %id, "a replica is healthy again");
        }
    }

    /// Of so many that are missing, how many to start at once: where most are unwell, one shows first that a new one
    /// would be better.
    pub(super) fn missing_to_start(&self, missing: usize) -> usize {
        let starting = self.slots.iter().filter(|slot| matches!(slot.phase, Phase::Starting(_))).count();
        let (well, unwell) = self.well_and_unwell();
        if unwell > well { missing.min(1_usize.saturating_sub(starting)) } else { missing }
    }

    /// Takes those that are unwell out: the few at once, the many one for each that is ready and well. What all
    /// of them lack is noticed by all within one check: for so long the others are not taken for well.
    pub(super) fn retire_unwell(&mut self, desired: usize, now: Millis) {
        let (well, unwell) = self.well_and_unwell();
        let serve_on = unwell >= well && !self.is_alone();
        let mut needed = if serve_on { desired.saturating_sub(well) } else { 0 };
        let a_check = self.policy.spec.health.interval + self.policy.spec.health.timeout;
        let deadline = Some(now.after(self.policy.spec.drain_timeout));
        for at in 0..self.slots.len() {
            let since = self.slots[at].running().and_then(|running| running.unwell.since);
            let Some(since) = since else { continue };
            match &mut self.slots[at].phase {
                Phase::Ready(_) if needed > 0 => needed -= 1,
                Phase::Ready(_) if now.since(since) < a_check => {}
                Phase::Ready(_) => {
                    self.retire(at, deadline, false);
                    if self.is_alone() {
                        // Nothing serves meanwhile: one that is ill again and again is started ever more seldom.
                        self.fail(TroubleKind::StartFailed, "its health checks fail".to_owned(), now);
                    }
                }
                Phase::Draining { returns, .. } => *returns = false,
                _ => {}
            }
        }
    }

    fn well_and_unwell(&self) -> (usize, usize) {
        let ready = || self.slots.iter().filter(|slot| slot.is_ready());
        let well = ready().filter(|slot| slot.is_well()).count();
        (well, ready().count() - well)
    }
}
