//! Finding out what there is to run: asked of the runtime when the file says something new, and again while that
//! cannot be had. What runs already serves on meanwhile.

use std::sync::Arc;
use std::time::Duration;

use crate::app::clock::Millis;
use crate::config::spec::Workload;
use crate::control::backoff::Backoff;
use crate::control::supervisor::Supervisor;
use crate::control::supervisor::slot::Owned;
use crate::control::supervisor::tasks::Report;
use crate::runtime::{Revision, RuntimeError};

/// How far the runtime is with what it was asked to prepare.
pub(super) struct Preparing {
    /// What it is at, and the task that waits for it.
    asked: Option<(Arc<Workload>, Owned)>,
    /// When it is asked again after a failure, though nobody waits for it.
    retry_at: Option<Millis>,
    backoff: Backoff,
}

impl Default for Preparing {
    fn default() -> Self {
        let backoff = Backoff::new(Duration::from_secs(1), Duration::from_mins(1));
        Self { asked: None, retry_at: None, backoff }
    }
}

impl Preparing {
    /// Whether another attempt is due some time.
    pub(super) fn will_retry(&self) -> bool {
        self.retry_at.is_some()
    }

    /// Nothing is tried again by itself any more.
    pub(super) fn close(&mut self) {
        self.retry_at = None;
    }
}

impl Supervisor {
    /// Asks the runtime what there is to run, unless it is at that already. What was wanted before is given up: a
    /// pull that hangs does not stand in the way of a name that has been put right.
    pub(super) fn prepare(&mut self) {
        let wanted = &self.policy.spec.workload;
        if self.preparing.asked.as_ref().is_some_and(|(asked, _)| **asked == *wanted) {
            return;
        }
        let workload = Arc::new(wanted.clone());
        let (runtime, app, asked) = (Arc::clone(&self.runtime), self.app.name.clone(), Arc::clone(&workload));
        let task = self.tasks.spawn(async move {
            let prepared = runtime.prepare(&app, &asked).await;
            Report::Prepared(asked, prepared)
        });
        self.preparing.asked = Some((workload, Owned(task)));
        self.preparing.retry_at = None;
    }

    /// The file has changed: what failed before says nothing of what is wanted now.
    pub(super) fn prepare_anew(&mut self) {
        self.preparing.backoff.reset();
        self.prepare();
    }

    /// Enters what the runtime says to `workload`.
    pub(super) fn prepared(
        &mut self,
        workload: &Arc<Workload>,
        prepared: Result<Revision, RuntimeError>,
        now: Millis,
    ) {
        // Given up in the moment in which it was done.
        if !self.preparing.asked.as_ref().is_some_and(|(asked, _)| Arc::ptr_eq(asked, workload)) {
            return;
        }
        self.preparing.asked = None;
        match prepared {
            Ok(revision) => {
                self.preparing.backoff.reset();
                self.setbacks.end_outage();
                if self.app.trouble().is_some_and(|trouble| !trouble.refuse) {
                    self.set_trouble(None);
                }
                let is_new = self.revision.as_ref().is_none_or(|before| before.hash != revision.hash);
                if is_new {
                    tracing::info!(app = self.app.name, revision = revision.hash, "revision");
                }
                self.revision = Some(Arc::new(revision));
            }
            Err(error) if self.revision.is_some() => {
                tracing::error!(app = self.app.name, %error, "cannot prepare the app as it is now; as it was it serves on");
                self.preparing.retry_at = Some(now.after(self.preparing.backoff.fail()));
            }
            Err(error) => {
                tracing::error!(app = self.app.name, %error, "cannot prepare the app");
                // What was adopted serves, so that nobody asks for a start, which would ask again.
                if !self.slots.is_empty() {
                    self.preparing.retry_at = Some(now.after(self.preparing.backoff.fail()));
                }
                self.fail_runtime(&error, now);
            }
        }
    }

    /// Whether it is being found out what there is to run, or that has failed.
    pub(super) fn is_preparing(&self) -> bool {
        self.preparing.asked.is_some() || self.preparing.retry_at.is_some()
    }

    /// Asks again when the time has come.
    pub(super) fn prepare_again(&mut self, now: Millis) {
        if self.preparing.retry_at.is_some_and(|at| now >= at) {
            self.prepare();
        }
    }
}
