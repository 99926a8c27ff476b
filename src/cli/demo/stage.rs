//! The running proxy as the demo's visitor and its operator see it: calls of the app, and what the admin API says.

use std::collections::BTreeSet;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use http::StatusCode;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior};

use super::app::REPLICA;
use super::tell::Teller;
use crate::admin::apps::AppView;
use crate::cli::call::{self, Answer, CallError};

/// Between two looks at the admin API.
const LOOK: Duration = Duration::from_millis(50);

/// For one call of the app: longer than the proxy holds a request, so that it can say what is wrong.
const ANSWER: Duration = Duration::from_secs(150);

/// For anything that is waited for.
const PATIENCE: Duration = Duration::from_mins(2);

/// Why the demo cannot go on.
#[derive(Debug, thiserror::Error)]
pub(super) enum PlayError {
    /// The proxy has answered in the app's stead.
    #[error("the answer is {status}: {reason}")]
    Refused {
        /// Its status.
        status: StatusCode,
        /// `x-pilotlight-reason`.
        reason: String,
    },
    /// No answer at all.
    #[error(transparent)]
    Call(#[from] CallError),
    /// What was waited for did not come.
    #[error("waited {PATIENCE:?} in vain until {what}; the autoscaler says: {reason}")]
    Waited {
        /// What.
        what: &'static str,
        /// The admin API's last word.
        reason: String,
    },
    /// Nobody reads any more, or nobody can.
    #[error("cannot write: {0}")]
    Write(#[from] io::Error),
}

/// Where the demo plays.
pub(super) struct Stage {
    pub(super) teller: Teller,
    /// The public address.
    pub(super) public: SocketAddr,
    /// The admin API's.
    pub(super) admin: SocketAddr,
    seen: watch::Sender<Option<AppView>>,
}

impl Stage {
    pub(super) fn new(teller: Teller, public: SocketAddr, admin: SocketAddr) -> Self {
        Self { teller, public, admin, seen: watch::Sender::new(None) }
    }

    /// Tells what the autoscaler does, as it happens; comes to an end only by an error.
    pub(super) async fn watch(&self) -> Result<(), PlayError> {
        let mut ticks = tokio::time::interval(LOOK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut before: Option<AppView> = None;
        loop {
            ticks.tick().await;
            let Some(app) = call::apps(self.admin).await?.pop() else { continue };
            if before.as_ref().map_or(0, |before| before.desired) != app.desired {
                self.teller.event("autoscaler", app.reason.lines().next().unwrap_or_default())?;
            }
            let counts = |app: &AppView| (app.ready, app.starting, app.draining);
            if before.as_ref().map_or((0, 0, 0), counts) != counts(&app) {
                self.teller.event("replicas", describe(&app))?;
            }
            before = Some(app.clone());
            self.seen.send_replace(Some(app));
        }
    }

    /// Waits until the app is so.
    pub(super) async fn until(
        &self,
        what: &'static str,
        mut is_so: impl FnMut(&AppView) -> bool,
    ) -> Result<(), PlayError> {
        let mut seen = self.seen.subscribe();
        let waiting = seen.wait_for(|app| app.as_ref().is_some_and(&mut is_so));
        let waited = tokio::time::timeout(PATIENCE, waiting).await.map(|_seen| ());
        waited.map_err(|_elapsed| {
            let last = self.seen.borrow().clone();
            PlayError::Waited { what, reason: last.map_or_else(String::new, |app| app.reason) }
        })
    }

    /// What was seen last.
    pub(super) fn last_seen(&self) -> Option<AppView> {
        self.seen.borrow().clone()
    }

    /// One visit of `/ping`; gives back how long it took.
    pub(super) async fn visit(&self) -> Result<(Answer, Duration), PlayError> {
        visit(self.public).await
    }

    /// So many visits a second, whether those before are answered or not, until `enough` says so.
    pub(super) async fn load(
        &self,
        per_second: u32,
        enough: impl Fn(Duration) -> bool,
    ) -> Result<Load, PlayError> {
        let began = Instant::now();
        let mut ticks = tokio::time::interval(Duration::from_secs(1) / per_second);
        let mut visits = JoinSet::new();
        let mut load = Load::default();
        while !enough(began.elapsed()) {
            tokio::select! {
                _ = ticks.tick() => drop(visits.spawn(visit(self.public))),
                Some(visited) = visits.join_next() => load.note(visited),
            }
        }
        load.lasted = began.elapsed();
        while let Some(visited) = visits.join_next().await {
            load.note(visited);
        }
        Ok(load)
    }
}

async fn visit(public: SocketAddr) -> Result<(Answer, Duration), PlayError> {
    let began = Instant::now();
    let answer = call::get(public, "/ping", ANSWER).await?;
    if answer.status != StatusCode::OK {
        let reason = answer.header("x-pilotlight-reason").to_owned();
        return Err(PlayError::Refused { status: answer.status, reason });
    }
    Ok((answer, began.elapsed()))
}

/// `1 ready, 3 starting`.
fn describe(app: &AppView) -> String {
    let counts = [(app.ready, "ready"), (app.starting, "starting"), (app.draining, "stopping")];
    let there = counts.into_iter().filter(|(count, _)| *count > 0);
    let there: Vec<_> = there.map(|(count, what)| format!("{count} {what}")).collect();
    if there.is_empty() { "none".to_owned() } else { there.join(", ") }
}

/// What came of many visits.
#[derive(Debug, Default)]
pub(super) struct Load {
    /// How long visitors came.
    pub(super) lasted: Duration,
    /// How long each good answer took.
    pub(super) took: Vec<Duration>,
    /// Which replicas gave them.
    pub(super) replicas: BTreeSet<String>,
    /// What went wrong with the others.
    pub(super) failures: Vec<String>,
}

impl Load {
    fn note(&mut self, visited: Result<Result<(Answer, Duration), PlayError>, tokio::task::JoinError>) {
        match visited {
            Ok(Ok((answer, took))) => {
                self.took.push(took);
                self.replicas.insert(answer.header(REPLICA).to_owned());
            }
            Ok(Err(error)) => self.failures.push(error.to_string()),
            Err(error) => self.failures.push(error.to_string()),
        }
    }

    /// The time within which this share of the answers came.
    pub(super) fn within(&self, share: f64) -> Duration {
        let mut took = self.took.clone();
        took.sort_unstable();
        #[allow(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a share of a count is one"
        )]
        let at = (took.len() as f64 * share).ceil() as usize;
        took.get(at.saturating_sub(1)).copied().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_of_the_answers() {
        let took = (1..=200).map(Duration::from_millis).collect();
        let load = Load { took, ..Load::default() };
        assert_eq!(load.within(0.5), Duration::from_millis(100));
        assert_eq!(load.within(0.99), Duration::from_millis(198));
        assert_eq!(Load::default().within(0.5), Duration::ZERO);
    }
}
