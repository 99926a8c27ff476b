//! Bodies of HTTP/1.1 beside their answers: what becomes of one that goes on behind an early answer, of one that turns out
//! to be none, of trailers that may not be any, and of an empty line behind a body.

use crate::http1::{ANSWER, CHUNKED, GET, SMUGGLED, assert_goes_on, idle, pattern};
use crate::replica::{Asked, Replica};
use crate::support::metrics::wait_for_sample;
use crate::support::proxy::Proxy;
use crate::support::wire::Wire;

/// Requests that are the last on their connections, up to what frames their bodies; and the key of `clients` that makes
/// them so.
const LAST: [(&str, &str); 3] = [
    ("POST / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n", ""),
    ("POST / HTTP/1.0\r\nHost: a\r\n", ""),
    ("POST / HTTP/1.1\r\nHost: a\r\n", ", requests_per_connection: 1"),
];

const EARLY: &str = "HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nearly\n";

const OPEN: &str = "pilotlight_connections_open";

fn ended(reason: &str) -> String {
    format!("pilotlight_connections_ended_total{{reason=\"{reason}\"}}")
}

#[tokio::test]
async fn a_last_request_is_heard_to_its_end_behind_an_early_answer() {
    const PIECE: usize = 50_000;
    let mut replica = Replica::start().await;
    let body = pattern(1, 5 * PIECE);
    for (head, key) in LAST {
        let proxy = replica.proxy(&format!("clients: {{idle_timeout: 10m{key}}}")).await;
        for chunked in [false, true] {
            if chunked && head.contains("HTTP/1.0") {
                continue;
            }
            let framing =
                if chunked { CHUNKED.to_owned() } else { format!("Content-Length: {}", body.len()) };
            let which = format!("{head}{framing}{key}");
            let mut wire = Wire::sent(proxy.address(), format!("{head}{framing}\r\n\r\n")).await;
            let mut asked = replica.asked().await;
            asked.wire.send(EARLY).await;
            let reply = wire.reply().await;
            assert_eq!((reply.text(), reply.header("connection")), ("early\n", "close"), "{which}");
            for piece in body.chunks(PIECE) {
                assert!(wire.is_silent(), "it is heard on: {which}");
                let sent = if chunked {
                    [format!("{PIECE:x}\r\n").as_bytes(), piece, b"\r\n"].concat()
                } else {
                    piece.to_vec()
                };
                let (taken, ()) = tokio::join!(asked.part(PIECE), wire.send(sent));
                assert!(taken == piece, "{} bytes of {PIECE}: {which}", taken.len());
            }
            if chunked {
                assert!(wire.is_silent(), "its end is to come: {which}");
                wire.send("0\r\n\r\n").await;
                assert_eq!(asked.wire.chunk().await, None, "{which}");
            }
            assert_eq!(asked.wire.rest().await.unwrap(), b"", "nothing more: {which}");
            assert_eq!(wire.rest().await.expect("no reset"), b"", "{which}");
            wait_for_sample(&proxy, OPEN, 0.0).await;
        }
    }
}

/// A request of whose body a half has come to its replica, which is to answer now.
async fn halfway(proxy: &Proxy, replica: &mut Replica, head: &str) -> (Wire, Asked) {
    const HALF: usize = 50_000;
    let half = pattern(1, HALF);
    let head = format!("{head}Content-Length: {}\r\n\r\n", 2 * HALF);
    let wire = Wire::sent(proxy.address(), [head.as_bytes(), &half].concat()).await;
    let mut asked = replica.asked().await;
    assert!(asked.part(HALF).await == half, "as it was sent");
    (wire, asked)
}

