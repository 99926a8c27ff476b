//! The account of one exchange: settled once, when the exchange has ended, however it came to that. A request
//! whose client leaves, and whose handler is dropped, is counted like any other.

use std::cell::Cell;
use std::net::IpAddr;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::{StatusCode, request};
use http_body::{Body as HttpBody, Frame, SizeHint};
use tokio::time::Instant;

use crate::app::tally::{Again, Cut, Refusal, Writer};
use crate::gateway::access_log::{Entry, Journal};
use crate::gateway::body::{Body, Broken};
use crate::gateway::client::Client;
use crate::gateway::http2;

/// Most of an answer that is handed out at once where it shares its client's connection with others: what is handed out
/// is all that tells of a client that takes it slowly, and a replica's piece may be many times as large.
const PIECE: usize = 16 * 1024;

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
    /// Whether its request was in the hold queue.
    waited: Cell<bool>,
    /// What the access log will say of it, and where.
    line: Option<(Box<Entry>, Rc<Journal>)>,
}

impl Account {
    /// An exchange that begins now.
    #[must_use]
    pub fn open(client: Arc<Client>, tally: Rc<Writer>) -> Self {
        Self {
            client,
            tally,
            started: Instant::now(),
            status: None,
            cut: None,
            waited: Cell::new(false),
            line: None,
        }
    }

    /// Its request is to have a line in the access log.
    pub fn log(&mut self, journal: &Rc<Journal>, head: &request::Parts) {
        self.line = Some((journal.begin(self.client.ip(), head), Rc::clone(journal)));
    }

    /// Who is answered.
    #[must_use]
    pub fn client(&self) -> &Arc<Client> {
        &self.client
    }

    /// When it began.
    #[must_use]
    pub fn started(&self) -> Instant {
        self.started
    }

    /// Who has sent it, as far as those are believed through whom it has come.
    pub fn comes_from(&mut self, client: IpAddr) {
        if let Some((entry, _)) = &mut self.line {
            entry.comes_from(client);
        }
    }

    /// Whose it is, is known now.
    pub fn belongs_to(&mut self, tally: Rc<Writer>, app: &str) {
        self.tally = tally;
        if let Some((entry, journal)) = &mut self.line {
            entry.belongs_to(journal.format(), app);
        }
    }

    /// Its request waits from `since` until the guard is dropped.
    #[must_use]
    pub fn hold(&self, since: Instant) -> Held<'_> {
        self.waited.set(true);
        Held { account: self, since }
    }

    /// Whether its request was in the hold queue.
    #[must_use]
    pub fn has_waited(&self) -> bool {
        self.waited.get()
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
    pub fn refused(&mut self, why: Refusal) {
        self.tally.refused(why);
        if let Some((entry, _)) = &mut self.line {
            entry.because(why.name());
        }
    }
}

impl Drop for Account {
    fn drop(&mut self) {
        let took = self.started.elapsed();
        self.tally.ended(self.status.map(|status| status.as_u16()), took);
        if let Some(by) = self.cut {
            self.tally.cut(by);
        }
        if let Some((mut entry, journal)) = self.line.take() {
            if let Some(by) = self.cut {
                entry.because(by.name());
            }
            journal.end(entry, self.status, took);
        }
    }
}

/// A request in the hold queue.
#[derive(Debug)]
pub struct Held<'a> {
    account: &'a Account,
    since: Instant,
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        let held = self.since.elapsed();
        self.account.tally.held(held);
        if let Some((entry, _)) = &self.account.line {
            entry.held(held);
        }
    }
}

/// A response's body, with the account that its end settles.
#[derive(Debug)]
pub struct Accounted {
    body: Body,
    /// What of its last piece was not handed out yet.
    rest: Bytes,
    account: Account,
}

impl Accounted {
    /// Binds the two together.
    #[must_use]
    pub fn new(body: Body, mut account: Account) -> Self {
        // Dropped before its end, it has lost its reader.
        account.cut = body.is_under_way().then_some(Cut::Client);
        Self { body, rest: Bytes::new(), account }
    }

    fn poll_piece(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Broken>>> {
        if self.rest.is_empty() {
            let frame = ready!(Pin::new(&mut self.body).poll_frame(cx));
            let large = |frame: &Frame<Bytes>| frame.data_ref().is_some_and(|data| data.len() > PIECE);
            match frame {
                Some(Ok(frame)) if self.account.client.way().multiplexed && large(&frame) => {
                    self.rest = frame.into_data().expect("only data is large");
                }
                frame => return Poll::Ready(frame),
            }
        }
        let piece = self.rest.split_to(PIECE.min(self.rest.len()));
        Poll::Ready(Some(Ok(Frame::data(piece))))
    }
}

impl HttpBody for Accounted {
    type Data = Bytes;
    type Error = Broken;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Broken>>> {
        let this = self.get_mut();
        let polled = this.poll_piece(cx);
        http2::note_answer(polled.is_ready());
        let frame = ready!(polled);
        if let (Some((entry, _)), Some(Ok(frame))) = (&mut this.account.line, &frame) {
            entry.handed_out(frame.data_ref().map_or(0, Bytes::len));
        }
        if matches!(frame, Some(Err(_))) {
            this.account.cut = Some(Cut::Replica);
        } else if !this.body.is_under_way() && this.rest.is_empty() {
            this.account.cut = None;
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty() && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        let (mut hint, rest) = (self.body.size_hint(), self.rest.len() as u64);
        if let Some(upper) = hint.upper() {
            hint.set_upper(upper + rest);
        }
        hint.set_lower(hint.lower() + rest);
        hint
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::app::tally::Tally;
    use crate::gateway::client::Way;
    use crate::gateway::line::Line;
    use crate::gateway::socket::Socket;
    use http_body_util::BodyExt;
    use tokio::net::UnixStream;

    /// How large the pieces are in which a client of this kind gets a body of 40,000 bytes.
    async fn pieces(multiplexed: bool) -> Vec<usize> {
        let (ours, _theirs) = UnixStream::pair().unwrap();
        let way = Way { secure: false, multiplexed };
        let client = Client::new(Line::new(Socket::Unix(ours)), None, None, way, false);
        let account = Account::open(client, Rc::new(Tally::default().writer()));
        let sent: Bytes = (0..40_000_u32).map(|at| u8::try_from(at % 251).unwrap()).collect();
        let mut body = Accounted::new(Body::whole(sent.clone()), account);
        let (mut sizes, mut all) = (Vec::new(), Vec::new());
        while !body.is_end_stream() {
            let left = sent.len() - all.len();
            assert_eq!(body.size_hint().exact(), Some(left as u64), "what is to come");
            let piece = body.frame().await.unwrap().unwrap().into_data().unwrap();
            sizes.push(piece.len());
            all.extend_from_slice(&piece);
        }
        assert!(body.frame().await.is_none() && all == sent);
        sizes
    }

    #[tokio::test]
    async fn an_answer_that_shares_its_connection_goes_out_in_small_pieces() {
        assert_eq!(pieces(true).await, [PIECE, PIECE, 40_000 - 2 * PIECE]);
        assert_eq!(pieces(false).await, [40_000]);
    }
}
