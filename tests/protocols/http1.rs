//! HTTP/1.1 with clients, byte by byte: what goes along with a message, where that ends, and what becomes of its
//! connection then.

use crate::proxy;
use crate::replica::Replica;
use crate::support::metrics::Scrape;
use crate::support::proxy::Proxy;
use crate::support::wait::wait_for_async;
use crate::support::wire::{Reply, Wire};

pub(crate) const GET: &str = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";

/// A replica's last on its connection, so that each request comes on one of its own.
pub(crate) const ANSWER: &str = "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 3\r\n\r\nok\n";

pub(crate) const CHUNKED: &str = "Transfer-Encoding: chunked";

/// Bytes of which each is known by its place, and others with each seed.
pub(crate) fn pattern(seed: u8, size: usize) -> Vec<u8> {
    (0..=250).cycle().skip(seed.into()).take(size).collect()
}

/// A body in chunks of at most so many bytes.
fn in_chunks(body: &[u8], most: usize) -> Vec<u8> {
    let chunk = |data: &[u8]| [format!("{:x}\r\n", data.len()).as_bytes(), data, b"\r\n"].concat();
    let chunks: Vec<_> = body.chunks(most).map(chunk).collect();
    [chunks.concat(), b"0\r\n\r\n".to_vec()].concat()
}

/// `POST path` with this body: its head, and what follows that. `most`: in chunks of at most so many bytes.
fn post(path: &str, body: &[u8], most: Option<usize>) -> (String, Vec<u8>) {
    let (framing, sent) = match most {
        None => (format!("Content-Length: {}", body.len()), body.to_vec()),
        Some(most) => (CHUNKED.to_owned(), in_chunks(body, most)),
    };
    (format!("POST {path} HTTP/1.1\r\nHost: a\r\n{framing}\r\n\r\n"), sent)
}

/// The connection is as good as before.
pub(crate) async fn assert_goes_on(wire: &mut Wire, replica: &mut Replica) {
    wire.send(GET).await;
    replica.asked().await.wire.send(ANSWER).await;
    assert_eq!(wire.reply().await.text(), "ok\n");
}

pub(crate) async fn idle(proxy: &Proxy) {
    wait_for_async("nothing is in flight", || async {
        (proxy.only_app().await["in_flight"] == 0).then_some(())
    })
    .await;
}

#[tokio::test]
async fn an_old_client_is_told_what_becomes_of_its_connection() {
    let proxy = proxy(&[], "").await;
    let ask = |path: &str, fields: &str| format!("GET {path} HTTP/1.0\r\nHost: a\r\n{fields}\r\n");
    let keeps = "Connection: Keep-Alive\r\n";
    let mut wire = Wire::open(proxy.address()).await;
    for path in ["/bytes?n=2", "/status?code=204", "/bytes?n=0"] {
        wire.send(ask(path, keeps)).await;
        let reply = wire.reply().await;
        assert!(reply.head.starts_with("HTTP/1.0 20"), "{}", reply.head);
        assert_eq!(reply.header("connection"), "keep-alive", "{path}");
    }
    // The connection's end alone says where this one ends, whatever the client would.
    wire.send(ask("/stream?chunks=3&every_ms=1&size=4", keeps)).await;
    let reply = wire.reply().await;
    let framing = (reply.header("transfer-encoding"), reply.header("content-length"));
    assert_eq!((reply.header("connection"), framing), ("close", ("", "")), "{}", reply.head);
    assert_eq!(wire.rest().await.unwrap(), b"............");
    let mut once = Wire::sent(proxy.address(), ask("/bytes?n=2", "")).await;
    let reply = once.reply().await;
    assert!(reply.head.starts_with("HTTP/1.0 200 "), "{}", reply.head);
    assert_eq!((reply.text(), reply.header("connection")), ("00", "close"));
    assert!(once.is_cut().await);
}

