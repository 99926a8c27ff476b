//! A Prometheus server as the app.

use std::fs;
use std::net::SocketAddr;
use std::path::Path;

use serde_json::json;
use tempfile::TempDir;

use crate::Proxy;
use crate::program::words;
use crate::support::http::{Answer, Call, get};
use crate::support::wait::wait_for_async;

/// Where `tests/run prepare` unpacks the pages of Debian's package; other builds have theirs inside.
const PAGES: &str = "/usr/local/share/prometheus/web";

/// It watches itself, under this name. It cannot know its own port beforehand, so it goes by its address in a file.
fn config(job: &str) -> String {
    format!(
        "global: {{scrape_interval: 1s}}\nscrape_configs:\n- job_name: {job}\n  file_sd_configs: [{{files: [targets.json]}}]\n"
    )
}

/// A proxy with a server at zero, which keeps what it has in `folder`.
async fn prometheus(folder: &Path) -> Proxy {
    fs::write(folder.join("prometheus.yml"), config("first")).expect("the folder can be written");
    let pages = if Path::new(PAGES).exists() { format!("--web.local-assets={PAGES}") } else { String::new() };
    let script = format!(
        "cd {} && echo '[{{\"targets\": [\"127.0.0.1:'$PORT'\"]}}]' >targets.json && \
         exec prometheus --config.file=prometheus.yml --storage.tsdb.path=data --web.enable-lifecycle \
         --web.listen-address=127.0.0.1:$PORT {pages}",
        folder.display()
    );
    crate::proxy(&words(&["sh", "-c", &script]), "health: {path: /-/ready}").await
}

async fn post(address: SocketAddr, path: &str, body: &'static str) -> Answer {
    let form = "application/x-www-form-urlencoded";
    Call::post(address, path, body).header("content-type", form).send().await.expect("an answer")
}

#[tokio::test]
async fn it_shows_its_pages_answers_queries_and_reads_its_file_again() {
    let folder = TempDir::new().expect("a folder can be made");
    let proxy = prometheus(folder.path()).await;
    let address = proxy.address();

    // Held until it says at its health path that it is ready: it listens well before.
    let first = get(address, "/-/ready").await;
    assert_eq!((first.status, first.text().trim_end()), (200, "Prometheus Server is Ready."));
    let home = get(address, "/").await;
    assert!(home.status == 302 && home.header("location").starts_with('/'), "{home:?}");
    let page = get(address, home.header("location")).await;
    assert!(page.status == 200 && page.text().contains("<title>Prometheus"), "{}", page.text());
    for asset in ["src=\"", "href=\""].iter().flat_map(|mark| page.text().split(mark).skip(1)) {
        let path = asset.split('"').next().expect("closed");
        // Debian takes the libraries of others from packages of their own.
        let theirs = path.contains("/static/css/") || path.contains("/static/js/");
        if theirs {
            let asset = get(address, path).await;
            assert!(asset.status == 200 && !asset.body.is_empty(), "{path}: {}", asset.status);
        }
    }

    // Once in the URL, once as a form: pages do both.
    let query = "query=up%7Bjob%3D%22first%22%7D";
    wait_for_async("it has watched itself", || async {
        let asked = get(address, &format!("/api/v1/query?{query}")).await.json();
        let posted = post(address, "/api/v1/query", query).await.json();
        assert_eq!((&asked["status"], &posted["status"]), (&json!("success"), &json!("success")));
        (posted["data"]["result"][0]["value"][1] == "1").then_some(())
    })
    .await;

    fs::write(folder.path().join("prometheus.yml"), config("second")).expect("the file can be written");
    let reloaded = post(address, "/-/reload", "").await;
    assert_eq!((reloaded.status, reloaded.text()), (200, ""));
    let config = get(address, "/api/v1/status/config").await.json();
    assert!(config["data"]["yaml"].to_string().contains("job_name: second"), "{config}");
    let app = proxy.only_app().await;
    assert_eq!((&app["ready"], &app["in_flight"]), (&json!(1), &json!(0)));
}
