//! One exchange with one replica: a connection from the pool or a new one, the request sent, the answer's head
//! received. Says how it failed, and whether the request may be sent again.

use std::error::Error;
use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use h2::Reason;
use http::header::{CONTENT_LENGTH, TRANSFER_ENCODING};
use http::{Request, Response};
use hyper::body::Incoming;
use tokio::time::Instant;

use crate::app::clock;
use crate::app::replica::Claim;
use crate::gateway::ejection;
use crate::gateway::pool::{Lease, Pool};
use crate::gateway::respond::Reject;
use crate::gateway::sender::{self, CONNECT_TIMEOUT, ENDED, NO_HTTP2, Sender};
use crate::gateway::upload::{Progress, Upload};
use crate::runtime::reach;

/// What an exchange needs to know beside the request.
#[derive(Debug)]
pub struct Exchange {
    /// This worker's connections.
    pub pool: Rc<Pool>,
    /// The replica to use.
    pub claim: Claim,
    /// How far the request's body has come, where it has one.
    pub progress: Option<Arc<Progress>>,
    /// Until the answer's head; put off while a body is on its way up.
    pub deadline: Instant,
    /// The app's `timeout`, by which the deadline is put off.
    pub timeout: Duration,
    /// How the replica is spoken to.
    pub speech: Speech,
    /// How long the connection may be idle afterwards.
    pub keep_alive: Duration,
    /// Whether a connection of the pool will not do: one has failed this request already.
    pub fresh: bool,
}

/// Why an exchange has given no answer.
#[derive(Debug)]
pub struct Failed {
    /// What the client is told where nothing else can be tried.
    pub reject: Reject,
    /// The replica has said itself that it has done nothing of the request.
    pub untouched: bool,
}

impl From<Reject> for Failed {
    fn from(reject: Reject) -> Self {
        Self { reject, untouched: false }
    }
}

/// How a replica is spoken to.
#[derive(Debug, Clone, Copy)]
pub struct Speech {
    /// In HTTP/2.
    pub http2: bool,
    /// Which HTTP it is was guessed from what the client says: a wrong guess is no failure of the replica's.
    pub guessed: bool,
    /// Header names of HTTP/1 go as their sender has written them.
    pub keep_case: bool,
}

impl Exchange {
    /// Takes the request, sends it and waits for the answer's head. A request that provably was not sent is put back.
    ///
    /// # Errors
    /// [`Failed`] where nothing came of it.
    pub async fn run(
        self,
        request: &mut Option<Request<Upload>>,
    ) -> Result<(Response<Incoming>, Lease), Failed> {
        if self.speech.http2 {
            return self.run_http2(request).await;
        }
        while !self.fresh
            && let Some(mut sender) = self.pool.take(&self.claim)
        {
            let ready = tokio::time::timeout_at(self.deadline, sender.ready()).await;
            if !matches!(ready, Ok(Ok(()))) {
                continue;
            }
            let mut sender = Sender::Http1(sender);
            match self.send(&mut sender, request, Connection::Kept).await {
                Ok(response) => return Ok(self.answered(response, sender)),
                // The server had closed it meanwhile; another, or a new one, will do.
                Err(_) if request.is_some() => {}
                Err(failed) => return Err(failed),
            }
        }
        let connecting = sender::connect_http1(&self.claim.replica().endpoint, self.speech.keep_case);
        let mut sender = Sender::Http1(self.connected(connecting, request).await?);
        let response = self.send(&mut sender, request, Connection::New).await?;
        Ok(self.answered(response, sender))
    }

    async fn run_http2(
        self,
        request: &mut Option<Request<Upload>>,
    ) -> Result<(Response<Incoming>, Lease), Failed> {
        loop {
            let place = self.pool.multiplexed().place(&self.claim, self.keep_alive);
            let old = place.is_old();
            let stream = place.stream(self.progress.clone());
            let Some(stream) = self.connected(stream, request).await? else { continue };
            let mut sender = Sender::Http2(stream);
            let connection = if old { Connection::Kept } else { Connection::New };
            let failed = match self.send(&mut sender, request, connection).await {
                Ok(response) => return Ok(self.answered(response, sender)),
                Err(failed) => failed,
            };
            if let Sender::Http2(stream) = &sender
                && (request.is_some() || failed.reject == Reject::UpstreamTimeout)
            {
                // It may be that nobody is there any more, which nothing else would tell.
                stream.give_up_connection();
            }
            // As above: one that was there already may have been closed meanwhile.
            if !old || request.is_none() {
                return Err(failed);
            }
        }
    }

