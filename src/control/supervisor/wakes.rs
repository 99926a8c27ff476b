//! What a supervisor tells of each wake: where the time went between the request that woke the app and its first answer.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use crate::app::clock::Millis;
use crate::app::waking::{Tier, Waking};
use crate::control::record::Phase;
use crate::control::supervisor::Supervisor;
use crate::control::supervisor::tasks::Took;

impl Supervisor {
    /// Enters that an app that was out has a replica again, which somebody has waited for. Of that call of the runtime
    /// `created` went by until the replica existed.
    pub(super) fn note_wake(&mut self, from: Tier, created: Option<Duration>, took: Took, now: Millis) {
        let Some(woken_at) = self.app.woken_at().filter(|_| self.first_ready.is_none()) else { return };
        let Took { began, call, application, probe } = took;
        let whole = now.since(woken_at);
        let queue = whole.saturating_sub(began.elapsed());
        let start = call.saturating_sub(created.unwrap_or_default());
        let phases = [
            (Phase::Queue, Some(queue)),
            (Phase::Create, created),
            (Phase::Start, Some(start)),
            (Phase::Application, Some(application)),
            (Phase::Probe, Some(probe)),
        ];
        let known: Vec<_> = phases.into_iter().filter_map(|(phase, time)| Some((phase, time?))).collect();
        self.record.cold_start(whole, &known);
        let waking = Arc::new(Waking::new(wall_clock(), from, [queue, call, application, probe]));
        self.record.woken(Arc::clone(&waking));
        self.app.set_waking(Arc::clone(&waking));
        self.waking = Some(waking);
    }

    /// Tells of the last wake, once its first answer has begun, or when the app goes out again.
    pub(super) fn tell_of_wake(&mut self, is_over: bool) {
        let Some(waking) = self.waking.take_if(|waking| is_over || waking.response().is_some()) else {
            return;
        };
        let response = waking.response();
        if let Some(response) = response {
            self.record.first_response(response);
        }
        let Waking { from, queue, engine, application, probe, .. } = *waking;
        let (app, from) = (&self.app.name, from.name());
        tracing::info!(app, from, ?queue, ?engine, ?application, ?probe, ?response, "woken");
    }
}

#[expect(clippy::disallowed_methods, reason = "people compare it with other logs")]
fn wall_clock() -> SystemTime {
    SystemTime::now()
}
