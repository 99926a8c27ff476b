//! What a connection of HTTP/1.1 comes to, in clear and by TLS: its client leaves amid a silent answer, the proxy stops, or
//! it becomes something else.

use rustix::process::Signal;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;

use crate::certificates::Authority;
use crate::http1::{ASK, CHUNKED, GET, SWITCH, assert_goes_on, idle, pattern};
use crate::replica::{Asked, Replica};
use crate::support::proxy::Proxy;
use crate::support::wire::Wire;
use crate::tls::{PAIR, secure};

/// A proxy in front of this replica that speaks TLS as well.
async fn secured(replica: &Replica, authority: &Authority) -> Proxy {
    let setup = replica.setup(PAIR);
    authority.issue(setup.dir(), "localhost", &["localhost"]);
    setup.start().await
}

/// A client of it that speaks TLS.
async fn by_tls(proxy: &Proxy, authority: &Authority) -> Wire<TlsStream<TcpStream>> {
    Wire::by(authority.connect(secure(proxy), "localhost", &[]).await.expect("a handshake"))
}

const EVENT: &str = "data: 1\n\n";

/// Answers without a length of which no more comes: how they are framed, and what has come so far.
const SILENT: [(&str, &str); 4] = [
    ("", ""),
    ("", EVENT),
    ("Transfer-Encoding: chunked\r\n", ""),
    ("Transfer-Encoding: chunked\r\n", EVENT),
];

/// A client that has asked for one of them hears it until it falls silent.
async fn answered<S>(wire: &mut Wire<S>, replica: &mut Replica, (framing, event): (&str, &str)) -> Asked
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let mut asked = replica.asked().await;
    asked.wire.send(format!("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n{framing}\r\n")).await;
    match (event, framing) {
        ("", _) => {}
        (_, "") => asked.wire.send(event).await,
        _ => asked.wire.send(format!("{:x}\r\n{event}\r\n", event.len())).await,
    }
    let head = wire.head().await;
    assert!(head.starts_with("HTTP/1.1 200 "), "{head}");
    if !event.is_empty() {
        assert_eq!(wire.chunk().await.expect("it goes on"), event.as_bytes());
    }
    asked
}

/// The replica hears that nobody listens any more.
async fn assert_left(proxy: &Proxy, mut asked: Asked, which: &str) {
    assert_eq!(asked.wire.rest().await.expect("an end"), b"", "{which}");
    idle(proxy).await;
}

#[tokio::test]
async fn who_leaves_amid_a_silent_answer_is_noticed() {
    let mut replica = Replica::start().await;
    let proxy = replica.proxy("").await;
    for answer in SILENT {
        for how in ["closed", "closed by half", "reset"] {
            let mut wire = Wire::sent(proxy.address(), GET).await;
            let asked = answered(&mut wire, &mut replica, answer).await;
            match how {
                "closed" => drop(wire),
                "reset" => wire.reset(),
                _ => {
                    wire.finish().await;
                    assert!(wire.is_cut().await, "{answer:?}");
                }
            }
            assert_left(&proxy, asked, &format!("{how}, {answer:?}")).await;
        }
    }
}

#[tokio::test]
async fn who_leaves_amid_a_silent_answer_by_tls_is_noticed() {
    let (mut replica, authority) = (Replica::start().await, Authority::new());
    let proxy = secured(&replica, &authority).await;
    for answer in SILENT {
        for how in ["closed", "closed by half", "in the words of TLS alone"] {
            let mut wire = by_tls(&proxy, &authority).await;
            wire.send(GET).await;
            let asked = answered(&mut wire, &mut replica, answer).await;
            match how {
                "closed" => drop(wire),
                "closed by half" => {
                    wire.finish().await;
                    assert!(wire.is_cut().await, "{answer:?}");
                }
                _ => {
                    let stream = wire.stream();
                    stream.get_mut().1.send_close_notify();
                    stream.flush().await.unwrap();
                    assert!(wire.is_cut().await, "{answer:?}");
                }
            }
            assert_left(&proxy, asked, &format!("{how}, {answer:?}")).await;
        }
    }
}

/// It was to say more itself.
#[tokio::test]
async fn who_leaves_amid_its_body_and_a_silent_answer_is_noticed() {
    let mut replica = Replica::start().await;
    let proxy = replica.proxy("").await;
    for answer in SILENT {
        for (framing, begun) in [("Content-Length: 5", "wiki"), (CHUNKED, "4\r\nwiki\r\n")] {
            let ask = format!("POST / HTTP/1.1\r\nHost: a\r\n{framing}\r\n\r\n{begun}");
            let mut wire = Wire::sent(proxy.address(), ask).await;
            let mut asked = answered(&mut wire, &mut replica, answer).await;
            assert_eq!(asked.part(4).await, b"wiki");
            drop(wire);
            assert_left(&proxy, asked, &format!("{framing}, {answer:?}")).await;
        }
    }
}

