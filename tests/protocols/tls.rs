//! TLS towards clients: certificates by name and anew, versions, tickets, and who comes without it.

use std::net::SocketAddr;
use std::sync::Arc;

use rustls::HandshakeKind;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::certificates::{Authority, connect, shown};
use crate::h2::{H2, get};
use crate::support::http::{self, Call};
use crate::support::metrics::wait_for_sample;
use crate::support::proxy::{Proxy, Setup};
use crate::support::wait::wait_for_async;
use crate::support::wire::Wire;
use crate::support::yaml;

pub(crate) const PAIR: &str = "tls: {listen: '127.0.0.1:0', cert: localhost.crt, key: localhost.key}";

async fn start(authority: &Authority, tls: &str) -> Proxy {
    let setup = Setup::process(&yaml::app(&[], tls));
    authority.issue(setup.dir(), "localhost", &["localhost"]);
    setup.start().await
}

/// The clear address stands first.
pub(crate) fn secure(proxy: &Proxy) -> SocketAddr {
    proxy.addresses()[1]
}

#[tokio::test(flavor = "multi_thread")]
async fn both_versions_and_both_https_from_zero() {
    let authority = Authority::new();
    let proxy = start(&authority, PAIR).await;
    for version in [&rustls::version::TLS12, &rustls::version::TLS13] {
        let config = authority.client(&["h2", "http/1.1"], &[version]);
        let stream = connect(config, secure(&proxy), "localhost").await.unwrap();
        assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
        let client = H2::over(stream).await;
        let seen = client.get("/headers").await.json();
        assert_eq!(seen["version"], "HTTP/1.1");
        let headers = seen["headers"].to_string();
        for told in
            [r#"["x-forwarded-proto","https"]"#, r#"["host","localhost"]"#, r#"["via","2.0 pilotlight"]"#]
        {
            assert!(headers.contains(told), "{headers}");
        }

        let config = authority.client(&[], &[version]);
        let mut stream = connect(config, secure(&proxy), "localhost").await.unwrap();
        stream.write_all(b"GET /id HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").await.unwrap();
        let mut answer = String::new();
        let _unannounced_end = stream.read_to_string(&mut answer).await;
        assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_comes_again_resumes_its_session() {
    let authority = Authority::new();
    let proxy = start(&authority, PAIR).await;
    let config = authority.client(&[], rustls::ALL_VERSIONS);
    let visit = async || {
        let mut stream = connect(Arc::clone(&config), secure(&proxy), "localhost").await.unwrap();
        stream
            .write_all(b"GET /.pilotlight/health HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
            .await
            .unwrap();
        // Tickets come behind the handshake.
        let _unannounced_end = stream.read_to_end(&mut Vec::new()).await;
        stream.get_ref().1.handshake_kind()
    };
    assert_eq!(visit().await, Some(HandshakeKind::Full));
    assert_eq!(visit().await, Some(HandshakeKind::Resumed));
}

/// What comes by it may be a replay (RFC 8470), and no client is told that it may send any.
#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_taken_before_the_handshake_is_complete() {
    let authority = Authority::new();
    let proxy = start(&authority, PAIR).await;
    let mut config = rustls::ClientConfig::clone(&authority.client(&[], &[&rustls::version::TLS13]));
    config.enable_early_data = true;
    let config = Arc::new(config);
    let name = || "localhost".try_into().unwrap();
    let mut first = connect(Arc::clone(&config), secure(&proxy), "localhost").await.unwrap();
    first
        .write_all(b"GET /.pilotlight/health HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
        .await
        .unwrap();
    let _unannounced_end = first.read_to_end(&mut Vec::new()).await;
    let mut again = rustls::ClientConnection::new(config, name()).unwrap();
    assert!(again.early_data().is_none(), "its ticket does not allow for any");
}

#[tokio::test(flavor = "multi_thread")]
async fn certificates_are_chosen_by_name_and_read_again() {
    let authority = Authority::new();
    let setup = Setup::process(&yaml::app(&[], "tls: {listen: '127.0.0.1:0', folder: certs}"));
    let folder = setup.dir().join("certs");
    std::fs::create_dir(&folder).unwrap();
    authority.issue(&folder, "a", &["a.test", "*.a.test"]);
    authority.issue(&folder, "b", &["b.test"]);
    let proxy = setup.start().await;
    let visit = async |name: &str| authority.connect(secure(&proxy), name, &[]).await;
    let first = shown(&visit("a.test").await.unwrap());
    assert_eq!(shown(&visit("x.a.test").await.unwrap()), first);
    assert_ne!(shown(&visit("b.test").await.unwrap()), first);
    assert!(visit("y.x.a.test").await.is_err(), "a star is one name");
    assert!(visit("c.test").await.is_err());
    let open = H2::over(authority.connect(secure(&proxy), "a.test", &["h2"]).await.unwrap()).await;

    authority.issue(&folder, "a", &["a.test"]);
    authority.issue(&folder, "c", &["c.test"]);
    wait_for_async("the new ones are shown", || async { visit("c.test").await.ok().map(drop) }).await;
    assert_ne!(shown(&visit("a.test").await.unwrap()), first);
    assert_eq!(open.get("/id").await.status, 200, "who is there stays");

    std::fs::write(folder.join("c.key"), "no key").unwrap();
    wait_for_async("it is said", || async { proxy.log().contains("no private key in it").then_some(()) })
        .await;
    visit("c.test").await.expect("what was there is used on");
}

#[tokio::test(flavor = "multi_thread")]
async fn who_comes_without_it_is_sent_to_it() {
    let authority = Authority::new();
    let keys = "tls: {listen: '127.0.0.1:0', cert: localhost.crt, key: localhost.key, redirect_http: true, hsts: 1h}\n\
                listen: 127.0.0.1:0\ntrusted_proxies: 127.0.0.2";
    let proxy = start_with_listen(&authority, keys).await;
    let answer = http::get(proxy.address(), "/x?y=1").await;
    assert_eq!(answer.status, 308);
    let port = secure(&proxy).port();
    assert_eq!(answer.header("location"), format!("https://localhost:{port}/x?y=1"));
    assert_eq!(answer.header("strict-transport-security"), "", "RFC 6797 section 7.2");
    let health = http::get(proxy.address(), "/.pilotlight/health").await;
    assert_eq!(health.status, 200);
    let stream = authority.connect(secure(&proxy), "localhost", &["h2"]).await.unwrap();
    let answer = H2::over(stream).await.send(get("/id")).await.unwrap();
    assert_eq!((answer.status, answer.header("strict-transport-security")), (200, "max-age=3600"));
}

/// The file's own `listen`, which the setup writes, stands there once.
async fn start_with_listen(authority: &Authority, keys: &str) -> Proxy {
    start(authority, &keys.replace("listen: 127.0.0.1:0\n", "")).await
}

#[tokio::test(flavor = "multi_thread")]
async fn who_speaks_http_where_tls_is_spoken_is_told() {
    let authority = Authority::new();
    let proxy = start(&authority, PAIR).await;
    let answer = Call::get(secure(&proxy), "/").send().await.unwrap();
    assert_eq!((answer.status, answer.reason()), (400, "bad-request: TLS is spoken here"));
    assert!(answer.text().contains("https://"), "{}", answer.text());
    // A handshake that does not come to its end hinders nobody, and neither does one that is none.
    let mut half = Wire::sent(secure(&proxy), b"\x16\x03\x01\x02\x00\x01").await;
    half.finish().await;
    assert!(half.is_cut().await);
    assert!(authority.connect(secure(&proxy), "localhost", &[]).await.is_ok());
}

/// It is none of the idle ones, which have nothing to say.
#[tokio::test(flavor = "multi_thread")]
async fn a_handshake_has_its_time() {
    let authority = Authority::new();
    let proxy = start(&authority, &format!("{PAIR}\nclients: {{header_timeout: 300ms}}")).await;
    let mut half = Wire::sent(secure(&proxy), b"\x16\x03\x01\x02\x00\x01").await;
    assert!(half.is_cut().await);
    wait_for_sample(&proxy, "pilotlight_connections_ended_total{reason=\"handshake\"}", 1.0).await;
    wait_for_sample(&proxy, "pilotlight_connections_ended_total{reason=\"idle\"}", 0.0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn certificates_that_cannot_be_used_are_named_at_the_start() {
    let setup = Setup::process(&yaml::app(&[], PAIR));
    std::fs::write(setup.dir().join("localhost.crt"), "nonsense").unwrap();
    let file = setup.dir().join("localhost.crt");
    let (status, said) = setup.fail().await;
    assert!(!status.success());
    let expected = format!("pilotlight: {}: no certificate in it", file.display());
    assert!(said.contains(&expected), "{said}");
}
