//! Replicas that speak HTTP/2: how many requests a connection to them takes, and what they refuse.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use h2::Reason;
use h2::server::{Builder, SendResponse};
use hyper::{Method, Response};
use rustix::process::Signal;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::support::http::Call;
use crate::support::load;
use crate::support::metrics::Scrape;
use crate::support::proxy::{Proxy, Setup};
use crate::support::wait::wait_for_async;
use crate::support::wire::Wire;

/// Bytes that a client of HTTP/2 sends before its first frame.
const PREFACE: usize = 24;

/// The kind of a frame that begins a request or an answer.
const HEADERS: u8 = 1;

/// What such a replica does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Manner {
    /// Answers none of a connection's requests before so many are there on all connections together.
    Gather(usize),
    /// Refuses every other request, the first among them.
    RefuseOne,
    /// Refuses all.
    Refuse,
    /// Resets each stream without saying that nothing was done.
    Cancel,
    /// Answers at once, and takes the rest of each body all the same.
    Early,
}

/// One server of HTTP/2. Dropping it ends it.
struct Replica {
    address: SocketAddr,
    requests: Arc<AtomicUsize>,
    /// How many connections have brought a word, and how many of these are open.
    connections: Arc<watch::Sender<[usize; 2]>>,
    accepting: JoinHandle<()>,
}

impl Replica {
    /// One that takes so many streams a connection.
    async fn start(streams: u32, manner: Manner) -> Self {
        Self::gated(streams, manner, 0).await
    }

    /// The same, of whose connections all but the first say nothing before there are so many.
    async fn gated(streams: u32, manner: Manner, gate: usize) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("some port is free");
        let address = listener.local_addr().expect("it is bound");
        let requests = Arc::<AtomicUsize>::default();
        let counted = Arc::clone(&requests);
        let there = Arc::new(watch::channel(0).0);
        let connections = Arc::new(watch::channel([0; 2]).0);
        let known = Arc::clone(&connections);
        let accepting = tokio::spawn(async move {
            let mut conversations = tokio::task::JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                let (counted, there, known) = (Arc::clone(&counted), Arc::clone(&there), Arc::clone(&known));
                conversations.spawn(async move {
                    // A connection without a word is a check of whether it is up.
                    if !matches!(stream.peek(&mut [0]).await, Ok(1)) {
                        return;
                    }
                    let mut number = 0;
                    known.send_modify(|[all, open]| {
                        *all += 1;
                        *open += 1;
                        number = *all;
                    });
                    if number > 1 {
                        known.subscribe().wait_for(|[all, _]| *all >= gate).await.expect("it is ours");
                    }
                    converse(stream, streams, manner, counted, there).await;
                    known.send_modify(|[_, open]| *open -= 1);
                });
            }
        });
        Self { address, requests, connections, accepting }
    }

    /// How many requests have arrived.
    fn requests(&self) -> usize {
        self.requests.load(Ordering::SeqCst)
    }

    /// How many connections have brought a word, and how many of these are open.
    fn connections(&self) -> [usize; 2] {
        *self.connections.borrow()
    }
}

