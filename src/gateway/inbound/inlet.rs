//! A client's bytes, as two see them: the connection's task reads heads and writes answers, and whoever sends a request's
//! body on reads that. Only one of the two reads at a time, since only one is told when there is something.

use std::cell::RefCell;
use std::io;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll, Waker, ready};

use bytes::{Bytes, BytesMut};
use http_body::Frame;
use tokio::io::{AsyncReadExt, AsyncWrite};
use tokio::sync::oneshot;

use crate::app::clock::{self, Millis};
use crate::gateway::inbound::body::Broken;
use crate::gateway::inbound::head::{self, Bounds, Head};
use crate::gateway::message::coming::{Framing, Taken};
use crate::gateway::message::outbox::Outbox;
use crate::gateway::message::switched::Switched;
use crate::gateway::raw_head::{self, Facts};
use crate::gateway::respond::{self, Reject};
use crate::gateway::transport::Transport;

/// Bytes that are read at once: of heads, which an idle connection keeps, and at most.
const READ: (usize, usize) = (2 * 1024, 64 * 1024);

/// The word that a client awaits before it sends its body.
#[derive(Debug, Default)]
struct Word {
    awaited: bool,
    /// What of it is still to be written.
    rest: &'static [u8],
    /// It may not be on its way yet, though it is written.
    unflushed: bool,
}

/// Why nothing more of use will come of a client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    /// Its body is none.
    Malformed(&'static str),
    /// It has ended, or failed.
    Ended,
}

/// One client's bytes.
#[derive(Debug)]
pub(super) struct Inlet {
    /// Gone with what has switched.
    transport: Option<Transport>,
    /// What was read and belongs to nothing yet.
    inbox: BytesMut,
    /// How much of that was looked at for the end of a head.
    seen: usize,
    /// Bytes that are read at once of a body: as many as have come of late.
    read: usize,
    /// Which request it is at.
    turn: u64,
    /// What is still to come of its body.
    framing: Framing,
    /// Somebody else reads that.
    lent: bool,
    /// Who that is, where nothing has come.
    reading: Option<Waker>,
    /// The connection's task, where it waits until they are done.
    waiting: Option<Waker>,
    /// When something has last come.
    heard: Millis,
    /// More was asked for than for a head.
    large: bool,
    word: Word,
    /// The answer goes out, and nothing else between its bytes.
    answering: bool,
    /// Why nothing more of use will come.
    fault: Option<Fault>,
    /// Who waits for the connection to become something else.
    switch: Option<oneshot::Sender<Switched<Transport>>>,
}

impl Inlet {
    pub(super) fn new(transport: Transport) -> Rc<RefCell<Self>> {
        Rc::new(RefCell::new(Self {
            transport: Some(transport),
            inbox: BytesMut::new(),
            seen: 0,
            read: READ.0,
            turn: 0,
            framing: Framing::Ended,
            lent: false,
            reading: None,
            waiting: None,
            heard: clock::coarse(),
            large: false,
            word: Word::default(),
            answering: false,
            fault: None,
            switch: None,
        }))
    }

    fn transport(&mut self) -> &mut Transport {
        self.transport.as_mut().expect("what has switched is asked nothing more")
    }

