//! Starts that cannot be.

use std::fs;
use std::net::TcpListener;
use std::process::Stdio;

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

/// A start that breaks off while it makes its identity leaves none, rather than half of one.
#[tokio::test]
async fn an_identity_that_could_not_be_written_is_made_by_the_next_start() {
    let state = tempfile::tempdir().unwrap();
    let file = state.path().join("jcloud.yml");
    let text = "runtime: process\ncommand: serve\nlisten: 127.0.0.1:0\nadmin: {listen: 127.0.0.1:0}\n";
    fs::write(&file, text).unwrap();
    // As on a full disk: room for the lock, then for a part of the identity, then for a part of the key.
    for room in ["10", "20"] {
        let mut command = tokio::process::Command::new("sh");
        command.args(["-c", "trap '' XFSZ; exec prlimit --fsize=\"$@\"", "sh", room]);
        command.arg(env!("CARGO_BIN_EXE_pilotlight")).args(["serve", "--config"]).arg(&file);
        let output = command.stdin(Stdio::null()).output().await.unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{room}: {said}");
        assert!(said.contains("File too large") && !said.contains("damaged"), "{room}: {said}");
    }
    let state = pilotlight::control::instance::Instance::take(&state.path().join(".pilotlight"));
    assert_eq!(state.expect("it can be made now").identity.id.len(), 12);
}

#[tokio::test]
async fn a_file_with_mistakes_is_not_served() {
    let (status, log) = Setup::process(&yaml::app(&[], "max_concurency: 1")).fail().await;
    assert_eq!(status.code(), Some(1));
    assert!(log.contains("max_concurency") && log.contains("max_concurrency"), "{log}");
}
