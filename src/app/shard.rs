//! Counts that each thread writes to a shard of its own: while counting no lock is taken and no cache line is
//! shared, and a reader adds the shards up.
//!
//! Owns who may write which shard; what is in one is the business of whoever counts.

use std::fmt;
use std::marker::PhantomData;
use std::ops::Deref;

use crate::sync::{Arc, Mutex};

/// The shards of one count. They outlive their writers, so that nothing that was counted is ever lost.
pub struct Shards<S> {
    /// Locked to take a shard (once a writer) and to read; never while counting.
    all: Mutex<Vec<Arc<S>>>,
}

/// The right to write one shard. Not `Send`: a second thread could not write without losing counts.
pub struct Own<S> {
    shard: Arc<S>,
    not_send: PhantomData<*const ()>,
}

impl<S> Default for Shards<S> {
    fn default() -> Self {
        Self { all: Mutex::new(Vec::new()) }
    }
}

impl<S> Shards<S> {
    /// A shard that no other writes: one that a writer before has left, or a new one.
    pub fn take(&self, make: impl FnOnce() -> S) -> Own<S> {
        let mut all = self.all.lock();
        let left = all.iter_mut().position(|shard| Arc::get_mut(shard).is_some());
        let at = left.unwrap_or_else(|| {
            all.push(Arc::new(make()));
            all.len() - 1
        });
        Own { shard: Arc::clone(&all[at]), not_send: PhantomData }
    }

    /// Shows all shards to a reader, one by one.
    pub fn for_each(&self, look: impl FnMut(&S)) {
        self.all.lock().iter().map(Deref::deref).for_each(look);
    }
}

impl<S> Deref for Own<S> {
    type Target = S;

    fn deref(&self) -> &S {
        &self.shard
    }
}

impl<S> fmt::Debug for Shards<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shards").finish_non_exhaustive()
    }
}

impl<S: fmt::Debug> fmt::Debug for Own<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.shard.fmt(f)
    }
}