#[tokio::test]
async fn nothing_is_answered_behind_the_last_request() {
    let proxy = proxy(&[], "").await;
    for last in [
        "GET /id HTTP/1.1\r\nHost: a\r\nConnection: x, CLOSE\r\n\r\n",
        "GET /id HTTP/1.0\r\nHost: a\r\n\r\n",
        "POST /echo HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: 4\r\n\r\nwiki",
    ] {
        let mut wire = Wire::sent(proxy.address(), format!("{last}{GET}")).await;
        let reply = wire.reply().await;
        assert_eq!((reply.status(), reply.header("connection")), (200, "close"), "{last}");
        assert_eq!(wire.rest().await.expect("no reset"), b"", "{last}");
    }
    assert_eq!(proxy.report().count("start"), 3);
}

/// Asked for in one piece, so that a byte too many of one would stand before the next.
#[tokio::test]
async fn answers_without_a_body_are_heads_alone() {
    let mut replica = Replica::start().await;
    let proxy = replica.proxy("").await;
    let rows = [
        ("HEAD", "200 OK", "Content-Length: 12345\r\n", "12345"),
        ("HEAD", "200 OK", "Transfer-Encoding: chunked\r\n", ""),
        ("HEAD", "404 Not Found", "Content-Length: 0\r\n", "0"),
        ("HEAD", "200 OK", "", ""),
        ("GET", "304 Not Modified", "Content-Length: 7\r\n", "7"),
        ("GET", "304 Not Modified", "Transfer-Encoding: chunked\r\n", ""),
        ("GET", "204 No Content", "Content-Length: 7\r\n", ""),
        ("GET", "204 No Content", "", ""),
    ];
    let asks: Vec<_> = rows.iter().map(|(method, ..)| GET.replace("GET", method)).collect();
    let mut wire = Wire::sent(proxy.address(), asks.concat() + GET).await;
    for (method, status, fields, length) in rows {
        let answer = format!("HTTP/1.1 {status}\r\nConnection: close\r\n{fields}\r\n");
        replica.asked().await.wire.send(answer).await;
        let reply = Reply { head: wire.head().await, body: Vec::new() };
        let row = format!("{method}, {status}, {fields:?}: {}", reply.head);
        assert!(reply.head.starts_with(&format!("HTTP/1.1 {status}\r\n")), "{row}");
        let framing = (reply.header("content-length"), reply.header("transfer-encoding"));
        assert_eq!((framing, reply.header("connection")), ((length, ""), ""), "{row}");
    }
    replica.asked().await.wire.send(ANSWER).await;
    assert_eq!(wire.reply().await.text(), "ok\n");
}

#[tokio::test]
async fn a_requests_trailers_reach_the_replica_where_they_are_announced() {
    let mut replica = Replica::start().await;
    let proxy = replica.proxy("").await;
    let mut wire = Wire::open(proxy.address()).await;
    for (announced, trailers) in [("Trailer: X-Sum\r\n", "x-sum: 42\r\n"), ("", "")] {
        let head = format!("POST / HTTP/1.1\r\nHost: a\r\n{CHUNKED}\r\n{announced}\r\n");
        wire.send(format!("{head}4\r\nwiki\r\n0\r\nX-Sum: 42\r\nX-Odd: 1\r\n\r\n")).await;
        let mut asked = replica.asked().await;
        let expected = format!("4\r\nwiki\r\n0\r\n{trailers}\r\n");
        let body = asked.wire.take(expected.len()).await;
        assert_eq!(String::from_utf8_lossy(&body), expected);
        asked.wire.send(ANSWER).await;
        assert_eq!(wire.reply().await.text(), "ok\n");
        assert_eq!(asked.wire.rest().await.unwrap(), b"", "nothing more");
    }
}

