//! Headers on their way to the replica.

use serde_json::Value;

use crate::proxy;
use crate::support::http::Call;
use crate::support::wire::Wire;

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

#[tokio::test]
async fn trailers_are_asked_for_only_where_the_client_takes_them() {
    let proxy = proxy(&[], "").await;
    let with = Call::get(proxy.address(), "/headers").header("te", "gzip, trailers").send().await.unwrap();
    assert_eq!(values(&with.json(), "te"), ["trailers"]);
    let without = Call::get(proxy.address(), "/headers").header("te", "gzip").send().await.unwrap();
    assert_eq!(values(&without.json(), "te"), [""; 0]);
}
