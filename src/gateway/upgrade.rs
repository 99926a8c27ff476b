//! A connection that has become something else than HTTP: bytes both ways, each direction ending by itself, the
//! replica claimed until both have. A client that keeps its end open after the replica has closed its own is cut off
//! after a while, since nobody would ever count it as gone.
//!
//! Owns when a WebSocket is closed although neither side has asked for it: with a frame that says so to both.

use std::future::{pending, poll_fn};
use std::io;
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::oneshot;
use tokio::time::{sleep, timeout};

use crate::app::replica::Claim;
use crate::app::tally::Closing;
use crate::config::spec::WebSocketSpec;
use crate::gateway::client::Client;
use crate::gateway::connections::End;
use crate::gateway::lane::Lane;
use crate::gateway::message::switched::Switched;
use crate::gateway::outbound;
use crate::gateway::stall::Stall;
use crate::gateway::transport::Transport;
use crate::gateway::websocket::Side;
use crate::gateway::worker::Worker;

/// How long a client may go on sending after the replica has ended.
const LINGER: Duration = Duration::from_mins(1);

/// How long the two sides have to take leave once they are asked to.
const FAREWELL: Duration = Duration::from_secs(5);

/// A client's connection that is about to become something else than HTTP, or a stream of one.
#[derive(Debug)]
pub enum Switching {
    /// It has come by HTTP/1.
    Own(oneshot::Receiver<Switched<Transport>>),
    /// It has come by HTTP/2.
    Parsed(OnUpgrade),
}

/// Bytes both ways.
trait Duplex: AsyncRead + AsyncWrite + Unpin {}

impl<T: AsyncRead + AsyncWrite + Unpin> Duplex for T {}

impl Switching {
    /// What it has become; nothing where the connection has ended before.
    async fn switched(self) -> Option<Box<dyn Duplex>> {
        Some(match self {
            Self::Own(switched) => Box::new(switched.await.ok()?),
            Self::Parsed(upgrade) => Box::new(TokioIo::new(upgrade.await.ok()?)),
        })
    }
}

/// Joins the two sides, the client's as soon as that has switched, and the replica's, which has. `websocket`: what holds
/// for them, where they speak that.
pub fn join(
    worker: &Rc<Worker>,
    client: &Arc<Client>,
    sides: (Switching, Switched<outbound::Stream>),
    mut claim: Claim,
    websocket: Option<WebSocketSpec>,
) {
    let (open, worker, who) = (worker.keep_open(), Rc::clone(worker), Arc::clone(client));
    tokio::task::spawn_local(async move {
        let _open = open;
        let (client, replica) = sides;
        let Some(client) = client.switched().await else {
            tracing::debug!("a connection ended before it had switched protocols");
            return;
        };
        if websocket.is_some_and(|spec| !spec.counts) {
            claim.step_aside();
        }
        let exchange = Exchange::new(client, replica, websocket);
        match exchange.run(claim.parted()).await {
            Ok(None) => {}
            Ok(Some(why)) => {
                tracing::debug!(app = claim.app().name, why = why.name(), "closed a WebSocket");
                claim.app().tally().note_closing(why);
            }
            Err(error) => tracing::debug!(%error, "an upgraded connection broke off"),
        }
        // Of one that carries others as well, whoever serves it tells.
        if who.is_stalled() && !who.way().multiplexed {
            worker.note_end(End::Stalled);
        }
    });
}

/// The two sides, and what goes between them.
struct Exchange<C, R> {
    client: C,
    replica: R,
    up: Lane,
    down: Lane,
    idle: Option<Stall>,
    max_age: Option<Duration>,
}

