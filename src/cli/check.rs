//! `pilotlight check`: every mistake of a file at once, or what it will run, in words.

use std::process::ExitCode;

use clap::Args;

use super::{ConfigArgs, name_of, process_env};
use crate::config::spec::{
    AppSpec, AutoscaleSpec, Command, Config, Metric, RedirectSpec, Resources, Source, Workload,
};
use crate::config::{self, format_duration, format_size, show_route};

/// Arguments of `check`.
#[derive(Debug, Clone, Args)]
pub struct CheckArgs {
    /// The file.
    #[command(flatten)]
    pub config: ConfigArgs,
    /// Print every key with its default and its meaning instead, as Markdown.
    #[arg(long)]
    pub keys: bool,
}

/// Checks the file: 0 and a summary on standard output, or 1 and every mistake on standard error.
#[must_use]
pub fn run(args: &CheckArgs) -> ExitCode {
    if args.keys {
        print!("{}", config::markdown());
        return ExitCode::SUCCESS;
    }
    match config::load(&args.config.config, &args.config.overrides(), &process_env) {
        Ok(config) => {
            for warning in &config.warnings {
                eprintln!("warning: {warning}\n");
            }
            print!("{}", summary(&config));
            ExitCode::SUCCESS
        }
        Err(errors) => {
            eprintln!("{errors}");
            ExitCode::FAILURE
        }
    }
}

/// What a configuration runs, for people.
#[must_use]
pub fn summary(config: &Config) -> String {
    let proxy = &config.proxy;
    let clear = proxy.listen.iter().map(ToString::to_string);
    let tls = proxy.tls.iter().flat_map(|tls| &tls.listen).map(|address| format!("{address} (TLS)"));
    let listen: Vec<_> = clear.chain(tls).collect();
    let runtime = name_of(proxy.runtime);
    let mut out = format!("listens on {}, admin API on {}\n", listen.join(", "), proxy.admin);
    for app in &config.apps {
        out.push_str(&describe(app, runtime));
    }
    if !config.edge.redirects.is_empty() {
        out.push_str("\nredirects\n");
    }
    out.extend(config.edge.redirects.iter().map(redirect));
    out
}

fn describe(app: &AppSpec, runtime: &str) -> String {
    let routes: Vec<_> = app.routes.iter().map(show_route).collect();
    if let Source::Upstream(origins) = &app.workload.source {
        let origins: Vec<_> = origins.iter().map(ToString::to_string).collect();
        let (routes, origins) = (routes.join(", "), origins.join(", "));
        return format!("\n{}\n  routes    {routes}\n  upstream  {origins}\n", app.name);
    }
    let routes =
        if routes.is_empty() { "none: only other apps reach it".to_owned() } else { routes.join(", ") };
    [
        format!("\n{}\n", app.name),
        format!("  routes    {routes}\n"),
        format!("  runs      {} (runtime {runtime})\n", workload(&app.workload)),
        format!("  instance  {}\n", resources(app.workload.resources)),
        format!("  replicas  {}\n", autoscale(&app.autoscale)),
        if app.needs.is_empty() { String::new() } else { format!("  needs     {}\n", app.needs.join(", ")) },
    ]
    .concat()
}

fn redirect(rule: &RedirectSpec) -> String {
    format!("  {} → {}{} ({})\n", show_route(&rule.from), rule.origin, rule.path, rule.status.as_u16())
}

fn workload(workload: &Workload) -> String {
    let command = workload.command.as_ref().map(|command| match command {
        Command::Shell(line) => line.clone(),
        Command::List(words) => words.join(" "),
    });
    match (&workload.source, command) {
        (Source::Image(image), _) => format!("the image {image}"),
        (Source::Build(folder), _) => format!("the image built in {}", folder.display()),
        (Source::Host | Source::Upstream(_), command) => format!("`{}`", command.unwrap_or_default()),
    }
}

fn resources(resources: Resources) -> String {
    let cores = f64::from(resources.cpu_millis) / 1000.0;
    let noun = if resources.cpu_millis == 1000 { "core" } else { "cores" };
    let gpus = match resources.gpus {
        0 => String::new(),
        1 => ", 1 GPU".to_owned(),
        many => format!(", {many} GPUs"),
    };
    format!("{cores} {noun}, {}{gpus}", format_size(resources.memory))
}

fn autoscale(spec: &AutoscaleSpec) -> String {
    let target = spec.target;
    let what = match spec.metric {
        Metric::Rps => format!("{target} requests per second on each"),
        Metric::Concurrency => format!("{target} requests in flight on each"),
        Metric::Cpu => format!("{target} % of its CPU on each"),
        Metric::Memory => format!("{target} % of its memory on each"),
    };
    let count = if spec.min == spec.max {
        format!("always {}", spec.min)
    } else {
        format!("{} to {}, for {what}", spec.min, spec.max)
    };
    if spec.min > 0 {
        return count;
    }
    let quiet = if spec.idle_below > 0.0 {
        format!("under {} requests per second", spec.idle_below)
    } else {
        "without a request".to_owned()
    };
    format!("{count}; none after {} {quiet}", format_duration(spec.idle))
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::config::Overrides;

    #[test]
    fn says_in_words_where_requests_go() {
        let text = "name: web\nupstream: [http://a, \"http://[::1]:81\"]\nhost: example.com\n";
        let config =
            config::parse(text, Path::new("jcloud.yml"), &Overrides::default(), &|_| None).expect("is right");
        let summary = summary(&config);
        assert!(
            summary.ends_with("\nweb\n  routes    example.com/\n  upstream  a:80, [::1]:81\n"),
            "{summary}"
        );
    }

    #[test]
    fn says_in_words_what_runs() {
        let text = "runtime: process\nname: web\ncommand: serve\nhost: example.com\nautoscale: {min: 0, max: 5, metric: rps}\n";
        let config =
            config::parse(text, Path::new("jcloud.yml"), &Overrides::default(), &|_| None).expect("is right");
        assert_eq!(
            summary(&config),
            "listens on 0.0.0.0:8080, admin API on 127.0.0.1:9900\n\n\
             web\n  routes    example.com/\n  runs      `serve` (runtime process)\n  instance  1 core, 2 GiB\n  \
             replicas  0 to 5, for 10 requests per second on each; none after 1m without a request\n"
        );
    }
}