#[tokio::test]
async fn an_answers_trailers_reach_those_who_take_them() {
    let mut replica = Replica::start().await;
    let proxy = replica.proxy("").await;
    let answer = format!(
        "HTTP/1.1 200 OK\r\nConnection: close\r\n{CHUNKED}\r\nTrailer: X-Sum\r\n\r\n\
         4\r\nwiki\r\n0\r\nX-Sum: 42\r\nX-Odd: 1\r\n\r\n"
    );
    let (with, without) = ("4\r\nwiki\r\n0\r\nx-sum: 42\r\n\r\n", "4\r\nwiki\r\n0\r\n\r\n");
    let mut wire = Wire::open(proxy.address()).await;
    for (fields, expected) in [
        ("TE: trailers\r\n", with),
        ("", without),
        ("TE: gzip\r\n", without),
        ("TE: gzip, Trailers\r\nConnection: TE\r\n", with),
    ] {
        wire.send(format!("GET / HTTP/1.1\r\nHost: a\r\n{fields}\r\n")).await;
        replica.asked().await.wire.send(&answer).await;
        let head = wire.head().await;
        assert!(head.contains("\r\ntransfer-encoding: chunked\r\n"), "{head}");
        let body = wire.take(expected.len()).await;
        assert_eq!(String::from_utf8_lossy(&body), expected, "{fields}");
    }
    assert_goes_on(&mut wire, &mut replica).await;
    let mut old = Wire::sent(proxy.address(), "GET / HTTP/1.0\r\nHost: a\r\nTE: trailers\r\n\r\n").await;
    replica.asked().await.wire.send(&answer).await;
    old.head().await;
    assert_eq!(old.rest().await.unwrap(), b"wiki", "it knows neither chunks nor trailers");
}

#[tokio::test]
async fn who_awaits_a_word_gets_it_once() {
    let mut replica = Replica::start().await;
    let proxy = replica.proxy("").await;
    let ask = "POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-Continue\r\nContent-Length: 10\r\n\r\n";
    let mut wire = Wire::open(proxy.address()).await;
    for _ in 0..2 {
        wire.send(ask).await;
        assert_eq!(wire.head().await, "HTTP/1.1 100 Continue\r\n\r\n");
        let mut asked = replica.asked().await;
        assert!(!asked.head.to_lowercase().contains("expect"), "{}", asked.head);
        for half in ["first", "other"] {
            wire.send(half).await;
            assert_eq!(asked.wire.take(5).await, half.as_bytes());
        }
        // Its own word comes late, and is for the proxy alone.
        asked.wire.send(format!("HTTP/1.1 100 Continue\r\n\r\n{ANSWER}")).await;
        let reply = wire.reply().await;
        assert_eq!((reply.status(), reply.text()), (200, "ok\n"));
    }
}

#[tokio::test]
async fn who_has_sent_its_body_or_is_old_gets_no_word() {
    let proxy = proxy(&[], "").await;
    let mut wire = Wire::open(proxy.address()).await;
    for (request, body) in [
        ("POST /echo HTTP/1.1\r\nContent-Length: 4\r\n", "wiki"),
        ("POST /echo HTTP/1.1\r\nTransfer-Encoding: chunked\r\n", "4\r\nwiki\r\n0\r\n\r\n"),
        ("GET /bytes?n=4 HTTP/1.1\r\n", ""),
    ] {
        wire.send(format!("{request}Host: a\r\nExpect: 100-continue\r\n\r\n{body}")).await;
        let reply = wire.reply().await;
        assert_eq!((reply.status(), reply.body.len()), (200, 4), "{request}");
    }
    let mut replica = Replica::start().await;
    let proxy = replica.proxy("").await;
    let ask = "POST / HTTP/1.0\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 4\r\n\r\n";
    let mut old = Wire::sent(proxy.address(), ask).await;
    let mut asked = replica.asked().await;
    // A word would have been said before the head went on.
    old.send("wiki").await;
    assert_eq!(asked.wire.take(4).await, b"wiki");
    asked.wire.send(ANSWER).await;
    let head = old.head().await;
    assert!(head.starts_with("HTTP/1.0 200 "), "{head}");
}

#[tokio::test]
async fn a_body_that_is_too_large_is_not_asked_for() {
    let proxy = proxy(&[], "max_body: 1000").await;
    let ask = "POST /echo HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 1001\r\n\r\n";
    let mut wire = Wire::sent(proxy.address(), ask).await;
    let reply = wire.reply().await;
    assert_eq!((reply.status(), reply.header("connection")), (413, "close"), "{}", reply.head);
    assert_eq!(wire.rest().await.expect("no reset"), b"");
    assert_eq!(proxy.report().count("boot"), 0);
}

