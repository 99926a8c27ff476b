//! Python's HTTP and WebSocket clients.

use serde_json::json;

use crate::program::{found, python};
use crate::unchanged::found_both_ways;

#[tokio::test]
async fn requests_finds_what_it_finds_without_a_proxy() {
    let found = found_both_ways(&python("requests_client.py", &[])).await;
    assert_eq!(found["first"], json!({"status": 200, "body": {"message": "Ping!"}}));
    assert_eq!(found["uploaded"], json!({"sized": true, "streamed": true, "form": true}));
    assert_eq!(found["connections"], 1, "one connection carried all of it");
}

#[tokio::test]
async fn httpx_finds_what_it_finds_without_a_proxy() {
    let found = found_both_ways(&python("httpx_client.py", &[])).await;
    assert_eq!(found["version"], "HTTP/1.1");
    assert_eq!(found["at_once"], json!({"sent": 100, "ok": 100}));
}

#[tokio::test]
async fn aiohttp_finds_what_it_finds_without_a_proxy() {
    let found = found_both_ways(&python("aiohttp_client.py", &[])).await;
    assert_eq!(found["at_once"], json!({"sent": 100, "ok": 100}));
    assert_eq!(found["socket"], json!({"text": true, "binary": true, "close": 1000}));
}

/// The server is theirs as well: it compresses, chooses a subprotocol and closes with codes of its own.
#[tokio::test]
async fn websockets_agrees_with_its_own_server() {
    let proxy = crate::proxy(&python("websockets_app.py", &[]), "").await;
    let found = found(&python("websockets_client.py", &[&format!("ws://{}", proxy.address())])).await;
    assert_eq!(
        found,
        json!({
            "subprotocol": "chat",
            "extensions": ["permessage-deflate"],
            "echoed": {"text": true, "binary": true, "empty": true, "large": true, "fragments": true},
            "pong": true,
            "closed": {"code": 4001, "reason": "as you wish"},
            "refused": 403,
            "at_once": 100,
            "path": "/seen?a=1&b=%20",
        })
    );
}
