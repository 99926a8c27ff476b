//! Requests that no replica may see, as a hostile client writes them, byte by byte.

mod support;

use std::time::Duration;

use support::http::{Call, get};
use support::load;
use support::proxy::{Proxy, Setup};
use support::wait::wait_for;
use support::wire::Wire;
use support::yaml;

async fn proxy() -> Proxy {
    Setup::process(&yaml::app(&[], "host: a.test")).start().await
}

/// Sends a request and what is smuggled behind it; gives back status and reason of the only answer.
async fn refused(proxy: &Proxy, request: &str) -> (u16, String) {
    let mut wire = Wire::sent(proxy.address(), request).await;
    let reply = wire.reply().await;
    if reply.status() != 404 {
        assert!(wire.is_cut().await, "nothing that follows is read");
    }
    (reply.status(), reply.header("x-pilotlight-reason").to_owned())
}

/// Refused requests reach no replica and wake none, and the proxy serves the next.
async fn assert_unharmed(proxy: &Proxy) {
    assert_eq!(proxy.report().replicas(), [""; 0], "something was woken");
    let answer = Call::post(proxy.address(), "/echo", "fine").host("a.test").send().await.expect("an answer");
    assert_eq!((answer.status, answer.text()), (200, "fine"));
    assert_eq!(proxy.report().count("start"), 1, "nothing else reached the replica");
}

#[tokio::test]
async fn a_body_whose_length_is_in_doubt() {
    let proxy = proxy().await;
    let long = "x".repeat(20_000);
    for fields in [
        "Content-Length: 5\r\nTransfer-Encoding: chunked",
        "Transfer-Encoding: chunked\r\nContent-Length: 5",
        "transfer-ENCODING: Chunked\r\ncontent-LENGTH: 5",
        &format!("Transfer-Encoding: chunked\r\nX-Long: {long}\r\nContent-Length: 5"),
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked",
        "Transfer-Encoding: gzip, chunked",
        "Transfer-Encoding: chunked, identity",
        "Transfer-Encoding: identity",
        "Transfer-Encoding: xchunked",
        "Content-Length: 5\r\nContent-Length: 6",
        "Content-Length: 5, 6",
        "Content-Length: +5",
        "Content-Length: -1",
        "Content-Length: 0x5",
        "Transfer-Encoding : chunked",
        "X-Folded: a\r\n Content-Length: 5",
    ] {
        for first in ["POST /echo HTTP/1.1", "POST http://a.test/echo HTTP/1.1"] {
            let request = format!(
                "{first}\r\nHost: a.test\r\n{fields}\r\n\r\n0\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: a.test\r\n\r\n"
            );
            let (status, reason) = refused(&proxy, &request).await;
            assert_eq!(status, 400, "{fields}: {reason}");
        }
    }
    // In pieces, as a slow network would deliver it, and with a body that looks like another head.
    let mut wire = Wire::open(proxy.address()).await;
    for piece in [
        "POST /echo HTTP/1.1\r\nHost: a.test\r\nTransfer-Enc",
        "oding: chunked\r\nContent-L",
        "ength: 5\r\n\r\n",
    ] {
        wire.send(piece).await;
        tokio::time::sleep(Duration::from_millis(30)).await;
    }
    assert_eq!(wire.reply().await.status(), 400);
    let alike = "POST /echo HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\n";
    let request =
        alike.replace("\r\n\r\n", "\r\nContent-Length: 5\r\n\r\n") + "47\r\n" + alike + "\r\n0\r\n\r\n";
    assert_eq!(refused(&proxy, &request).await.0, 400);
    assert_unharmed(&proxy).await;
}