/// Neither at the stop's deadline nor when their own time is over, which no test would live to see.
#[tokio::test]
async fn a_stop_ends_who_has_no_whole_request_and_tells_the_others_that_theirs_is_the_last() {
    let mut replica = Replica::start().await;
    let keys = "shutdown_timeout: 1h\nclients: {header_timeout: 1h, idle_timeout: 1h}";
    let mut proxy = replica.proxy(keys).await;
    let mut asks = Wire::sent(proxy.address(), GET).await;
    let mut asked = replica.asked().await;
    // Many: who has come only just has a moment for its first request, and the one above is to be older than that.
    let mut others = Vec::new();
    for begun in ["", "\r\n", "G", "GET / HTTP/1.1\r\nHo"].repeat(10) {
        let mut wire = Wire::open(proxy.address()).await;
        assert_goes_on(&mut wire, &mut replica).await;
        wire.send(begun).await;
        others.push((begun, wire));
    }
    for begun in ["P", "GET / HTTP/1.1\r\nHo"] {
        others.push((begun, Wire::sent(proxy.address(), begun).await));
    }
    proxy.signal(Signal::TERM);
    for (begun, wire) in &mut others {
        assert!(wire.is_cut().await, "{begun:?}");
    }
    assert!(asks.is_silent(), "it is answered yet");
    asked.wire.send("HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nok\n").await;
    let reply = asks.reply().await;
    assert_eq!((reply.text(), reply.header("connection")), ("ok\n", "close"));
    assert_eq!(asks.rest().await.expect("no reset"), b"");
    drop(others);
    assert_eq!(proxy.ended().await.code(), Some(0));
}

#[tokio::test]
async fn what_comes_in_one_piece_with_a_switch_by_tls_is_not_lost() {
    let (mut replica, authority) = (Replica::start().await, Authority::new());
    let proxy = secured(&replica, &authority).await;
    // Within what is read with a head, and beyond it.
    for size in [16, 10_000] {
        let (ours, theirs) = (pattern(1, size), pattern(2, size));
        let mut wire = by_tls(&proxy, &authority).await;
        wire.send([ASK.as_bytes(), &ours].concat()).await;
        let mut asked = replica.asked().await;
        asked.wire.send([SWITCH.as_bytes(), &theirs].concat()).await;
        let head = wire.head().await;
        assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
        assert!(wire.take(size).await == theirs, "{size} bytes from the replica");
        assert!(asked.wire.take(size).await == ours, "{size} bytes from the client");
        wire.send("more").await;
        assert_eq!(asked.wire.take(4).await, b"more");
        asked.wire.send("back").await;
        assert_eq!(wire.take(4).await, b"back");
        wire.finish().await;
        assert_eq!(asked.wire.rest().await.unwrap(), b"");
        asked.wire.send("last").await;
        drop(asked);
        assert_eq!(wire.rest().await.expect("an end in the words of TLS"), b"last");
        idle(&proxy).await;
    }
}

/// The replica has closed what was kept, and it may be that the proxy has not heard of it.
#[tokio::test]
async fn a_switch_needs_nothing_that_was_kept() {
    let mut replica = Replica::start().await;
    let proxy = replica.proxy("keep_alive: 60s").await;
    for _ in 0..5 {
        for closes_early in [true, false] {
            let mut wire = Wire::sent(proxy.address(), GET).await;
            let mut kept = replica.asked().await;
            kept.wire.send("HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nok\n").await;
            if closes_early {
                drop(kept);
                assert_eq!(wire.reply().await.text(), "ok\n");
            } else {
                assert_eq!(wire.reply().await.text(), "ok\n");
                drop(kept);
            }
            wire.send(format!("{ASK}from the client")).await;
            let mut asked = replica.asked().await;
            assert!(asked.head.to_lowercase().contains("\r\nupgrade: x-test\r\n"), "{}", asked.head);
            asked.wire.send(format!("{SWITCH}from the replica")).await;
            let head = wire.head().await;
            assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
            assert_eq!(wire.take(16).await, b"from the replica");
            assert_eq!(asked.wire.take(15).await, b"from the client");
        }
    }
}
