//! `access_log`: a line for each request, and the file that it goes to.

#[path = "../support/mod.rs"]
mod support;

mod endings;
mod file;
mod hanging;
mod words;

use std::fs;
use std::path::Path;

use serde_json::Value;

use support::proxy::{Proxy, Setup};
use support::wait::wait_for;
use support::yaml;

/// The log's name, in the folder of `jcloud.yml`.
const LOG: &str = "access.log";

/// What asks for it there.
const COMBINED: &str = "access_log: access.log";
const JSON: &str = "access_log: {file: access.log, format: json}";

/// How many lines were not written.
const DROPPED: &str = "pilotlight_access_log_lines_dropped_total";

/// A proxy with one app, whose replica has these variables, and with these keys.
async fn proxy(env: yaml::Env<'_>, keys: &str) -> Proxy {
    Setup::process(&yaml::app(env, keys)).start().await
}

/// The lines that are whole by now. Each worker hands on its own, so they are in no order.
fn lines(file: &Path) -> Vec<String> {
    let text = fs::read_to_string(file).unwrap_or_default();
    let whole = text.split_inclusive('\n').filter_map(|line| line.strip_suffix('\n'));
    whole.map(str::to_owned).collect()
}

/// Waits for the line that has this in it.
async fn line(proxy: &Proxy, what: &str) -> String {
    let log = proxy.dir().join(LOG);
    let find = || lines(&log).into_iter().find(|line| line.contains(what));
    wait_for(format!("there is a line with {what}"), find).await
}

/// The same of a log that is JSON.
async fn entry(proxy: &Proxy, what: &str) -> Value {
    let line = line(proxy, what).await;
    serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line}"))
}

/// These fields of an entry; null where there is none.
fn pick(entry: &Value, keys: &[&str]) -> Value {
    keys.iter().map(|key| entry[*key].clone()).collect()
}