/// Where nothing has gone on behind an early answer, its replica has a request without an end.
#[tokio::test]
async fn who_stops_amid_its_body_behind_an_early_answer_is_left() {
    let mut replica = Replica::start().await;
    let mut stopped = Vec::new();
    for (head, key) in LAST {
        let proxy = replica.proxy(&format!("clients: {{idle_timeout: 500ms{key}}}")).await;
        let (mut wire, mut asked) = halfway(&proxy, &mut replica, head).await;
        asked.wire.send(EARLY).await;
        assert_eq!(wire.reply().await.text(), "early\n", "{head}{key}");
        assert_eq!(wire.rest().await.expect("no reset"), b"", "{head}{key}");
        assert_eq!(asked.wire.rest().await.unwrap(), b"", "{head}{key}");
        stopped.push((proxy, wire));
    }
    // They are there still, and say nothing.
    for (proxy, _) in &stopped {
        wait_for_sample(proxy, OPEN, 0.0).await;
        wait_for_sample(proxy, &ended("idle"), 1.0).await;
    }
}

#[tokio::test]
async fn who_takes_nothing_of_an_early_answer_is_given_up() {
    const LARGE: usize = 100_000_000;
    let mut replica = Replica::start().await;
    let piece = vec![b'x'; 65_536];
    for (head, key) in LAST {
        let proxy = replica.proxy(&format!("clients: {{write_timeout: 500ms{key}}}")).await;
        let (deaf, mut asked) = halfway(&proxy, &mut replica, head).await;
        asked.wire.send(format!("HTTP/1.1 200 OK\r\nContent-Length: {LARGE}\r\n\r\n")).await;
        let mut sent = 0;
        while sent < LARGE && asked.wire.try_send(&piece).await {
            sent += piece.len();
        }
        assert!(sent < LARGE, "so much can be nowhere: {head}{key}");
        assert!(asked.wire.is_cut().await, "{head}{key}");
        wait_for_sample(&proxy, &ended("stalled"), 1.0).await;
        wait_for_sample(&proxy, OPEN, 0.0).await;
        idle(&proxy).await;
        drop(deaf);
    }
}

#[tokio::test]
async fn what_may_be_no_trailer_is_none_though_it_is_announced() {
    let mut replica = Replica::start().await;
    let proxy = replica.proxy("").await;
    let answer = format!(
        "HTTP/1.1 200 OK\r\nConnection: close\r\n{CHUNKED}\r\nTrailer: X-Sum, Content-Length, Set-Cookie\r\n\r\n\
         4\r\nwiki\r\n0\r\nContent-Length: 9\r\nX-Sum: 42\r\nSet-Cookie: a=b\r\n\r\n"
    );
    let mut wire = Wire::sent(proxy.address(), "GET / HTTP/1.1\r\nHost: a\r\nTE: trailers\r\n\r\n").await;
    replica.asked().await.wire.send(answer).await;
    let head = wire.head().await.to_lowercase();
    assert!(!head.contains("\r\ncontent-length:") && !head.contains("\r\nset-cookie:"), "{head}");
    let expected = "4\r\nwiki\r\n0\r\nx-sum: 42\r\n\r\n";
    let body = wire.take(expected.len()).await;
    assert_eq!(String::from_utf8_lossy(&body), expected);
    assert_goes_on(&mut wire, &mut replica).await;
}

/// What makes a body in chunks none, behind a whole chunk.
const MALFORMED: [&str; 4] = ["zz\r\n", "4\nwiki\r\n", "4\r\nwiki!\r\n", "0\r\nno trailer\r\n\r\n"];

/// A request whose answer has begun when its body turns out to be none. Its replica has heard that there is no end of it.
async fn spoilt(proxy: &Proxy, replica: &mut Replica, malformed: &str) -> (Wire, Asked) {
    let ask = format!("POST / HTTP/1.1\r\nHost: a\r\n{CHUNKED}\r\n\r\n4\r\nwiki\r\n");
    let mut wire = Wire::sent(proxy.address(), ask).await;
    let mut asked = replica.asked().await;
    assert_eq!(asked.part(4).await, b"wiki");
    asked.wire.send("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf!").await;
    wire.head().await;
    assert_eq!(wire.take(5).await, b"half!");
    wire.send(format!("{malformed}{SMUGGLED}")).await;
    let heard = asked.wire.rest().await.expect("an end");
    assert!(!heard.ends_with(b"0\r\n\r\n"), "{malformed:?}: {}", heard.escape_ascii());
    (wire, asked)
}