impl Drop for Replica {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

async fn converse(
    stream: TcpStream,
    streams: u32,
    manner: Manner,
    requests: Arc<AtomicUsize>,
    there: Arc<watch::Sender<usize>>,
) {
    let server = Builder::new().max_concurrent_streams(streams).handshake::<_, Bytes>(stream).await;
    let Ok(mut server) = server else { return };
    let mut unread = Vec::new();
    while let Some(Ok((request, respond))) = server.accept().await {
        let number = requests.fetch_add(1, Ordering::SeqCst);
        match manner {
            Manner::Gather(all) => {
                let there = Arc::clone(&there);
                tokio::spawn(async move {
                    there.send_modify(|count| *count += 1);
                    there.subscribe().wait_for(|count| *count >= all).await.expect("who tells is shared");
                    answer(respond);
                });
            }
            Manner::Refuse => refuse(respond, Reason::REFUSED_STREAM),
            Manner::RefuseOne if number.is_multiple_of(2) => refuse(respond, Reason::REFUSED_STREAM),
            Manner::Cancel => refuse(respond, Reason::CANCEL),
            Manner::RefuseOne => answer(respond),
            Manner::Early => {
                unread.push(request);
                answer(respond);
            }
        }
    }
}

fn answer(mut respond: SendResponse<Bytes>) {
    let _has_left = respond.send_response(Response::new(()), true);
}

fn refuse(mut respond: SendResponse<Bytes>, reason: Reason) {
    respond.send_reset(reason);
}

/// Takes leave of the first connection that brings a request, with `last` for the last that it has begun with, and answers
/// those of the next.
async fn leave(last: u32) -> (SocketAddr, JoinHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("some port is free");
    let address = listener.local_addr().expect("it is bound");
    let leaving = tokio::spawn(async move {
        let mut word = Some([&[0, 0, 8, 7, 0, 0, 0, 0, 0][..], &last.to_be_bytes(), &[0; 4]].concat());
        while let Ok((mut stream, _)) = listener.accept().await {
            if stream.read_exact(&mut [0; PREFACE]).await.is_err() {
                continue;
            }
            stream.write_all(&[0, 0, 0, 4, 0, 0, 0, 0, 0]).await.expect("it is there");
            let mut head = [0; 9];
            while stream.read_exact(&mut head).await.is_ok() {
                let mut payload = vec![0; usize::from(head[1]) << 8 | usize::from(head[2])];
                stream.read_exact(&mut payload).await.expect("all of the frame");
                if head[3] != HEADERS {
                    continue;
                }
                if let Some(word) = word.take() {
                    stream.write_all(&word).await.expect("it is there");
                    break;
                }
                // `:status 200` by the static table, and the end.
                let answer = [&[0, 0, 1, HEADERS, 5][..], &head[5..], &[0x88]].concat();
                stream.write_all(&answer).await.expect("it is there");
            }
        }
    });
    (address, leaving)
}

async fn proxy(replicas: &[SocketAddr]) -> Proxy {
    let keys = "workers: 1\nprotocol: h2c\ntimeout: 10s\n";
    let upstream: Vec<_> = replicas.iter().map(|replica| format!("http://{replica}")).collect();
    let proxy =
        Setup::process(&format!("name: app\nupstream: [{}]\n{keys}", upstream.join(", "))).start().await;
    crate::up(&proxy, replicas.len()).await;
    proxy
}

/// All are there at once, although one connection takes ten: the others have not waited on it.
#[tokio::test]
async fn a_connection_carries_no_more_than_its_replica_takes() {
    let replica = Replica::start(10, Manner::Gather(35)).await;
    let proxy = proxy(&[replica.address]).await;
    let address = proxy.address();
    load::at_once(35, |_| Call::post(address, "/", "x").send()).await.assert_all_ok();
    assert_eq!(replica.requests(), 35, "none was refused");
    // The connections stand, and are known.
    load::at_once(20, |_| Call::post(address, "/", "x").send()).await.assert_all_ok();
}

/// Who has learned how few a connection takes makes the others side by side: none of them stands before all are there.
#[tokio::test]
async fn connections_that_take_few_are_made_side_by_side() {
    let replica = Replica::gated(10, Manner::Gather(35), 4).await;
    let proxy = proxy(&[replica.address]).await;
    // It finds them all there. It waits but a moment to be told what a connection takes, and who came later would be
    // sent on one that has said nothing.
    proxy.signal(Signal::STOP);
    let mut waiting = Vec::new();
    for _ in 0..35 {
        let ask = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\nx";
        waiting.push(Wire::sent(proxy.address(), ask).await);
    }
    proxy.signal(Signal::CONT);
    for wire in &mut waiting {
        assert_eq!(wire.reply().await.status(), 200);
    }
    assert_eq!((replica.requests(), replica.connections()[0]), (35, 4));
}

/// Its connections do not pile up, and others have what it does not take.
#[tokio::test]
async fn who_takes_no_request_is_left_alone() {
    let [shut, open] =
        [Replica::start(0, Manner::Gather(0)).await, Replica::start(100, Manner::Gather(0)).await];
    let proxy = proxy(&[shut.address, open.address]).await;
    let address = proxy.address();
    load::at_once(30, |_| Call::post(address, "/", "x").send()).await.assert_all_ok();
    assert_eq!((shut.requests(), open.requests()), (0, 30));
    assert!(shut.connections()[0] > 0);
    wait_for_async("they are closed", || async { (shut.connections()[1] == 0).then_some(()) }).await;
}

/// A body that goes on after its answer is a stream still.
#[tokio::test]
async fn a_body_that_outlasts_its_answer_keeps_its_place() {
    let replica = Replica::start(1, Manner::Early).await;
    let proxy = proxy(&[replica.address]).await;
    let head = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\n12345";
    let mut lasting = Wire::sent(proxy.address(), head).await;
    assert_eq!(lasting.reply().await.status(), 200);
    for _ in 0..3 {
        assert_eq!(Call::get(proxy.address(), "/").send().await.unwrap().status, 200);
    }
    assert_eq!(replica.connections()[0], 2, "the second one serves them all");
}

/// A refusal says that nothing was done, whatever the method.
#[tokio::test]
async fn what_a_replica_refuses_is_sent_again() {
    let replica = Replica::start(100, Manner::RefuseOne).await;
    let proxy = proxy(&[replica.address]).await;
    for method in [Method::GET, Method::DELETE, Method::POST, Method::PATCH] {
        let answer = Call::new(method.clone(), proxy.address(), "/").send().await.unwrap();
        assert_eq!((answer.status, answer.reason()), (200, ""), "{method}");
    }
    assert_eq!(replica.requests(), 8);
    Scrape::of(&proxy).await.assert(&[
        ("pilotlight_retries_total{app=\"app\",kind=\"unsent\"}", 4.0),
        ("pilotlight_retries_total{app=\"app\",kind=\"repeated\"}", 0.0),
    ]);
}

/// Nor does it say that the replica is ill.
#[tokio::test]
async fn who_refuses_is_not_passed_over() {
    let [busy, idle] =
        [Replica::start(100, Manner::Refuse).await, Replica::start(100, Manner::Gather(0)).await];
    let proxy = proxy(&[busy.address, idle.address]).await;
    let address = proxy.address();
    load::at_once(30, |_| Call::post(address, "/", "").send()).await.assert_all_ok();
    assert!(busy.requests() > 5, "{}", busy.requests());
    Scrape::of(&proxy).await.assert(&[("pilotlight_replica_ejections_total{app=\"app\"}", 0.0)]);
}

/// Another reset says nothing of the kind.
#[tokio::test]
async fn what_may_have_been_done_is_not_sent_again() {
    let replica = Replica::start(100, Manner::Cancel).await;
    let proxy = proxy(&[replica.address]).await;
    let answer = Call::new(Method::POST, proxy.address(), "/").send().await.unwrap();
    assert_eq!((answer.status, answer.reason()), (502, "upstream-connect"));
    assert_eq!(replica.requests(), 1);
}

/// Who takes leave says which request was the last that it has begun with.
#[tokio::test]
async fn what_a_leave_leaves_out_is_sent_again() {
    for (last, status) in [(0, 200), (1, 502)] {
        let (address, leaving) = leave(last).await;
        let proxy = proxy(&[address]).await;
        let answer = Call::new(Method::POST, proxy.address(), "/").send().await.unwrap();
        assert_eq!(answer.status, status, "the last was {last}");
        leaving.abort();
    }
}