/// And the next request may come in one piece with the end of its body.
#[tokio::test]
async fn a_client_may_go_on_sending_behind_an_early_answer() {
    let mut replica = Replica::start().await;
    let proxy = replica.proxy("").await;
    let mut wire = Wire::open(proxy.address()).await;
    for (seed, most) in [(1, None), (2, Some(5000)), (3, None)] {
        let body = pattern(seed, 200_000);
        let (head, sent) = post("/", &body, most);
        wire.send(head).await;
        let mut asked = replica.asked().await;
        // It would keep the connection, which is amid a body.
        asked.wire.send("HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nearly\n").await;
        assert_eq!(wire.reply().await.text(), "early\n");
        let (taken, ()) = tokio::join!(asked.body(), wire.send([&sent[..], GET.as_bytes()].concat()));
        assert!(taken == body, "{} of {} bytes, in chunks of {most:?}", taken.len(), body.len());
        assert_eq!(asked.wire.rest().await.unwrap(), b"", "the next is none of its body");
        replica.asked().await.wire.send(ANSWER).await;
        assert_eq!(wire.reply().await.text(), "ok\n");
    }
}

/// Requests that the proxy answers by itself, without a look at their bodies, for an app of `a.test`.
const UNREAD: [(&str, u16); 2] = [
    ("POST / HTTP/1.1\r\nHost: b.test\r\n", 404),
    ("POST /.pilotlight/health HTTP/1.1\r\nHost: a.test\r\n", 200),
];

/// What a body looks like that is taken for a request.
pub(crate) const SMUGGLED: &str = "GET /id HTTP/1.1\r\nHost: a.test\r\n\r\n";

#[tokio::test]
async fn a_body_that_nobody_reads_is_passed_over_where_it_has_come() {
    let proxy = proxy(&[], "host: a.test").await;
    let length = SMUGGLED.len();
    let mut wire = Wire::open(proxy.address()).await;
    for (head, status) in UNREAD {
        for body in [
            format!("Content-Length: {length}\r\n\r\n{SMUGGLED}"),
            format!("{CHUNKED}\r\n\r\n{length:x}\r\n{SMUGGLED}\r\n0\r\nX: y\r\n\r\n"),
            "Content-Length: 0\r\n\r\n".to_owned(),
        ] {
            wire.send(format!("{head}{body}")).await;
            let reply = wire.reply().await;
            let said = (reply.status(), reply.header("connection"));
            assert_eq!(said, (status, ""), "{head}{body}: {}", reply.head);
        }
    }
    assert_eq!(proxy.report().count("boot"), 0);
    wire.send(SMUGGLED).await;
    assert_eq!(wire.reply().await.status(), 200, "as a request it is one");
}

#[tokio::test]
async fn a_body_that_has_not_come_ends_the_connection_in_order() {
    let proxy = proxy(&[], "host: a.test").await;
    for (head, status) in UNREAD {
        for framing in ["Content-Length: 1000", CHUNKED] {
            let ask = format!("{head}{framing}\r\n\r\n");
            let mut silent = Wire::sent(proxy.address(), &ask).await;
            let reply = silent.reply().await;
            assert_eq!((reply.status(), reply.header("connection")), (status, "close"), "{ask}");
            assert_eq!(silent.rest().await.expect("no reset"), b"", "{ask}");
            let mut late = Wire::sent(proxy.address(), &ask).await;
            assert_eq!(late.reply().await.status(), status, "{ask}");
            late.try_send(SMUGGLED).await;
            assert!(late.is_cut().await, "{ask}");
        }
    }
    assert_eq!(proxy.report().count("boot"), 0);
}

pub(crate) const ASK: &str =
    "GET / HTTP/1.1\r\nHost: a\r\nConnection: keep-alive, Upgrade\r\nUpgrade: x-test\r\n\r\n";

pub(crate) const SWITCH: &str =
    "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: x-test\r\n\r\n";

const CASES: [&str; 2] = ["", "preserve_header_case: true"];