#[tokio::test]
async fn nothing_behind_a_malformed_chunk_is_a_request_though_its_answer_has_begun() {
    let mut replica = Replica::start().await;
    let proxy = replica.proxy("").await;
    let mut requests = 0;
    for malformed in MALFORMED {
        // The replica ends its answer in order, or breaks it off.
        for rest in ["other", ""] {
            let (mut wire, mut asked) = spoilt(&proxy, &mut replica, malformed).await;
            asked.wire.try_send(rest).await;
            drop(asked);
            let said = wire.rest().await.unwrap_or_default();
            assert!(rest.as_bytes().starts_with(&said), "{malformed:?}: {}", said.escape_ascii());
            requests += 1;
        }
    }
    wait_for_sample(&proxy, OPEN, 0.0).await;
    assert_eq!(proxy.only_app().await["requests"], requests);
    let mut next = Wire::sent(proxy.address(), GET).await;
    let mut asked = replica.asked().await;
    assert!(asked.head.starts_with("GET / "), "the next that it gets: {}", asked.head);
    asked.wire.send(ANSWER).await;
    assert_eq!(next.reply().await.text(), "ok\n");
}

/// The replica says no more, and has not closed its end either.
#[tokio::test]
async fn a_malformed_chunk_ends_its_connection_whatever_the_replica_does() {
    let mut replica = Replica::start().await;
    let proxy = replica.proxy("").await;
    for malformed in MALFORMED {
        let (mut wire, _asked) = spoilt(&proxy, &mut replica, malformed).await;
        assert!(wire.is_cut().await, "{malformed:?}");
        idle(&proxy).await;
    }
}

/// An empty line behind a body, or a half of one: what comes in one piece with the body, and what comes after that.
const EMPTY_LINES: [(&str, &str); 5] = [("\r\n", ""), ("", "\r\n"), ("\r", "\n"), ("\r", ""), ("", "\r")];

/// Of both kinds, with what is said of their length.
const BODIES: [(&str, &str); 2] = [("Content-Length: 4", "wiki"), (CHUNKED, "4\r\nwiki\r\n0\r\n\r\n")];

/// A request with this body and this line behind it, which has come to its replica.
async fn behind(
    proxy: &Proxy,
    replica: &mut Replica,
    (framing, body): (&str, &str),
    (along, later): (&str, &str),
) -> (Wire, Asked) {
    let ask = format!("POST / HTTP/1.1\r\nHost: a\r\n{framing}\r\n\r\n{body}{along}");
    let mut wire = Wire::sent(proxy.address(), ask).await;
    let mut asked = replica.asked().await;
    assert_eq!(asked.body().await, b"wiki");
    wire.send(later).await;
    (wire, asked)
}

/// It has begun no head: that would have far more time.
#[tokio::test]
async fn who_is_silent_behind_an_empty_line_is_idle() {
    let mut replica = Replica::start().await;
    let proxy = replica.proxy("clients: {idle_timeout: 500ms, header_timeout: 10m}").await;
    let mut silent = 0.0;
    for body in BODIES {
        for line in EMPTY_LINES {
            let (mut wire, mut asked) = behind(&proxy, &mut replica, body, line).await;
            asked.wire.send(ANSWER).await;
            assert_eq!(wire.reply().await.text(), "ok\n", "{body:?} {line:?}");
            assert_eq!(wire.rest().await.expect("no reset"), b"", "without a word: {body:?} {line:?}");
            silent += 1.0;
        }
    }
    wait_for_sample(&proxy, &ended("idle"), silent).await;
}

#[tokio::test]
async fn who_leaves_behind_an_empty_line_takes_its_request_along() {
    let mut replica = Replica::start().await;
    let proxy = replica.proxy("").await;
    for body in BODIES {
        for line in EMPTY_LINES {
            let (wire, mut asked) = behind(&proxy, &mut replica, body, line).await;
            assert_eq!(proxy.only_app().await["in_flight"], 1);
            drop(wire);
            assert_eq!(asked.wire.rest().await.unwrap(), b"", "{body:?} {line:?}");
            idle(&proxy).await;
        }
    }
}
