//! Apps that end before they are ready.

use crate::golden::{assert_golden, in_other_words};
use crate::support::docker::docker;
use crate::support::proxy::Setup;
use crate::trouble::told;

const PYTHON: &str = "python:3.11-slim";

/// What is told of one app in a container of Python's, with these keys.
async fn python(keys: &str) -> String {
    docker(&["image", "inspect", PYTHON]).await;
    let yaml = format!("name: web\nimage: {PYTHON}\nautoscale: {{min: 0, max: 1}}\n{keys}");
    let proxy = Setup::docker(&yaml).start().await;
    told(&proxy).await
}

#[tokio::test]
async fn a_requirement_that_is_not_installed() {
    assert_golden("missing-requirement", &python("command: [python3, -c, 'import flask']\n").await, &[]);
}

#[tokio::test]
async fn a_command_that_comes_to_its_end() {
    let keys = "command: \"echo starting the server; true &\"\n";
    assert_golden("ends-at-once", &python(keys).await, &[]);
}

#[tokio::test]
async fn less_memory_than_the_app_needs() {
    let keys = "command: [python3, -c, 'x = bytearray(1 << 30)']\nresources: {cpu: 1, memory: 64M}\n";
    assert_golden("memory-too-small", &python(keys).await, &[]);
}

#[tokio::test]
async fn a_command_that_is_not_in_the_image() {
    let told = python("command: [no-such-program]\n").await;
    // The engine's init is told of it, and says so itself.
    let told = in_other_words(&told, "tini (", ")", "<pid>");
    assert_golden("command-not-in-image", &told, &[]);
}

#[tokio::test]
async fn a_command_that_is_not_on_this_machine() {
    let yaml = "name: web\ncommand: [no-such-program]\nautoscale: {min: 0, max: 1}\n";
    let proxy = Setup::process(yaml).start().await;
    assert_golden("process-command-missing", &told(&proxy).await, &[]);
}
