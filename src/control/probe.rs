//! Whether a replica is ready: found out by trying, from a millisecond on.

use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;

use crate::config::spec::HealthSpec;
use crate::runtime::{Endpoint, Exit, Proof, ReplicaId, Runtime, RuntimeError, Status};

/// A pause between two attempts is such a part of the time that has gone by since the first: no start is longer by more
/// than that for being looked at only now and then.
const PAUSE_PART: u32 = 50;
const SHORTEST_PAUSE: Duration = Duration::from_millis(1);
const LONGEST_PAUSE: Duration = Duration::from_millis(50);

/// How often the runtime is asked whether the replica still runs, should its event be lost.
const LOOK: Duration = Duration::from_millis(500);

/// Why a replica did not become ready.
#[derive(Debug, Clone, thiserror::Error)]
pub enum NotReady {
    /// It ended.
    #[error("{}", .0.before_ready())]
    Exited(Exit),
    /// It is gone: removed by somebody else.
    #[error("removed before it was ready")]
    Gone,
    /// It runs, but its time is up.
    #[error("not ready {after:?} after its start: {last}")]
    TimedOut {
        /// `health.start_timeout`.
        after: Duration,
        /// What the last attempt that was not cut short met with, or what is known by now of where it listens instead.
        last: String,
    },
}

/// Who is tried, and what shows that it is ready.
#[derive(Debug, Clone, Copy)]
pub struct Tried<'a> {
    /// Which replica.
    pub id: &'a ReplicaId,
    /// Where it is.
    pub endpoint: &'a Endpoint,
    /// What it is asked.
    pub health: &'a HealthSpec,
    /// What is enough where that is nothing.
    pub proof: Proof,
}

/// How long it was not looked whether a replica answers, before it did.
pub type Unseen = Duration;

/// Tries until the replica is ready. `nudge` says that something has happened to it.
///
/// # Errors
/// See [`NotReady`].
pub async fn until_ready(
    runtime: &dyn Runtime,
    tried: Tried<'_>,
    nudge: &Notify,
) -> Result<Unseen, NotReady> {
    let Tried { id, endpoint, health, proof } = tried;
    let mut unseen = Duration::ZERO;
    let started = Instant::now();
    let deadline = started + health.start_timeout;
    let mut look_at = started + LOOK;
    let mut last = "no answer".to_owned();
    loop {
        let tried = tokio::time::timeout_at(deadline, runtime.reach(endpoint, health, proof)).await;
        match tried {
            Ok(Ok(())) => return Ok(unseen),
            Ok(Err(unreached)) => last = unreached.why,
            // Cut short: what was said before tells more.
            Err(_elapsed) => {}
        }
        let failed = Instant::now();
        let pause = ((failed - started) / PAUSE_PART).clamp(SHORTEST_PAUSE, LONGEST_PAUSE);
        let next = (failed + pause).min(deadline);
        let nudged = tokio::time::timeout_at(next, nudge.notified()).await.is_ok();
        let over = Instant::now() >= deadline;
        if nudged || (!over && Instant::now() >= look_at) {
            match runtime.status(id).await {
                Ok(Status::Exited(exit)) => return Err(NotReady::Exited(exit)),
                Ok(Status::Frozen(_)) => return Err(NotReady::Exited(Exit::UNKNOWN)),
                Ok(Status::Gone) => return Err(NotReady::Gone),
                Ok(Status::Running(_)) => {}
                Err(error) => tracing::debug!(replica = %id, %error, "cannot look at a replica"),
            }
            look_at = Instant::now() + LOOK;
        }
        unseen = failed.elapsed();
        // Another attempt would have no time, and nothing to say of why.
        if over || Instant::now() >= deadline {
            return Err(NotReady::TimedOut { after: health.start_timeout, last });
        }
    }
}

/// Looks once whether a replica that was ready still runs and answers; gives where. It was last at `known`, and
/// is looked for there when the runtime cannot be asked: an engine that is away ends no replica.
///
/// # Errors
/// See [`Lost`].
pub async fn verify(
    runtime: &dyn Runtime,
    id: &ReplicaId,
    known: &Endpoint,
    health: &HealthSpec,
) -> Result<Endpoint, Lost> {
    let endpoint = match runtime.status(id).await {
        Ok(Status::Running(endpoint)) => endpoint,
        Ok(Status::Exited(exit)) => return Err(Lost::Exited(exit)),
        // By somebody else's hand: it does not serve.
        Ok(Status::Frozen(_)) => return Err(Lost::Exited(Exit::UNKNOWN)),
        Ok(Status::Gone) => return Err(Lost::Gone),
        Err(error) => {
            tracing::warn!(replica = %id, %error, "cannot ask about a replica that cannot be reached");
            known.clone()
        }
    };
    // It is given its time to answer again.
    let patience = HealthSpec { start_timeout: VERIFY, ..health.clone() };
    let tried = Tried { id, endpoint: &endpoint, health: &patience, proof: Proof::Connection };
    match until_ready(runtime, tried, &Notify::new()).await {
        Ok(_) => Ok(endpoint),
        Err(NotReady::Exited(exit)) => Err(Lost::Exited(exit)),
        Err(NotReady::Gone) => Err(Lost::Gone),
        Err(NotReady::TimedOut { .. }) => Err(Lost::Silent),
    }
}

/// What has become of a replica that was ready and cannot be reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Lost {
    /// It has ended.
    Exited(Exit),
    /// It has been removed.
    Gone,
    /// It runs, or nobody can say, and does not answer.
    Silent,
}

/// How long a replica that could not be reached may take to answer again.
pub const VERIFY: Duration = Duration::from_secs(5);

/// A failure of the start call or of what came after it.
#[derive(Debug, Clone, thiserror::Error)]
pub enum StartError {
    /// The runtime could not do it.
    #[error(transparent)]
    Runtime(#[from] RuntimeError),
    /// It was started, in vain.
    #[error(transparent)]
    NotReady(#[from] NotReady),
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::spec::Probe;
    use crate::runtime::Address;
    use crate::runtime::scripted::Scripted;

    #[tokio::test(start_paused = true)]
    async fn an_attempt_that_is_cut_short_hides_no_reason() {
        let runtime = Scripted::new(1);
        // It is not long enough for a look at whether it runs.
        runtime.world().answering = Duration::from_millis(400);
        let endpoint = Endpoint { address: Address::Tcp(([127, 0, 0, 1], 1).into()) };
        let (interval, timeout, start_timeout) =
            (Duration::from_secs(10), Duration::from_secs(5), Duration::from_millis(700));
        let health =
            HealthSpec { http2: false, path: None, probe: Probe::Path, interval, timeout, start_timeout };
        let id = ReplicaId("a".to_owned());
        let tried = Tried { id: &id, endpoint: &endpoint, health: &health, proof: Proof::Connection };
        let Err(NotReady::TimedOut { last, .. }) = until_ready(&runtime, tried, &Notify::new()).await else {
            panic!("nobody is there")
        };
        assert_eq!(last, "nothing listens");
    }
}