#[tokio::test]
async fn a_host_in_doubt() {
    let proxy = proxy().await;
    for (request, why) in [
        ("GET / HTTP/1.1\r\n\r\n", "no Host"),
        ("GET / HTTP/1.1\r\nHost: a.test\r\nHost: a.test\r\n\r\n", "more than one Host"),
        ("GET / HTTP/1.1\r\nHost: a.test\r\nhost: b.test\r\n\r\n", "more than one Host"),
        ("GET / HTTP/1.1\r\nHost: a.test, b.test\r\n\r\n", "a malformed Host"),
        ("GET / HTTP/1.1\r\nHost: a.test/x\r\n\r\n", "a malformed Host"),
        ("GET / HTTP/1.1\r\nHost: u@a.test\r\n\r\n", "a malformed Host"),
        ("GET / HTTP/1.1\r\nHost: a.test:port\r\n\r\n", "a malformed Host"),
        ("GET / HTTP/1.1\r\nHost: a test\r\n\r\n", "a malformed Host"),
        ("GET / HTTP/1.1\r\nHost: [::1\r\n\r\n", "a malformed Host"),
        ("GET / HTTP/1.1\r\nHost: \u{e4}.test\r\n\r\n", "a malformed Host"),
        ("GET / HTTP/1.0\r\nHost: a.test\r\nHost: b.test\r\n\r\n", "more than one Host"),
        ("GET http://b.test/ HTTP/1.1\r\nHost: a.test\r\n\r\n", "the target and Host name different hosts"),
        (
            "GET http://a.test:81/ HTTP/1.1\r\nHost: a.test\r\n\r\n",
            "the target and Host name different hosts",
        ),
        ("GET http://x@a.test/ HTTP/1.1\r\nHost: a.test\r\n\r\n", "the target and Host name different hosts"),
        ("GET http://a.test/ HTTP/1.1\r\n\r\n", "no Host"),
        ("GET http://a.test/ HTTP/1.1\r\nHost:\r\n\r\n", "the target and Host name different hosts"),
    ] {
        let expected = (400, format!("bad-request: {why}"));
        assert_eq!(refused(&proxy, request).await, expected, "{request:?}");
    }
    // An empty one is allowed, and is nobody's here.
    assert_eq!(refused(&proxy, "GET / HTTP/1.1\r\nHost:\r\n\r\n").await, (404, "no-route".into()));
    assert_unharmed(&proxy).await;
}

#[tokio::test]
async fn targets_that_are_no_path() {
    let proxy = proxy().await;
    let connect = "CONNECT a.test:443 HTTP/1.1\r\nHost: a.test:443\r\n\r\nhello";
    assert_eq!(refused(&proxy, connect).await, (405, "bad-request: no forward proxy".into()));
    for target in ["*", "a.test:443", "echo", "?x"] {
        let request = format!("GET {target} HTTP/1.1\r\nHost: a.test\r\n\r\n");
        assert_eq!(refused(&proxy, &request).await.0, 400, "{target}");
    }
    let mut wire = Wire::sent(proxy.address(), "OPTIONS * HTTP/1.1\r\nHost: a.test\r\n\r\n").await;
    let reply = wire.reply().await;
    assert_eq!((reply.status(), reply.header("content-length")), (204, ""), "the server itself is asked");
    assert_unharmed(&proxy).await;
}

#[tokio::test]
async fn no_http_at_all() {
    let proxy = proxy().await;
    for bytes in [
        "\x16\x03\x01\x02\x00\x01\x00\x01\u{7}\r\n\r\n",
        "GET /\r\n\r\n",
        "GET / HTTP/9.9\r\nHost: a.test\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a.test\r\nno colon\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a.test\r\nX-Null: \0\r\n\r\n",
        "GET /a b HTTP/1.1\r\nHost: a.test\r\n\r\n",
    ] {
        let mut wire = Wire::sent(proxy.address(), bytes).await;
        // A reset, since it is closed with bytes unread, is as good an end.
        let said = wire.rest().await.unwrap_or_default();
        let said = String::from_utf8_lossy(&said);
        assert!(said.is_empty() || said.starts_with("HTTP/1.1 400 "), "{bytes:?}: {said}");
    }
    assert_unharmed(&proxy).await;
}

