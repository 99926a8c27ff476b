//! Node and its own `fetch`.

use serde_json::json;

use crate::program::{ours, words};
use crate::unchanged::found_both_ways;

#[tokio::test]
async fn fetch_finds_what_it_finds_without_a_proxy() {
    let found = found_both_ways(&words(&["node", &ours("fetch.mjs")])).await;
    assert_eq!(
        found["first"],
        json!({"status": 200, "type": "application/json", "body": {"message": "Ping!"}})
    );
    assert_eq!(found["form"], json!({"name": "ü", "size": 2_000_000}));
    assert_eq!(found["givenUp"], "TimeoutError");
    assert_eq!(found["atOnce"], json!({"sent": 100, "ok": 100}));
}
