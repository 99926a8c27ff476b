//! Headers on their way to the replica.

use serde_json::Value;

use crate::proxy;
use crate::support::http::Call;
use crate::support::proxy::Setup;
use crate::support::wait::wait_for_async;
use crate::support::wire::Wire;
use crate::support::yaml;

/// The values of one header, in what `/headers` answered.
fn values<'a>(said: &'a Value, name: &str) -> Vec<&'a str> {
    let pairs = said["headers"].as_array().expect("a list of headers");
    pairs.iter().filter(|pair| pair[0] == name).filter_map(|pair| pair[1].as_str()).collect()
}

#[tokio::test]
async fn what_belongs_to_one_hop_does_not_reach_the_replica() {
    let proxy = proxy(&[], "").await;
    let mut wire = Wire::sent(
        proxy.address(),
        "GET /headers HTTP/1.1\r\nHost: a.test\r\nConnection: keep-alive, X-Secret\r\nConnection: x-other, Host\r\n\
         X-Secret: 1\r\nX-Other: 2\r\nX-Kept: 3\r\nX-Kept: 4\r\nKeep-Alive: timeout=5\r\nProxy-Connection: close\r\n\
         Proxy-Authorization: Basic eA==\r\nTE: gzip, trailers;q=0.5\r\nUpgrade: h2c\r\nExpect: 100-continue\r\n\r\n",
    )
    .await;
    let reply = wire.reply().await;
    assert_eq!(reply.status(), 200, "{reply:?}");
    let said: Value = serde_json::from_slice(&reply.body).unwrap();
    for gone in [
        "connection",
        "x-secret",
        "x-other",
        "keep-alive",
        "proxy-connection",
        "proxy-authorization",
        "upgrade",
        "expect",
        "transfer-encoding",
        "content-length",
    ] {
        assert_eq!(values(&said, gone), [""; 0], "{gone}: {said}");
    }
    assert_eq!(values(&said, "x-kept"), ["3", "4"]);
    assert_eq!(values(&said, "host"), ["a.test"], "no client may have Host taken off");
}

#[tokio::test]
async fn what_a_client_says_of_itself_is_replaced() {
    let proxy = proxy(&[], "").await;
    let call = Call::get(proxy.address(), "/headers")
        .host("shop.test:8080")
        .header("x-forwarded-for", "6.6.6.6, 7.7.7.7")
        .header("x-forwarded-proto", "https")
        .header("x-forwarded-host", "bank.test")
        .header("x-forwarded-port", "443")
        .header("x-real-ip", "6.6.6.6")
        .header("forwarded", "for=6.6.6.6");
    let said = call.send().await.unwrap().json();
    assert_eq!(values(&said, "x-forwarded-for"), ["127.0.0.1"]);
    assert_eq!(values(&said, "x-forwarded-proto"), ["http"]);
    assert_eq!(values(&said, "x-forwarded-host"), ["shop.test:8080"]);
    assert_eq!(values(&said, "host"), ["shop.test:8080"]);
    for gone in ["x-forwarded-port", "x-real-ip", "forwarded"] {
        assert_eq!(values(&said, gone), [""; 0], "{gone}");
    }
}

/// To WSGI and CGI, `X_Real_IP` and `X-Real-IP` are the same.
#[tokio::test]
async fn what_an_app_might_read_as_the_proxys_word_is_taken_off() {
    let proxy = proxy(&[], "").await;
    let mut call = Call::get(proxy.address(), "/headers").header("x_kept", "1").header("x-forward", "2");
    let spoofed = [
        "x_forwarded_for",
        "x_forwarded-proto",
        "x-forwarded_host",
        "x_real_ip",
        "content_length",
        "transfer_encoding",
        "proxy_authorization",
        "x-forwarded-prefix",
        "x_forwarded_server",
    ];
    for name in spoofed {
        call = call.header(name, "6");
    }
    let said = call.send().await.unwrap().json();
    for gone in spoofed {
        assert_eq!(values(&said, gone), [""; 0], "{gone}: {said}");
    }
    assert_eq!((values(&said, "x_kept"), values(&said, "x-forward")), (vec!["1"], vec!["2"]));
    assert_eq!(values(&said, "x-forwarded-for"), ["127.0.0.1"]);
}

#[tokio::test]
async fn a_clients_trailers_say_no_more_than_its_headers_may() {
    let proxy = proxy(&[], "").await;
    let names =
        "X-Kept, X-Forwarded-For, X_Forwarded_For, X-Real-IP, Forwarded, Connection, Keep-Alive, Expect";
    let mut wire = Wire::sent(
        proxy.address(),
        format!(
            "POST /echo HTTP/1.1\r\nHost: a\r\nTE: trailers\r\nConnection: close, TE\r\nTransfer-Encoding: chunked\r\n\
             Trailer: {names}\r\n\r\n1\r\nx\r\n0\r\n{}\r\n",
            names.replace(", ", ": 6\r\n") + ": 6\r\n"
        ),
    )
    .await;
    let answer = String::from_utf8(wire.rest().await.unwrap()).unwrap();
    let (_, body) = answer.split_once("\r\n\r\n").unwrap();
    assert_eq!(body.to_lowercase(), "1\r\nx\r\n0\r\nx-kept: 6\r\n\r\n");
}