#[tokio::test]
async fn what_comes_in_one_piece_with_a_switch_is_not_lost() {
    for keys in CASES {
        let mut replica = Replica::start().await;
        let proxy = replica.proxy(keys).await;
        let mut wire = Wire::sent(proxy.address(), format!("{ASK}from the client")).await;
        let mut asked = replica.asked().await;
        asked.wire.send(format!("{SWITCH}from the replica")).await;
        let head = wire.head().await;
        assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
        for head in [asked.head.to_lowercase(), head.to_lowercase()] {
            let says = |field: &str| head.contains(&format!("\r\n{field}\r\n"));
            assert!(says("connection: upgrade") && says("upgrade: x-test"), "{keys}: {head}");
        }
        assert_eq!(wire.take(16).await, b"from the replica");
        assert_eq!(asked.wire.take(15).await, b"from the client");
        wire.send("more").await;
        assert_eq!(asked.wire.take(4).await, b"more");
        asked.wire.send("back").await;
        assert_eq!(wire.take(4).await, b"back");
        wire.finish().await;
        assert_eq!(asked.wire.rest().await.unwrap(), b"");
        drop(asked);
        assert_eq!(wire.rest().await.unwrap(), b"");
        idle(&proxy).await;
    }
}

/// What stands behind it is the next request, and none of another protocol.
#[tokio::test]
async fn a_switch_that_is_refused_is_an_ordinary_answer() {
    for keys in CASES {
        let mut replica = Replica::start().await;
        let proxy = replica.proxy(keys).await;
        let mut wire = Wire::sent(proxy.address(), format!("{ASK}{GET}")).await;
        let refusal = ANSWER.replace("200 OK", "426 Upgrade Required").replace("ok\n", "no\n");
        replica.asked().await.wire.send(refusal).await;
        let reply = wire.reply().await;
        assert_eq!((reply.status(), reply.text()), (426, "no\n"), "{keys}");
        let mut second = replica.asked().await;
        assert!(!second.head.to_lowercase().contains("upgrade"), "{}", second.head);
        second.wire.send(ANSWER).await;
        assert_eq!(wire.reply().await.text(), "ok\n", "{keys}");
        assert_goes_on(&mut wire, &mut replica).await;
    }
}

#[tokio::test]
async fn a_switch_that_nobody_has_asked_for_is_no_answer() {
    let mut replica = Replica::start().await;
    let proxy = replica.proxy("").await;
    let mut wire = Wire::sent(proxy.address(), GET).await;
    replica.asked().await.wire.send(SWITCH).await;
    let reply = wire.reply().await;
    assert_eq!((reply.status(), reply.header("x-pilotlight-reason")), (502, "upstream-protocol"));
    assert_goes_on(&mut wire, &mut replica).await;
}

#[tokio::test]
async fn dates_and_reasons_are_the_replicas_own_where_it_gives_any() {
    const EPOCH: &str = "Thu, 01 Jan 1970 00:00:00 GMT";
    let mut replica = Replica::start().await;
    let proxy = replica.proxy("").await;
    let mut wire = Wire::open(proxy.address()).await;
    for line in ["200 OK", "200 Fine", "299 Quite Odd", "404 "] {
        for dated in [true, false] {
            let date = if dated { format!("Date: {EPOCH}\r\n") } else { String::new() };
            let answer = format!("HTTP/1.1 {line}\r\nConnection: close\r\n{date}Content-Length: 0\r\n\r\n");
            wire.send(GET).await;
            replica.asked().await.wire.send(answer).await;
            let reply = wire.reply().await;
            assert!(reply.head.starts_with(&format!("HTTP/1.1 {line}\r\n")), "{}", reply.head);
            assert_eq!(reply.head.to_lowercase().matches("\r\ndate: ").count(), 1, "{}", reply.head);
            assert!(httpdate::parse_http_date(reply.header("date")).is_ok(), "{}", reply.head);
            assert_eq!(reply.header("date") == EPOCH, dated, "{}", reply.head);
        }
    }
}

