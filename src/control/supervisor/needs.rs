//! What an app needs to be up before it starts, and what others need of it.
//!
//! Owns the pins on the apps that `needs` names: held for as long as anything of this app is started, frozen or wanted,
//! so that those go out after it. Whether such an app is ready is its own supervisor's business.

use std::sync::Arc;

use crate::app::clock::Millis;
use crate::app::needs::Pin;
use crate::app::{App, Trouble, TroubleKind};
use crate::control::decide::{Decision, Reason};
use crate::control::supervisor::slot::{Phase, Slot};
use crate::control::supervisor::{Stage, Supervisor};

/// The apps that an app's `needs` name, as far as they are known.
#[derive(Default)]
pub(super) struct Needs {
    apps: Vec<Arc<App>>,
    pins: Vec<Pin>,
    /// Whether the app's trouble is one of those.
    in_trouble: bool,
    /// Which of them is not ready, where that keeps this app from starting.
    missing: Option<String>,
    /// Whether another app needed this one when that was last looked at.
    was_needed: bool,
}

impl Supervisor {
    /// Enters which apps they are.
    pub(super) fn know_needs(&mut self, apps: Vec<Arc<App>>) {
        self.needs.apps = apps;
    }

    /// Keeps up what the app needs, for as long as it is not out. What only revisions before this one needed goes with them.
    pub(super) fn pin_needs(&mut self) {
        let is_stopped = |slot: &Slot| matches!(slot.phase, Phase::Stopped { .. });
        let is_out = self.lit.is_none() && self.slots.iter().all(is_stopped);
        // What is only being stopped, or made to be started later, asks for nothing any more.
        let asks = |slot: &Slot| slot.running().is_some() || matches!(slot.phase, Phase::Starting(_));
        let takes = self.lit.is_some() || self.slots.iter().any(asks);
        let is_stale = |slot: &Slot| slot.running().is_some() && !self.is_current(slot);
        // What is to go altogether keeps to its last file, in which no two need each other.
        let as_before = self.stage == Stage::Open && (self.is_preparing() || self.slots.iter().any(is_stale));
        let Needs { apps, pins, .. } = &mut self.needs;
        let is_named = |pin: &Pin| apps.iter().any(|app| Arc::ptr_eq(app, pin.need()));
        pins.retain(|pin| !is_out && (as_before || is_named(pin)));
        for app in apps.iter().filter(|_| takes) {
            if !pins.iter().any(|pin| Arc::ptr_eq(app, pin.need())) {
                pins.push(Pin::new(app, &self.app));
            }
        }
    }

    /// Nothing is to be started: what is in the way of that is in nobody's.
    pub(super) fn waits_for_nothing(&mut self) {
        self.needs.missing = None;
        if std::mem::take(&mut self.needs.in_trouble) {
            self.set_trouble(None);
        }
    }

    /// Whether all that the app needs is ready. Where one cannot be for now, who waits is told so.
    pub(super) fn needs_are_ready(&mut self, now: Millis) -> bool {
        let known = |name: &str| self.needs.apps.iter().find(|app| app.name == name);
        let missing = self.policy.spec.needs.iter().find(|name| !known(name).is_some_and(|app| app.serves()));
        let trouble = missing.and_then(|name| {
            let trouble = known(name)?.trouble()?;
            if trouble.kind == TroubleKind::ShuttingDown || !trouble.refuses(now) {
                return None;
            }
            Some(Trouble { why: format!("it needs {name}: {}", trouble.why), ..(*trouble).clone() })
        });
        self.needs.missing = missing.cloned();
        match trouble {
            Some(trouble) => {
                self.needs.in_trouble = true;
                // Where something serves nobody is refused for it.
                let is_told = |told: &Trouble| *told == Trouble { refuse: told.refuse, ..trouble.clone() };
                if !self.app.trouble().is_some_and(|told| is_told(&told)) {
                    self.trouble(trouble);
                }
            }
            None if std::mem::take(&mut self.needs.in_trouble) => self.set_trouble(None),
            None => {}
        }
        self.needs.missing.is_none()
    }

    /// Whether something that the app needs keeps it from starting.
    pub(super) fn waits_for_a_need(&self) -> bool {
        self.needs.missing.is_some()
    }

    /// The last decision, and what it waits for.
    pub(super) fn reason_of(&self, decision: &Decision) -> String {
        let why = match decision.reason {
            Reason::Needed => {
                format!("needed by {} → {}", self.app.needed_by().join(", "), decision.desired)
            }
            _ => decision.to_string(),
        };
        match &self.needs.missing {
            Some(need) if decision.desired > 0 => format!("{why}, when {need} is ready"),
            _ => why,
        }
    }

    /// Remembers when others last needed the app: from then on it is idle.
    pub(super) fn note_needed(&mut self, now: Millis) {
        let is_needed = self.app.is_needed();
        if std::mem::replace(&mut self.needs.was_needed, is_needed) && !is_needed {
            self.last_ended = self.last_ended.max(Some(now));
        }
    }
}