#[tokio::test]
async fn trailers_are_asked_for_only_where_the_client_takes_them() {
    let proxy = proxy(&[], "").await;
    let with = Call::get(proxy.address(), "/headers").header("te", "gzip, trailers").send().await.unwrap();
    assert_eq!(values(&with.json(), "te"), ["trailers"]);
    let without = Call::get(proxy.address(), "/headers").header("te", "gzip").send().await.unwrap();
    assert_eq!(values(&without.json(), "te"), [""; 0]);
}

#[tokio::test]
async fn an_apps_rules_change_headers_both_ways() {
    let rules = "headers:
  request:
    remove: [x-removed, X-Forwarded-Host]
    set: {X-Set: ours, Host: inner.test}
    add: {X-Added: [b, c], X-Removed: again}
  response:
    remove: Content-Type
    set: {X-Frame-Options: DENY}
    add: {Set-Cookie: [a=1, b=2]}";
    let proxy = proxy(&[], rules).await;
    let call = Call::get(proxy.address(), "/headers")
        .header("x-removed", "theirs")
        .header("x-set", "theirs")
        .header("x-added", "a");
    let answer = call.send().await.unwrap();
    let said = answer.json();
    assert_eq!(values(&said, "x-removed"), ["again"], "first taken off, then added");
    assert_eq!(values(&said, "x-set"), ["ours"]);
    assert_eq!(values(&said, "x-added"), ["a", "b", "c"]);
    assert_eq!(values(&said, "host"), ["inner.test"]);
    assert_eq!(values(&said, "x-forwarded-host"), [""; 0]);
    assert_eq!(values(&said, "x-forwarded-for"), ["127.0.0.1"]);
    assert_eq!((answer.header("content-type"), answer.header("x-frame-options")), ("", "DENY"));
    let cookies: Vec<_> = answer.headers.get_all("set-cookie").iter().collect();
    assert_eq!(cookies, ["a=1", "b=2"]);
}

#[tokio::test]
async fn what_the_proxy_answers_for_an_app_has_its_headers_too() {
    let rules = "host: a.test
headers:
  response:
    remove: [X-Pilotlight-Reason, Retry-After]
    set: {Access-Control-Allow-Origin: \"*\", Cache-Control: \"public, max-age=60\", Content-Type: text/html}";
    let proxy = proxy(&[("EXIT_AT_ONCE", "1")], rules).await;
    let answer = Call::get(proxy.address(), "/").host("a.test").send().await.unwrap();
    assert_eq!((answer.status, answer.header("access-control-allow-origin")), (503, "*"));
    assert!(answer.reason().starts_with("start-failed"), "the proxy's own stay: {answer:?}");
    assert_ne!(answer.header("retry-after"), "");
    assert_eq!(answer.header("content-type"), "text/plain; charset=utf-8");
    assert_eq!(answer.header("cache-control"), "no-store", "a failure is kept by nobody");
    let unknown = Call::get(proxy.address(), "/").host("b.test").send().await.unwrap();
    assert_eq!((unknown.status, unknown.header("access-control-allow-origin")), (404, ""));
}

#[tokio::test]
async fn rules_for_headers_change_in_place() {
    let rules = |value: &str| yaml::app(&[], &format!("headers: {{response: {{set: {{X-Rule: {value}}}}}}}"));
    let proxy = Setup::process(&rules("old")).start().await;
    let before = Call::get(proxy.address(), "/id").send().await.unwrap();
    assert_eq!(before.header("x-rule"), "old");
    proxy.reload(&rules("new"));
    let after = wait_for_async("the rule is the new one", || async {
        let answer = Call::get(proxy.address(), "/id").send().await.unwrap();
        (answer.header("x-rule") == "new").then_some(answer)
    })
    .await;
    assert_eq!(after.text(), before.text(), "the same replica");
    assert_eq!(proxy.report().replicas().len(), 1);
}

/// The replica is spoken to in HTTP/1.1, which must name a host.
#[tokio::test]
async fn an_old_client_that_names_no_host_is_given_the_address_that_it_reached() {
    let proxy = proxy(&[], "").await;
    let mut wire = Wire::sent(proxy.address(), "GET /headers HTTP/1.0\r\n\r\n").await;
    let reply = wire.reply().await;
    let said: Value = serde_json::from_slice(&reply.body).unwrap();
    assert_eq!(said["version"], "HTTP/1.1");
    let reached = proxy.address().to_string();
    assert_eq!(values(&said, "host"), [&reached]);
    assert_eq!(values(&said, "x-forwarded-host"), [&reached]);
}
