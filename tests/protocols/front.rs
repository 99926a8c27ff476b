//! Proxies before this one: whose word is taken, and what is made of it.

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use crate::proxy;
use crate::support::http::Call;
use crate::support::proxy::{Proxy, Setup};
use crate::support::wire::Wire;

async fn headers_behind(proxy: &Proxy, before: &[u8]) -> String {
    let request = b"GET /headers HTTP/1.1\r\nHost: a.test\r\nX-Forwarded-For: 192.0.2.1\r\n\r\n";
    let mut wire = Wire::sent(proxy.address(), [before, request].concat()).await;
    let reply = wire.reply().await;
    assert_eq!(reply.status(), 200, "{}", reply.head);
    reply.text().to_owned()
}

#[tokio::test]
async fn a_proxy_header_says_who_the_client_is() {
    let proxy = proxy(&[], "proxy_protocol: 127.0.0.0/8\ntrusted_proxies: 203.0.113.0/24").await;
    let stranger = headers_behind(&proxy, b"PROXY TCP4 198.51.100.7 192.0.2.9 5555 80\r\n").await;
    assert!(stranger.contains(r#"["x-forwarded-for","198.51.100.7"]"#), "{stranger}");
    let trusted = headers_behind(&proxy, b"PROXY TCP4 203.0.113.5 192.0.2.9 5555 80\r\n").await;
    assert!(trusted.contains(r#"["x-forwarded-for","192.0.2.1, 203.0.113.5"]"#), "{trusted}");
    let own = headers_behind(&proxy, b"PROXY UNKNOWN\r\n").await;
    assert!(own.contains(r#"["x-forwarded-for","127.0.0.1"]"#), "{own}");
    let mut second = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\x00\x0c".to_vec();
    second.extend([198, 51, 100, 8, 192, 0, 2, 9, 1, 1, 0, 80]);
    let second = headers_behind(&proxy, &second).await;
    assert!(second.contains(r#"["x-forwarded-for","198.51.100.8"]"#), "{second}");
}

#[tokio::test]
async fn a_proxy_header_comes_from_whom_it_must_and_from_nobody_else() {
    let asked = proxy(&[], "proxy_protocol: 127.0.0.1").await;
    let mut without = Wire::sent(asked.address(), "GET /id HTTP/1.1\r\nHost: a\r\n\r\n").await;
    assert!(without.is_cut().await, "nothing is answered that may be somebody else's");
    let open = proxy(&[], "").await;
    let mut with =
        Wire::sent(open.address(), "PROXY TCP4 1.2.3.4 1.2.3.4 1 1\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n")
            .await;
    assert_eq!(with.reply().await.status(), 400);
}

#[tokio::test]
async fn the_word_of_a_trusted_proxy_is_added_to() {
    let proxy = proxy(&[], "trusted_proxies: [127.0.0.1, 10.0.0.0/8]").await;
    let call = Call::get(proxy.address(), "/headers")
        .host("inner.test")
        .header("x-forwarded-for", "192.0.2.1, 10.0.0.5")
        .header("x-forwarded-proto", "https")
        .header("x-forwarded-host", "outer.test")
        .header("forwarded", "for=192.0.2.1;proto=https");
    let headers = call.send().await.unwrap().json()["headers"].to_string();
    for told in [
        r#"["x-forwarded-for","192.0.2.1, 10.0.0.5, 127.0.0.1"]"#,
        r#"["x-forwarded-proto","https"]"#,
        r#"["x-forwarded-host","outer.test"]"#,
        r#"["forwarded","for=192.0.2.1;proto=https, for=127.0.0.1;proto=http"]"#,
    ] {
        assert!(headers.contains(told), "{told} is not in {headers}");
    }
}

#[tokio::test]
async fn hops_are_counted_down_where_they_are_counted() {
    let proxy = proxy(&[], "").await;
    let ask = async |method: &str, left: &str| {
        let request = format!("{method} /headers HTTP/1.1\r\nHost: a\r\nMax-Forwards: {left}\r\n\r\n");
        Wire::sent(proxy.address(), request).await.reply().await
    };
    assert_eq!(ask("OPTIONS", "0").await.status(), 204);
    assert_eq!(ask("TRACE", "0").await.status(), 405);
    assert_eq!(proxy.report().count("boot"), 0, "it is no business of the app's");
    assert!(ask("OPTIONS", "3").await.text().contains(r#"["max-forwards","2"]"#));
    assert!(ask("GET", "0").await.text().contains(r#"["max-forwards","0"]"#));
}

/// Whoever says so: it makes a replica more careful and never less, and only the replica knows what may be replayed.
#[tokio::test]
async fn what_may_be_a_replay_is_said_to_be_one_and_refused_by_the_replica_alone() {
    for keys in ["", "trusted_proxies: 127.0.0.1"] {
        let proxy = proxy(&[], keys).await;
        let ask = async |path: &str, connection: &str| {
            let head = format!("GET {path} HTTP/1.1\r\nHost: a\r\nEarly-Data: 1\r\n{connection}\r\n");
            Wire::sent(proxy.address(), head).await.reply().await
        };
        for connection in ["", "Connection: close, Early-Data\r\n"] {
            let seen = ask("/headers", connection).await;
            assert!(seen.text().contains(r#"["early-data","1"]"#), "{keys} {connection} {}", seen.text());
        }
        let before = proxy.report().count("start");
        let early = ask("/status?code=425", "").await;
        assert_eq!((early.status(), early.header("x-pilotlight-reason")), (425, ""));
        assert_eq!(proxy.report().count("start"), before + 1, "nothing is sent again");
    }
}

#[tokio::test]
async fn case_is_kept_where_that_is_asked_for() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let upstream = format!("upstream: http://{}\n", listener.local_addr().unwrap());
    for (keys, asked, answered) in [
        ("", "\r\nx-camel: 1", "\r\nx-pascal: 2"),
        ("preserve_header_case: true\n", "\r\nX-CaMeL: 1", "\r\nX-PasCal: 2"),
    ] {
        let proxy = Setup::process(&format!("{upstream}{keys}")).start().await;
        let answer = async {
            loop {
                let (mut stream, _) = listener.accept().await.unwrap();
                let mut head = vec![0; 4096];
                let read = stream.read(&mut head).await.unwrap();
                // A connection without a request is a check of whether it is up.
                if read > 0 {
                    stream
                        .write_all(b"HTTP/1.1 200 OK\r\nX-PasCal: 2\r\nContent-Length: 0\r\n\r\n")
                        .await
                        .unwrap();
                    return String::from_utf8(head[..read].to_vec()).unwrap();
                }
            }
        };
        let ask = async {
            let mut wire =
                Wire::sent(proxy.address(), "GET / HTTP/1.1\r\nHost: a\r\nX-CaMeL: 1\r\n\r\n").await;
            wire.head().await
        };
        let (seen, head) = tokio::join!(answer, ask);
        assert!(seen.contains(asked), "{seen}");
        assert!(head.contains(answered), "{head}");
    }
}