    /// A connection that is made in time, or what to tell the client.
    async fn connected<T>(
        &self,
        connecting: impl Future<Output = io::Result<T>>,
        request: &mut Option<Request<Upload>>,
    ) -> Result<T, Reject> {
        let limit = Instant::now() + CONNECT_TIMEOUT;
        match tokio::time::timeout_at(self.deadline.min(limit), connecting).await {
            Ok(Ok(connected)) => Ok(connected),
            // The request's time is over, which says nothing of the replica.
            Err(_elapsed) if self.deadline < limit => {
                *request = None;
                Err(Reject::UpstreamTimeout)
            }
            Ok(Err(error)) => Err(self.unconnected(&error, request)),
            Err(_elapsed) => Err(self.unconnected(&io::ErrorKind::TimedOut.into(), request)),
        }
    }

    fn unconnected(&self, error: &io::Error, request: &mut Option<Request<Upload>>) -> Reject {
        tracing::debug!(endpoint = %self.claim.replica().endpoint.address, %error, "cannot connect");
        let failed = match error.kind() {
            // It was there, and has not kept to what was asked of it.
            NO_HTTP2 | ENDED => !self.speech.guessed,
            // Who finds it closed has met with what another has reported.
            _ => reach::is_replicas(error) && self.claim.report_unreachable(),
        };
        if failed {
            ejection::note_failure(&self.claim);
        }
        if error.kind() == NO_HTTP2 {
            // Nor would the next one of its kind.
            *request = None;
            return Reject::UpstreamProtocol;
        }
        Reject::UpstreamConnect
    }

    fn answered(self, response: Response<Incoming>, sender: Sender) -> (Response<Incoming>, Lease) {
        self.claim.report_answered();
        // Where an answer with both framings ends is in doubt, and so is what follows it, RFC 9112 section 6.3.
        let headers = response.headers();
        let in_doubt = headers.contains_key(TRANSFER_ENCODING) && headers.contains_key(CONTENT_LENGTH);
        let keep = (!in_doubt).then_some(self.keep_alive);
        let lease = Lease::new(self.pool, self.claim, sender, self.progress, keep);
        (response, lease)
    }

    async fn send(
        &self,
        sender: &mut Sender,
        request: &mut Option<Request<Upload>>,
        connection: Connection,
    ) -> Result<Response<Incoming>, Failed> {
        let sent = request.take().expect("it is there until it is sent, and again where it was not");
        let mut answer = std::pin::pin!(sender.send(sent));
        let mut deadline = self.deadline;
        loop {
            match tokio::time::timeout_at(deadline, answer.as_mut()).await {
                Ok(Ok(response)) => return Ok(response),
                Ok(Err(mut error)) => {
                    *request = error.take_message();
                    let error = error.into_error();
                    tracing::debug!(endpoint = %self.claim.replica().endpoint.address, ?error, "no answer");
                    // A body that broke off is the client's doing and not the replica's.
                    let broken = self.progress.as_ref().and_then(|progress| progress.broken());
                    let reject = broken.unwrap_or(if error.is_parse() || sender::speaks_another(&error) {
                        Reject::UpstreamProtocol
                    } else {
                        Reject::UpstreamConnect
                    });
                    // A server that has heard enough of a body may answer and close while more of it comes.
                    let heard = self.progress.as_ref().is_none_or(|progress| progress.done());
                    // Who says that it has enough to do has not failed.
                    let untouched = reject == Reject::UpstreamConnect && is_refused(&error);
                    if heard && !untouched && !self.speech.guessed && connection.tells(&reject) {
                        ejection::note_failure(&self.claim);
                    }
                    return Err(Failed { reject, untouched });
                }
                Err(_elapsed) => match self.put_off() {
                    Some(later) => deadline = later,
                    None => return Err(Reject::UpstreamTimeout.into()),
                },
            }
        }
    }

    /// A later deadline for a request with a body. While that is under way, it may not stop for `timeout`; once it
    /// has come to its end, the time that it took is not the replica's.
    fn put_off(&self) -> Option<Instant> {
        let progress = self.progress.as_ref()?;
        let now = Instant::now();
        let later = match progress.last() {
            Some(last) => now + self.timeout.checked_sub(clock::coarse().since(last))?,
            None => self.deadline + progress.took(),
        };
        (later > now).then_some(later)
    }
}

/// Whether the replica has said that it has done nothing of the request, and will not, RFC 9113 section 8.7: it has refused
/// this stream, or taken leave of the connection before it.
fn is_refused(error: &hyper::Error) -> bool {
    let source = error.source().and_then(|source| source.downcast_ref::<h2::Error>());
    // The parser tells of a leave only those streams that come behind the last that was heard.
    source.is_some_and(|error| {
        error.is_remote() && (error.is_go_away() || error.reason() == Some(Reason::REFUSED_STREAM))
    })
}

/// Which kind of connection a request is sent on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Connection {
    /// Made for it.
    New,
    /// One that had been idle, or carries others.
    Kept,
}

impl Connection {
    /// Whether such an end of it tells something of the replica: servers close what is idle as they like, and a request
    /// may be on its way just then.
    fn tells(self, reject: &Reject) -> bool {
        match reject {
            Reject::UpstreamProtocol => true,
            Reject::UpstreamConnect => self == Self::New,
            _ => false,
        }
    }
}
