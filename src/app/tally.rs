//! What has become of an app's requests, counted for good: how many, how they ended, how long they took. Each
//! worker writes a shard of its own, so that recording shares no cache line.
//!
//! A tally belongs to its app and not to a route table or policy, so that its counts survive every reload.

use std::time::Duration;

use super::histogram::{Histogram, Times, add};
use super::shard::{Own, Shards};
use crate::sync::{AtomicU64, Ordering};

/// Classes of an answer's status, as [`Counts::statuses`] counts them. `none`: the client left before an answer
/// had begun.
pub const STATUSES: [&str; 6] = ["none", "1xx", "2xx", "3xx", "4xx", "5xx"];

/// Why the proxy answered in an app's stead: the rows of the outcome table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// The request is not one that may be passed on.
    BadRequest,
    /// More headers, or larger ones, than a request may have.
    HeaderTooLarge,
    /// A longer target than a request may have.
    UriTooLong,
    /// A larger body than the app takes.
    BodyTooLarge,
    /// The head, or the rest of the body, did not come in time.
    RequestTimeout,
    /// The client asks more often than it may.
    RateLimited,
    /// Nobody is served under this host and path.
    NoRoute,
    /// Too many wait already.
    HoldFull,
    /// Held for as long as it may be.
    HoldTimeout,
    /// The replica exits, or never becomes ready.
    StartFailed,
    /// The runtime cannot do what it is told.
    Runtime,
    /// None of its upstreams is up.
    UpstreamDown,
    /// The proxy is going down.
    ShuttingDown,
    /// Nobody could be reached, or the connection ended before a byte of the answer.
    UpstreamConnect,
    /// The answer was no HTTP.
    UpstreamProtocol,
    /// No answer began in time.
    UpstreamTimeout,
}

impl Refusal {
    /// All of them, as [`Counts::refusals`] counts them.
    pub const ALL: [Self; 16] = [
        Self::BadRequest,
        Self::HeaderTooLarge,
        Self::UriTooLong,
        Self::BodyTooLarge,
        Self::RequestTimeout,
        Self::RateLimited,
        Self::NoRoute,
        Self::HoldFull,
        Self::HoldTimeout,
        Self::StartFailed,
        Self::Runtime,
        Self::UpstreamDown,
        Self::ShuttingDown,
        Self::UpstreamConnect,
        Self::UpstreamProtocol,
        Self::UpstreamTimeout,
    ];

    /// As `x-pilotlight-reason` begins.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::BadRequest => "bad-request",
            Self::HeaderTooLarge => "header-too-large",
            Self::UriTooLong => "uri-too-long",
            Self::BodyTooLarge => "body-too-large",
            Self::RequestTimeout => "request-timeout",
            Self::RateLimited => "rate-limited",
            Self::NoRoute => "no-route",
            Self::HoldFull => "hold-full",
            Self::HoldTimeout => "hold-timeout",
            Self::StartFailed => "start-failed",
            Self::Runtime => "runtime",
            Self::UpstreamDown => "upstream-down",
            Self::ShuttingDown => "shutting-down",
            Self::UpstreamConnect => "upstream-connect",
            Self::UpstreamProtocol => "upstream-protocol",
            Self::UpstreamTimeout => "upstream-timeout",
        }
    }
}

/// Who broke an answer off before its last byte.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cut {
    /// The client left.
    Client,
    /// The replica's connection ended.
    Replica,
}

impl Cut {
    /// Both, as [`Counts::cuts`] counts them.
    pub const ALL: [Self; 2] = [Self::Client, Self::Replica];

    /// For people.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Client => "client",
            Self::Replica => "replica",
        }
    }
}

/// Why a WebSocket was closed although neither side had asked for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Closing {
    /// Neither side had sent a message for long enough.
    Idle,
    /// It was open for as long as it may be.
    Age,
    /// Its replica goes, and it does not count.
    Leaving,
}

impl Closing {
    /// All of them, as [`Counts::closings`] counts them.
    pub const ALL: [Self; 3] = [Self::Idle, Self::Age, Self::Leaving];

    /// For people, those at its two ends among them.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Idle => "idle_timeout",
            Self::Age => "max_age",
            Self::Leaving => "replica_stops",
        }
    }
}

/// What became of the wish to send a request once more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Again {
    /// Sent: the replica before had provably not got it.
    Unsent,
    /// Sent: the replica before may have got it.
    Repeated,
    /// Not sent: it might have been, but too many were of late.
    Refused,
}

impl Again {
    /// All of them, as [`Counts::again`] counts them.
    pub const ALL: [Self; 3] = [Self::Unsent, Self::Repeated, Self::Refused];

