//! A request between its route and its answer: claims a replica or waits for one, sends, and sends again where that is
//! safe.

use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use http::{Response, request};
use tokio::time::Instant;

use crate::app::affinity::Wish;
use crate::app::clock;
use crate::app::replica::Claim;
use crate::app::scout::Offer;
use crate::app::tally::Again;
use crate::config::spec::Probe;
use crate::gateway::account::Account;
use crate::gateway::affinity::Tie;
use crate::gateway::ahead::{Vain, Waiting, ahead};
use crate::gateway::body::Answer;
use crate::gateway::pool::Lease;
use crate::gateway::respond::Reject;
use crate::gateway::route::Entry;
use crate::gateway::upload::{Progress, Upload};
use crate::gateway::upstream::{Exchange, Failed, Parcel, Speech};
use crate::gateway::worker::{LocalRoutes, Worker};

/// How often a request is tried in all. Each further attempt goes to another replica, or waits for one.
const ATTEMPTS: u32 = 4;

/// One request between its route and its answer.
pub(super) struct Way<'a> {
    pub(super) worker: &'a Rc<Worker>,
    pub(super) routes: &'a LocalRoutes,
    pub(super) entry: usize,
    pub(super) account: &'a Account,
}

/// How a request is sent.
#[derive(Clone, Copy)]
pub(super) struct Order {
    /// For its answer to begin.
    pub(super) time: Duration,
    pub(super) speech: Speech,
}

impl<'a> Way<'a> {
    /// Claims and sends, again where that is safe.
    pub(super) async fn send(
        &self,
        head: &mut request::Parts,
        upload: Upload,
        progress: Option<Arc<Progress>>,
        Order { time, speech }: Order,
        tie: &Tie,
    ) -> Result<(Response<Answer>, Lease), Reject> {
        let entry: &Entry = self.routes.table.entry(self.entry);
        let spec = &entry.policy.spec;
        let deadline = self.account.started() + time;
        // Sending twice is the same as sending once, RFC 9110 section 9.2.2. Not to more than two replicas: it may be
        // this very request that ends them. One that is ending may take it more than once.
        let replay = progress.is_none() && head.method.is_idempotent();
        // What a replica of HTTP/2 has refused it has not begun with, whatever it is.
        let keep_head = replay || (speech.http2 && progress.is_none());
        let mut parcel = Parcel { head, upload, keep: keep_head, sent: false };
        let goes_ahead = replay && spec.health.probe == Probe::Request;
        let (mut waiting, mut went_ahead, mut granted, mut first_hit) = (None, false, None, None);
        let mut attempt = 1;
        let mut wish = tie.wish(&self.worker.secret);
        loop {
            let may_go_ahead = goes_ahead && !went_ahead;
            let (claim, offer) = match granted.take() {
                Some(claim) => (claim, None),
                None => self.claim(entry, &wish, deadline, may_go_ahead, &mut waiting).await?,
            };
            went_ahead |= offer.is_some();
            let replica = claim.replica().key;
            let exchange = Exchange {
                pool: Rc::clone(&self.worker.pool),
                claim,
                progress: progress.clone(),
                deadline,
                timeout: time,
                speech,
                keep_alive: spec.keep_alive,
                fresh: attempt > 1,
            };
            parcel.sent = false;
            let ended = match &offer {
                None => exchange.run(&mut parcel).await,
                // In a box: it is rare, and would make each connection's task larger by itself.
                Some(offer) => {
                    match Box::pin(ahead(&entry.app, offer, exchange, &mut parcel, &mut waiting)).await {
                        Ok(ended) => ended,
                        Err(vain) => {
                            // It may be this request that has ended the replica, or is about to.
                            if parcel.sent {
                                first_hit = Some(replica);
                            }
                            match vain {
                                Vain::TooEarly => {}
                                Vain::Overtaken(claim) => granted = Some(claim),
                                Vain::Denied(reject) => return Err(reject),
                            }
                            continue;
                        }
                    }
                }
            };
            let Failed { reject, untouched } = match ended {
                Ok(answered) => {
                    drop(waiting.take());
                    if let Some(offer) = offer {
                        offer.pass().await;
                    }
                    return Ok(answered);
                }
                Err(failed) => failed,
            };
            if attempt == ATTEMPTS {
                return Err(reject);
            }
            // What no replica has had is no more work for the app than it was, however often it is tried.
            let again = if !parcel.sent || (untouched && keep_head) {
                Again::Unsent
            } else if !replay
                || reject != Reject::UpstreamConnect
                || *first_hit.get_or_insert(replica) != replica
            {
                return Err(reject);
            } else if self.routes.may_repeat(self.entry, clock::coarse()) {
                Again::Repeated
            } else {
                Again::Refused
            };
            self.account.again(again);
            if again == Again::Refused {
                return Err(reject);
            }
            wish = Wish { avoid: Some(replica), ..Wish::default() };
            attempt += 1;
            tracing::debug!(app = entry.app.name, attempt, "sending a request again");
        }
    }

    /// A claim at once, or after its turn in the hold queue. Where it `goes_ahead` perhaps before: then on a replica of which
    /// it is not known whether it is ready, and its place in the queue is kept.
    async fn claim(
        &self,
        Entry { app, policy }: &'a Entry,
        wish: &Wish<'_>,
        deadline: Instant,
        goes_ahead: bool,
        waiting: &mut Option<Waiting<'a>>,
    ) -> Result<(Claim, Option<Arc<Offer>>), Reject> {
        if waiting.is_none() {
            if let Some(claim) = app.claim_as(wish) {
                return Ok((claim, None));
            }
            let (hold, now) = (policy.spec.hold, Instant::now());
            let until = (now + hold.timeout).min(deadline);
            let ticket = app.queue(hold.max).map_err(Reject::Denied)?;
            *waiting = Some(Waiting::new(ticket, until, self.account.hold(now)));
        }
        let Some(Waiting { ticket, until, .. }) = waiting else { unreachable!("it has a ticket") };
        let time = until.saturating_duration_since(Instant::now()).max(Duration::from_millis(1));
        // Its connection's task watches only a client of whom there is nothing left to read.
        let claim = tokio::select! {
            biased;
            claim = app.wait(ticket, time) => claim.map_err(Reject::Denied),
            (claim, offer) = app.go_ahead(), if goes_ahead => return Ok((claim, Some(offer))),
            () = self.account.client().gone() => Err(Reject::ClientGone),
        };
        *waiting = None;
        Ok((claim?, None))
    }
}
