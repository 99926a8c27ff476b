//! Apps that run, and that nobody can reach.

use crate::golden::assert_golden;
use crate::support::docker::need_app_image;
use crate::support::proxy::Setup;
use crate::trouble::told;

/// One app in a container, with these keys.
async fn container(name: &str, keys: &str) {
    need_app_image().await;
    let proxy = Setup::docker(&format!("name: web\nautoscale: {{min: 0, max: 1}}\n{keys}")).start().await;
    assert_golden(name, &told(&proxy).await, &[]);
}

#[tokio::test]
async fn a_container_that_speaks_to_itself_alone() {
    // Time enough for Python to come up on a machine that has much else to do.
    let keys = "image: python:3.11-slim\ncommand: python3 -m http.server 8080 --bind 127.0.0.1\nhealth: {start_timeout: 10s}\n";
    container("listens-on-loopback", keys).await;
}

#[tokio::test]
async fn a_container_on_another_port() {
    container("wrong-port", "image: '{app}'\nenv: {LISTEN_PORT: '5000'}\nhealth: {start_timeout: 3s}\n")
        .await;
}

#[tokio::test]
async fn a_container_that_never_listens() {
    let keys = "image: '{app}'\nenv: {NEVER_LISTEN: '1'}\nhealth: {start_timeout: 3s}\n";
    container("never-listens", keys).await;
}

#[tokio::test]
async fn a_health_path_that_the_app_does_not_have() {
    let keys = "image: '{app}'\nhealth: {path: /no-such-path, start_timeout: 3s}\n";
    container("health-path-missing", keys).await;
}

#[tokio::test]
async fn a_process_that_does_not_ask_for_its_port() {
    let keys = "name: web\ncommand: [\"{app}\"]\nautoscale: {min: 0, max: 1}\nhealth: {start_timeout: 3s}\n\
                env: {LISTEN_PORT: '0', REPORT: '{report}'}\n";
    let proxy = Setup::process(keys).start().await;
    let told = told(&proxy).await;
    // Each attempt was given another.
    let report = proxy.report();
    let ports: Vec<_> =
        report.events("listening").iter().map(|event| format!("port {},", event["port"])).collect();
    let ports: Vec<_> = ports.iter().map(|port| (port.as_str(), "port <port>,")).collect();
    assert_golden("process-ignores-port", &told, &ports);
}

#[tokio::test]
async fn a_process_that_does_not_ask_for_its_socket() {
    let keys = "name: web\nsocket: true\ncommand: [\"{app}\"]\nautoscale: {min: 0, max: 1}\n\
                health: {start_timeout: 3s}\nenv: {LISTEN_PORT: '0', REPORT: '{report}'}\n";
    let proxy = Setup::process(keys).start().await;
    let told = told(&proxy).await;
    let report = proxy.report();
    let ports: Vec<_> =
        report.events("listening").iter().map(|event| format!("port {},", event["port"])).collect();
    let ports: Vec<_> = ports.iter().map(|port| (port.as_str(), "port <port>,")).collect();
    assert_golden("process-ignores-socket", &told, &ports);
}

#[tokio::test]
async fn a_process_that_listens_on_nothing_in_place_of_its_socket() {
    let keys = "name: web\nsocket: true\ncommand: [\"{app}\"]\nautoscale: {min: 0, max: 1}\n\
                health: {start_timeout: 3s}\nenv: {NEVER_LISTEN: '1', REPORT: '{report}'}\n";
    let proxy = Setup::process(keys).start().await;
    assert_golden("process-never-opens-socket", &told(&proxy).await, &[]);
}

#[tokio::test]
async fn a_health_path_that_is_not_there_behind_a_socket() {
    let keys = "name: web\nsocket: true\ncommand: [\"{app}\"]\nautoscale: {min: 0, max: 1}\n\
                health: {path: /no-such-path, start_timeout: 3s}\nenv: {REPORT: '{report}'}\n";
    let proxy = Setup::process(keys).start().await;
    assert_golden("health-path-missing-behind-socket", &told(&proxy).await, &[]);
}
