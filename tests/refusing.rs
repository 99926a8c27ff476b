//! Requests that no replica may see, and clients that hinder others: none of them wakes anybody.

mod support;

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

/// What `tests/hostile` has many rows of; here that it wakes nobody.
#[tokio::test]
async fn a_request_in_doubt_wakes_nobody() {
    let proxy = proxy().await;
    let both = "POST /echo HTTP/1.1\r\nHost: a.test\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n";
    let why = "bad-request: Transfer-Encoding together with Content-Length";
    assert_eq!(refused(&proxy, both).await, (400, why.to_owned()));
    // An empty Host is allowed, and is nobody's here.
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