#[tokio::test]
async fn a_head_that_is_too_large() {
    let proxy = proxy().await;
    let long = "x".repeat(200_000);
    let many = (0..2000).map(|at| format!("X-{at}: 1\r\n")).collect::<Vec<_>>().concat();
    for head in [
        format!("GET /{long} HTTP/1.1\r\nHost: a.test\r\n\r\n"),
        format!("GET / HTTP/1.1\r\nHost: a.test\r\nX-Long: {long}\r\n\r\n"),
        format!("GET / HTTP/1.1\r\nHost: a.test\r\n{many}\r\n"),
    ] {
        // The proxy answers and closes before it has read everything; what was sent then resets the connection,
        // and may take the answer with it.
        let mut wire = Wire::open(proxy.address()).await;
        wire.try_send(&head).await;
        let said = wire.rest().await.unwrap_or_default();
        let said = String::from_utf8_lossy(&said);
        let fit = ["HTTP/1.1 431 ", "HTTP/1.1 414 ", "HTTP/1.1 400 "];
        assert!(said.is_empty() || fit.iter().any(|line| said.starts_with(line)), "{said}");
    }
    assert_unharmed(&proxy).await;
}

#[tokio::test]
async fn a_large_head_that_is_not_too_large_passes() {
    let proxy = proxy().await;
    let cookie = "c".repeat(30_000);
    let answer =
        Call::get(proxy.address(), "/headers").host("a.test").header("cookie", &cookie).send().await.unwrap();
    assert!(answer.text().contains(&cookie));
}

#[tokio::test]
async fn silent_clients_hinder_nobody() {
    let setup = Setup::process(&format!("workers: 1\n{}", yaml::app(&[], "host: a.test")));
    let proxy = setup.start().await;
    let address = proxy.address();
    let mut silent = Vec::new();
    for at in 0..200 {
        let half = [
            "",
            "G",
            "GET / HTTP/1.1\r\nHost: a.te",
            "POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 9\r\n",
        ];
        silent.push(Wire::sent(address, half[at % half.len()]).await);
    }
    let outcomes = load::at_once(100, |_| Call::get(address, "/id").host("a.test").send()).await;
    outcomes.assert_all_ok();
    assert_eq!(proxy.report().count("start"), 100);
    drop(silent);
}

#[tokio::test]
async fn the_proxys_own_health_wakes_nothing() {
    let proxy = proxy().await;
    for host in ["a.test", "other.test", "127.0.0.1"] {
        let answer = Call::get(proxy.address(), "/.pilotlight/health").host(host).send().await.unwrap();
        assert_eq!((answer.status, answer.text()), (200, "ok\n"));
    }
    let seen = proxy.only_app().await;
    assert_eq!((&seen["desired"], &seen["requests"]), (&0.into(), &0.into()));
    assert_eq!(get(proxy.address(), "/.pilotlight/other").await.status, 404);
    assert_unharmed(&proxy).await;
}

/// Whatever is sent after a refusal on the same connection is either answered as what it is, or not read at all.
#[tokio::test]
async fn the_body_of_a_refused_request_is_no_request() {
    let proxy = proxy().await;
    let smuggled = "GET /smuggled HTTP/1.1\r\nHost: a.test\r\n\r\n";
    let request = format!(
        "POST / HTTP/1.1\r\nHost: b.test\r\nContent-Length: {}\r\n\r\n{smuggled}GET /status?code=202 HTTP/1.1\r\n\
         Host: a.test\r\n\r\n",
        smuggled.len()
    );
    let mut wire = Wire::sent(proxy.address(), request).await;
    assert_eq!(wire.reply().await.status(), 404);
    assert_eq!(wire.reply().await.status(), 202);
    let report =
        wait_for("it is written down", || Some(proxy.report()).filter(|it| it.count("finish") == 1)).await;
    assert_eq!(report.count("start"), 1, "the body was no request");
}
