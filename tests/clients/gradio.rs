//! A Gradio app: its own client, which hears results as server-sent events, and its page in a browser.

use serde_json::json;

use crate::Proxy;
use crate::program::{found, python};

async fn gradio() -> Proxy {
    // Neither news of this machine for others nor news of others' for it.
    crate::proxy(
        &python("gradio_app.py", &[]),
        "env: {GRADIO_ANALYTICS_ENABLED: 'False', HF_HUB_OFFLINE: '1'}",
    )
    .await
}

#[tokio::test]
async fn its_client_calls_streams_uploads_and_downloads() {
    let proxy = gradio().await;
    let found = found(&python("gradio_client_calls.py", &[&format!("http://{}", proxy.address())])).await;
    assert_eq!(
        found,
        json!({
            "greeted": "Hello, ü!",
            "counted": ["1", "2", "3", "4", "5"],
            "reversed": true,
            "failed": "not today",
            "at_once": 8,
        })
    );
}

#[tokio::test]
async fn its_page_works_in_a_browser() {
    let proxy = gradio().await;
    let found = found(&python("browser_gradio.py", &[&format!("http://{}", proxy.address())])).await;
    assert_eq!(found, json!({"title": "Of test", "greeted": "Hello, wick!", "failed_requests": []}));
}
