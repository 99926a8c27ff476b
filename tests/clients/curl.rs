//! curl, as it is called on a command line.

use std::fs;

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::program::{python, run, words};
use crate::support::app;

/// What curl says of itself when it is done.
const SAYS: &str = "\n%{json}";

pub(crate) struct Said {
    body: Vec<u8>,
    pub(crate) of_itself: Value,
}

impl Said {
    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.body).expect("text")
    }

    /// The status and HTTP's version.
    pub(crate) fn line(&self) -> (u64, &str) {
        let [status, version] = ["http_code", "http_version"].map(|name| &self.of_itself[name]);
        (status.as_u64().expect("a number"), version.as_str().expect("a word"))
    }
}

/// Runs curl, which fails where there is no answer.
pub(crate) async fn curl(args: &[&str]) -> Said {
    let all = [&["curl", "--silent", "--show-error", "--max-time", "60", "--write-out", SAYS], args].concat();
    let written = run(&words(&all)).await;
    let at = written.iter().rposition(|byte| *byte == b'\n').expect("a line of its own");
    let of_itself = serde_json::from_slice(&written[at + 1..]).expect("it speaks JSON");
    Said { body: written[..at].to_owned(), of_itself }
}

/// A proxy with the test app at zero, and its URL.
pub(crate) async fn test_app() -> (crate::Proxy, String) {
    let proxy = crate::proxy(&words(&[&app::binary().display().to_string()]), "").await;
    let url = format!("http://{}", proxy.address());
    (proxy, url)
}

#[tokio::test]
async fn it_calls_over_http_1_1() {
    let (_proxy, url) = test_app().await;
    let first = curl(&[&format!("{url}/ping")]).await;
    assert_eq!((first.line(), first.text()), ((200, "1.1"), r#"{"message":"Ping!"}"#));
    // Two transfers of one command share a connection.
    let both = curl(&[&format!("{url}/id"), "--output", "/dev/null", &format!("{url}/id")]).await;
    assert_eq!(both.of_itself["num_connects"], 0);
    let head = curl(&["--head", &format!("{url}/bytes?n=12345")]).await;
    assert!(head.text().to_lowercase().contains("\r\ncontent-length: 12345\r\n"), "{}", head.text());
    let missing = curl(&[&format!("{url}/nothing")]).await;
    assert_eq!(missing.line(), (404, "1.1"));
}

#[tokio::test]
async fn it_calls_over_http_1_0() {
    let (_proxy, url) = test_app().await;
    let said = curl(&["--http1.0", &format!("{url}/stream?chunks=3&every_ms=10&size=100")]).await;
    // Without chunks, the connection's end is the body's.
    assert_eq!((said.line(), said.body.len()), ((200, "1"), 300));
}

/// It waits for `100 Continue` before a large body, and asks for chunks where it does not know the length.
#[tokio::test]
async fn it_uploads() {
    let (_proxy, url) = test_app().await;
    let folder = TempDir::new().expect("a folder can be made");
    let file = folder.path().join("file");
    let noise: Vec<u8> = (0..3_000_000_u32).map(|at| at.to_le_bytes()[0] ^ at.to_le_bytes()[1]).collect();
    fs::write(&file, &noise).expect("and a file in it");
    let file = file.display().to_string();
    let echo = format!("{url}/echo");
    let expecting = ["--expect100-timeout", "60", "--header", "Expect: 100-continue"];
    for how in [&["--upload-file", &file][..], &["--data-binary", &format!("@{file}")]] {
        for more in [&[][..], &["--header", "Transfer-Encoding: chunked"], &expecting] {
            let said = curl(&[how, more, &["--request", "POST", &echo]].concat()).await;
            assert_eq!(said.line(), (200, "1.1"));
            assert!(said.body == noise, "{how:?} {more:?}: {} bytes came back", said.body.len());
        }
    }
    let form = curl(&["--form", &format!("file=@{file}"), &format!("{url}/slow-body")]).await;
    assert_eq!(form.of_itself["size_upload"].to_string(), form.text().trim_end());
}

/// `--http2` without TLS asks for a change of protocols. The proxy makes none, and no app sees the question.
#[tokio::test]
async fn it_gets_http_1_1_where_it_asks_to_change() {
    let (_proxy, url) = test_app().await;
    let said = curl(&["--http2", &format!("{url}/headers")]).await;
    assert_eq!(said.line(), (200, "1.1"));
    let seen: Value = serde_json::from_slice(&said.body).expect("JSON");
    let names: Vec<_> = seen["headers"].as_array().expect("a list").iter().map(|it| it[0].clone()).collect();
    assert!(!names.contains(&json!("upgrade")) && !names.contains(&json!("http2-settings")), "{names:?}");
}

/// It speaks `ws:` itself from 8.11 on: before, it asks for the change, and writes the frames as they come.
#[tokio::test]
async fn it_opens_a_websocket() {
    let proxy = crate::proxy(&python("websockets_app.py", &[]), "").await;
    let key = "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==";
    let protocol = "Sec-WebSocket-Protocol: chat";
    let mut args = vec!["--include", "--http1.1"];
    for header in ["Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Version: 13", key, protocol] {
        args.extend(["--header", header]);
    }
    let url = format!("http://{}/greet", proxy.address());
    args.push(&url);
    let said = curl(&args).await;
    assert_eq!(said.line(), (101, "1.1"));
    let end = said.body.windows(4).position(|it| it == b"\r\n\r\n").expect("the head ends");
    let head = String::from_utf8_lossy(&said.body[..end]).to_lowercase();
    assert!(head.contains("\r\nsec-websocket-accept: s3pplmbitxaq9kygzzhzrbk+xoo="), "{head}");
    // A text of five letters, and a close with 1000.
    assert_eq!(&said.body[end + 4..], b"\x81\x05hello\x88\x02\x03\xe8");
}
