//! Starts that cannot be.

use std::net::TcpListener;

use crate::proxy;
use crate::support::proxy::Setup;
use crate::support::yaml;

#[tokio::test]
async fn a_second_proxy_is_told_who_is_there() {
    let proxy = proxy(&[], "").await;
    let config = proxy.dir().join("jcloud.yml");
    let mut second = tokio::process::Command::new(env!("CARGO_BIN_EXE_pilotlight"));
    second.args(["serve", "--runtime", "process", "--config"]).arg(config);
    let output = second.output().await.unwrap();
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains(&proxy.pid().as_raw_nonzero().to_string()), "it names the process: {said}");
    assert!(said.contains("state"), "and the folder: {said}");
}

#[tokio::test]
async fn a_port_that_is_taken_is_said_to_be() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    for flag in ["--listen", "--admin"] {
        let (status, log) = Setup::process(&yaml::app(&[], "")).arg(flag).arg(&address).fail().await;
        assert_eq!(status.code(), Some(1), "{flag}");
        assert!(log.contains(&address) && log.contains("in use"), "{flag}: {log}");
    }
}

#[tokio::test]
async fn a_file_with_mistakes_is_not_served() {
    let (status, log) = Setup::process(&yaml::app(&[], "max_concurency: 1")).fail().await;
    assert_eq!(status.code(), Some(1));
    assert!(log.contains("max_concurency") && log.contains("max_concurrency"), "{log}");
}
