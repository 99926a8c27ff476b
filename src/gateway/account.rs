//! The account of one exchange: settled once, when the exchange has ended, however it came to that. A request
//! whose client leaves, and whose handler is dropped, is counted like any other.

use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::StatusCode;
use http_body::{Body as HttpBody, Frame, SizeHint};
use tokio::time::Instant;

use crate::app::tally::{Again, Cut, Refusal, Writer};
use crate::gateway::body::Body;
use crate::gateway::client::Client;
use crate::gateway::http2;

/// One exchange, from the request's head to the last byte of the answer.
#[derive(Debug)]
pub struct Account {
    /// Who is answered.
    client: Arc<Client>,
    /// The app's, once it is known; until then that of requests that belong to none.
    tally: Rc<Writer>,
    /// When the head had been read.
    started: Instant,
    /// Of the answer, once one has begun.
    status: Option<StatusCode>,
    /// Who broke the answer off, should it end now.
    cut: Option<Cut>,
}

impl Account {
    /// An exchange that begins now.
    #[must_use]
    pub fn open(client: Arc<Client>, tally: Rc<Writer>) -> Self {
        Self { client, tally, started: Instant::now(), status: None, cut: None }
    }

    /// Who is answered.
    #[must_use]
    pub fn client(&self) -> &Client {
        &self.client
    }

    /// When it began.
    #[must_use]
    pub fn started(&self) -> Instant {
        self.started
    }

    /// Whose it is, is known now.
    pub fn belongs_to(&mut self, tally: Rc<Writer>) {
        self.tally = tally;
    }

    /// Its request waits from `since` until the guard is dropped.
    #[must_use]
    pub fn hold(&self, since: Instant) -> Held<'_> {
        Held { tally: &self.tally, since }
    }

    /// An answer begins.
    pub fn answered(&mut self, status: StatusCode) {
        self.status = Some(status);
    }

    /// Its request was to be sent once more.
    pub fn again(&self, what: Again) {
        self.tally.again(what);
    }

    /// It gets no answer of its app's.
    pub fn refused(&self, why: Refusal) {
        self.tally.refused(why);
    }
}

impl Drop for Account {
    fn drop(&mut self) {
        self.tally.ended(self.status.map(|status| status.as_u16()), self.started.elapsed());
        if let Some(by) = self.cut {
            self.tally.cut(by);
        }
        if !self.client.way().multiplexed {
            self.client.ends();
        }
    }
}

/// A request in the hold queue.
#[derive(Debug)]
pub struct Held<'a> {
    tally: &'a Writer,
    since: Instant,
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        self.tally.held(self.since.elapsed());
    }
}

/// A response's body, with the account that its end settles.
#[derive(Debug)]
pub struct Accounted {
    body: Body,
    account: Account,
}

impl Accounted {
    /// Binds the two together.
    #[must_use]
    pub fn new(body: Body, mut account: Account) -> Self {
        // Dropped before its end, it has lost its reader.
        account.cut = body.is_under_way().then_some(Cut::Client);
        Self { body, account }
    }
}

impl HttpBody for Accounted {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let this = self.get_mut();
        let polled = Pin::new(&mut this.body).poll_frame(cx);
        http2::note_answer(polled.is_ready());
        let frame = ready!(polled);
        if matches!(frame, Some(Err(_))) {
            this.account.cut = Some(Cut::Replica);
        } else if !this.body.is_under_way() {
            this.account.cut = None;
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
