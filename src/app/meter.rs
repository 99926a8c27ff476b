//! Counts an app's requests in a sliding window without a lock.
//!
//! Each worker writes a shard of its own and no other, with plain relaxed stores; a reader adds the shards up.
//! Owns the counts only: what a rate means is `control::decide`'s business.

use std::cell::Cell;

use super::shard::{Own, Shards};
use crate::sync::{AtomicU64, Ordering};

/// Where a bucket's epoch begins in its word; the count is below. A count of 2^32 in one bucket would take
/// four thousand million requests in a second.
const EPOCH_SHIFT: u32 = 32;
const COUNT_MASK: u64 = (1 << EPOCH_SHIFT) - 1;

/// An app's requests over the last while. Times are milliseconds of one monotonic clock.
#[derive(Debug)]
pub struct Meter {
    bucket_ms: u64,
    buckets: usize,
    shards: Shards<Shard>,
}

/// One worker's counts. Epoch and count of a bucket share a word, so that no reader sees half of a change.
#[derive(Debug)]
struct Shard {
    total: AtomicU64,
    ring: Box<[AtomicU64]>,
}

/// The one writer of a shard.
#[derive(Debug)]
pub struct Writer {
    shard: Own<Shard>,
    bucket_ms: u64,
    slot: Cell<usize>,
    /// The current bucket's first millisecond and epoch; a time within it needs no division.
    starts_at: Cell<u64>,
    epoch: Cell<u64>,
}

/// What a window held.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sum {
    /// Requests in the buckets that touch the window.
    pub count: u64,
    /// Milliseconds from the start of the window's first bucket to now: the time that `count` belongs to.
    pub covered_ms: u64,
}

impl Meter {
    /// A meter that can be asked for windows up to `longest_ms`, in buckets of `bucket_ms` (at least 1).
    #[must_use]
    pub fn new(bucket_ms: u64, longest_ms: u64) -> Self {
        let bucket_ms = bucket_ms.max(1);
        // One bucket for each end of the window that is cut, one for a writer whose clock is ahead of the reader's.
        let buckets = usize::try_from(longest_ms.div_ceil(bucket_ms)).unwrap_or(usize::MAX - 3) + 3;
        Self { bucket_ms, buckets, shards: Shards::default() }
    }

    /// The writer of a shard that no other writes: one that a writer before has left, or a new one.
    #[must_use]
    pub fn writer(&self) -> Writer {
        let shard = self.shards.take(|| {
            let ring = (0..self.buckets).map(|_| AtomicU64::new(0)).collect();
            Shard { total: AtomicU64::new(0), ring }
        });
        Writer {
            shard,
            bucket_ms: self.bucket_ms,
            slot: Cell::new(0),
            starts_at: Cell::new(u64::MAX),
            epoch: Cell::new(0),
        }
    }

    /// How many shards there are.
    #[cfg(test)]
    pub(crate) fn shards(&self) -> usize {
        let mut count = 0;
        self.shards.for_each(|_| count += 1);
        count
    }

    /// All requests that were ever recorded.
    #[must_use]
    pub fn total(&self) -> u64 {
        let mut total = 0;
        self.shards.for_each(|shard| total += shard.total.load(Ordering::Relaxed));
        total
    }

    /// The requests from `since` to `now`, right to the bucket that `since` falls in.
    #[must_use]
    pub fn sum(&self, since: u64, now: u64) -> Sum {
        let last = now / self.bucket_ms;
        let longest = self.buckets as u64 - 2;
        let first = (since / self.bucket_ms).max((last + 1).saturating_sub(longest));
        let mut count = 0;
        self.shards.for_each(|shard| count += shard.sum(first, last));
        Sum { count, covered_ms: now.saturating_sub(first * self.bucket_ms) }
    }
}

impl Shard {
    fn sum(&self, first: u64, last: u64) -> u64 {
        let within = first & COUNT_MASK..=last & COUNT_MASK;
        let count = |bucket: &AtomicU64| {
            let word = bucket.load(Ordering::Relaxed);
            if within.contains(&(word >> EPOCH_SHIFT)) { word & COUNT_MASK } else { 0 }
        };
        self.ring.iter().map(count).sum()
    }
}

impl Writer {
    /// Counts one request at `now`.
    #[inline]
    pub fn record(&self, now: u64) {
        // A time before the bucket's start wraps to a large number and takes the slow path.
        if now.wrapping_sub(self.starts_at.get()) >= self.bucket_ms {
            self.turn(now);
        }
        let bucket = &self.shard.ring[self.slot.get()];
        let word = bucket.load(Ordering::Relaxed);
        let epoch = self.epoch.get() & COUNT_MASK;
        let next = if word >> EPOCH_SHIFT == epoch { word + 1 } else { (epoch << EPOCH_SHIFT) | 1 };
        bucket.store(next, Ordering::Relaxed);
        let total = &self.shard.total;
        total.store(total.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
    }

    #[cold]
    fn turn(&self, now: u64) {
        let epoch = now / self.bucket_ms;
        let buckets = self.shard.ring.len() as u64;
        self.slot.set(usize::try_from(epoch % buckets).expect("below the ring's length"));
        self.epoch.set(epoch);
        self.starts_at.set(epoch * self.bucket_ms);
    }
}
