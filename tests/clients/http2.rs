//! Clients that speak HTTP/2: over TLS, where they agree on it, and without, where they know beforehand.

use serde_json::{Value, json};

use crate::program::{found, python, words};
use crate::secured::Secured;
use crate::support::app::{self, Running};

fn test_app() -> Vec<String> {
    words(&[&app::binary().display().to_string()])
}

/// Takes one header of a request that the app has seen; null where there is none.
fn seen(found: &Value, name: &str) -> Value {
    let headers = found["seen"]["headers"].as_array().expect("a list");
    headers.iter().find(|header| header[0] == name).map_or(Value::Null, |header| header[1].clone())
}

#[tokio::test]
async fn httpx_finds_over_http_2_what_it_finds_over_http_1_1() {
    let direct = Running::start(&[]);
    let url = format!("http://{}", direct.address().await);
    let mut expected = found(&python("httpx_client.py", &[&url])).await;
    let secured = Secured::start(&test_app(), "").await;
    let url = format!("https://localhost:{}", secured.address().port());
    let mut actual = found(&python("httpx_client.py", &[&secured.authority, &url])).await;
    assert_eq!((&expected["version"], &actual["version"]), (&json!("HTTP/1.1"), &json!("HTTP/2")));
    assert_eq!(seen(&actual, "x-forwarded-proto"), "https");
    assert_eq!(format!("https://{}", seen(&actual, "host").as_str().expect("text")), url);
    for name in ["accept", "accept-encoding", "user-agent", "x-one"] {
        assert_eq!(seen(&actual, name), seen(&expected, name), "{name}");
    }
    // What is left is what came back.
    for found in [&mut expected, &mut actual] {
        found["version"].take();
        found["seen"] = json!({"method": found["seen"]["method"], "uri": found["seen"]["uri"]});
    }
    assert_eq!(actual, expected);
}

#[tokio::test]
async fn requests_finds_over_tls_what_it_finds_without() {
    let secured = Secured::start(&test_app(), "").await;
    let url = format!("https://localhost:{}", secured.address().port());
    let found = found(&python("requests_client.py", &[&secured.authority, &url])).await;
    assert_eq!(found["uploaded"], json!({"sized": true, "streamed": true, "form": true}));
    assert_eq!(seen(&found, "x-forwarded-proto"), "https");
}

/// With TLS a WebSocket is one of HTTP/1.1 all the same: the client offers nothing else.
#[tokio::test]
async fn websockets_opens_its_sockets_over_tls() {
    let secured = Secured::start(&python("websockets_app.py", &[]), "").await;
    let url = format!("wss://localhost:{}", secured.address().port());
    let found = found(&python("websockets_client.py", &[&secured.authority, &url])).await;
    assert_eq!((&found["at_once"], &found["pong"]), (&json!(100), &json!(true)));
}