impl<C, R> Exchange<C, R>
where
    C: AsyncRead + AsyncWrite + Unpin,
    R: AsyncRead + AsyncWrite + Unpin,
{
    fn new(client: C, replica: R, websocket: Option<WebSocketSpec>) -> Self {
        let lane = |from| if websocket.is_some() { Lane::of_frames(from) } else { Lane::of_bytes() };
        Self {
            client,
            replica,
            up: lane(Side::Client),
            down: lane(Side::Server),
            idle: websocket.and_then(|spec| spec.idle_timeout).map(Stall::new),
            max_age: websocket.and_then(|spec| spec.max_age),
        }
    }

    /// Carries bytes both ways until both ends have ended, the client has had its time after the replica's end, or there
    /// is a reason to close.
    async fn run(mut self, parted: impl Future<Output = ()>) -> io::Result<Option<Closing>> {
        let (parted, old) = (pin!(parted), pin!(after(self.max_age)));
        let why = tokio::select! {
            ended = self.carry() => match ended? {
                Some(why) => why,
                None => return Ok(None),
            },
            () = parted => Closing::Leaving,
            () = old => Closing::Age,
        };
        self.up.close(why.name());
        self.down.close(why.name());
        if let Ok(Err(error)) = timeout(FAREWELL, poll_fn(|cx| self.poll_ended(cx))).await {
            tracing::trace!(%error, "took no leave");
        }
        Ok(Some(why))
    }

    async fn carry(&mut self) -> io::Result<Option<Closing>> {
        let idle = poll_fn(|cx| self.poll_carry(cx)).await?;
        if idle.is_none() {
            timeout(LINGER, poll_fn(|cx| self.poll_ended(cx))).await.unwrap_or(Ok(()))?;
        }
        Ok(idle)
    }

    /// Ready when the replica has ended, or nobody has had anything to say for too long.
    fn poll_carry(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Option<Closing>>> {
        let ended = self.poll_ended(cx)?;
        if ended.is_ready() || self.down.is_over() {
            return Poll::Ready(Ok(None));
        }
        if let Some(idle) = &mut self.idle {
            // Both are asked: what one has said must not be found by the next look.
            if self.up.take_message() | self.down.take_message() {
                idle.moved();
            }
            return idle.poll_over(cx).map(|()| Ok(Some(Closing::Idle)));
        }
        Poll::Pending
    }

    fn poll_ended(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let up = self.up.poll(&mut self.client, &mut self.replica, cx)?;
        let down = self.down.poll(&mut self.replica, &mut self.client, cx)?;
        if up.is_ready() && down.is_ready() { Poll::Ready(Ok(())) } else { Poll::Pending }
    }
}

async fn after(time: Option<Duration>) {
    match time {
        Some(time) => sleep(time).await,
        None => pending().await,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::future::Future;

    use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};
    use tokio::sync::oneshot;
    use tokio::task::JoinHandle;
    use tokio::time::Instant;

    use crate::gateway::websocket::close_frame;

    const NO_LIMIT: WebSocketSpec = WebSocketSpec { idle_timeout: None, max_age: None, counts: false };

    /// An exchange under way, with the client's and the app's ends of it.
    struct Ends {
        user: DuplexStream,
        app: DuplexStream,
        ended: JoinHandle<io::Result<Option<Closing>>>,
    }

    fn exchange(spec: Option<WebSocketSpec>, parted: impl Future<Output = ()> + Send + 'static) -> Ends {
        let ((client, user), (replica, app)) = (duplex(64), duplex(64));
        let ended = tokio::spawn(Exchange::new(client, replica, spec).run(parted));
        Ends { user, app, ended }
    }

    async fn rest(of: &mut DuplexStream) -> Vec<u8> {
        let mut heard = Vec::new();
        of.read_to_end(&mut heard).await.unwrap();
        heard
    }

    /// What the app has heard, without its mask.
    fn unmasked(frame: &[u8]) -> Vec<u8> {
        let payload = frame[6..].iter().zip(frame[2..6].iter().cycle());
        [&[frame[0], frame[1] & 0x7f][..], &payload.map(|(byte, mask)| byte ^ mask).collect::<Vec<_>>()]
            .concat()
    }

    #[tokio::test(start_paused = true)]
    async fn who_stays_after_the_replica_has_ended_is_cut_off() {
        for spec in [None, Some(NO_LIMIT)] {
            let Ends { mut user, app, ended } = exchange(spec, pending());
            drop(app);
            assert_eq!(user.read(&mut [0; 8]).await.unwrap(), 0, "it is told at once");
            assert_eq!(ended.await.unwrap().unwrap(), None);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_has_said_its_all_may_listen_for_long() {
        let Ends { mut user, mut app, ended } = exchange(None, pending());
        user.write_all(b"all").await.unwrap();
        user.shutdown().await.unwrap();
        let heard = rest(&mut app).await;
        sleep(LINGER * 10).await;
        app.write_all(b"late").await.unwrap();
        drop(app);
        let answer = rest(&mut user).await;
        assert_eq!((&heard[..], &answer[..]), (&b"all"[..], &b"late"[..]));
        assert_eq!(ended.await.unwrap().unwrap(), None);
    }

    #[tokio::test(start_paused = true)]
    async fn both_are_told_when_the_replica_goes_and_have_their_time() {
        let (part, parted) = oneshot::channel::<()>();
        let parted = async { parted.await.unwrap_or(()) };
        let Ends { mut user, mut app, ended } = exchange(Some(NO_LIMIT), parted);
        part.send(()).unwrap();
        let told = close_frame(Side::Server, "replica_stops");
        let mut heard = vec![0; told.len()];
        user.read_exact(&mut heard).await.unwrap();
        assert_eq!(heard, told);
        let mut heard = vec![0; told.len() + 4];
        app.read_exact(&mut heard).await.unwrap();
        assert_eq!(unmasked(&heard), told);
        assert!(!ended.is_finished(), "they have not answered");
        user.write_all(b"\x88\x80mask").await.unwrap();
        app.write_all(b"\x82\x01x\x88\x00").await.unwrap();
        assert_eq!(ended.await.unwrap().unwrap(), Some(Closing::Leaving));
        assert_eq!(
            (rest(&mut user).await, rest(&mut app).await),
            (vec![], vec![]),
            "what came after is nobody's"
        );
    }

    #[tokio::test(start_paused = true)]
    async fn who_does_not_take_leave_is_left() {
        let Ends { user, app, ended } = exchange(Some(NO_LIMIT), async {});
        let begun = Instant::now();
        assert_eq!(ended.await.unwrap().unwrap(), Some(Closing::Leaving));
        assert_eq!(begun.elapsed(), FAREWELL);
        drop((user, app));
    }

    #[tokio::test(start_paused = true)]
    async fn only_messages_keep_a_socket_from_being_idle() {
        const IDLE: Duration = Duration::from_mins(5);
        let spec = WebSocketSpec { idle_timeout: Some(IDLE), ..NO_LIMIT };
        let Ends { mut user, mut app, ended } = exchange(Some(spec), pending());
        let begun = Instant::now();
        for masked in [&b"\x82\x80mask"[..], b"\x81\x80mask"] {
            sleep(IDLE.mul_f64(0.99)).await;
            app.write_all(b"\x82\x00").await.unwrap();
            user.read_exact(&mut [0; 2]).await.unwrap();
            sleep(IDLE.mul_f64(0.99)).await;
            user.write_all(masked).await.unwrap();
            app.read_exact(&mut [0; 6]).await.unwrap();
        }
        for _ in 0..4 {
            sleep(IDLE.mul_f64(0.24)).await;
            user.write_all(b"\x89\x80mask").await.unwrap();
            app.read_exact(&mut [0; 6]).await.unwrap();
            app.write_all(b"\x8a\x00").await.unwrap();
            user.read_exact(&mut [0; 2]).await.unwrap();
        }
        assert!(!ended.is_finished());
        drop(rest(&mut user).await);
        drop(user);
        assert_eq!(rest(&mut app).await.len(), 4 + close_frame(Side::Server, "idle_timeout").len());
        drop(app);
        assert_eq!(ended.await.unwrap().unwrap(), Some(Closing::Idle));
        assert!(begun.elapsed() < IDLE * 5 + FAREWELL, "{:?}", begun.elapsed());
    }

    #[tokio::test(start_paused = true)]
    async fn the_oldest_socket_ends_though_it_is_used() {
        const AGE: Duration = Duration::from_hours(1);
        let spec = WebSocketSpec { max_age: Some(AGE), ..NO_LIMIT };
        let Ends { mut user, mut app, ended } = exchange(Some(spec), pending());
        let begun = Instant::now();
        while begun.elapsed() < AGE {
            app.write_all(b"\x82\x00").await.unwrap();
            user.read_exact(&mut [0; 2]).await.unwrap();
            sleep(AGE / 10).await;
        }
        assert_eq!(rest(&mut user).await, close_frame(Side::Server, "max_age"));
        assert_eq!(ended.await.unwrap().unwrap(), Some(Closing::Age));
        drop(app);
    }
}
