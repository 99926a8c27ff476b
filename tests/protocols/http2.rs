//! HTTP/2 from clients: what a replica sees of it, many requests at once, and floods.

use std::time::Duration;

use bytes::Bytes;
use futures_util::future::join_all;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::Frame;
use hyper::{HeaderMap, Request};
use tokio::sync::mpsc;

use crate::h2::{H2, get, post};
use crate::proxy;
use crate::support::proxy::Proxy;
use crate::support::wait::wait_for_async;
use crate::support::wire::Wire;

async fn idle(proxy: &Proxy) {
    wait_for_async("nothing is in flight", || async {
        (proxy.only_app().await["in_flight"] == 0).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn many_requests_at_once_from_zero() {
    let proxy = proxy(&[], "").await;
    let client = H2::clear(&proxy).await;
    let answers = join_all((0..100).map(|at| client.send(post("/echo", format!("body {at}"))))).await;
    for (at, answer) in answers.into_iter().enumerate() {
        let answer = answer.unwrap();
        assert_eq!((answer.status, answer.text()), (200, format!("body {at}").as_str()));
    }
    assert_eq!(proxy.report().count("boot"), 1);
    idle(&proxy).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replica_sees_an_ordinary_request() {
    let proxy = proxy(&[], "").await;
    let client = H2::clear(&proxy).await;
    let request = Request::get("http://localhost/headers?q=1")
        .header("cookie", "a=1")
        .header("cookie", "b=2")
        .header("te", "trailers")
        .header("x-forwarded-for", "6.6.6.6")
        .body(Full::<Bytes>::default())
        .unwrap();
    let seen = client.send(request).await.unwrap().json();
    assert_eq!((&seen["uri"], &seen["version"]), (&"/headers?q=1".into(), &"HTTP/1.1".into()));
    let headers = seen["headers"].to_string();
    for told in [
        r#"["host","localhost"]"#,
        r#"["cookie","a=1; b=2"]"#,
        r#"["te","trailers"]"#,
        r#"["x-forwarded-for","127.0.0.1"]"#,
        r#"["x-forwarded-proto","http"]"#,
    ] {
        assert!(headers.contains(told), "{told} is not in {headers}");
    }
    let unknown =
        client.send(Request::get("http://localhost/x").body(Full::<Bytes>::default()).unwrap()).await;
    assert_eq!(unknown.unwrap().status, 404);
}

#[tokio::test(flavor = "multi_thread")]
async fn bodies_of_any_length_and_trailers_pass_both_ways() {
    let proxy = proxy(&[], "").await;
    let client = H2::clear(&proxy).await;
    let large = vec![7_u8; 5_000_000];
    assert_eq!(client.send(post("/echo", large.clone())).await.unwrap().body, large);
    let (send, mut pieces) = mpsc::channel::<Frame<Bytes>>(4);
    let body = StreamBody::new(async_stream(move |cx| {
        pieces.poll_recv(cx).map(|it| it.map(Ok::<_, std::io::Error>))
    }));
    let request = Request::post("http://localhost/echo").header("trailer", "x-sum").body(body).unwrap();
    send.send(Frame::data(Bytes::from_static(b"first"))).await.unwrap();
    let mut response = client.open(request).await.unwrap();
    let piece = response.body_mut().frame().await.unwrap().unwrap();
    assert_eq!(piece.into_data().unwrap(), "first", "it comes before the last is sent");
    let sum = HeaderMap::from_iter([("x-sum".parse().unwrap(), "1".parse().unwrap())]);
    send.send(Frame::trailers(sum)).await.unwrap();
    drop(send);
    response.into_body().collect().await.unwrap();
}

fn async_stream<T>(
    poll: impl FnMut(&mut std::task::Context<'_>) -> std::task::Poll<Option<T>>,
) -> impl futures_util::Stream<Item = T> {
    futures_util::stream::poll_fn(poll)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_get_keeps_a_body_without_a_length() {
    let proxy = proxy(&[], "").await;
    let client = H2::clear(&proxy).await;
    let pieces =
        futures_util::stream::iter([Ok::<_, std::io::Error>(Frame::data(Bytes::from_static(b"query")))]);
    let request = Request::get("http://localhost/echo").body(StreamBody::new(pieces)).unwrap();
    assert_eq!(client.send(request).await.unwrap().text(), "query");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_length_that_others_could_read_otherwise_is_refused() {
    let proxy = proxy(&[], "").await;
    // `content-length` by the static table, as a literal.
    let length = |value: &[u8]| [&[0x0f, 0x0d, u8::try_from(value.len()).expect("short")], value].concat();
    for lengths in [length(b""), [length(b"0"), length(b"0")].concat(), length(b"0000000000000000000")] {
        let head = frame(1, 5, 1, &[GET, &lengths].concat());
        let mut wire = Wire::sent(proxy.address(), [PREFACE, &frame(4, 0, 0, b""), &head].concat()).await;
        let status = loop {
            let head = wire.take(9).await;
            let payload = wire.take(usize::from(head[1]) << 8 | usize::from(head[2])).await;
            // HEADERS or RST_STREAM of the stream.
            if matches!(head[3], 1 | 3) {
                break (head[3], payload[0]);
            }
        };
        // `:status 400` by the static table; or the parser's own word.
        assert!(status == (1, 0x8c) || status.0 == 3, "{status:?}");
    }
    assert_eq!(proxy.report().count("boot"), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_takes_its_request_back_is_forgotten_at_once() {
    let proxy = proxy(&[], "").await;
    let client = H2::clear(&proxy).await;
    client.get("/id").await;
    let waiting = tokio::time::timeout(Duration::from_millis(200), client.open(get("/sleep?ms=60000"))).await;
    assert!(waiting.is_err(), "and so it is dropped, with a reset");
    idle(&proxy).await;
    let endless = client.open(get("/stream?chunks=1000000&every_ms=1")).await.unwrap();
    drop(endless);
    idle(&proxy).await;
    assert_eq!(client.get("/id").await.status, 200, "the connection is as good as before");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_waits_in_the_queue_leaves_it_with_its_client() {
    let proxy = proxy(&[("NEVER_LISTEN", "1")], "").await;
    let client = H2::clear(&proxy).await;
    let held = tokio::spawn(async move { client.send(get("/id")).await });
    let queued = |count: u64| {
        let proxy = &proxy;
        wait_for_async("it is held", move || async move {
            (proxy.only_app().await["held"] == count).then_some(())
        })
    };
    queued(1).await;
    held.abort();
    queued(0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_is_an_answer_of_http2() {
    let proxy = proxy(&[], "host: a.test").await;
    let client = H2::clear(&proxy).await;
    let answer = client.get("/").await;
    assert_eq!((answer.status, answer.reason()), (404, "no-route"));
    let connect = Request::connect("a.test:443").body(Full::<Bytes>::default()).unwrap();
    assert_eq!(client.send(connect).await.unwrap().status, 405);
}

/// Frames as no library would send them.
fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).expect("frames of tests are short").to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// `GET / http localhost`, by HPACK's static table, RFC 7541 appendix A.
const GET: &[u8] = b"\x82\x84\x86\x41\x09localhost";

/// Sends until the proxy has enough, and sees that others are served meanwhile.
async fn flood(proxy: &Proxy, round: impl Fn(u32) -> Vec<u8>) {
    let mut wire = Wire::sent(proxy.address(), [PREFACE, &frame(4, 0, 0, b"")].concat()).await;
    for at in 0..20_000 {
        if !wire.try_send(round(at * 2 + 1)).await {
            break;
        }
    }
    // There is an end to it, whatever was said before.
    let _said = wire.rest().await;
    let other = H2::clear(proxy).await;
    assert_eq!(other.get("/id").await.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn rapid_resets_end_the_connection() {
    let proxy = proxy(&[], "").await;
    flood(&proxy, |stream| [frame(1, 5, stream, GET), frame(3, 0, stream, &8_u32.to_be_bytes())].concat())
        .await;
    idle(&proxy).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_head_without_end_ends_the_connection() {
    let proxy = proxy(&[], "").await;
    // HEADERS, and CONTINUATION after CONTINUATION, each with a header of its own.
    flood(&proxy, |stream| {
        if stream == 1 {
            frame(1, 1, 1, GET)
        } else {
            frame(9, 0, 1, &[b"\x00\x05x-abc\x7f\x80\x01".as_slice(), &[b'x'; 255]].concat())
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn pings_and_settings_without_end_hinder_nobody() {
    let proxy = proxy(&[], "").await;
    for kind in [frame(6, 0, 0, &[0; 8]), frame(4, 0, 0, &[0, 3, 0, 0, 0, 100])] {
        let mut wire = Wire::sent(proxy.address(), [PREFACE, &frame(4, 0, 0, b"")].concat()).await;
        let many = kind.repeat(2000);
        // Nothing of what comes back is read, so there is an end to what is taken.
        for _ in 0..200 {
            let sent = tokio::time::timeout(Duration::from_millis(200), wire.try_send(&many)).await;
            if sent != Ok(true) {
                break;
            }
        }
        assert_eq!(H2::clear(&proxy).await.get("/id").await.status, 200);
    }
}
