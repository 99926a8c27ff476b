//! A request that goes ahead of the queue, to a replica of which nobody knows yet whether it is ready: what becomes of it, and
//! of its place in the queue. Which one goes ahead is the app's business, see `app/scout.rs`.

use std::pin::pin;

use http::{Response, StatusCode};
use tokio::time::Instant;

use crate::app::replica::Claim;
use crate::app::scout::Offer;
use crate::app::{App, Ticket};
use crate::gateway::account::Held;
use crate::gateway::body::Answer;
use crate::gateway::pool::Lease;
use crate::gateway::respond::Reject;
use crate::gateway::upstream::{Exchange, Failed, Parcel};

/// A request in the hold queue.
pub(super) struct Waiting<'a> {
    /// Its place.
    pub(super) ticket: Ticket<'a>,
    /// How long it may wait.
    pub(super) until: Instant,
    _held: Held<'a>,
}

impl<'a> Waiting<'a> {
    /// One with this place, counted for as long as it waits.
    pub(super) const fn new(ticket: Ticket<'a>, until: Instant, held: Held<'a>) -> Self {
        Self { ticket, until, _held: held }
    }
}

/// Why a request has gone ahead in vain.
pub(super) enum Vain {
    /// Nobody is ready there: it waits on in its place.
    TooEarly,
    /// Its turn has come on another replica.
    Overtaken(Claim),
    /// It is held no longer.
    Denied(Reject),
}

/// Runs an exchange with the replica that is offered, while its request still waits. When that is known to be ready, by
/// whatever it is, the exchange is one like any other: it waits for nothing, and no time to be held cuts it.
///
/// # Errors
/// [`Vain`] where there is neither an answer for the client nor a failure like any other.
pub(super) async fn ahead(
    app: &App,
    offer: &Offer,
    exchange: Exchange,
    parcel: &mut Parcel<'_>,
    waiting: &mut Option<Waiting<'_>>,
) -> Result<Result<(Response<Answer>, Lease), Failed>, Vain> {
    // An answer takes them along, and this one may not be the last.
    let headers = parcel.head.headers.clone();
    let ended = {
        let mut exchange = pin!(exchange.run(parcel));
        let line = waiting.as_mut().expect("whoever goes ahead has a place in the queue");
        let time = line.until.saturating_duration_since(Instant::now());
        let turn = tokio::select! {
            biased;
            ended = &mut exchange => Err(ended),
            () = offer.ready() => Ok(None),
            turn = app.wait(&mut line.ticket, time) => Ok(Some(turn)),
        };
        match turn {
            Err(ended) => ended,
            Ok(turn) => {
                *waiting = None;
                let claim = turn.transpose().map_err(|denied| Vain::Denied(Reject::Denied(denied)))?;
                match claim.filter(|claim| claim.replica().key != offer.replica().key) {
                    Some(claim) => return Err(Vain::Overtaken(claim)),
                    // One place is enough for it.
                    None => return Ok(exchange.await),
                }
            }
        }
    };
    match ended {
        Ok((response, _)) if is_not_ready(response.status()) => {
            (parcel.head.headers, parcel.sent) = (headers, false);
            Err(Vain::TooEarly)
        }
        Err(Failed { reject: Reject::UpstreamConnect, .. }) => Err(Vain::TooEarly),
        ended => Ok(ended),
    }
}

/// What servers say, and proxies in front of them, while an app is on its way up.
fn is_not_ready(status: StatusCode) -> bool {
    matches!(status.as_u16(), 502..=504)
}
