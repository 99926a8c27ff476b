//! What reaches the replica of requests that are in their right: what the client wrote, and what the proxy says of it.

use crate::legal::{LEGAL, Legal, WHO};
use crate::{GOOD, Stage, answers, recorder, shown};

const SAID: &str = "via: 1.1 pilotlight\r\nx-forwarded-for: 127.0.0.1\r\nx-forwarded-proto: http\r\nx-forwarded-host: a.test\r\n";

fn expected(row: &Legal) -> Vec<u8> {
    let at = row.received.windows(WHO.len()).position(|window| window == WHO.as_bytes());
    let Some(at) = at else { return row.received.to_vec() };
    let old = row.bytes.windows(9).any(|nine| nine == b" HTTP/1.0");
    let said = if old { SAID.replace("1.1 pilotlight", "1.0 pilotlight") } else { SAID.to_owned() };
    [&row.received[..at], said.as_bytes(), &row.received[at + WHO.len()..]].concat()
}

/// The same request, with the data of its chunks in one.
fn in_one_chunk(request: &[u8]) -> Vec<u8> {
    let end = request.windows(4).position(|four| four == b"\r\n\r\n").expect("a head") + 4;
    let (head, mut rest) = request.split_at(end);
    let mut data = Vec::new();
    if String::from_utf8_lossy(head).contains("\r\ntransfer-encoding: chunked\r\n") {
        while let Some((size, chunk)) = recorder::chunk(rest).filter(|(size, _)| *size > 0) {
            data.extend_from_slice(&chunk[..size]);
            rest = &chunk[size + 2..];
        }
    }
    [head, format!("{:X}\r\n", data.len()).as_bytes(), &data, b"\r\n", rest].concat()
}

/// In one piece and in many, and the connection is good for another request.
#[tokio::test]
async fn what_is_legal_arrives_as_it_should() {
    let stage = Stage::set().await;
    let mut wrong = Vec::new();
    for row in LEGAL {
        for size in [row.bytes.len(), 7, 1] {
            let mut wire = stage.wire().await;
            for piece in row.bytes.chunks(size) {
                wire.send(piece).await;
                tokio::task::yield_now().await;
            }
            let mut reply = wire.reply().await;
            if reply.status() == 100 {
                reply = wire.reply().await;
            }
            let received = stage.received().await;
            // What arrives in pieces goes on in pieces: the same data in other chunks.
            let whole = size == row.bytes.len();
            let alike = match &received[..] {
                [received] if whole => *received == expected(row),
                [received] => in_one_chunk(received) == in_one_chunk(&expected(row)),
                _ => false,
            };
            if reply.status() != 200 || !alike {
                wrong.push(format!("{}, in pieces of {size}: {reply:?}{}", row.name, shown(&received)));
                continue;
            }
            // A client of HTTP/1.0 has not asked for more.
            let older = reply.head.starts_with("HTTP/1.0");
            if !older && !reply.header("connection").eq_ignore_ascii_case("close") {
                wire.send(GOOD).await;
                assert_eq!(wire.reply().await.status(), 200, "{}", row.name);
                stage.recorder.take();
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// As long, and as many, as no line of a table should be.
#[tokio::test]
async fn large_heads_arrive_whole() {
    let stage = Stage::set().await;
    let long = format!("X: {}\r\n", "y".repeat(40_000));
    let many = (0..90).map(|at| format!("x-{at}: y\r\n")).collect::<Vec<_>>().concat();
    for fields in [long, many] {
        let mut wire = stage.wire().await;
        wire.send(format!("GET /a HTTP/1.1\r\nHost: a.test\r\n{fields}\r\n")).await;
        assert_eq!(wire.reply().await.status(), 200);
        let expected =
            format!("GET /a HTTP/1.1\r\nhost: a.test\r\n{}{SAID}\r\n", fields.replace("X: ", "x: "));
        assert_eq!(stage.received().await, [expected.into_bytes()]);
    }
}

/// A client of HTTP/1.0 need not say whom it wants; the replica is told which address it has reached.
#[tokio::test]
async fn a_host_is_put_where_none_need_be() {
    let stage = Stage::set().await;
    let mut wire = stage.wire().await;
    wire.send("GET /a HTTP/1.0\r\n\r\n").await;
    assert_eq!(answers(&mut wire, "HTTP/1.0").await, [(200, String::new())]);
    let host = stage.proxy.address();
    let said = SAID.replace("a.test", &host.to_string()).replace("1.1 pilotlight", "1.0 pilotlight");
    let expected = format!("GET /a HTTP/1.1\r\nhost: {host}\r\n{said}\r\n");
    assert_eq!(stage.received().await, [expected.into_bytes()]);
}