    /// The next head; `None`: the client has ended, in whichever way.
    pub(super) fn poll_head(
        &mut self,
        bounds: &Bounds,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Option<Head>, Reject>> {
        loop {
            if self.inbox.len() > self.seen
                && let Some(head) = head::take(&mut self.inbox, &mut self.seen, bounds)?
            {
                return Poll::Ready(Ok(Some(head)));
            }
            match ready!(self.poll_fill(READ.0 / 2, cx)) {
                Ok(count) if count > 0 => {}
                _ => return Poll::Ready(Ok(None)),
            }
        }
    }

    /// Whether a head has begun that is not whole yet.
    pub(super) fn is_partial(&self) -> bool {
        // An empty line may come behind a body, and is none.
        self.inbox.iter().any(|byte| !matches!(byte, b'\r' | b'\n'))
    }

    /// Whether the client has begun to say what it has not ended, as far as was read: more may be on its way.
    pub(super) fn is_midway(&self) -> bool {
        !self.framing.is_ended() || !self.inbox.is_empty()
    }

    /// A request begins whose head says this.
    pub(super) fn begin(&mut self, facts: &Facts) {
        self.turn += 1;
        self.framing = match facts.body {
            raw_head::Body::None => Framing::Ended,
            raw_head::Body::Length(length) => Framing::Length(length),
            raw_head::Body::Chunked => Framing::Chunked(Box::default()),
        };
        self.lent = !self.framing.is_ended();
        self.word.awaited = facts.expects;
        self.answering = false;
        self.switch = None;
    }

    /// Which request it is at.
    pub(super) fn turn(&self) -> u64 {
        self.turn
    }

    /// What is still to come of its body.
    pub(super) fn framing(&self) -> &Framing {
        &self.framing
    }

    /// When something has last come.
    pub(super) fn heard(&self) -> Millis {
        self.heard
    }

    /// The next piece of the request's body, for who has it.
    pub(super) fn poll_body(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Broken>>> {
        let polled = self.poll_piece(cx);
        if polled.is_pending() {
            note(&mut self.reading, cx);
        }
        polled
    }

    fn poll_piece(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Broken>>> {
        if let Some(Fault::Malformed(why)) = self.fault {
            return Poll::Ready(Some(Err(Broken::Malformed(why))));
        }
        loop {
            match self.framing.take(&mut self.inbox) {
                Ok(Taken::Frame(frame)) => {
                    if self.framing.is_ended() {
                        self.give_back();
                    }
                    return Poll::Ready(Some(Ok(frame)));
                }
                Ok(Taken::Nothing) => {
                    self.give_back();
                    return Poll::Ready(None);
                }
                Ok(Taken::More) => {}
                Err(why) => {
                    self.fault = Some(Fault::Malformed(why));
                    return Poll::Ready(Some(Err(Broken::Malformed(why))));
                }
            }
            if self.transport.is_none() {
                return Poll::Ready(Some(Err(Broken::Gone(io::ErrorKind::NotConnected.into()))));
            }
            if !self.answering {
                if std::mem::take(&mut self.word.awaited) {
                    self.word.rest = respond::CONTINUE;
                }
                // Where it cannot be written yet, nothing comes that would be read.
                let _written_or_not = self.poll_word(cx)?;
            }
            let broken = match ready!(self.poll_fill(self.read / 2, cx)) {
                Ok(1..) => continue,
                Ok(0) => io::ErrorKind::UnexpectedEof.into(),
                Err(error) => error,
            };
            self.fault = Some(Fault::Ended);
            return Poll::Ready(Some(Err(Broken::Gone(broken))));
        }
    }

    /// Nobody else reads any more.
    pub(super) fn give_back(&mut self) {
        (self.lent, self.reading) = (false, None);
        if let Some(waiting) = self.waiting.take() {
            waiting.wake();
        }
    }

    /// Pending for as long as somebody else reads.
    fn poll_given_back(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if !self.lent {
            return Poll::Ready(());
        }
        note(&mut self.waiting, cx);
        Poll::Pending
    }

    /// Ready when the client has ended, as far as that can be seen from here, see [`Self::is_blind`].
    pub(super) fn poll_gone(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        ready!(self.poll_given_back(cx));
        while self.fault.is_none() && !self.is_blind() {
            if !matches!(ready!(self.poll_fill(1, cx)), Ok(1..)) {
                self.fault = Some(Fault::Ended);
            }
        }
        if self.fault == Some(Fault::Ended) { Poll::Ready(()) } else { Poll::Pending }
    }

    /// Whether somebody else reads.
    pub(super) fn is_lent(&self) -> bool {
        self.lent
    }

    /// Whether what is to be read is nothing to be read now: of a body that nobody wants, or of a further request.
    pub(super) fn is_blind(&self) -> bool {
        !self.lent && (!self.framing.is_ended() || !self.inbox.is_empty())
    }

    /// Whether the request has turned out to be none while its answer goes on.
    pub(super) fn is_malformed(&self) -> bool {
        matches!(self.fault, Some(Fault::Malformed(_)))
    }

    /// Passes over what is left of the request's body, once nobody else reads it. Says whether its end was there.
    pub(super) fn poll_rest(&mut self, cx: &mut Context<'_>) -> Poll<bool> {
        ready!(self.poll_given_back(cx));
        let mut looked = self.fault.is_some();
        loop {
            match self.framing.take(&mut self.inbox) {
                Ok(Taken::Nothing) => return Poll::Ready(true),
                Ok(Taken::Frame(_)) => {}
                Ok(Taken::More) if !looked => {
                    looked = true;
                    if !matches!(self.poll_fill(self.read / 2, cx), Poll::Ready(Ok(1..))) {
                        return Poll::Ready(false);
                    }
                }
                Ok(Taken::More) | Err(_) => return Poll::Ready(false),
            }
        }
    }

    /// Reads what there is, at least a byte; 0: the client has ended. `least`: for how much there is to be room.
    fn poll_fill(&mut self, least: usize, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        // From the front of the block as long as that is possible: what was read there last is in the cache.
        let all = if self.framing.is_ended() { READ.0 } else { self.read };
        let fresh = self.inbox.is_empty() && self.inbox.capacity() < all && self.inbox.try_reclaim(all);
        if !fresh && self.inbox.capacity() - self.inbox.len() < least {
            self.large |= self.inbox.len() + all > READ.0;
            self.inbox.reserve(all);
        }
        let room = self.inbox.capacity() - self.inbox.len();
        let Self { transport, inbox, .. } = self;
        let transport = transport.as_mut().expect("what has switched is asked nothing more");
        let count = ready!(pin!(transport.read_buf(inbox)).poll(cx))?;
        if count == room {
            // There may be much more.
            self.read = (self.read * 2).min(READ.1);
        } else if count < self.read / 4 && !self.framing.is_ended() {
            self.read = (self.read / 2).max(READ.0);
        }
        self.heard = clock::coarse();
        Poll::Ready(Ok(count))
    }

    /// Writes what is in the outbox.
    pub(super) fn poll_flush(&mut self, outbox: &mut Outbox, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        // From here on the answer is what the client awaits.
        (self.word.awaited, self.answering) = (false, true);
        ready!(self.poll_word(cx))?;
        let transport = self.transport();
        ready!(outbox.poll_flush(transport, cx))?;
        Pin::new(transport).poll_flush(cx)
    }

    fn poll_word(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.word.rest.is_empty() {
            let word = self.word.rest;
            let count = ready!(Pin::new(self.transport()).poll_write(cx, word))?;
            if count == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.word.rest = &word[count..];
            self.word.unflushed = true;
        }
        if self.word.unflushed {
            ready!(Pin::new(self.transport()).poll_flush(cx))?;
            self.word.unflushed = false;
        }
        Poll::Ready(Ok(()))
    }

    /// The connection is idle: what bodies and large heads have taken is given back.
    pub(super) fn slim(&mut self) {
        if self.large {
            // A further request may have come along.
            self.inbox = BytesMut::from(&self.inbox[..]);
            self.large = self.inbox.len() > READ.0;
        }
    }

    /// The connection is to become something else, should that be agreed on.
    pub(super) fn switching(&mut self) -> oneshot::Receiver<Switched<Transport>> {
        let (sender, receiver) = oneshot::channel();
        self.switch = Some(sender);
        receiver
    }

    /// It was agreed on. Nobody takes it where the request has not come to its end.
    pub(super) fn switch(&mut self) {
        if let (Some(sender), Some(transport), Framing::Ended) =
            (self.switch.take(), self.transport.take(), &self.framing)
        {
            let _taken_or_left = sender.send(Switched::new(transport, std::mem::take(&mut self.inbox)));
        }
    }

    /// Says that nothing more comes, in the words of TLS where that is spoken: without it the system says it alone.
    pub(super) fn poll_leave(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        match &mut self.transport {
            Some(Transport::Tls(stream)) => Pin::new(stream).poll_shutdown(cx).map(|_best_effort| ()),
            _ => Poll::Ready(()),
        }
    }

    /// Nothing more is read or written. Who reads still is told so.
    pub(super) fn close(&mut self) {
        self.transport = None;
        if let Some(reading) = self.reading.take() {
            reading.wake();
        }
    }

    /// Says this as far as it can be said at once.
    pub(super) fn say(&mut self, last: &[u8], cx: &mut Context<'_>) {
        let _best_effort = Pin::new(self.transport()).poll_write(cx, last);
        let _best_effort = Pin::new(self.transport()).poll_flush(cx);
    }
}

/// Has this task woken.
fn note(whom: &mut Option<Waker>, cx: &Context<'_>) {
    if !whom.as_ref().is_some_and(|waker| waker.will_wake(cx.waker())) {
        *whom = Some(cx.waker().clone());
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::task::Wake;
    use std::time::Duration;

    use tokio::io::AsyncWriteExt;
    use tokio::net::UnixStream;

    use super::*;
    use crate::gateway::line::{Line, LineStream};
    use crate::gateway::raw_head::{Body, Wants};
    use crate::gateway::socket::Socket;

    const BOUNDS: Bounds = Bounds { bytes: 64 * 1024, fields: 100, keep_letters: false };

    /// Of a large body.
    const LENGTH: usize = 204_800;

    const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n";

    fn pair() -> (Rc<RefCell<Inlet>>, UnixStream) {
        let (ours, theirs) = UnixStream::pair().unwrap();
        let stream = LineStream::new(Line::new(Socket::Unix(ours)), Duration::from_mins(3));
        (Inlet::new(Transport::Clear(stream)), theirs)
    }

    fn begin(inlet: &RefCell<Inlet>, length: usize, expects: bool) {
        let wants = Wants { current: true, keeps: true, trailers: false };
        inlet.borrow_mut().begin(&Facts { body: Body::Length(length as u64), expects, wants });
    }

    /// So many bytes of a body, in the pieces in which they come.
    async fn pieces(inlet: &RefCell<Inlet>, length: usize) -> Vec<Bytes> {
        let (mut pieces, mut left) = (Vec::new(), length);
        while left > 0 {
            let frame = poll_fn(|cx| inlet.borrow_mut().poll_body(cx)).await.unwrap().unwrap();
            let piece = frame.into_data().unwrap();
            left = left.checked_sub(piece.len()).expect("no more than that");
            pieces.push(piece);
        }
        pieces
    }

    /// Once it is idle, it keeps no more than a head needs, or what is there.
    fn assert_slim(inlet: &RefCell<Inlet>, which: &str) {
        let mut inlet = inlet.borrow_mut();
        inlet.slim();
        let (room, there) = (inlet.inbox.capacity(), inlet.inbox.len());
        assert!(room <= READ.0 || room == there, "{room} for {there}: {which}");
        // A small rest of a large block would keep all of it.
        assert!(!inlet.inbox.try_reclaim(READ.0 + 1), "there is more behind it: {which}");
    }

    #[tokio::test]
    async fn what_a_large_body_has_taken_is_given_back() {
        for size in [100, 1024, 2048, 10_240, LENGTH] {
            for kept in [false, true] {
                let (inlet, mut client) = pair();
                begin(&inlet, LENGTH, false);
                let (piece, mut all) = (vec![b'x'; size], Vec::new());
                for _ in 0..LENGTH / size {
                    let (sent, pieces) = tokio::join!(client.write_all(&piece), pieces(&inlet, size));
                    sent.unwrap();
                    if kept {
                        all.extend(pieces);
                    }
                }
                assert!(poll_fn(|cx| inlet.borrow_mut().poll_body(cx)).await.is_none());
                drop(all);
                assert_slim(&inlet, &format!("pieces of {size}, kept: {kept}"));
            }
        }
    }

    #[tokio::test]
    async fn what_comes_behind_a_large_body_keeps_none_of_it() {
        for size in [1, 3000] {
            let (inlet, mut client) = pair();
            begin(&inlet, LENGTH, false);
            let body = vec![b'x'; LENGTH - 1];
            let (sent, taken) = tokio::join!(client.write_all(&body), pieces(&inlet, body.len()));
            sent.unwrap();
            let head = format!("GET / HTTP/1.1\r\nHost: a\r\nX: {}\r\n\r\n", "x".repeat(size));
            client.write_all(format!("x{head}").as_bytes()).await.unwrap();
            drop((taken, pieces(&inlet, 1).await));
            assert_eq!(&inlet.borrow().inbox[..], head.as_bytes(), "it has come along");
            assert_slim(&inlet, "before the next request");
            let next = poll_fn(|cx| inlet.borrow_mut().poll_head(&BOUNDS, cx)).await.unwrap().unwrap();
            assert_eq!((next.parts.headers["x"].len(), next.facts.body), (size, Body::None));
            inlet.borrow_mut().begin(&next.facts);
            drop(next);
            assert_slim(&inlet, "behind it");
        }
    }

    #[derive(Default)]
    struct Woken(AtomicBool);

    impl Wake for Woken {
        fn wake(self: Arc<Self>) {
            self.0.store(true, Ordering::Relaxed);
        }
    }

    /// The rest of a request may be sent on by somebody of whom its connection knows nothing.
    #[tokio::test]
    async fn who_reads_a_body_is_told_that_its_client_is_gone() {
        let (inlet, _client) = pair();
        begin(&inlet, 10, false);
        let woken = Arc::<Woken>::default();
        let waker = Waker::from(Arc::clone(&woken));
        let mut cx = Context::from_waker(&waker);
        assert!(inlet.borrow_mut().poll_body(&mut cx).is_pending());
        assert!(!woken.0.load(Ordering::Relaxed), "nothing has come");
        inlet.borrow_mut().close();
        assert!(woken.0.load(Ordering::Relaxed), "it would wait for ever");
        let polled = inlet.borrow_mut().poll_body(&mut cx);
        assert!(matches!(polled, Poll::Ready(Some(Err(Broken::Gone(_))))), "{polled:?}");
    }

    async fn answer(inlet: &RefCell<Inlet>) {
        let mut outbox = Outbox::with(ANSWER.to_vec());
        poll_fn(|cx| inlet.borrow_mut().poll_flush(&mut outbox, cx)).await.unwrap();
    }

    #[tokio::test]
    async fn who_awaits_a_word_gets_it_once_and_never_behind_its_answer() {
        let halves = [b"first", b"other"];
        // The answer comes before the first half, between the two, or behind both.
        for answered in 0..=halves.len() {
            let (inlet, mut client) = pair();
            begin(&inlet, 10, true);
            for (at, half) in halves.iter().enumerate() {
                if at == answered {
                    answer(&inlet).await;
                }
                client.write_all(*half).await.unwrap();
                assert_eq!(pieces(&inlet, half.len()).await, [&half[..]]);
            }
            if answered == halves.len() {
                answer(&inlet).await;
            }
            inlet.borrow_mut().close();
            let mut said = Vec::new();
            client.read_to_end(&mut said).await.unwrap();
            let expected = if answered == 0 { ANSWER.to_vec() } else { [respond::CONTINUE, ANSWER].concat() };
            assert_eq!(said.escape_ascii().to_string(), expected.escape_ascii().to_string(), "{answered}");
        }
    }

    /// The socket tells one of two who would write: while the answer waits, who reads a body is not to be that one.
    #[tokio::test]
    async fn who_waits_for_a_body_takes_no_turn_of_the_answers() {
        let (inlet, mut client) = pair();
        begin(&inlet, 10, true);
        let [body, answer] = [(); 2].map(|()| Arc::<Woken>::default());
        let poll_body = || {
            let waker = Waker::from(Arc::clone(&body));
            inlet.borrow_mut().poll_body(&mut Context::from_waker(&waker))
        };
        let waker = Waker::from(Arc::clone(&answer));
        let mut cx = Context::from_waker(&waker);
        let (before, mut written) = (vec![0; READ.1], 0);
        // The client takes nothing of what it was told before.
        while let Poll::Ready(count) = Pin::new(inlet.borrow_mut().transport()).poll_write(&mut cx, &before) {
            written += count.unwrap();
        }
        assert!(poll_body().is_pending(), "not even the word can be written");
        let mut outbox = Outbox::with(ANSWER.to_vec());
        assert!(inlet.borrow_mut().poll_flush(&mut outbox, &mut cx).is_pending());
        assert!(poll_body().is_pending());
        client.read_exact(&mut vec![0; written]).await.unwrap();
        let woken = |whom: &Woken| whom.0.load(Ordering::Relaxed);
        while !woken(&answer) && !woken(&body) {
            tokio::task::yield_now().await;
        }
        assert!(woken(&answer), "nobody would write the answer");
    }
}
