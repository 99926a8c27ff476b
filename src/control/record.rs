//! What an app's supervisor has done, counted for good. The supervisor alone writes it; whoever shows it reads.
//!
//! It belongs to its app for as long as that is served, so its counts survive every reload and go with the app.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use crate::app::histogram::{Histogram, Times};
use crate::app::waking::{Tier, Waking};

/// How many wakes are remembered.
const LAST: usize = 100;

/// What a decision changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// More replicas than before.
    Up,
    /// Fewer, but not none.
    Down,
    /// None any more.
    Zero,
    /// As many as before.
    Steady,
}

impl Verdict {
    /// All of them, as [`Record::decisions`] counts them.
    pub const ALL: [Self; 4] = [Self::Up, Self::Down, Self::Zero, Self::Steady];

    /// The verdict of a decision for `desired` replicas after one for `before`.
    #[must_use]
    pub const fn of(before: u32, desired: u32) -> Self {
        match desired {
            _ if desired > before => Self::Up,
            _ if desired == before => Self::Steady,
            0 => Self::Zero,
            _ => Self::Down,
        }
    }

    /// For people.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Up => "up",
            Self::Down => "down",
            Self::Zero => "zero",
            Self::Steady => "steady",
        }
    }
}

/// How the start of a replica ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// It took requests.
    Ready,
    /// It could not be started, or never became ready.
    Failed,
}

impl Outcome {
    /// Both, as [`Record::starts`] counts them.
    pub const ALL: [Self; 2] = [Self::Ready, Self::Failed];

    /// For people.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Ready => "ready",
            Self::Failed => "failed",
        }
    }
}

/// Where the time of a cold start went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// From the first request to the start of the replica that served it: the image, and attempts that failed.
    Queue,
    /// Until the replica existed, where the runtime makes it first.
    Create,
    /// Until the runtime's start call had returned.
    Start,
    /// Until the replica answered, less what is below.
    Application,
    /// Of that, how long it was not looked whether it does.
    Probe,
    /// From there to the head of the first answer, for who had waited; it is no part of the whole.
    Response,
}

impl Phase {
    /// All of them, in their order.
    pub const ALL: [Self; 6] =
        [Self::Queue, Self::Create, Self::Start, Self::Application, Self::Probe, Self::Response];

    /// For people.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Queue => "queue",
            Self::Create => "create",
            Self::Start => "start",
            Self::Application => "application",
            Self::Probe => "probe",
            Self::Response => "response",
        }
    }
}

/// What one supervisor has done.
#[derive(Debug, Default)]
pub struct Record {
    decisions: [AtomicU64; Verdict::ALL.len()],
    starts: [AtomicU64; Outcome::ALL.len()],
    wakes: [AtomicU64; Tier::ALL.len()],
    /// Made by the first cold start: most of many apps may never have one.
    cold: OnceLock<Box<Cold>>,
    /// The last wakes, oldest first.
    last: Mutex<VecDeque<Arc<Waking>>>,
}

/// The cold starts of one app.
#[derive(Debug, Default)]
struct Cold {
    whole: Histogram,
    phases: [Histogram; Phase::ALL.len()],
}

impl Record {
    /// A decision was made.
    pub fn decided(&self, verdict: Verdict) {
        self.decisions[verdict as usize].fetch_add(1, Ordering::Relaxed);
    }

    /// A start has come to its end.
    pub fn started(&self, outcome: Outcome) {
        self.starts[outcome as usize].fetch_add(1, Ordering::Relaxed);
    }

    /// An app that was out takes requests: how long the first of them waited in all, and in each phase.
    pub fn cold_start(&self, whole: Duration, phases: &[(Phase, Duration)]) {
        let cold = self.cold.get_or_init(Box::default);
        cold.whole.record(whole);
        for (phase, time) in phases {
            cold.phases[*phase as usize].record(*time);
        }
    }

    /// An app that was out takes requests again.
    pub fn woken(&self, waking: Arc<Waking>) {
        self.wakes[waking.from as usize].fetch_add(1, Ordering::Relaxed);
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        if last.len() == LAST {
            last.pop_front();
        }
        last.push_back(waking);
    }

    /// The first who had waited for a cold start has an answer, so long after it was ready.
    pub fn first_response(&self, time: Duration) {
        self.cold.get_or_init(Box::default).phases[Phase::Response as usize].record(time);
    }

    /// Wakes so far, by what they began with.
    #[must_use]
    pub fn wakes(&self, from: Tier) -> u64 {
        self.wakes[from as usize].load(Ordering::Relaxed)
    }

    /// The last hundred wakes, oldest first.
    #[must_use]
    pub fn last_wakes(&self) -> Vec<Arc<Waking>> {
        self.last.lock().unwrap_or_else(PoisonError::into_inner).iter().cloned().collect()
    }

    /// Decisions so far.
    #[must_use]
    pub fn decisions(&self, verdict: Verdict) -> u64 {
        self.decisions[verdict as usize].load(Ordering::Relaxed)
    }

    /// Starts so far.
    #[must_use]
    pub fn starts(&self, outcome: Outcome) -> u64 {
        self.starts[outcome as usize].load(Ordering::Relaxed)
    }

    /// Cold starts so far; `None` where there was none.
    #[must_use]
    pub fn cold_starts(&self) -> Option<Times> {
        self.cold.get().map(|cold| cold.whole.read())
    }

    /// The same, of one phase alone; `None` also where the runtime does not know that phase.
    #[must_use]
    pub fn cold_start_phase(&self, phase: Phase) -> Option<Times> {
        let times = self.cold.get().map(|cold| cold.phases[phase as usize].read());
        times.filter(|times| times.count() > 0)
    }
}

#[cfg(test)]
mod tests {
    use super::Verdict::{Down, Steady, Up, Zero};
    use super::*;

    #[test]
    fn a_verdict_is_what_changes() {
        let verdicts = [(0, 1), (1, 2), (3, 2), (1, 0), (0, 0), (2, 2)].map(|(a, b)| Verdict::of(a, b));
        assert_eq!(verdicts, [Up, Up, Down, Zero, Steady, Steady]);
    }

    #[test]
    fn a_phase_that_the_runtime_does_not_know_is_none() {
        let record = Record::default();
        assert_eq!(record.cold_starts(), None);
        let second = Duration::from_secs(1);
        record.cold_start(2 * second, &[(Phase::Queue, second), (Phase::Probe, second)]);
        assert_eq!(record.cold_starts().map(|times| (times.count(), times.sum)), Some((1, 2 * second)));
        let known = Phase::ALL.map(|phase| record.cold_start_phase(phase).map(|times| times.sum));
        assert_eq!(known, [Some(second), None, None, None, Some(second), None]);
    }
}
