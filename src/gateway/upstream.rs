//! One exchange with one replica: a connection from the pool or a new one, the request sent, the answer's head
//! received. Says how it failed, and whether the request may be sent again.

use std::error::Error;
use std::future::poll_fn;
use std::io;
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Poll, ready};
use std::time::Duration;

use h2::Reason;
use http::header::UPGRADE;
use http::{Request, Response, request};
use tokio::time::Instant;

use crate::app::clock;
use crate::app::replica::Claim;
use crate::gateway::body::Answer;
use crate::gateway::ejection;
use crate::gateway::outbound::{self, Alarm, Failure};
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

/// A request on its way to whichever replica it may be.
#[derive(Debug)]
pub struct Parcel<'a> {
    /// Its head, which stays where it is while it can be sent again.
    pub head: &'a mut request::Parts,
    /// Its body.
    pub upload: Upload,
    /// It may be sent a second time, so its head is to be kept whoever has got it.
    pub keep: bool,
    /// Somebody may have got a part of it.
    pub sent: bool,
}

impl Parcel<'_> {
    /// The request, for who takes it as a whole.
    fn hand_over(&mut self) -> Request<Upload> {
        self.sent = true;
        let head = if self.keep { self.head.clone() } else { std::mem::replace(self.head, nothing()) };
        Request::from_parts(head, std::mem::replace(&mut self.upload, Upload::none()))
    }

    /// It was not sent.
    fn take_back(&mut self, request: Request<Upload>) {
        self.sent = false;
        (*self.head, self.upload) = request.into_parts();
    }
}

/// What stands in the place of a head that is gone.
fn nothing() -> request::Parts {
    Request::new(()).into_parts().0
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
}

impl Exchange {
    /// Sends the request and waits for the answer's head.
    ///
    /// # Errors
    /// [`Failed`] where nothing came of it.
    pub async fn run(self, parcel: &mut Parcel<'_>) -> Result<(Response<Answer>, Lease), Failed> {
        if self.speech.http2 {
            return self.run_http2(parcel).await;
        }
        while !self.fresh
            && let Some(kept) = self.pool.take(&self.claim)
        {
            if kept.home != self.pool.id() && parcel.head.headers.contains_key(UPGRADE) {
                // For as long as it would be something else, another thread would hear of it. It goes, so that there are
                // no more connections than claims.
                break;
            }
            let mut sender = Sender::Http1(kept);
            match self.send(&mut sender, parcel, Connection::Kept).await {
                Ok(response) => return Ok(self.answered(response, sender)),
                // The server had closed it meanwhile; another, or a new one, will do.
                Err(_) if !parcel.sent => {}
                Err(failed) => return Err(failed),
            }
        }
        let mut sender = self.connect(parcel).await?;
        let response = self.send(&mut sender, parcel, Connection::New).await?;
        Ok(self.answered(response, sender))
    }

    async fn connect(&self, parcel: &mut Parcel<'_>) -> Result<Sender, Reject> {
        let endpoint = &self.claim.replica().endpoint;
        let connection = self.connected(outbound::Connection::open(endpoint, self.pool.id()), parcel).await?;
        Ok(Sender::Http1(Box::new(connection)))
    }

    async fn run_http2(self, parcel: &mut Parcel<'_>) -> Result<(Response<Answer>, Lease), Failed> {
        loop {
            let place = self.pool.multiplexed().place(&self.claim, self.keep_alive);
            let old = place.is_old();
            let stream = place.stream(self.progress.clone());
            let Some(stream) = self.connected(stream, parcel).await? else { continue };
            let mut sender = Sender::Http2(stream);
            let connection = if old { Connection::Kept } else { Connection::New };
            let failed = match self.send(&mut sender, parcel, connection).await {
                Ok(response) => return Ok(self.answered(response, sender)),
                Err(failed) => failed,
            };
            if let Sender::Http2(stream) = &sender
                && (!parcel.sent || failed.reject == Reject::UpstreamTimeout)
            {
                // It may be that nobody is there any more, which nothing else would tell.
                stream.give_up_connection();
            }
            // As above: one that was there already may have been closed meanwhile.
            if !old || parcel.sent {
                return Err(failed);
            }
        }
    }

