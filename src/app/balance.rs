//! Which of an app's ready replicas a request gets: the one that it is bound to, else of two picked at random the one
//! that has less to do for what it can do.
//!
//! Whoever is out (see [`Ejection`](super::ejection::Ejection)) is passed over for as long as another is open, full or
//! not: who fails at once always has room, and would otherwise draw all that finds none elsewhere.

use std::time::Duration;

use super::affinity::{Bound, Wish, fallen_to};
use super::clock::{Millis, coarse, millis};
use super::replica::Replica;
use crate::sync::Arc;

/// The capacity of a replica that has warmed up.
const WHOLE: u64 = 1000;

/// The capacity of one that has just become ready.
const LEAST: u64 = WHOLE / 10;

/// A claim's own weight, in parts: a random number of them is added, so that a capacity that is less than one claim's
/// comes to its share too.
const PARTS: u64 = 1 << 16;

/// What replicas are held against each other by.
#[derive(Debug, Clone, Copy)]
pub(super) struct Scale {
    /// Requests in flight on one replica.
    limit: u32,
    /// How long one takes to warm up, in milliseconds; 0: it is warm from the start.
    slow_start: u64,
    now: Millis,
}

impl Scale {
    pub(super) fn new(limit: u32, slow_start: Duration) -> Self {
        let slow_start = millis(slow_start);
        Self { limit, slow_start, now: if slow_start == 0 { Millis(0) } else { coarse() } }
    }

    /// What a replica can do, of [`WHOLE`]. Those that became ready together can do the same, and one that is alone has
    /// nobody to be held against: only beside others that have warmed up further does it make a difference.
    pub(super) fn capacity(&self, replica: &Replica) -> u64 {
        let Some(since) = replica.ready_since().filter(|_| self.slow_start > 0) else { return WHOLE };
        let age = millis(self.now.since(since)).min(self.slow_start);
        LEAST + age * (WHOLE - LEAST) / self.slow_start
    }

    /// What a replica has to do for what it can do.
    fn load(&self, replica: &Replica) -> u64 {
        let claims = u64::from(replica.gate().inside());
        if self.slow_start == 0 {
            return claims;
        }
        (claims * PARTS + fastrand::u64(..PARTS)) * WHOLE / self.capacity(replica)
    }

    fn has_room(&self, replica: &Replica) -> bool {
        !replica.gate().is_closed() && replica.gate().inside() < self.limit
    }
}

/// The first that `take` takes, in the order in which this request would have them.
pub(super) fn choose<C>(
    replicas: &[Arc<Replica>],
    wish: &Wish<'_>,
    app: &str,
    scale: Scale,
    take: impl Fn(&Arc<Replica>) -> Option<C>,
) -> Option<C> {
    match replicas {
        [] => return None,
        [only] => return take(only),
        _ => {}
    }
    let wanted = |replica: &&Arc<Replica>| !replica.ejection().is_out() && wish.avoid != Some(replica.key);
    let bound = match wish.bound {
        Bound::Free => None,
        Bound::Token(token, secret) => {
            replicas.iter().find(|replica| replica.token(secret, app) == token).filter(wanted)
        }
        Bound::Value(value) => {
            fallen_to(replicas.iter().filter(wanted).filter(|replica| scale.has_room(replica)), value)
        }
    };
    if let Some(claim) = bound.and_then(&take) {
        return Some(claim);
    }
    let (at, other) = two_of(replicas.len());
    let (a, b) = (&replicas[at], &replicas[other]);
    if wanted(&a) && wanted(&b) {
        let (a, b) = if scale.load(b) < scale.load(a) { (b, a) } else { (a, b) };
        if let Some(claim) = take(a).or_else(|| take(b)) {
            return Some(claim);
        }
    }
    // Rare from here on: all are looked at, from a random one on.
    let all = || replicas[at..].iter().chain(&replicas[..at]);
    let is_in = |replica: &&Arc<Replica>| !replica.ejection().is_out();
    let chosen = least(all().filter(wanted), scale).and_then(&take);
    if let Some(claim) = chosen.or_else(|| all().filter(is_in).find_map(&take)) {
        return Some(claim);
    }
    // Somebody has to.
    let nobody_is_in = all().all(|replica| !replica.is_in());
    if nobody_is_in { least(all(), scale).and_then(&take).or_else(|| all().find_map(&take)) } else { None }
}

fn least<'a>(replicas: impl Iterator<Item = &'a Arc<Replica>>, scale: Scale) -> Option<&'a Arc<Replica>> {
    replicas.filter(|replica| scale.has_room(replica)).min_by_key(|replica| scale.load(replica))
}

/// Two different places below `len` (at least 2), at random.
fn two_of(len: usize) -> (usize, usize) {
    let a = fastrand::usize(..len);
    let b = fastrand::usize(..len - 1);
    (a, if b >= a { b + 1 } else { b })
}
