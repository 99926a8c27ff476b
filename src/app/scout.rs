//! One request that goes ahead of the others, to a replica of which nothing is known but that it takes connections: where
//! the file has `health.probe: request`, its answer is what shows that the replica is ready.
//!
//! Who starts the replica offers it; the request that takes the offer says what has come of it. There is one such request
//! for each start, so that a replica that is not ready costs nobody more than an attempt.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::sync::watch;

use crate::app::App;
use crate::app::replica::{Claim, Replica};
use crate::sync::Arc;

/// How long an answer is kept back for the app to be known as ready, which takes a moment; whoever comes next is not to
/// find it otherwise.
const PATIENCE: Duration = Duration::from_secs(1);

/// A replica that takes connections, and may be ready.
#[derive(Debug)]
pub struct Offer {
    replica: Arc<Replica>,
    taken: AtomicBool,
    stage: watch::Sender<Stage>,
}

/// How far it has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Stage {
    Open,
    /// The request has its answer.
    Answered,
    /// The replica is known as ready, by that or otherwise.
    Ready,
    /// The replica is not to be used.
    Withdrawn,
}

impl Offer {
    /// Of a replica whose gate is open.
    #[must_use]
    pub fn new(replica: Arc<Replica>) -> Arc<Self> {
        Arc::new(Self { replica, taken: AtomicBool::new(false), stage: watch::Sender::new(Stage::Open) })
    }

    /// Which replica.
    #[must_use]
    pub fn replica(&self) -> &Arc<Replica> {
        &self.replica
    }

    /// Resolves when the request that has taken it is answered.
    pub async fn answered(&self) {
        let mut stage = self.stage.subscribe();
        let _lives_as_long = stage.wait_for(|stage| *stage >= Stage::Answered).await;
    }

    /// The request has a good answer; resolves when the app is known as ready.
    pub async fn pass(&self) {
        self.stage.send_if_modified(|stage| {
            *stage < Stage::Answered && {
                *stage = Stage::Answered;
                true
            }
        });
        let mut stage = self.stage.subscribe();
        let _in_time = tokio::time::timeout(PATIENCE, stage.wait_for(|stage| *stage >= Stage::Ready)).await;
    }

    /// Resolves when the replica is known as ready, whoever has found that out; never where it is not to be used.
    pub async fn ready(&self) {
        let mut stage = self.stage.subscribe();
        let _lives_as_long = stage.wait_for(|stage| *stage == Stage::Ready).await;
    }

    /// The replica is known as ready: nobody else need go ahead.
    pub fn end(&self) {
        self.close(Stage::Ready);
    }

    /// The replica is not to be used any more.
    pub fn withdraw(&self) {
        self.close(Stage::Withdrawn);
        self.replica.part();
    }

    fn close(&self, stage: Stage) {
        self.taken.store(true, Ordering::Release);
        self.stage.send_replace(stage);
    }

    fn take(&self, app: &Arc<App>) -> Option<Claim> {
        if self.taken.swap(true, Ordering::AcqRel) {
            return None;
        }
        Claim::take(app, &self.replica, u32::MAX)
    }
}

/// Who goes ahead: a claim on what is offered, and whom to tell.
pub type Scout = (Claim, Arc<Offer>);

impl App {
    /// Offers a replica to the request that has waited longest, if one does that may go ahead.
    pub fn offer(&self, offer: Arc<Offer>) {
        self.offer.store(Some(offer));
        self.scouts.notify_one();
    }

    /// Resolves when this request may go ahead.
    pub async fn go_ahead(self: &Arc<Self>) -> Scout {
        loop {
            // Before the look: what is offered after it is heard of.
            let offered = self.scouts.notified();
            if let Some(offer) = self.offer.load_full()
                && let Some(claim) = offer.take(self)
            {
                return (claim, offer);
            }
            offered.await;
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;
    use crate::runtime::{Address, Endpoint};

    fn offer() -> Arc<Offer> {
        let address = Address::Tcp(([127, 0, 0, 1], 1).into());
        Offer::new(Replica::new(Endpoint { address }))
    }

    #[tokio::test(start_paused = true)]
    async fn one_goes_ahead_and_it_is_the_first() {
        let app = App::new("app");
        let (first, second) = (app.go_ahead(), app.go_ahead());
        let (mut first, mut second) = (Box::pin(first), Box::pin(second));
        assert!((&mut first).now_or_never().is_none() && (&mut second).now_or_never().is_none());
        app.offer(offer());
        assert!((&mut second).now_or_never().is_none());
        let (claim, offer) = first.await;
        assert_eq!(claim.replica().key, offer.replica().key);
        assert!(second.now_or_never().is_none() && app.go_ahead().now_or_never().is_none());
    }

    #[tokio::test(start_paused = true)]
    async fn who_leaves_leaves_it_to_the_next() {
        let app = App::new("app");
        let (mut first, mut second) = (Box::pin(app.go_ahead()), Box::pin(app.go_ahead()));
        assert!((&mut first).now_or_never().is_none() && (&mut second).now_or_never().is_none());
        app.offer(offer());
        drop(first);
        assert!(second.now_or_never().is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_waits_until_the_app_is_ready() {
        let offer = offer();
        assert!(offer.answered().now_or_never().is_none());
        let pass = tokio::spawn({
            let offer = Arc::clone(&offer);
            async move { offer.pass().await }
        });
        offer.answered().await;
        assert!(!pass.is_finished());
        offer.end();
        pass.await.expect("it goes on");
        offer.pass().await;
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_withdrawn_is_never_ready() {
        let (used, given_up) = (offer(), offer());
        used.end();
        given_up.withdraw();
        assert!(used.ready().now_or_never().is_some());
        assert!(given_up.ready().now_or_never().is_none());
        given_up.pass().await;
        assert!(given_up.replica().gate().is_closed());
    }
}