#[tokio::test]
async fn a_client_that_leaves_takes_its_request_along() {
    let mut replica = Replica::start().await;
    let proxy = replica.proxy("").await;
    let post = |framing: &str, begun: &str| format!("POST / HTTP/1.1\r\nHost: a\r\n{framing}\r\n\r\n{begun}");
    let (part, whole) = ("4\r\nwiki\r\n", "4\r\nwiki\r\n0\r\n\r\n");
    for (request, sent) in [
        (GET.to_owned(), ""),
        (post("Content-Length: 4", "wiki"), "wiki"),
        (post("Content-Length: 5", "wiki"), "wiki"),
        (post(CHUNKED, part), part),
        (post(CHUNKED, whole), whole),
    ] {
        for resets in [false, true] {
            let wire = Wire::sent(proxy.address(), &request).await;
            let mut asked = replica.asked().await;
            assert_eq!(asked.wire.take(sent.len()).await, sent.as_bytes());
            assert_eq!(proxy.only_app().await["in_flight"], 1);
            if resets {
                wire.reset();
            } else {
                drop(wire);
            }
            assert_eq!(asked.wire.rest().await.unwrap(), b"", "resets: {resets}, {request}");
            idle(&proxy).await;
        }
    }
    // Amid its answer.
    let mut wire = Wire::sent(proxy.address(), GET).await;
    let mut asked = replica.asked().await;
    asked.wire.send("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf!").await;
    wire.head().await;
    assert_eq!(wire.take(5).await, b"half!");
    drop(wire);
    assert_eq!(asked.wire.rest().await.unwrap(), b"");
    idle(&proxy).await;
}

#[tokio::test]
async fn an_answer_that_breaks_off_is_never_whole() {
    let mut replica = Replica::start().await;
    let proxy = replica.proxy("").await;
    for (framing, sent, passed) in [
        ("Content-Length: 10", "half!", "half!"),
        (CHUNKED, "5\r\nhalf!\r\n", "5\r\nhalf!\r\n"),
        (CHUNKED, "5\r\nhalf!\r\n0\r\n", "5\r\nhalf!\r\n"),
    ] {
        let answer = format!("HTTP/1.1 200 OK\r\n{framing}\r\n\r\n{sent}");
        let mut wire = Wire::sent(proxy.address(), GET).await;
        let mut asked = replica.asked().await;
        asked.wire.send(&answer).await;
        wire.head().await;
        assert_eq!(wire.take(passed.len()).await, passed.as_bytes(), "{answer}");
        drop(asked);
        assert!(wire.is_cut().await, "{answer}");

        // And where the end of the connection comes in one with it.
        let mut wire = Wire::sent(proxy.address(), GET).await;
        replica.asked().await.wire.send(&answer).await;
        wire.head().await;
        let said = wire.rest().await.expect("no reset");
        assert_eq!(String::from_utf8_lossy(&said), passed, "{answer}");
    }
}

/// At once, and not because its time has come.
#[tokio::test]
async fn what_is_no_http_is_told_so_before_its_end() {
    let rows: [&[u8]; 13] = [
        b"\x16\x03\x01",
        b"\x80\x2e",
        b"\0",
        b" ",
        b"GET\t",
        b"G(",
        b"GET /\x01",
        b"SSH-2.0-x\r\n",
        b"HELO a\r\n",
        b"GET / HTTP/2.0\r\n",
        b"GET / HTTP/1.1\n",
        b"GET / HTTP/1.1\r\nHost: a\0",
        b"PRI * HTTP/2.0\r\n\r\nXX\r\n\r\n",
    ];
    let good = "GET /.pilotlight/health HTTP/1.1\r\nHost: a\r\n\r\n";
    let proxy = proxy(&[], "clients: {header_timeout: 10m, idle_timeout: 10m}").await;
    for row in rows {
        for behind in [false, true] {
            let which = format!("{}, behind another: {behind}", row.escape_ascii());
            let mut wire = Wire::open(proxy.address()).await;
            if behind {
                wire.send(good).await;
                assert_eq!(wire.reply().await.status(), 200);
            }
            wire.send(row).await;
            let reply = wire.reply().await;
            let reason = reply.header("x-pilotlight-reason");
            assert!(reason.starts_with("bad-request: "), "{which}: {}", reply.head);
            assert_eq!((reply.status(), reply.header("connection")), (400, "close"), "{which}");
            assert_eq!(reply.text(), format!("400 {reason}\n"), "{which}");
            assert_eq!(wire.rest().await.expect("no reset"), b"", "{which}");
        }
    }
    let refused = 2.0 * rows.len() as f64;
    let sample = "pilotlight_requests_rejected_total{app=\"\",reason=\"bad-request\"}";
    Scrape::of(&proxy).await.assert(&[(sample, refused)]);
    assert_eq!(proxy.report().count("boot"), 0);
}

