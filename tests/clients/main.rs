//! Clients and apps that people use, through the proxy and from zero: each gets what it gets without it.

#[path = "../support/mod.rs"]
mod support;

mod autobahn;
mod curl;
mod curl_http2;
mod django;
mod gradio;
mod grpc;
mod http2;
mod node;
mod program;
mod prometheus;
mod python;
mod secured;
mod streamlit;
mod unchanged;

use support::proxy::{Proxy, Setup};
use support::wait::wait_for_async;

/// A proxy with one app, which is this command. It is at zero: whoever asks first is held until it is up.
async fn proxy(command: &[String], keys: &str) -> Proxy {
    let words: Vec<String> =
        command.iter().map(|word| serde_json::Value::from(word.as_str()).to_string()).collect();
    let scale = "autoscale: {min: 0, max: 1, metric: rps}";
    let proxy = Setup::process(&format!("name: app\ncommand: [{}]\n{scale}\n{keys}\n", words.join(", ")));
    let proxy = proxy.start().await;
    assert_eq!(proxy.only_app().await["ready"], 0, "nobody has asked yet");
    proxy
}

/// Waits until every request has ended for the proxy as well, those included that were given up.
async fn over(proxy: &Proxy) {
    wait_for_async("all is over for the proxy", || async {
        (proxy.only_app().await["in_flight"] == 0).then_some(())
    })
    .await;
}
