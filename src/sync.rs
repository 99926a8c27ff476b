//! The synchronisation that the shared state is built from, in one place so that the models in `tests/loom`
//! can put loom's in its stead and check the very same source.

pub(crate) use std::sync::Arc;
pub(crate) use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

/// Nothing here: the accesses around it are `SeqCst`, which suffices. Loom weakens them to acquire and release,
/// so in its stead the models put the fence that they then need.
#[inline]
pub(crate) const fn fence_for_models() {}

/// A mutex whose data is plain enough to stay usable after a panic elsewhere.
#[derive(Debug, Default)]
pub(crate) struct Mutex<T>(std::sync::Mutex<T>);

impl<T> Mutex<T> {
    pub(crate) const fn new(value: T) -> Self {
        Self(std::sync::Mutex::new(value))
    }

    pub(crate) fn lock(&self) -> std::sync::MutexGuard<'_, T> {
        self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}
