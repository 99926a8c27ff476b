//! A Streamlit app, whose page is drawn by what comes over its WebSocket.

use serde_json::json;

use crate::Proxy;
use crate::program::python;
use crate::program::{found, in_environment, ours, words};

async fn streamlit() -> Proxy {
    let script = format!(
        "exec {} run {} --server.port $PORT --server.address 127.0.0.1 --server.headless true \
         --browser.gatherUsageStats false --server.fileWatcherType none",
        in_environment("streamlit").display(),
        ours("streamlit_app.py")
    );
    crate::proxy(&words(&["sh", "-c", &script]), "health: {path: /_stcore/health}").await
}

#[tokio::test]
async fn its_page_assets_and_socket_come_through() {
    let proxy = streamlit().await;
    let found = found(&python("streamlit_client.py", &[&proxy.address().to_string()])).await;
    assert_eq!(
        found,
        json!({
            "page": "<title>Streamlit</title>",
            "assets": true,
            "health": "ok",
            "subprotocol": "streamlit",
            "session": true,
            "drawn": "Of test",
            "uploaded": true,
        })
    );
}

#[tokio::test]
async fn its_page_works_in_a_browser() {
    let proxy = streamlit().await;
    let found = found(&python("browser_streamlit.py", &[&format!("http://{}", proxy.address())])).await;
    assert_eq!(found, json!({"heading": "Of test", "pressed": "Pressed 2 times", "failed_requests": []}));
}
