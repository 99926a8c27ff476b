//! The lock-free parts of pilotlight under loom: their own source, with loom's atomics in place of the standard
//! library's, so that every interleaving of a few steps is tried.
//!
//! `crate::sync` is what the source asks for; here it is loom's.

#![cfg(test)]
// The models use a part of each file, and what is public there is not here.
#![allow(dead_code, unreachable_pub)]

mod sync {
    pub(crate) use loom::sync::Arc;
    pub(crate) use loom::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

    /// Loom takes `SeqCst` accesses for acquire and release; this restores what they promise.
    pub(crate) fn fence_for_models() {
        loom::sync::atomic::fence(Ordering::SeqCst);
    }

    #[derive(Debug, Default)]
    pub(crate) struct Mutex<T>(loom::sync::Mutex<T>);

    impl<T> Mutex<T> {
        pub(crate) fn new(value: T) -> Self {
            Self(loom::sync::Mutex::new(value))
        }

        pub(crate) fn lock(&self) -> loom::sync::MutexGuard<'_, T> {
            self.0.lock().expect("a model that panics ends")
        }
    }
}

#[path = "../../../src/app/ejection.rs"]
mod ejection;
#[path = "../../../src/app/gate.rs"]
mod gate;
#[path = "../../../src/app/histogram.rs"]
mod histogram;
#[path = "../../../src/app/hold.rs"]
mod hold;
#[path = "../../../src/app/meter.rs"]
mod meter;
#[path = "../../../src/app/shard.rs"]
mod shard;
#[path = "../../../src/app/tally.rs"]
mod tally;

mod models;
