//! How long something took, counted in buckets of fixed bounds. One thread writes a histogram; any may read it.

use std::ops::AddAssign;
use std::time::Duration;

use crate::sync::{AtomicU64, Ordering};

/// The longest time that belongs to each bucket but the last, which has none: from a warm answer on this host to
/// a cold start that pulls its image.
pub const BOUNDS: [Duration; 17] = [
    Duration::from_micros(500),
    Duration::from_millis(1),
    Duration::from_micros(2500),
    Duration::from_millis(5),
    Duration::from_millis(10),
    Duration::from_millis(25),
    Duration::from_millis(50),
    Duration::from_millis(100),
    Duration::from_millis(250),
    Duration::from_millis(500),
    Duration::from_secs(1),
    Duration::from_millis(2500),
    Duration::from_secs(5),
    Duration::from_secs(10),
    Duration::from_secs(30),
    Duration::from_mins(1),
    Duration::from_mins(2),
];

const BUCKETS: usize = BOUNDS.len() + 1;

/// Times in buckets, and their sum.
#[derive(Debug)]
pub struct Histogram {
    buckets: [AtomicU64; BUCKETS],
    /// In microseconds: enough for ten thousand requests at once for fifty years.
    sum: AtomicU64,
}

/// What a histogram held when it was read, or several together.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Times {
    /// How many times fell in each bucket alone; the bounds are those of [`BOUNDS`].
    pub buckets: [u64; BUCKETS],
    /// All times together.
    pub sum: Duration,
}

impl Default for Histogram {
    fn default() -> Self {
        Self { buckets: std::array::from_fn(|_| AtomicU64::new(0)), sum: AtomicU64::new(0) }
    }
}

impl Histogram {
    /// Counts one time. To be called by one thread alone.
    pub fn record(&self, time: Duration) {
        let at = BOUNDS.iter().position(|bound| time <= *bound).unwrap_or(BOUNDS.len());
        add(&self.buckets[at], 1);
        add(&self.sum, u64::try_from(time.as_micros()).unwrap_or(u64::MAX));
    }

    /// What it holds now.
    #[must_use]
    pub fn read(&self) -> Times {
        Times {
            buckets: std::array::from_fn(|at| self.buckets[at].load(Ordering::Relaxed)),
            sum: Duration::from_micros(self.sum.load(Ordering::Relaxed)),
        }
    }
}

impl Times {
    /// How many times there are.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.buckets.iter().sum()
    }
}

impl AddAssign for Times {
    fn add_assign(&mut self, other: Self) {
        for (sum, more) in self.buckets.iter_mut().zip(other.buckets) {
            *sum += more;
        }
        self.sum += other.sum;
    }
}

/// Adds to a count of which this thread is the only writer: a load and a store, where an addition that other
/// threads may make as well would lock the cache line.
pub(super) fn add(count: &AtomicU64, more: u64) {
    count.store(count.load(Ordering::Relaxed).wrapping_add(more), Ordering::Relaxed);
}
