//! One client's connection, from one request to the next.

use std::cell::RefCell;
use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};

use http::{Response, StatusCode, request};
use tokio::task::unconstrained;

use crate::app::clock::{self, Millis};
use crate::config::spec::ClientsSpec;
use crate::gateway::account::Accounted;
use crate::gateway::body::Body as AnswerBody;
use crate::gateway::client::Client;
use crate::gateway::connections::End;
use crate::gateway::forward::{self, HangUp};
use crate::gateway::inbound::answer::{self, Answer, Asked};
use crate::gateway::inbound::body::Body;
use crate::gateway::inbound::head::{Bounds, Head};
use crate::gateway::inbound::inlet::Inlet;
use crate::gateway::message::outbox::Outbox;
use crate::gateway::message::sending::Unsent;
use crate::gateway::message::spare;
use crate::gateway::respond::{self, Reject};
use crate::gateway::stall::{Patrol, Stall};
use crate::gateway::transport::Transport;
use crate::gateway::upload::Incoming;
use crate::gateway::worker::{Stopping, Worker};

/// Serves requests until the connection ends.
pub async fn serve(
    worker: &Rc<Worker>,
    client: Arc<Client>,
    transport: Transport,
    spec: &ClientsSpec,
    stopping: Stopping,
) {
    let mut session = Session {
        worker,
        client,
        inlet: Inlet::new(transport),
        bounds: Bounds::of(spec),
        left: spec.requests.unwrap_or(u64::MAX),
        head: Stall::new(spec.header_timeout),
        idle: Patrol::new(spec.idle_timeout),
        quiet_since: clock::coarse(),
        stopping,
        awaits_stop: false,
    };
    let over = session.run().await;
    session.end(over).await;
}

/// Why a connection takes no further request.
#[derive(Debug)]
enum Over {
    /// The client has left.
    Left,
    /// It was silent for too long.
    Idle,
    /// A head has not come to its end in time.
    Late,
    /// What it said was no request that anybody could answer.
    Unread(Reject),
    /// Both have known that it would be the last.
    Last,
    /// It has carried as many as it may.
    Full,
    /// The worker stops.
    Stopped,
    /// An answer has broken off.
    Broken,
    /// Nobody is to get an answer.
    HungUp,
    /// It is no HTTP any more.
    Switched,
}

/// Whether a client is still there while its request is answered.
#[derive(Default)]
struct Watch {
    /// Its answer has begun. Who reads the rest of its request may wait for the replica, and sees nothing then.
    answering: bool,
    gone: Option<Pin<Box<dyn Future<Output = ()>>>>,
}

impl Watch {
    /// Ready when it is not.
    fn poll_gone(&mut self, inlet: &RefCell<Inlet>, client: &Arc<Client>, cx: &mut Context<'_>) -> Poll<()> {
        let mut inlet = inlet.borrow_mut();
        if inlet.poll_gone(cx).is_ready() {
            return Poll::Ready(());
        }
        let unseen = inlet.is_blind() || (self.answering && inlet.is_lent());
        if !unseen {
            return Poll::Pending;
        }
        let client = Arc::clone(client);
        self.gone.get_or_insert_with(|| Box::pin(async move { client.gone().await })).as_mut().poll(cx)
    }
}

struct Session<'a> {
    worker: &'a Rc<Worker>,
    client: Arc<Client>,
    inlet: Rc<RefCell<Inlet>>,
    bounds: Bounds,
    /// Requests that it may still carry.
    left: u64,
    /// Runs while a head has begun and not come to its end.
    head: Stall,
    /// Goes off now and then, to see how long there has been no request at all.
    idle: Patrol,
    quiet_since: Millis,
    stopping: Stopping,
    /// That has been asked once, and tells.
    awaits_stop: bool,
}

