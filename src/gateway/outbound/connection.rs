//! One connection to a replica, and the exchange that is on it.

use std::future::poll_fn;
use std::io;
use std::task::{Context, Poll, ready};

use bytes::{Bytes, BytesMut};
use http::Response;
use http_body::{Body as _, Frame};
use tokio::io::Join;
use tokio::sync::oneshot;
use tokio::task::AbortHandle;

use crate::gateway::message::coming::{Framing, Taken};
use crate::gateway::message::letters::Letters;
use crate::gateway::message::outbox::Outbox;
use crate::gateway::message::sending::{Sending, Unsent};
use crate::gateway::message::spare;
use crate::gateway::message::switched::Switched;
use crate::gateway::outbound::stream::{self, Reader, Writer};
use crate::gateway::outbound::{Alarm, decode, encode};
use crate::gateway::upload::{Broken, Upload};
use crate::gateway::upstream::Parcel;
use crate::runtime::Endpoint;

/// Bytes that are read at once: of heads and small answers, and at most: 64 KiB, as many apps write, with a head before.
const READ: (usize, usize) = (8 * 1024, 80 * 1024);

/// Why an exchange has come to no end.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// The connection has failed, or ended too early.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// What the replica says is no HTTP.
    #[error("{0}")]
    Malformed(&'static str),
    /// The client has not sent its body to the end.
    #[error(transparent)]
    Body(#[from] Broken),
}

/// The bytes of a connection that is no more HTTP.
pub type Stream = Join<Reader, Writer>;

/// One connection, for one exchange after the other.
#[derive(Debug)]
pub struct Connection {
    reader: Reader,
    outlet: Place,
    /// What was read and belongs to nothing yet.
    inbox: BytesMut,
    /// Bytes that are read at once: as many as answers have had of late.
    read: usize,
    /// What is still to come of the answer.
    framing: Framing,
    /// The replica will take a further request.
    keeps: bool,
    /// The pool whose thread hears of it. Another can use it, but is woken across threads.
    pub home: u64,
    /// For who waits for an answer.
    pub alarm: Alarm,
}

/// The half that requests go by.
#[derive(Debug)]
struct Outlet {
    writer: Writer,
    outbox: Outbox,
}

impl Outlet {
    /// Ready when all of it is written.
    fn poll(
        &mut self,
        sending: &mut Sending<Upload>,
        cx: &mut Context<'_>,
    ) -> Poll<Result<(), Unsent<Broken>>> {
        let writer = &mut self.writer;
        sending.poll(&mut self.outbox, |outbox, cx| outbox.poll_flush(writer, cx), cx)
    }

    /// Without what it has taken for a request that is written.
    fn emptied(mut self) -> Self {
        spare::give_back_text(std::mem::take(&mut self.outbox.text));
        self
    }
}

/// Where that is.
#[derive(Debug)]
enum Place {
    Here(Outlet),
    /// With a task that sends the rest of a request whose answer has begun.
    Away {
        back: oneshot::Receiver<Outlet>,
        task: Task,
    },
    /// Nowhere: it has failed.
    Lost,
}

/// Ends with its owner, unless that has let it go.
#[derive(Debug)]
struct Task(Option<AbortHandle>);

impl Drop for Task {
    fn drop(&mut self) {
        if let Some(task) = &self.0 {
            task.abort();
        }
    }
}

impl Connection {
    /// A new one, in the pool with this number.
    ///
    /// # Errors
    /// The system's.
    pub async fn open(endpoint: &Endpoint, home: u64) -> io::Result<Self> {
        let (reader, writer) = stream::connect(endpoint).await?;
        Ok(Self {
            reader,
            outlet: Place::Here(Outlet { writer, outbox: Outbox::default() }),
            inbox: BytesMut::new(),
            read: READ.0,
            framing: Framing::Ended,
            keeps: true,
            home,
            alarm: Alarm::default(),
        })
    }

    /// Whether a further exchange may begin, as far as is known here.
    pub fn is_fit(&mut self) -> bool {
        self.is_through() && self.reader.is_silent()
    }

    /// Whether the last exchange has come to its end, and left the connection in order.
    pub fn is_through(&mut self) -> bool {
        if let Place::Away { back, .. } = &mut self.outlet
            && let Ok(outlet) = back.try_recv()
        {
            self.outlet = Place::Here(outlet);
        }
        let sent = matches!(self.outlet, Place::Here(_));
        sent && self.keeps && self.framing.is_ended() && self.inbox.is_empty()
    }

    /// Sends a request and waits for its answer's head; the body is then read by [`Self::poll_body`]. It counts as sent
    /// as soon as a byte of it is, or its body is asked for; its headers are gone when there is an answer.
    ///
    /// # Errors
    /// [`Failure`]; the connection is of no more use then.
    pub async fn exchange(&mut self, parcel: &mut Parcel<'_>) -> Result<Response<()>, Failure> {
        let Place::Here(mut outlet) = std::mem::replace(&mut self.outlet, Place::Lost) else {
            return Err(Failure::Io(io::ErrorKind::NotConnected.into()));
        };
        outlet.outbox = Outbox::with(spare::text());
        let framing = encode::head(parcel.head, &parcel.upload, &mut outlet.outbox.text);
        let upload = std::mem::replace(&mut parcel.upload, Upload::none());
        parcel.sent = !upload.is_end_stream();
        self.keeps = false;
        let mut sending = Some(Sending::new(upload, framing));
        let mut lost = None;
        let keep_letters = parcel.head.extensions.get::<Letters>().is_some();
        let asked = decode::Asked { method: &parcel.head.method, keep_letters };
        let head = poll_fn(|cx| {
            if let Some(under_way) = &mut sending {
                match outlet.poll(under_way, cx) {
                    Poll::Ready(Ok(())) => sending = None,
                    // It may have said why before it has stopped to listen.
                    Poll::Ready(Err(Unsent::Socket(error))) if outlet.outbox.has_begun() => {
                        (sending, lost) = (None, Some(error));
                    }
                    Poll::Ready(Err(error)) => return Poll::Ready(Err(error.into())),
                    Poll::Pending => {}
                }
                parcel.sent |= outlet.outbox.has_begun();
            }
            self.poll_head(&asked, &mut lost, cx)
        });
        let decode::Head { parts, framing, keeps } = head.await?;
        self.framing = framing;
        self.keeps = keeps && lost.is_none();
        self.outlet = match sending {
            None => Place::Here(outlet.emptied()),
            Some(sending) => go_on_sending(sending, outlet),
        };
        spare::give_back_map(std::mem::take(&mut parcel.head.headers));
        Ok(Response::from_parts(parts, ()))
    }

    /// The answer has ended in order. What is still to be sent of its request goes on by itself: a client that says all
    /// before it reads would else find its connection closed.
    pub fn let_go(&mut self) {
        if let Place::Away { task, .. } = &mut self.outlet
            && self.framing.is_ended()
        {
            task.0 = None;
        }
        if self.inbox.is_empty() && self.read > READ.0 {
            // Each in a block of its own, many connections would walk through more than a cache holds.
            spare::give_back_block(std::mem::take(&mut self.inbox));
        }
    }

    /// Gives back what large answers have taken, while there is none.
    pub fn slim(&mut self) {
        if self.inbox.is_empty() && self.read > READ.0 {
            self.inbox = BytesMut::new();
        }
        self.read = READ.0;
    }

    /// The replica has agreed to another protocol than HTTP; nothing where a part of the request is still to be sent.
    #[must_use]
    pub fn switch(self) -> Option<Switched<Stream>> {
        let Self { reader, outlet, inbox: ahead, .. } = self;
        let Place::Here(Outlet { writer, .. }) = outlet else { return None };
        Some(Switched::new(tokio::io::join(reader, writer), ahead))
    }

    fn poll_head(
        &mut self,
        asked: &decode::Asked<'_>,
        lost: &mut Option<io::Error>,
        cx: &mut Context<'_>,
    ) -> Poll<Result<decode::Head, Failure>> {
        loop {
            if let Some(head) = decode::head(&mut self.inbox, asked).map_err(Failure::Malformed)? {
                return Poll::Ready(Ok(head));
            }
            if ready!(self.poll_fill(cx))? == 0 {
                let error = lost.take().unwrap_or_else(|| io::ErrorKind::UnexpectedEof.into());
                return Poll::Ready(Err(Failure::Io(error)));
            }
        }
    }

    /// The next piece of the answer's body.
    pub fn poll_body(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Failure>>> {
        loop {
            match self.framing.take(&mut self.inbox) {
                Ok(Taken::Frame(frame)) => return Poll::Ready(Some(Ok(frame))),
                Ok(Taken::Nothing) => return Poll::Ready(None),
                Ok(Taken::More) => {}
                Err(why) => return Poll::Ready(Some(Err(self.broken(Failure::Malformed(why))))),
            }
            match ready!(self.poll_fill(cx)) {
                Ok(0) => {
                    self.keeps = false;
                    return Poll::Ready(
                        self.framing
                            .connection_ended()
                            .err()
                            .map(|why| Err(Failure::Io(io::Error::new(io::ErrorKind::UnexpectedEof, why)))),
                    );
                }
                Ok(_) => {}
                Err(error) => return Poll::Ready(Some(Err(self.broken(error.into())))),
            }
        }
    }

    fn broken(&mut self, failure: Failure) -> Failure {
        (self.framing, self.keeps) = (Framing::Ended, false);
        failure
    }

    /// What is still to come of the answer's body.
    #[must_use]
    pub fn framing(&self) -> &Framing {
        &self.framing
    }

    /// Reads from the front of its own block again, or of the one that another has read into last.
    fn take_block(&mut self) -> bool {
        self.inbox.try_reclaim(self.read)
            || (self.read > READ.0 && spare::block(self.read).map(|block| self.inbox = block).is_some())
    }

    /// Reads what there is, at least a byte; 0: the connection has ended.
    fn poll_fill(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        if let Framing::Length(left) = self.framing {
            self.read = self.read.max(usize::try_from(left).unwrap_or(READ.1).min(READ.1));
        }
        // From the front of the block as long as that is possible: what was read there last is in the cache.
        let fresh = self.inbox.is_empty() && self.inbox.capacity() < self.read && self.take_block();
        if !fresh && self.inbox.capacity() - self.inbox.len() < self.read / 2 {
            self.inbox.reserve(self.read);
        }
        let room = self.inbox.capacity() - self.inbox.len();
        let count = ready!(self.reader.poll_append(&mut self.inbox, cx))?;
        if count == room {
            // There may be much more.
            self.read = (self.read * 2).min(READ.1);
        }
        Poll::Ready(Ok(count))
    }
}

fn go_on_sending(mut sending: Sending<Upload>, mut outlet: Outlet) -> Place {
    let (give_back, back) = oneshot::channel();
    let task = tokio::task::spawn_local(async move {
        match poll_fn(|cx| outlet.poll(&mut sending, cx)).await {
            // Nobody takes it where the answer has ended before.
            Ok(()) => drop(give_back.send(outlet.emptied())),
            Err(error) => tracing::trace!(?error, "the rest of a request was not sent"),
        }
    });
    Place::Away { back, task: Task(Some(task.abort_handle())) }
}

impl From<Unsent<Broken>> for Failure {
    fn from(unsent: Unsent<Broken>) -> Self {
        match unsent {
            Unsent::Socket(error) => Self::Io(error),
            Unsent::Body(broken) => Self::Body(broken),
            Unsent::Length(other) => Self::Io(io::Error::other(other)),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use http::{Request, request};
    use http_body::Body;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::{TcpListener, TcpStream};

    use super::*;
    use crate::runtime::Address;

    const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\nabc";

    async fn connected() -> (Connection, TcpStream) {
        let listener = TcpListener::bind(SocketAddr::from(([127, 0, 0, 1], 0))).await.unwrap();
        let endpoint = Endpoint { address: Address::Tcp(listener.local_addr().unwrap()) };
        let connection = Connection::open(&endpoint, 0).await.unwrap();
        (connection, listener.accept().await.unwrap().0)
    }

    fn head() -> request::Parts {
        Request::get("/").header("host", "a").body(()).unwrap().into_parts().0
    }

    async fn exchange(connection: &mut Connection) -> (Result<Response<()>, Failure>, bool) {
        let mut head = head();
        let mut parcel = Parcel { head: &mut head, upload: Upload::none(), keep: true, sent: false };
        (connection.exchange(&mut parcel).await, parcel.sent)
    }

    async fn body(connection: &mut Connection) -> Result<Vec<u8>, Failure> {
        let mut all = Vec::new();
        while let Some(frame) = poll_fn(|cx| connection.poll_body(cx)).await {
            all.extend_from_slice(&frame?.into_data().unwrap());
        }
        Ok(all)
    }

    #[tokio::test]
    async fn one_exchange_after_the_other() {
        let (mut connection, mut replica) = connected().await;
        for _ in 0..3 {
            replica.write_all(ANSWER).await.unwrap();
            let (answer, sent) = exchange(&mut connection).await;
            assert_eq!((answer.unwrap().status().as_u16(), sent), (200, true));
            assert!(!connection.is_through(), "its body is to come");
            assert_eq!(body(&mut connection).await.unwrap(), b"abc");
            assert!(connection.is_fit());
            let mut request = [0; 27];
            replica.read_exact(&mut request).await.unwrap();
            assert_eq!(&request, b"GET / HTTP/1.1\r\nhost: a\r\n\r\n");
        }
    }

    #[tokio::test]
    async fn what_says_more_than_it_was_asked_is_of_no_more_use() {
        let (mut connection, mut replica) = connected().await;
        replica.write_all(&[ANSWER, b"HTTP/1.1 200 OK\r\n"].concat()).await.unwrap();
        exchange(&mut connection).await.0.unwrap();
        assert_eq!(body(&mut connection).await.unwrap(), b"abc");
        assert!(!connection.is_through());
    }

    #[tokio::test]
    async fn what_has_ended_while_idle_is_noticed() {
        let (mut connection, replica) = connected().await;
        assert!(connection.is_fit());
        drop(replica);
        while connection.is_fit() {
            tokio::task::yield_now().await;
        }
        assert!(!connection.is_fit(), "and not forgotten");
    }

    #[tokio::test]
    async fn an_answer_breaks_off() {
        for (answer, expected) in [
            (&b"HTTP/1.1 200 OK\r\ncontent-length: 30\r\n\r\nabc"[..], false),
            (b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n", false),
            (b"HTTP/1.1 200 OK\r\n\r\nabc", true),
        ] {
            let (mut connection, mut replica) = connected().await;
            replica.write_all(answer).await.unwrap();
            exchange(&mut connection).await.0.unwrap();
            // What nobody has read would make a reset of its end.
            assert!(replica.read(&mut [0; 100]).await.unwrap() > 0);
            drop(replica);
            let body = body(&mut connection).await;
            assert_eq!(body.is_ok(), expected, "{body:?}");
            assert!(!connection.is_through() && !connection.is_fit());
        }
        let (mut connection, mut replica) = connected().await;
        replica
            .write_all(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabcd\r\n")
            .await
            .unwrap();
        exchange(&mut connection).await.0.unwrap();
        assert!(matches!(body(&mut connection).await, Err(Failure::Malformed(_))));
        assert!(!connection.is_through());
    }

    #[tokio::test]
    async fn no_answer_at_all() {
        let (mut connection, mut replica) = connected().await;
        replica.write_all(b"SSH-2.0-x\r\n").await.unwrap();
        assert!(matches!(exchange(&mut connection).await.0, Err(Failure::Malformed(_))));
        let (mut connection, replica) = connected().await;
        drop(replica);
        assert!(matches!(exchange(&mut connection).await.0, Err(Failure::Io(_))));
        assert!(!connection.is_through(), "it is of no more use");
    }

    #[tokio::test]
    async fn chunks_and_trailers() {
        let (mut connection, mut replica) = connected().await;
        let answer =
            b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nx-sum: 42\r\n\r\n";
        replica.write_all(answer).await.unwrap();
        exchange(&mut connection).await.0.unwrap();
        assert_eq!(connection.framing().size_hint().exact(), None);
        let mut next = async || poll_fn(|cx| connection.poll_body(cx)).await.map(Result::unwrap);
        assert_eq!(next().await.unwrap().into_data().unwrap(), "abc");
        assert_eq!(next().await.unwrap().into_trailers().unwrap()["x-sum"], "42");
        assert!(next().await.is_none());
        assert!(connection.is_fit() && Upload::none().is_end_stream());
    }
}
