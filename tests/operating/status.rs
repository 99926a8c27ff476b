//! `pilotlight status`: what a person sees of a proxy that runs.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::Value;

use crate::proxy;
use crate::support::http::get;
use crate::support::proxy::Setup;
use crate::support::yaml;

fn status(args: &[&str]) -> (Option<i32>, String, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_pilotlight"));
    let output = command.arg("status").args(args).output().expect("the binary under test runs");
    let text = |bytes| String::from_utf8(bytes).expect("it writes text");
    (output.status.code(), text(output.stdout), text(output.stderr))
}

#[tokio::test]
async fn a_table_tells_of_each_app() {
    let config = yaml::apps(&[("one", &[], "host: localhost"), ("two", &[], "host: two.test")]);
    let proxy = Setup::process(&config).start().await;
    assert_eq!(get(proxy.address(), "/id").await.status, 200);
    proxy_is_seen(&proxy.dir().join("jcloud.yml"));
    let (code, table, err) = status(&["--admin", &proxy.admin().to_string()]);
    assert_eq!((code, err.as_str()), (Some(0), ""));
    let lines: Vec<Vec<_>> = table.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(lines[0][..3], ["APP", "STATE", "REPLICAS"]);
    assert_eq!(lines[1][..5], ["one", "lit", "1", "of", "1"], "{table}");
    assert_eq!(lines[2][..5], ["two", "out", "0", "of", "0"], "{table}");
    assert!(table.ends_with("no request yet\n"), "{table}");
    assert!(!table.contains('\x1b'), "colours in a pipe: {table}");
}

/// The address stands in the state directory beside the file.
fn proxy_is_seen(file: &Path) {
    let (code, json, err) =
        status(&["--format", "json", "--config", file.to_str().expect("a path of tests")]);
    assert_eq!((code, err.as_str()), (Some(0), ""));
    let apps: Value = serde_json::from_str(&json).expect("it is JSON");
    assert_eq!(apps[0]["name"], "one");
    assert_eq!((&apps[0]["state"], &apps[1]["state"]), (&"lit".into(), &"out".into()), "{json}");
    assert_eq!((&apps[0]["metric"], &apps[0]["max"]), (&"rps".into(), &1.into()), "{json}");
}

#[tokio::test]
async fn watching_looks_again_and_outlasts_the_proxy() {
    let mut proxy = proxy(&[], "").await;
    let mut child = Command::new(env!("CARGO_BIN_EXE_pilotlight"))
        .args(["status", "--watch", "--admin", &proxy.admin().to_string()])
        .stdout(Stdio::piped())
        .spawn()
        .expect("the binary under test runs");
    let mut lines = BufReader::new(child.stdout.take().expect("it was piped")).lines();
    let mut next = |word: &str| {
        let found = lines.find(|line| line.as_ref().is_ok_and(|line| line.contains(word)));
        found.unwrap_or_else(|| panic!("no {word}")).expect("text")
    };
    next("STATE");
    next("STATE");
    proxy.stop().await;
    next("nothing answers at");
    child.kill().expect("it runs");
    child.wait().expect("it is our child");
}

#[test]
fn where_nothing_runs_it_says_what_to_do() {
    let dir = tempfile::tempdir().expect("a folder can be made");
    let file = dir.path().join("jcloud.yml");
    // Nobody listens on port 1: it is for a service that no machine has any more.
    std::fs::write(&file, "runtime: process\ncommand: serve\nadmin: {listen: '127.0.0.1:1'}\n")
        .expect("a file");
    let (code, out, err) = status(&["--config", file.to_str().expect("a path of tests")]);
    assert_eq!((code, out.as_str()), (Some(1), ""));
    assert!(err.starts_with("pilotlight: nothing answers at 127.0.0.1:1: "), "{err}");
    assert!(err.contains("--admin"), "{err}");
}
