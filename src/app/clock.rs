//! Time as both planes count it: whole milliseconds since the process began, never going back.
//!
//! Workers keep a reading of the kernel's coarse clock, made anew whenever they wake and every few of their reads
//! and writes; the control plane reads tokio's clock, which tests can pause.

use std::cell::Cell;
use std::sync::LazyLock;
use std::time::{Duration, Instant};

use rustix::time::{ClockId, Timespec, clock_gettime};

/// Milliseconds since the process began.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Hash)]
pub struct Millis(pub u64);

impl Millis {
    /// The time from `earlier` to this; zero where `earlier` is later.
    #[must_use]
    pub const fn since(self, earlier: Self) -> Duration {
        Duration::from_millis(self.0.saturating_sub(earlier.0))
    }

    /// This much later.
    #[must_use]
    pub fn after(self, time: Duration) -> Self {
        Self(self.0.saturating_add(millis(time)))
    }

    /// This much earlier, or the beginning.
    #[must_use]
    pub fn before(self, time: Duration) -> Self {
        Self(self.0.saturating_sub(millis(time)))
    }
}

/// A duration in whole milliseconds.
#[must_use]
pub fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

struct Origin {
    instant: Instant,
    coarse: Timespec,
}

static ORIGIN: LazyLock<Origin> = LazyLock::new(|| {
    // A second before now: a coarse reading may lie a tick behind and must not come out below zero, and a
    // time of zero can stand for "never".
    let coarse = clock_gettime(ClockId::Monotonic);
    Origin {
        instant: Instant::now().checked_sub(Duration::from_secs(1)).unwrap_or_else(Instant::now),
        coarse: Timespec { tv_sec: coarse.tv_sec - 1, tv_nsec: coarse.tv_nsec },
    }
});

thread_local! {
    /// What this thread has last read; 0 where it keeps no reading.
    static KEPT: Cell<u64> = const { Cell::new(0) };
    /// Reads and writes since.
    static USES: Cell<u32> = const { Cell::new(0) };
}

/// Reads and writes for which one reading will do. Each moves some kilobytes at most, so that a worker that never
/// sleeps is behind by a millisecond or two, less than the coarse clock itself may be.
const USES_OF_A_READING: u32 = 64;

/// The workers' clock: the one of the control plane, so that a test of both can pause it.
#[cfg(test)]
#[must_use]
pub fn coarse() -> Millis {
    now()
}

/// The workers' clock: coarse and cheap. The kept reading, where [`refresh`] is called on this thread.
#[cfg(not(test))]
#[must_use]
#[inline]
pub fn coarse() -> Millis {
    match KEPT.get() {
        0 => kernel(),
        kept => Millis(kept),
    }
}

/// Reads the clock for this thread, which does so from now on whenever it has slept.
pub fn refresh() {
    KEPT.set(kernel().0);
    USES.set(0);
}

/// Called for each read and write of a thread that calls [`refresh`].
#[inline]
pub fn tick() {
    let uses = USES.get() + 1;
    USES.set(uses);
    if uses >= USES_OF_A_READING {
        refresh();
    }
}

fn kernel() -> Millis {
    let origin = ORIGIN.coarse;
    let now = clock_gettime(ClockId::MonotonicCoarse);
    let passed = (now.tv_sec - origin.tv_sec) * 1000 + (now.tv_nsec - origin.tv_nsec) / 1_000_000;
    Millis(u64::try_from(passed).unwrap_or(0))
}

/// The control plane's clock: tokio's, so that a test can pause it.
#[must_use]
pub fn now() -> Millis {
    let passed = tokio::time::Instant::now().into_std().saturating_duration_since(ORIGIN.instant);
    Millis(millis(passed))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_two_clocks_agree() {
        let (precise, rough) = (now(), kernel());
        assert!(precise.0 > 900 && rough.0 > 900);
        assert!(precise.0.abs_diff(rough.0) < 1000, "{precise:?} {rough:?}");
    }

    #[test]
    fn a_reading_is_kept_for_a_while() {
        refresh();
        let kept = KEPT.get();
        while kernel().0 <= kept {
            std::thread::yield_now();
        }
        for _ in 1..USES_OF_A_READING {
            tick();
        }
        assert_eq!(KEPT.get(), kept);
        tick();
        assert!(KEPT.get() > kept);
    }
}
