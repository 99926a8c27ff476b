//! `jcloud.yml` for the test app, for what nearly every test says alike.

use std::fmt::Write;

/// Variables of a replica, beside `REPORT`.
pub(crate) type Env<'a> = &'a [(&'a str, &'a str)];

/// The only app, called `app`: with these variables, and further keys, a line each.
pub(crate) fn app(env: Env<'_>, keys: &str) -> String {
    format!("name: app\n{}", body(env, keys))
}

/// Several apps: name, variables, further keys.
pub(crate) fn apps(apps: &[(&str, Env<'_>, &str)]) -> String {
    let mut all = "apps:\n".to_owned();
    for (name, env, keys) in apps {
        writeln!(all, "  {name}:").expect("a string can be written");
        for line in body(env, keys).lines() {
            writeln!(all, "    {line}").expect("a string can be written");
        }
    }
    all
}

fn body(env: Env<'_>, keys: &str) -> String {
    let mut text = "command: [\"{app}\"]\nenv:\n  REPORT: \"{report}\"\n".to_owned();
    for (name, value) in env {
        writeln!(text, "  {name}: \"{value}\"").expect("a string can be written");
    }
    if !keys.contains("autoscale:") {
        text += "autoscale: {min: 0, max: 1, metric: rps}\n";
    }
    text + keys + "\n"
}
