//! `jcloud.yml` for the test app, for what nearly every test says alike.

/// The only app, called `app`: with these variables beside `REPORT`, and further keys, a line each.
pub(crate) fn app(env: &[(&str, &str)], keys: &str) -> String {
    format!("name: app\n{}", body(env, keys))
}

/// Several apps: name, variables, further keys.
pub(crate) fn apps(apps: &[(&str, &[(&str, &str)], &str)]) -> String {
    let mut all = "apps:\n".to_owned();
    for (name, env, keys) in apps {
        all += &format!("  {name}:\n");
        for line in body(env, keys).lines() {
            all += &format!("    {line}\n");
        }
    }
    all
}

fn body(env: &[(&str, &str)], keys: &str) -> String {
    let mut text = "command: [\"{app}\"]\nenv:\n  REPORT: \"{report}\"\n".to_owned();
    for (name, value) in env {
        text += &format!("  {name}: \"{value}\"\n");
    }
    if !keys.contains("autoscale:") {
        text += "autoscale: {min: 0, max: 1, metric: rps}\n";
    }
    text + keys + "\n"
}
