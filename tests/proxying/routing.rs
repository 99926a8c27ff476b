//! Which app a request goes to, and as what it arrives there.

use crate::support::http::{Answer, Call, get};
use crate::support::proxy::{Proxy, Setup};
use crate::support::wait::wait_for_async;
use crate::support::wire::Wire;
use crate::support::yaml;

/// How many requests each app has had.
async fn counts(proxy: &Proxy) -> Vec<(String, u64)> {
    let apps = get(proxy.admin(), "/api/apps").await.json();
    let apps = apps.as_array().expect("a list").iter();
    apps.map(|app| (app["name"].to_string(), app["requests"].as_u64().expect("a number"))).collect()
}

/// Sends `GET path` for `host`, and says which app got it.
async fn taker(proxy: &Proxy, host: &str, path: &str) -> (String, Answer) {
    let before = counts(proxy).await;
    let answer = Call::get(proxy.address(), path).host(host).send().await.expect("an answer");
    let after = counts(proxy).await;
    let grown = after.into_iter().zip(before).filter(|(after, before)| after.1 > before.1);
    let grown: Vec<_> = grown.map(|(after, _)| after.0).collect();
    (grown.join(" and ").replace('"', ""), answer)
}

#[tokio::test]
async fn the_most_specific_host_and_the_longest_path_win() {
    let config = yaml::apps(&[
        ("root", &[], "host: a.test"),
        ("api", &[], "host: a.test\npath: /api\nstrip_prefix: true"),
        ("deep", &[], "host: a.test\npath: /api/headers"),
        ("wild", &[], "host: \"*.a.test\""),
    ]);
    let proxy = Setup::process(&config).start().await;
    for (host, path, app, seen) in [
        ("a.test", "/headers", "root", "/headers"),
        ("A.TEST:81", "/headers?x=1&y=%20", "root", "/headers?x=1&y=%20"),
        ("a.test.", "/headers", "root", "/headers"),
        ("a.test", "/api/headers/x", "deep", ""),
        ("a.test", "/apiheaders", "root", ""),
        ("a.test", "/api/headersx", "api", ""),
        ("a.test", "/api", "api", "/"),
        ("b.a.test", "/headers", "wild", "/headers"),
        ("c.b.a.test", "/api/headers", "wild", ""),
    ] {
        let (found, answer) = taker(&proxy, host, path).await;
        assert_eq!(found, app, "{host}{path}");
        if seen.starts_with("/headers") {
            assert_eq!(answer.json()["uri"], seen, "{host}{path}");
        }
    }
    let (found, answer) = taker(&proxy, "a.test", "/api/id").await;
    assert_eq!((found.as_str(), answer.status), ("api", 200), "the prefix is taken off");
}

#[tokio::test]
async fn an_unknown_host_learns_nothing() {
    let config =
        yaml::apps(&[("secret", &[], "host: secret.test"), ("path", &[], "host: p.test\npath: /in")]);
    let proxy = Setup::process(&config).start().await;
    for (host, path) in [("other.test", "/"), ("test", "/"), ("x.secret.test", "/"), ("p.test", "/out")] {
        let (app, answer) = taker(&proxy, host, path).await;
        assert_eq!((app.as_str(), answer.status, answer.reason()), ("", 404, "no-route"), "{host}{path}");
        assert_eq!(answer.text(), "404 no-route\n");
        let all = format!("{:?}{}", answer.headers, answer.text());
        assert!(!all.contains("secret") && !all.contains("p.test"), "{all}");
    }
    assert_eq!(proxy.report().replicas(), [""; 0], "nothing was woken");
}

#[tokio::test]
async fn an_absolute_target_arrives_as_a_path() {
    let proxy = Setup::process(&yaml::app(&[], "host: a.test")).start().await;
    for target in ["http://a.test/headers?q=1", "http://A.test/headers?q=1"] {
        let request = format!("GET {target} HTTP/1.1\r\nHost: a.test\r\n\r\n");
        let reply = Wire::sent(proxy.address(), request).await.reply().await;
        assert_eq!(reply.status(), 200, "{reply:?}");
        let said: serde_json::Value = serde_json::from_slice(&reply.body).unwrap();
        assert_eq!(said["uri"], "/headers?q=1");
    }
    let reply = Wire::sent(proxy.address(), "GET http://a.test HTTP/1.1\r\nHost: a.test\r\n\r\n").await;
    assert_eq!({ reply }.reply().await.text(), "test-app\n", "no path is the path /");
}

/// What a client gets that asks for `host` in so many words.
async fn wire(proxy: &Proxy, request: &str) -> Wire {
    Wire::sent(proxy.address(), format!("{request}\r\n\r\n")).await
}

#[tokio::test]
async fn an_unknown_host_may_be_hung_up_on() {
    let app = yaml::apps(&[("app", &[], "host: [a.test, \"*.w.test\"]\npath: /in")]);
    let proxy = Setup::process(&format!("unknown_host: close\n{app}")).start().await;
    for request in [
        "GET /in HTTP/1.1\r\nHost: b.test",
        "GET / HTTP/1.1\r\nHost: w.test",
        "GET / HTTP/1.1\r\nHost: 127.0.0.1",
        "GET / HTTP/1.0",
        "POST / HTTP/1.1\r\nHost: b.test\r\nContent-Length: 5\r\n\r\nhello",
        "OPTIONS * HTTP/1.1\r\nHost: b.test",
    ] {
        assert_eq!(wire(&proxy, request).await.rest().await.unwrap_or_default(), b"", "{request}");
    }
    // A host that is known is told that there is no such path, and what the proxy says of itself stays.
    for (request, status) in [
        ("GET /out HTTP/1.1\r\nHost: a.test", 404),
        ("GET /out HTTP/1.1\r\nHost: x.w.test", 404),
        ("OPTIONS * HTTP/1.1\r\nHost: A.test:81", 204),
        ("GET /.pilotlight/health HTTP/1.1\r\nHost: b.test", 200),
        ("GET / HTTP/1.1", 400),
    ] {
        assert_eq!(wire(&proxy, request).await.reply().await.status(), status, "{request}");
    }
    let mut wire =
        wire(&proxy, "GET /in/id HTTP/1.1\r\nHost: a.test\r\n\r\nGET / HTTP/1.1\r\nHost: b.test").await;
    assert_eq!(wire.reply().await.status(), 404, "what was asked before is answered");
    assert_eq!(wire.rest().await.unwrap_or_default(), b"");
    assert_eq!(proxy.report().replicas().len(), 1, "that one alone has woken anything");
}

#[tokio::test]
async fn the_policy_for_unknown_hosts_changes_in_place() {
    let app = yaml::apps(&[("app", &[], "host: a.test")]);
    let proxy = Setup::process(&format!("unknown_host: 421\n{app}")).start().await;
    let ask = |host: &'static str, path: &'static str| Call::get(proxy.address(), path).host(host).send();
    let before = ask("a.test", "/id").await.unwrap();
    let answer = ask("b.test", "/").await.unwrap();
    assert_eq!((answer.status, answer.reason(), answer.text()), (421, "no-route", "421 no-route\n"));
    proxy.reload(&format!("unknown_host: close\n{app}"));
    wait_for_async("it hangs up", || async { ask("b.test", "/").await.is_err().then_some(()) }).await;
    assert_eq!(ask("a.test", "/id").await.unwrap().text(), before.text(), "the same replica");
}
