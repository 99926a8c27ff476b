//! curl over HTTP/2.

use crate::curl::curl;
use crate::program::words;
use crate::secured::Secured;
use crate::support::app;

/// The same calls, however curl comes to HTTP/2: these words, and a URL that they fit.
async fn calls(how: &[&str], url: &str) {
    let first = curl(&[how, &[&format!("{url}/ping")]].concat()).await;
    assert_eq!((first.line(), first.text()), ((200, "2"), r#"{"message":"Ping!"}"#));
    let echo = format!("{url}/echo");
    let posted = curl(&[how, &["--data-binary", "some words", &echo]].concat()).await;
    assert_eq!((posted.line(), posted.text()), ((200, "2"), "some words"));
    let head = curl(&[how, &["--head", &format!("{url}/bytes?n=12345")]].concat()).await;
    assert!(head.text().contains("\r\ncontent-length: 12345\r\n"), "{}", head.text());
    let large = curl(&[how, &["--output", "/dev/null", &format!("{url}/bytes?n=20000000")]].concat()).await;
    assert_eq!(large.of_itself["size_download"], 20_000_000);
}

#[tokio::test]
async fn it_calls_over_http_2_that_it_knows_of() {
    let (_proxy, url) = crate::curl::test_app().await;
    calls(&["--http2-prior-knowledge"], &url).await;
}

#[tokio::test]
async fn it_agrees_on_http_2_over_tls() {
    let secured = Secured::start(&words(&[&app::binary().display().to_string()]), "").await;
    let url = format!("https://localhost:{}", secured.address().port());
    calls(&["--http2", "--cacert", &secured.authority], &url).await;
    // Twenty at once on one connection. Without TLS, curl 7.88 fails at that before it has a connection.
    let many = format!("{url}/sleep?ms=[100-119]");
    let many = ["--parallel", "--parallel-max", "20", "--http2", "--cacert", &secured.authority, &many];
    let many = curl(&many).await;
    assert_eq!(many.text().matches("slept\n").count(), 20, "{}", many.text());
    let older = curl(&["--http1.1", "--cacert", &secured.authority, &format!("{url}/ping")]).await;
    assert_eq!(older.line(), (200, "1.1"));
}