impl Session<'_> {
    async fn run(&mut self) -> Over {
        loop {
            let head = match poll_fn(|cx| self.poll_head(cx)).await {
                Ok(head) => head,
                Err(over) => return over,
            };
            if let Err(over) = self.exchange(head).await {
                return over;
            }
            self.quiet_since = clock::coarse();
        }
    }

    /// The next request's head.
    fn poll_head(&mut self, cx: &mut Context<'_>) -> Poll<Result<Head, Over>> {
        let mut inlet = self.inlet.borrow_mut();
        if let Poll::Ready(read) = inlet.poll_head(&self.bounds, cx) {
            // The next one has its own time.
            self.head.moved();
            return Poll::Ready(match read {
                Ok(Some(head)) => Ok(head),
                Ok(None) => Err(Over::Left),
                Err(reject) => Err(Over::Unread(reject)),
            });
        }
        if inlet.is_partial() {
            if self.head.poll_over(cx).is_ready() {
                inlet.say(respond::LATE, cx);
                return Poll::Ready(Err(Over::Late));
            }
        } else {
            self.head.moved();
            if self.idle.poll_over(cx, self.quiet_since).is_ready() {
                return Poll::Ready(Err(Over::Idle));
            }
        }
        drop(inlet);
        self.poll_stopping(cx).map(|()| Err(Over::Stopped))
    }

    /// Ready when no further request is to be taken. Asked once it tells by itself, and nothing comes of asking again
    /// before the worker has been told.
    fn poll_stopping(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if std::mem::replace(&mut self.awaits_stop, true) && !self.worker.is_told_to_stop() {
            return Poll::Pending;
        }
        // It tells nobody who asks when his turn is over.
        pin!(unconstrained(self.stopping.as_mut())).poll(cx)
    }

    /// Has a request answered, and writes that. Gives back when a further one may begin.
    async fn exchange(&mut self, Head { parts, facts }: Head) -> Result<(), Over> {
        self.left -= 1;
        let asked = Asked::of(&parts, &facts);
        self.inlet.borrow_mut().begin(&facts);
        let response = self.answered(parts).await?;
        let switches = response.status() == StatusCode::SWITCHING_PROTOCOLS;
        let (unread, stops) = poll_fn(|cx| {
            // What is left of the request and not here is not worth waiting for.
            let unread = self.inlet.borrow_mut().poll_rest(cx) == Poll::Ready(false);
            Poll::Ready((unread, self.poll_stopping(cx).is_ready()))
        })
        .await;
        let last = self.write(response, asked, self.left == 0 || unread || stops).await?;
        if switches {
            self.inlet.borrow_mut().switch();
            return Err(Over::Switched);
        }
        // A client that says all before it reads is heard to the end, where a replica would hear it.
        let ended = poll_fn(|cx| self.poll_rest(cx)).await?;
        if self.left == 0 {
            return Err(Over::Full);
        }
        if last || !ended {
            return Err(Over::Last);
        }
        self.inlet.borrow_mut().slim();
        Ok(())
    }

    /// Says whether the end of the request has come, once nobody else reads it, unless nothing comes of it for too long.
    fn poll_rest(&mut self, cx: &mut Context<'_>) -> Poll<Result<bool, Over>> {
        let mut inlet = self.inlet.borrow_mut();
        if let Poll::Ready(ended) = inlet.poll_rest(cx) {
            return Poll::Ready(Ok(ended));
        }
        self.idle.poll_over(cx, inlet.heard()).map(|()| Err(Over::Idle))
    }

    /// The answer to a request, unless the client leaves before.
    async fn answered(&self, head: request::Parts) -> Result<Response<Accounted>, Over> {
        let body = Incoming::Own(Body::new(&self.inlet));
        let mut watch = Watch::default();
        let mut answer = pin!(forward::answer(Rc::clone(self.worker), Arc::clone(&self.client), head, body));
        poll_fn(|cx| match answer.as_mut().poll(cx) {
            Poll::Ready(Ok(response)) => Poll::Ready(Ok(response)),
            Poll::Ready(Err(HangUp)) => Poll::Ready(Err(Over::HungUp)),
            Poll::Pending => watch.poll_gone(&self.inlet, &self.client, cx).map(|()| Err(Over::Left)),
        })
        .await
    }

    /// Writes an answer to its end. Says whether it is the last, and the client has been told so.
    async fn write<B>(&self, response: Response<B>, asked: Asked, last: bool) -> Result<bool, Over>
    where
        B: http_body::Body<Data = bytes::Bytes> + Unpin,
    {
        let (mut parts, body) = response.into_parts();
        let (inlet, mut outbox) = (&self.inlet, Outbox::with(spare::text()));
        let Answer { mut sending, last } = answer::begin(&parts, body, asked, last, &mut outbox.text);
        spare::give_back_map(std::mem::take(&mut parts.headers));
        let mut watch = Watch { answering: true, gone: None };
        let sent = poll_fn(|cx| {
            let flush = |outbox: &mut Outbox, cx: &mut Context<'_>| inlet.borrow_mut().poll_flush(outbox, cx);
            match sending.poll(&mut outbox, flush, cx) {
                Poll::Ready(Ok(())) => Poll::Ready(Ok(last)),
                Poll::Ready(Err(Unsent::Socket(_))) => Poll::Ready(Err(Over::Left)),
                Poll::Ready(Err(Unsent::Body(_) | Unsent::Length(_))) => Poll::Ready(Err(Over::Broken)),
                Poll::Pending if inlet.borrow().is_malformed() => Poll::Ready(Err(Over::Broken)),
                Poll::Pending => watch.poll_gone(inlet, &self.client, cx).map(|()| Err(Over::Left)),
            }
        });
        let sent = sent.await;
        spare::give_back_text(outbox.text);
        sent
    }

    /// Takes leave.
    async fn end(self, over: Over) {
        if let Over::Unread(reject) = &over {
            self.worker.note_unread(&self.client, reject);
            let response: Response<AnswerBody> = reject.response();
            let _best_effort = self.write(response, Asked::UNREAD, true).await;
        }
        if let Over::Late = over {
            self.worker.note_unread(&self.client, &Reject::BodyTimeout);
        }
        let why = match over {
            _ if self.client.is_stalled() => Some(End::Stalled),
            Over::Idle => Some(End::Idle),
            Over::Full => Some(End::Requests),
            _ => None,
        };
        if let Some(why) = why {
            self.worker.note_end(why);
        }
        tracing::debug!(peer = %self.client.ip(), ?over, "connection ended");
        let gone = matches!(over, Over::Left | Over::HungUp | Over::Switched) || self.client.is_stalled();
        // What has broken off is not to look like what has ended.
        if !gone && !matches!(over, Over::Broken) {
            poll_fn(|cx| self.inlet.borrow_mut().poll_leave(cx)).await;
        }
        let midway = self.inlet.borrow().is_midway() || matches!(over, Over::Unread(_));
        self.inlet.borrow_mut().close();
        // To those who are gone nothing was said that they could lose.
        if midway && !gone {
            // Apart, so that what is served does not keep the place for it.
            Box::pin(self.client.linger()).await;
        }
    }
}
