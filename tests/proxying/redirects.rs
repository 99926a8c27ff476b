//! Hosts and paths that have moved.

use crate::support::http::{Answer, Call, get};
use crate::support::proxy::{Proxy, Setup};
use crate::support::wait::wait_for_async;
use crate::support::wire::Wire;
use crate::support::yaml;

const RULES: &str = "redirect:
  - from: www.moved.test
    to: https://moved.test
  - from: moved.test/old
    to: http://new.test:81/base/
    status: 302
  - from: /gone
    to: https://archive.test
    status: 303
";

async fn proxy(rules: &str) -> Proxy {
    let app = yaml::apps(&[("app", &[], "host: [moved.test, a.test]")]);
    Setup::process(&format!("{rules}{app}")).start().await
}

async fn ask(proxy: &Proxy, host: &str, path: &str) -> Answer {
    Call::get(proxy.address(), path).host(host).send().await.expect("an answer")
}

#[tokio::test]
async fn who_asks_for_something_that_has_moved_is_sent_on() {
    let proxy = proxy(RULES).await;
    for (host, path, status, location) in [
        ("www.moved.test", "/", 308, "https://moved.test/"),
        ("WWW.moved.test.:8080", "/a/b?q=%20&r", 308, "https://moved.test/a/b?q=%20&r"),
        ("moved.test", "/old", 302, "http://new.test:81/base"),
        ("moved.test", "/old/a?q", 302, "http://new.test:81/base/a?q"),
        ("other.test", "/gone/x", 303, "https://archive.test/x"),
    ] {
        let answer = ask(&proxy, host, path).await;
        assert_eq!((answer.status, answer.header("location")), (status, location), "{host}{path}");
        assert_eq!(answer.reason(), "redirect");
    }
    let posted = Call::post(proxy.address(), "/form", "a=1").host("www.moved.test").send().await.unwrap();
    assert_eq!((posted.status, posted.header("location")), (308, "https://moved.test/form"));
    assert_eq!(get(proxy.admin(), "/api/apps").await.json()[0]["requests"], 0);
    assert_eq!(proxy.report().replicas(), [""; 0], "nothing was woken");
    assert_eq!(ask(&proxy, "moved.test", "/older").await.reason(), "", "a path ends where a segment does");
    assert_eq!(ask(&proxy, "www.moved.test", "/.pilotlight/health").await.text(), "ok\n");
}

#[tokio::test]
async fn a_path_cannot_lead_to_another_host_or_add_a_header() {
    let proxy = proxy(RULES).await;
    for (target, location) in [
        ("//evil.test/x", "https://moved.test//evil.test/x"),
        ("/\\evil.test", "https://moved.test/\\evil.test"),
        ("/@evil.test", "https://moved.test/@evil.test"),
        ("/.evil.test", "https://moved.test/.evil.test"),
        ("/%0d%0aSet-Cookie:%20a=1", "https://moved.test/%0d%0aSet-Cookie:%20a=1"),
        ("http://www.moved.test/x", "https://moved.test/x"),
        ("http://www.moved.test?x", "https://moved.test/?x"),
    ] {
        let request = format!("GET {target} HTTP/1.1\r\nHost: www.moved.test\r\n\r\n");
        let reply = Wire::sent(proxy.address(), request).await.reply().await;
        assert_eq!((reply.status(), reply.header("location")), (308, location), "{target}");
        assert_eq!(reply.header("set-cookie"), "", "{target}");
    }
    for target in ["/a\rSet-Cookie:a=1", "/a\tb", "/a\x7fb"] {
        let request = format!("GET {target} HTTP/1.1\r\nHost: www.moved.test\r\n\r\n");
        let reply = Wire::sent(proxy.address(), request).await.reply().await;
        assert_eq!((reply.status(), reply.header("location")), (400, ""), "{target:?}");
    }
}

#[tokio::test]
async fn a_connection_is_kept_behind_a_redirect() {
    let proxy = proxy(RULES).await;
    let mut wire = Wire::open(proxy.address()).await;
    for host in ["www.moved.test", "a.test", "www.moved.test"] {
        wire.send(format!("POST /echo HTTP/1.1\r\nHost: {host}\r\nContent-Length: 3\r\n\r\nabc")).await;
        let reply = wire.reply().await;
        assert_eq!(reply.status(), if host == "a.test" { 200 } else { 308 }, "{reply:?}");
    }
}

#[tokio::test]
async fn redirects_change_in_place() {
    let proxy = proxy("").await;
    let before = ask(&proxy, "moved.test", "/id").await;
    assert_eq!((before.status, ask(&proxy, "www.moved.test", "/").await.status), (200, 404));
    proxy.reload(&format!("{RULES}{}", yaml::apps(&[("app", &[], "host: [moved.test, a.test]")])));
    wait_for_async("it has moved", || async {
        (ask(&proxy, "www.moved.test", "/").await.status == 308).then_some(())
    })
    .await;
    assert_eq!(ask(&proxy, "moved.test", "/id").await.text(), before.text(), "the same replica");
    assert_eq!(proxy.report().replicas().len(), 1);
    assert!(!proxy.log().contains("take effect at the next start"), "{}", proxy.log());
}
