//! How an app came back: where the time went from the request that woke it to its first answer.
//!
//! The supervisor makes one when a replica is ready; the first request that has waited for that completes it.

use std::sync::OnceLock;
use std::time::{Duration, SystemTime};

use http::HeaderValue;
use tokio::time::Instant;

/// How far down a replica has gone: what is left of it, to be woken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tier {
    /// A replica without CPU.
    Frozen,
    /// What the start of one begins with.
    Stopped,
    /// Nothing.
    Removed,
}

impl Tier {
    /// All of them, from the fastest to wake.
    pub const ALL: [Self; 3] = [Self::Frozen, Self::Stopped, Self::Removed];

    /// For people.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Frozen => "frozen",
            Self::Stopped => "stopped",
            Self::Removed => "removed",
        }
    }
}

/// One wake.
#[derive(Debug)]
pub struct Waking {
    /// When a replica was ready, by the wall clock.
    pub at: SystemTime,
    /// The same by a clock that only goes on.
    pub ready: Instant,
    /// What it began with.
    pub from: Tier,
    /// From the first request to the start of the replica that served it: the image, and attempts that failed.
    pub queue: Duration,
    /// The runtime's calls.
    pub engine: Duration,
    /// From there to the app's answer, less what is below.
    pub application: Duration,
    /// Of that, how long it was not looked whether it answers.
    pub probe: Duration,
    /// From ready to the head of the first answer; none yet.
    response: OnceLock<Duration>,
}

impl Waking {
    /// A wake whose first answer is to come.
    #[must_use]
    pub fn new(at: SystemTime, from: Tier, [queue, engine, application, probe]: [Duration; 4]) -> Self {
        Self { at, ready: Instant::now(), from, queue, engine, application, probe, response: OnceLock::new() }
    }

    /// A request that has waited since `arrived` is answered now; whether it waited for this wake and is the first.
    pub fn answered(&self, arrived: Instant) -> bool {
        arrived < self.ready && self.response.set(self.ready.elapsed()).is_ok()
    }

    /// From ready to the head of the first answer; `None` where nobody had one.
    #[must_use]
    pub fn response(&self) -> Option<Duration> {
        self.response.get().copied()
    }

    /// From the first request to ready.
    #[must_use]
    pub fn whole(&self) -> Duration {
        self.queue + self.engine + self.application + self.probe
    }

    /// The value of `Server-Timing` (W3C), in milliseconds, for a request that has waited for it.
    #[must_use]
    pub fn server_timing(&self) -> HeaderValue {
        let phases = [
            ("queue", self.queue),
            ("engine", self.engine),
            ("application", self.application),
            ("probe", self.probe),
        ];
        let phases = phases.map(|(name, time)| format!("{name};dur={:.1}", time.as_secs_f64() * 1000.0));
        let text = format!("wake;desc={}, {}", self.from.name(), phases.join(", "));
        HeaderValue::try_from(text).unwrap_or_else(|_| HeaderValue::from_static("wake"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn the_first_who_has_waited_completes_it() {
        let arrived = Instant::now();
        tokio::time::advance(Duration::from_millis(40)).await;
        let times = [1, 30, 7, 2].map(Duration::from_millis);
        let waking = Waking::new(SystemTime::UNIX_EPOCH, Tier::Stopped, times);
        tokio::time::advance(Duration::from_millis(3)).await;
        assert!(!waking.answered(Instant::now()), "it came when a replica was ready");
        assert!(waking.answered(arrived));
        assert!(!waking.answered(arrived), "it is not the first");
        assert_eq!(
            (waking.response(), waking.whole()),
            (Some(Duration::from_millis(3)), Duration::from_millis(40))
        );
        let told = "wake;desc=stopped, queue;dur=1.0, engine;dur=30.0, application;dur=7.0, probe;dur=2.0";
        assert_eq!(waking.server_timing(), told);
    }
}