#[tokio::test]
async fn each_of_one_name_keeps_its_own_case() {
    let mut replica = Replica::start().await;
    let proxy = replica.proxy("preserve_header_case: true").await;
    let ask =
        "POST / HTTP/1.1\r\nHost: a\r\nX-CaMeL: 1\r\nB: b\r\nx-cAmEl: 2\r\nCONTENT-length: 4\r\n\r\nwiki";
    let mut wire = Wire::sent(proxy.address(), ask).await;
    let mut asked = replica.asked().await;
    assert_eq!(asked.wire.take(4).await, b"wiki");
    let answer =
        "HTTP/1.1 200 OK\r\nX-PasCal: 1\r\nConnection: close\r\nCoNtEnT-lEnGtH: 3\r\nX-PASCAL: 2\r\n\r\nok\n";
    asked.wire.send(answer).await;
    let reply = wire.reply().await;
    assert_eq!(reply.text(), "ok\n");
    for (head, first, second, length) in [
        (&asked.head, "\r\nX-CaMeL: 1\r\n", "\r\nx-cAmEl: 2\r\n", "\r\nCONTENT-length: 4\r\n"),
        (&reply.head, "\r\nX-PasCal: 1\r\n", "\r\nX-PASCAL: 2\r\n", "\r\nCoNtEnT-lEnGtH: 3\r\n"),
    ] {
        let (first, second) = (head.find(first), head.find(second));
        assert!(first.is_some() && first < second && head.contains(length), "{head}");
        assert_eq!(head.to_lowercase().matches("\r\ncontent-length: ").count(), 1, "{head}");
    }
}

/// Around what is read, copied and kept at once.
const SIZES: [usize; 21] = [
    0, 1, 2, 1023, 1024, 1025, 2047, 2048, 2049, 4095, 4096, 4097, 8191, 8192, 8193, 16_383, 16_384, 16_385,
    65_535, 65_536, 65_537,
];

#[tokio::test]
async fn bodies_of_any_size_come_back_as_they_were() {
    let proxy = proxy(&[], "").await;
    let mut wire = Wire::open(proxy.address()).await;
    let mut seed = 0;
    for most in [None, Some(61), Some(1000), Some(4096), Some(usize::MAX)] {
        for in_one in [true, false] {
            for size in SIZES {
                seed = (seed + 1) % 251;
                let body = pattern(seed, size);
                let (head, sent) = post("/echo", &body, most);
                if in_one {
                    wire.send([head.as_bytes(), &sent].concat()).await;
                } else {
                    wire.send(head).await;
                    wire.send(sent).await;
                }
                let reply = wire.reply().await;
                let which = format!("{size} bytes, in chunks of {most:?}, in one: {in_one}: {}", reply.head);
                assert_eq!(reply.status(), 200, "{which}");
                assert!(reply.body == body, "{which}");
            }
        }
    }
}

#[tokio::test]
async fn what_has_carried_much_goes_on_as_before() {
    const LARGE: usize = 1_000_000;
    let proxy = proxy(&[], "").await;
    let mut wire = Wire::open(proxy.address()).await;
    let large = pattern(0, LARGE);
    for (seed, most) in [(1, None), (2, Some(5000)), (3, Some(100_000)), (4, None)] {
        let (head, sent) = post("/slow-body", &large, most);
        wire.send([head.as_bytes(), &sent].concat()).await;
        assert_eq!(wire.reply().await.text(), format!("{LARGE}\n"));
        wire.send(format!("GET /bytes?n={LARGE} HTTP/1.1\r\nHost: a\r\n\r\n")).await;
        assert!(wire.reply().await.body == vec![b'0'; LARGE], "behind a body in chunks of {most:?}");
        idle(&proxy).await;
        let body = pattern(seed, 3000);
        let (head, sent) = post("/echo", &body, most);
        wire.send([head.as_bytes(), &sent].concat()).await;
        assert!(wire.reply().await.body == body, "behind a body in chunks of {most:?}");
    }
}