    /// A connection that is made in time, or what to tell the client.
    async fn connected<T>(
        &self,
        connecting: impl Future<Output = io::Result<T>>,
        parcel: &mut Parcel<'_>,
    ) -> Result<T, Reject> {
        let limit = Instant::now() + CONNECT_TIMEOUT;
        match tokio::time::timeout_at(self.deadline.min(limit), connecting).await {
            Ok(Ok(connected)) => Ok(connected),
            // The request's time is over, which says nothing of the replica.
            Err(_elapsed) if self.deadline < limit => {
                parcel.sent = true;
                Err(Reject::UpstreamTimeout)
            }
            Ok(Err(error)) => Err(self.unconnected(&error, parcel)),
            Err(_elapsed) => Err(self.unconnected(&io::ErrorKind::TimedOut.into(), parcel)),
        }
    }

    fn unconnected(&self, error: &io::Error, parcel: &mut Parcel<'_>) -> Reject {
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
            parcel.sent = true;
            return Reject::UpstreamProtocol;
        }
        Reject::UpstreamConnect
    }

    fn answered(self, response: Response<Answer>, sender: Sender) -> (Response<Answer>, Lease) {
        self.claim.report_answered();
        let lease = Lease::new(self.pool, self.claim, sender, self.progress, self.keep_alive);
        (response, lease)
    }

    async fn send(
        &self,
        sender: &mut Sender,
        parcel: &mut Parcel<'_>,
        connection: Connection,
    ) -> Result<Response<Answer>, Failed> {
        let stream = match sender {
            Sender::Http1(own) => {
                let mut alarm = std::mem::take(&mut own.alarm);
                let answered = self.in_time(&mut alarm, own.exchange(parcel)).await;
                own.alarm = alarm;
                return match answered {
                    Some(Ok(response)) => Ok(response.map(|()| Answer::Own)),
                    Some(Err(failure)) => Err(self.failed(&failure, Blame::of(&failure), connection)),
                    None => Err(Reject::UpstreamTimeout.into()),
                };
            }
            Sender::Http2(stream) => stream,
        };
        let answer = stream.sender().try_send_request(parcel.hand_over());
        match self.in_time(&mut Alarm::default(), answer).await {
            Some(Ok(response)) => Ok(response.map(Answer::Parsed)),
            Some(Err(mut error)) => {
                if let Some(unsent) = error.take_message() {
                    parcel.take_back(unsent);
                }
                let error = error.into_error();
                Err(self.failed(&error, Blame::of_parsers(&error), connection))
            }
            None => Err(Reject::UpstreamTimeout.into()),
        }
    }

    /// What comes of an answer that is awaited in time; `None`: it was too late.
    async fn in_time<T>(&self, alarm: &mut Alarm, answer: impl Future<Output = T>) -> Option<T> {
        let (mut answer, mut deadline) = (pin!(answer), self.deadline);
        poll_fn(|cx| {
            if let Poll::Ready(answered) = answer.as_mut().poll(cx) {
                return Poll::Ready(Some(answered));
            }
            loop {
                ready!(alarm.poll_at(deadline, cx));
                match self.put_off() {
                    Some(later) => deadline = later,
                    None => return Poll::Ready(None),
                }
            }
        })
        .await
    }

    /// What is told of an exchange that has come to no end.
    fn failed(&self, error: &(dyn Error + 'static), blame: Blame, connection: Connection) -> Failed {
        tracing::debug!(endpoint = %self.claim.replica().endpoint.address, error, "no answer");
        // A body that broke off is the client's doing and not the replica's.
        let broken = self.progress.as_ref().and_then(|progress| progress.broken());
        let reject = broken.unwrap_or(match blame {
            Blame::Protocol => Reject::UpstreamProtocol,
            Blame::Connection | Blame::Nobody => Reject::UpstreamConnect,
        });
        // A server that has heard enough of a body may answer and close while more of it comes.
        let heard = self.progress.as_ref().is_none_or(|progress| progress.done());
        // Who says that it has enough to do has not failed.
        let untouched = reject == Reject::UpstreamConnect && blame == Blame::Nobody;
        if heard && !untouched && !self.speech.guessed && connection.tells(&reject) {
            ejection::note_failure(&self.claim);
        }
        Failed { reject, untouched }
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

/// What an exchange has failed by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Blame {
    /// What was answered is no HTTP.
    Protocol,
    /// There was no answer.
    Connection,
    /// The replica has refused the request in order.
    Nobody,
}

impl Blame {
    fn of(failure: &Failure) -> Self {
        match failure {
            Failure::Malformed(_) => Self::Protocol,
            Failure::Io(_) | Failure::Body(_) => Self::Connection,
        }
    }

    fn of_parsers(error: &hyper::Error) -> Self {
        if error.is_parse() || sender::speaks_another(error) {
            Self::Protocol
        } else if is_refused(error) {
            Self::Nobody
        } else {
            Self::Connection
        }
    }
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