    /// For people.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Unsent => "unsent",
            Self::Repeated => "repeated",
            Self::Refused => "refused",
        }
    }
}

/// What has become of the requests of one app, or of those that belong to none.
#[derive(Debug, Default)]
pub struct Tally {
    shards: Shards<Shard>,
    /// Replicas that were taken out. Rare: no shard is needed.
    ejections: AtomicU64,
    /// No more often than sockets are opened, which costs more.
    closings: [AtomicU64; Closing::ALL.len()],
}

/// One worker's counts, apart from whatever another thread writes.
#[derive(Debug)]
#[repr(align(64))]
struct Shard {
    statuses: [AtomicU64; STATUSES.len()],
    refusals: [AtomicU64; Refusal::ALL.len()],
    cuts: [AtomicU64; Cut::ALL.len()],
    again: [AtomicU64; Again::ALL.len()],
    took: Histogram,
    held: Histogram,
}

/// The one writer of a shard.
#[derive(Debug)]
pub struct Writer(Own<Shard>);

/// All that was ever counted.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Counts {
    /// Requests that have ended, by [`STATUSES`].
    pub statuses: [u64; STATUSES.len()],
    /// Requests that were refused, by [`Refusal::ALL`].
    pub refusals: [u64; Refusal::ALL.len()],
    /// Answers that were broken off, by [`Cut::ALL`].
    pub cuts: [u64; Cut::ALL.len()],
    /// Requests that were to be sent once more, by [`Again::ALL`].
    pub again: [u64; Again::ALL.len()],
    /// Replicas that were passed over for a while because they failed.
    pub ejections: u64,
    /// How often the proxy closed a WebSocket, by [`Closing::ALL`].
    pub closings: [u64; Closing::ALL.len()],
    /// From each request's head to the end of its exchange.
    pub took: Times,
    /// In the hold queue, for those that were in it.
    pub held: Times,
}

impl Tally {
    /// The writer of a shard that no other writes.
    #[must_use]
    pub fn writer(&self) -> Writer {
        let zeros = || AtomicU64::new(0);
        Writer(self.shards.take(|| Shard {
            statuses: std::array::from_fn(|_| zeros()),
            refusals: std::array::from_fn(|_| zeros()),
            cuts: std::array::from_fn(|_| zeros()),
            again: std::array::from_fn(|_| zeros()),
            took: Histogram::default(),
            held: Histogram::default(),
        }))
    }

    /// What was counted so far; `None` where no request ever came.
    #[must_use]
    pub fn read(&self) -> Option<Counts> {
        let mut sum: Option<Counts> = None;
        self.shards.for_each(|shard| shard.add_to(sum.get_or_insert_default()));
        if let Some(sum) = &mut sum {
            sum.ejections = self.ejections.load(Ordering::Relaxed);
            sum.closings = std::array::from_fn(|why| self.closings[why].load(Ordering::Relaxed));
        }
        sum
    }

    /// A WebSocket is closed.
    pub fn note_closing(&self, why: Closing) {
        self.closings[why as usize].fetch_add(1, Ordering::Relaxed);
    }

    /// A replica is passed over from now on.
    pub fn note_ejection(&self) {
        self.ejections.fetch_add(1, Ordering::Relaxed);
    }
}

impl Shard {
    fn add_to(&self, sum: &mut Counts) {
        let add = |sum: &mut [u64], more: &[AtomicU64]| {
            for (sum, more) in sum.iter_mut().zip(more) {
                *sum += more.load(Ordering::Relaxed);
            }
        };
        add(&mut sum.statuses, &self.statuses);
        add(&mut sum.refusals, &self.refusals);
        add(&mut sum.cuts, &self.cuts);
        add(&mut sum.again, &self.again);
        sum.took += self.took.read();
        sum.held += self.held.read();
    }
}

impl Writer {
    /// A request has ended after `took`; `status` is its answer's, if one had begun.
    pub fn ended(&self, status: Option<u16>, took: Duration) {
        // What is no status counts as 5xx, RFC 9110 section 15.
        let class = status.map_or(0, |status| usize::from(status / 100).clamp(1, STATUSES.len() - 1));
        add(&self.0.statuses[class], 1);
        self.0.took.record(took);
    }

    /// The proxy answers in the app's stead.
    pub fn refused(&self, why: Refusal) {
        add(&self.0.refusals[why as usize], 1);
    }

    /// An answer has no last byte.
    pub fn cut(&self, by: Cut) {
        add(&self.0.cuts[by as usize], 1);
    }

    /// A request was to be sent once more.
    pub fn again(&self, what: Again) {
        add(&self.0.again[what as usize], 1);
    }

    /// A request was in the hold queue for so long.
    pub fn held(&self, time: Duration) {
        self.0.held.record(time);
    }
}
