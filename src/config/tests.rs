//! Files in, configurations out: defaults, merging, forms, and a second reader of YAML to hold ours against.

use std::fmt::Write;
use std::path::Path;
use std::time::Duration;

use super::schema::SECTIONS;
use super::spec::Source as Source_;
use super::spec::*;
use super::*;

fn read_with(text: &str, overrides: &Overrides) -> Result<Config, String> {
    let env = |name: &str| (name == "HOME").then(|| "/home/user".to_owned());
    parse(text, Path::new("/nowhere/My Shop/jcloud.yml"), overrides, &env)
        .map_err(|errors| errors.to_string())
}

fn read(text: &str) -> Result<Config, String> {
    read_with(text, &Overrides::default())
}

/// The one app of a file that is right.
fn app(text: &str) -> AppSpec {
    let mut config = read(text).unwrap_or_else(|errors| panic!("{errors}"));
    assert_eq!(config.apps.len(), 1);
    config.apps.remove(0)
}

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// The page's file, beside a Dockerfile.
#[test]
fn reads_the_first_example() {
    let text = "instance: C3\nautoscale:\n  min: 0\n  max: 1\n  metric: rps\n  target: 1\n";
    let beside = Path::new(env!("CARGO_MANIFEST_DIR")).join("config/site");
    let config = parse(text, &beside.join("jcloud.yml"), &Overrides::default(), &|_| None).unwrap();
    let [app] = &config.apps[..] else { panic!("one app") };
    assert_eq!(app.name, "site");
    assert_eq!(app.workload.source, Source_::Build(beside.clone()));
    assert_eq!(app.workload.dir, beside);
    assert_eq!(config.proxy.state_dir, beside.join(".pilotlight"));
    let AutoscaleSpec { min, max, metric, target, .. } = app.autoscale;
    assert_eq!((min, max, metric), (0, 1, Metric::Rps));
    assert!((target - 1.0).abs() < f64::EPSILON);
}

fn address(text: &str) -> ListenAddress {
    ListenAddress::Tcp(text.parse().unwrap())
}

#[test]
fn fills_in_defaults() {
    let config = read("image: nginx").unwrap();
    let ProxySpec {
        listen,
        workers,
        runtime,
        docker,
        admin,
        state_dir,
        shutdown_timeout,
        log,
        access_log,
        tls,
    } = config.proxy;
    assert_eq!((listen, tls, access_log), (vec![address("0.0.0.0:8080")], None, None));
    assert!(workers >= 1);
    assert_eq!(runtime, RuntimeKind::Docker);
    assert_eq!(docker, DockerSpec::default());
    assert_eq!(admin, "127.0.0.1:9900".parse().unwrap());
    assert_eq!(state_dir, Path::new("/nowhere/My Shop/.pilotlight"));
    assert_eq!(shutdown_timeout, seconds(30));
    assert_eq!(log, LogSpec { level: "info".to_owned(), format: None });

    let expected = AppSpec {
        name: "my-shop".to_owned(),
        routes: vec![RouteSpec { host: HostPattern::Any, path: "/".to_owned() }],
        strip_prefix: false,
        headers: HeadersSpec::default(),
        workload: Workload {
            source: Source_::Image("nginx".to_owned()),
            command: None,
            port: None,
            socket: false,
            resources: Resources { cpu_millis: 1000, memory: 2 << 30, gpus: 0 },
            env: [].into(),
            volumes: Vec::new(),
            workspace: false,
            networks: Vec::new(),
            named: false,
            dir: "/nowhere/My Shop".into(),
        },
        protocol: Protocol::Auto,
        health: HealthSpec {
            http2: false,
            path: None,
            probe: Probe::Path,
            interval: seconds(10),
            timeout: seconds(5),
            start_timeout: seconds(90),
        },
        timeout: seconds(120),
        rate_limit: None,
        max_body: None,
        body_timeout: seconds(60),
        websocket: WebSocketSpec { idle_timeout: None, max_age: None, counts: true },
        server_timing: false,
        hold: HoldSpec { max: 1000, timeout: seconds(60) },
        max_concurrency: None,
        affinity: None,
        slow_start: seconds(0),
        keep_alive: seconds(4),
        drain_timeout: seconds(30),
        stop_grace: seconds(10),
        boost: BoostSpec { cpu_millis: 2000, after_ready: seconds(5) },
        needs: Vec::new(),
        autoscale: AutoscaleSpec {
            min: 1,
            max: 10,
            metric: Metric::Cpu,
            target: 70.0,
            stable_window: seconds(60),
            panic_window: seconds(6),
            idle: seconds(60),
            freeze_after: None,
            remove_after: seconds(24 * 60 * 60),
            warm_pool: 0,
            idle_below: 0.0,
            scale_down_delay: seconds(0),
        },
    };
    assert_eq!((config.apps, config.edge), (vec![expected], EdgeSpec::default()));
}

/// What the table of keys says a default is, written out, changes nothing.
#[test]
fn the_table_tells_the_true_defaults() {
    let base = read("image: nginx").unwrap();
    let mut tried = 0;
    for (_, section) in SECTIONS {
        for key in section.keys {
            let Some(default) = key.default.strip_prefix('`').and_then(|rest| rest.strip_suffix('`')) else {
                continue;
            };
            if default.contains('`') {
                continue;
            }
            let line = format!("{}: {default}", key.name);
            let text = match section.name {
                "" => format!("image: nginx\n{line}\n"),
                name => format!("image: nginx\n{name}:\n  {line}\n"),
            };
            assert_eq!(read(&text).as_ref(), Ok(&base), "{text}");
            tried += 1;
        }
    }
    assert!(tried >= 25, "{tried}");
}

#[test]
fn defaults_that_depend_on_other_keys() {
    let target = |metric: &str| app(&format!("image: a\nautoscale: {{metric: {metric}}}")).autoscale.target;
    assert!((target("rps") - 10.0).abs() < f64::EPSILON);
    assert!((target("concurrency") - 100.0).abs() < f64::EPSILON);
    assert!((target("cpu") - 70.0).abs() < f64::EPSILON);
    assert!((target("memory") - 70.0).abs() < f64::EPSILON);
    let panic_window = |stable: &str| {
        app(&format!("image: a\nautoscale: {{stable_window: {stable}}}")).autoscale.panic_window
    };
    assert_eq!(panic_window("30s"), seconds(3));
    assert_eq!(panic_window("1s"), Duration::from_millis(100));
}

#[test]
fn sizes_of_instances() {
    let sizes = [
        (100, 214_748_364),
        (500, 1 << 30),
        (1000, 2 << 30),
        (2000, 4 << 30),
        (4000, 8 << 30),
        (8000, 16 << 30),
        (16_000, 32 << 30),
        (32_000, 64 << 30),
    ];
    for (index, (cpu_millis, memory)) in sizes.into_iter().enumerate() {
        let got = app(&format!("image: a\ninstance: C{}", index + 1)).workload.resources;
        assert_eq!(got, Resources { cpu_millis, memory, gpus: 0 });
    }
    for (name, cpu_millis, gib, gpus) in
        [("G1", 4000, 14, 1), ("G2", 4000, 14, 1), ("G3", 8000, 24, 2), ("G4", 16_000, 56, 4)]
    {
        let got = app(&format!("image: a\ninstance: {name}")).workload.resources;
        assert_eq!(got, Resources { cpu_millis, memory: gib << 30, gpus });
    }
    let own = app("image: a\nresources: {cpu: 0.25, memory: 512M}").workload.resources;
    assert_eq!(own, Resources { cpu_millis: 250, memory: 512 << 20, gpus: 0 });
}

#[test]
fn an_apps_keys_win_over_defaults_key_by_key() {
    let text = "
defaults:
  build: ./nowhere
  instance: C5
  env: {A: 1, B: 1}
  host: example.com
  autoscale: {min: 0, max: 3, metric: rps}
  health: {path: /up, interval: 3s}
  volumes: [data:/data]
apps:
  a:
    image: nginx
    path: /a
    resources: {cpu: 2}
    env: {B: 2, C: 3.0}
    autoscale_min: 2
    autoscale: {target: 5}
    health: {interval: 1}
    volumes: [other:/other]
";
    let app = app(text);
    assert_eq!(app.workload.source, Source_::Image("nginx".to_owned()));
    assert_eq!(app.workload.resources, Resources { cpu_millis: 2000, memory: 2 << 30, gpus: 0 });
    let env: Vec<_> = app.workload.env.iter().map(|(name, value)| format!("{name}={value}")).collect();
    assert_eq!(env, ["A=1", "B=2", "C=3.0"]);
    assert_eq!(
        app.routes,
        [RouteSpec { host: HostPattern::Exact("example.com".to_owned()), path: "/a".to_owned() }]
    );
    let AutoscaleSpec { min, max, metric, target, .. } = app.autoscale;
    assert_eq!((min, max, metric), (2, 3, Metric::Rps));
    assert!((target - 5.0).abs() < f64::EPSILON);
    assert_eq!((app.health.path.as_deref(), app.health.interval), (Some("/up"), seconds(1)));
    assert_eq!(app.workload.volumes.len(), 1);
    assert_eq!(app.workload.volumes[0].target, "/other");
}

/// A default's other spelling, or its alternative, is no second value beside the app's own.
#[test]
fn an_apps_key_also_covers_the_alternative_among_the_defaults() {
    let text = "
defaults: {resources: {cpu: 9}, host: a.example.com, paths: [/a], autoscale: {min: 4, max: 4}, image: nginx}
apps:
  b: {instance: C1, hosts: b.example.com, path: /b, autoscale_max: 9, autoscale_min: 2}
";
    let own = app(text);
    assert_eq!(own.workload.resources.cpu_millis, 100);
    assert_eq!(own.routes.iter().map(show_route).collect::<Vec<_>>(), ["b.example.com/b"]);
    assert_eq!((own.autoscale.min, own.autoscale.max), (2, 9));
    let flat = "
defaults: {image: nginx, autoscale_min: 4, autoscale_max: 4}
apps: {b: {path: /b, autoscale: {min: 2, max: 9}}}
";
    assert_eq!((app(flat).autoscale.min, app(flat).autoscale.max), (2, 9));
    let build = read("defaults: {image: nginx}\napps: {b: {path: /, build: ./b}}").unwrap_err();
    assert!(build.contains("no Dockerfile in `./b`"), "{build}");
}

#[test]
fn an_upstream_and_replicas_cover_each_other_among_the_defaults() {
    let upstream = app("
defaults: {image: nginx, command: run, env: {A: 1}, autoscale: {min: 0}, health: {path: /up, start_timeout: 1s}}
apps: {a: {upstream: \"http://[2001:DB8::1]\", path: /}}
");
    let origin = |host: &str, port| Origin { host: host.to_owned(), port };
    assert_eq!(upstream.workload.source, Source_::Upstream(vec![origin("2001:db8::1", 80)]));
    assert_eq!((upstream.health.path.as_deref(), upstream.hold.timeout), (Some("/up"), seconds(10)));
    assert!(upstream.workload.env.is_empty() && upstream.workload.command.is_none());
    let image = app("defaults: {upstream: \"http://a\"}\napps: {a: {image: nginx, path: /}}");
    assert_eq!(image.workload.source, Source_::Image("nginx".to_owned()));
    let here = "upstream: [\"http://A.example:81/\", \"http://10.0.0.1:8000\"]\nhold: {timeout: 1m}";
    let process = Overrides { runtime: Some(RuntimeKind::Process), ..Overrides::default() };
    let spec = read_with(here, &process).unwrap().apps.remove(0);
    let origins = vec![origin("a.example", 81), origin("10.0.0.1", 8000)];
    assert_eq!((spec.workload.source, spec.hold.timeout), (Source_::Upstream(origins), seconds(60)));
}

/// By name, whatever the letters' case; and what an app removes is not set by a default after all.
#[test]
fn an_app_goes_without_what_the_defaults_name() {
    let apps = read(
        "defaults: {image: nginx, needs: db, networks: back, volumes: 'data:/data'}\n\
         apps: {db: {}, web: {path: /web}, alone: {path: /, needs: [], networks: [], volumes: []}}",
    );
    let apps = apps.unwrap_or_else(|errors| panic!("{errors}")).apps;
    let of = |name: &str| apps.iter().find(|app| app.name == name).expect("it is in the file");
    let counts = |app: &AppSpec| (app.needs.len(), app.workload.networks.len(), app.workload.volumes.len());
    assert_eq!((counts(of("web")), counts(of("alone"))), ((1, 1, 1), (0, 0, 0)));
}

#[test]
fn an_apps_headers_win_over_defaults_name_by_name() {
    let text = "
defaults:
  headers:
    request: {set: {X-A: 1, X-B: 1, X-C: 1}, remove: X-D}
    response: {add: {X-Link: [a, b], X-Gone: 1}}
apps:
  a:
    image: nginx
    path: /
    headers:
      request: {set: {x-b: 2}, remove: [X-C]}
      response: {remove: x-gone}
";
    let HeadersSpec { request, response } = app(text).headers;
    let pairs = |list: &[(http::HeaderName, http::HeaderValue)]| -> Vec<String> {
        list.iter().map(|(name, value)| format!("{name}={}", value.to_str().unwrap())).collect()
    };
    assert_eq!(pairs(&request.set), ["x-a=1", "x-b=2"]);
    assert_eq!((request.remove, request.add), (vec![http::HeaderName::from_static("x-c")], Vec::new()));
    assert_eq!(pairs(&response.add), ["x-link=a", "x-link=b"]);
    assert_eq!(response.remove, [http::HeaderName::from_static("x-gone")]);
    let host =
        app("image: a\nheaders: {request: {set: {Host: \"a.example.com:81\"}, remove: X-Forwarded-For}}");
    assert_eq!(pairs(&host.headers.request.set), ["host=a.example.com:81"]);
}

#[test]
fn one_value_or_a_list() {
    let app = app("image: a\nhosts: a.example.com\npath: [/x/, //y//z]\ncommand: [run, \"\", 8080]");
    let routes: Vec<_> = app.routes.iter().map(show_route).collect();
    assert_eq!(routes, ["a.example.com/x", "a.example.com/y/z"]);
    let words = ["run", "", "8080"].map(str::to_owned).to_vec();
    assert_eq!(app.workload.command, Some(Command::List(words)));
    let config = read("image: a\nlisten: [8080, \":81\", \"[::]:82\"]").unwrap();
    assert_eq!(config.proxy.listen, ["0.0.0.0:8080", "0.0.0.0:81", "[::]:82"].map(address));
}

#[test]
fn what_is_filled_in_stays_one_value() {
    let env = |name: &str| match name {
        "NASTY" => Some("x\ninjected: true # {".to_owned()),
        "NOTHING" => Some("~".to_owned()),
        "PORT" => Some("81".to_owned()),
        _ => None,
    };
    let text = "image: a\nport: \"${PORT}\"\ncommand: serve $PORT $${PORT}\nenv: {A: \"${NASTY}\", B: a$$b}\nname: ${NONE:-web}\nstate_dir: ${NOTHING}x\n";
    let config = parse(text, Path::new("/x/jcloud.yml"), &Overrides::default(), &env);
    let errors = config.unwrap_err().to_string();
    assert!(errors.contains("`~` is not filled in"), "{errors}");
    let text = text.replace("state_dir: ${NOTHING}x\n", "");
    let config = parse(text, Path::new("/x/jcloud.yml"), &Overrides::default(), &env).unwrap();
    let app = &config.apps[0];
    assert_eq!(app.name, "web");
    assert_eq!(app.workload.port, Some(81));
    assert_eq!(app.workload.command, Some(Command::Shell("serve $PORT ${PORT}".to_owned())));
    assert_eq!(app.workload.env["A"], "x\ninjected: true # {");
    assert_eq!(app.workload.env["B"], "a$b");
}

#[test]
fn env_wins_over_env_files_and_the_later_file_over_the_earlier() {
    let here = Path::new(env!("CARGO_MANIFEST_DIR")).join("config/jcloud.yml");
    let text = "image: a\nenv_file: full.env\nenv: {MESSAGE: mine}";
    let config = parse(text, &here, &Overrides::default(), &|_| None).unwrap();
    let env = &config.apps[0].workload.env;
    assert_eq!(env["DATABASE_URL"], "postgres://db.example.com/api");
    assert_eq!(env["MESSAGE"], "mine");
}

#[test]
fn anchors_and_merge_keys_are_resolved() {
    let text = "
apps:
  a: &a
    image: nginx
    path: /a
    env: &env {A: 1, B: 2}
  b:
    <<: *a
    path: /b
    env: {<<: [*env, {A: 7, C: 4}], B: 3}
";
    let config = read(text).unwrap();
    let env: Vec<_> = config.apps[1].workload.env.values().map(String::as_str).collect();
    assert_eq!(env, ["1", "3", "4"]);
    assert_eq!(config.apps[1].routes[0].path, "/b");
}

#[test]
fn aliases_cannot_fill_the_memory() {
    let mut text = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
    for level in 1..20 {
        let before = format!("*a{}, ", level - 1).repeat(10);
        writeln!(text, "a{level}: &a{level} [{before}]").unwrap();
    }
    let errors = read(&text).unwrap_err();
    assert!(errors.contains("aliases written out"), "{errors}");
}

#[test]
fn nesting_is_bounded() {
    for text in ["[".repeat(100_000), "a: ".repeat(100_000), "- ".repeat(100_000), "{a: ".repeat(200)] {
        assert!(read(&text).is_err());
    }
    let deep = format!("env: {}1{}", "[".repeat(40), "]".repeat(40));
    assert!(read(&deep).unwrap_err().contains("levels deep"));
}

#[test]
fn the_engines_socket_is_a_path() {
    let socket = |text: &str| {
        read(&format!("image: a\ndocker: {{socket: {text}}}")).map(|config| config.proxy.docker.socket)
    };
    assert_eq!(socket("unix:///run/d.sock"), Ok(Some("/run/d.sock".into())));
    assert_eq!(socket("../d.sock"), Ok(Some("/nowhere/d.sock".into())));
    assert!(socket("tcp://10.0.0.1:2375").unwrap_err().contains("is no Unix socket"));
}

#[test]
fn a_byte_order_mark_is_passed_over() {
    let errors = read("\u{feff}imagee: nginx\r\nport: 80\r\n").unwrap_err();
    assert!(
        errors.contains("jcloud.yml:1:1: unknown key `imagee`\n1 | imagee: nginx\n  | ^^^^^^\n"),
        "{errors}"
    );
}

#[test]
fn command_line_wins() {
    let overrides = Overrides {
        listen: Some(vec![address("127.0.0.1:0")]),
        admin: Some("127.0.0.1:1".parse().unwrap()),
        runtime: Some(RuntimeKind::Process),
    };
    let config = read_with("image: a\ncommand: run\nlisten: 80\nruntime: docker", &overrides).unwrap();
    assert_eq!(Some(config.proxy.listen), overrides.listen);
    assert_eq!(config.proxy.admin, "127.0.0.1:1".parse().unwrap());
    assert_eq!(config.apps[0].workload.source, Source_::Host);
    assert!(read_with("image: a", &overrides).unwrap_err().contains("runtime process needs"));
}

#[test]
fn host_paths_need_leave() {
    let volume =
        |text: &str| read(&format!("image: a\ndocker: {{allow: [/srv, ./data]}}\nvolumes: [\"{text}\"]"));
    for right in ["/srv:/a", "/srv/deep/er:/a:ro", "./data/x:/a", "name:/a:rw"] {
        assert!(volume(right).is_ok(), "{right}");
    }
    for wrong in ["/srvx:/a", "/srv/../etc:/a", "/:/a", "./:/a", "../data:/a", "./data/../..:/a"] {
        assert!(volume(wrong).unwrap_err().contains("is not allowed"), "{wrong}");
    }
    let beside = volume("./data/x:/a//b/:ro").unwrap().apps.remove(0).workload.volumes.remove(0);
    let source = VolumeSource::Host("/nowhere/My Shop/data/x".into());
    assert_eq!(beside, Volume { source, target: "/a/b".to_owned(), read_only: true });
}

#[test]
fn a_size_that_is_not_enforced_is_warned_of_once() {
    let config = read("defaults: {image: a, disk_size: 10G}\napps: {a: {path: /a}, b: {path: /b}}").unwrap();
    assert!(config.apps.iter().all(|app| app.workload.workspace));
    let [warning] = &config.warnings[..] else { panic!("{:?}", config.warnings) };
    assert_eq!(warning.span().map(|span| (span.line, span.column)), Some((1, 22)));
    assert!(warning.to_string().contains("not enforced"), "{warning}");
    assert_eq!(read("image: a").unwrap().warnings, []);
}

#[test]
fn networks_have_no_order() {
    assert_eq!(app("image: a\nnetworks: [b, a, b]").workload.networks, ["a", "b"]);
    assert_eq!(app("image: a\nnetworks: db").workload.networks, ["db"]);
}

#[test]
fn a_socket_has_to_fit_into_its_address() {
    let text = "runtime: process\ncommand: serve\nsocket: true\n";
    let read_below = |bytes: usize, text: &str| {
        let file = Path::new("/").join("d".repeat(bytes - 1)).join("jcloud.yml");
        parse(text, &file, &Overrides::default(), &|_| None).map_err(|errors| errors.to_string())
    };
    // 107 bytes with `/.pilotlight/sockets/01234567.sock`.
    assert!(read_below(73, text).unwrap().apps[0].workload.socket);
    let error = read_below(74, text).unwrap_err();
    assert!(error.contains("jcloud.yml:3:1: a replica's socket would have a path of 108 bytes"), "{error}");
    assert!(error.contains("choose a `state_dir` that is shorter by 1 bytes at least"), "{error}");
    for right in ["socket: false", "port: 1"] {
        assert!(!read_below(200, &text.replace("socket: true", right)).unwrap().apps[0].workload.socket);
    }
}

#[test]
fn mistakes_are_sorted_by_place_and_carry_it() {
    let errors = parse("port: 0\nimage: a\nfoo: 1\n", Path::new("x/f.yml"), &Overrides::default(), &|_| None);
    let errors = errors.unwrap_err();
    let places: Vec<_> =
        errors.diagnostics().iter().map(|one| one.span().map(|span| (span.line, span.column))).collect();
    assert_eq!(places, [Some((1, 7)), Some((3, 1))]);
    assert_eq!(errors.diagnostics()[0].path(), Path::new("x/f.yml"));
}

#[test]
fn ten_thousand_apps_are_read() {
    let mut text = "defaults: {image: nginx, env: {A: \"${HOME}\"}}\napps:\n".to_owned();
    for number in 0..10_000 {
        writeln!(text, "  app-{number}:\n    host: app-{number}.example.com\n    env: {{B: \"${{HOME}}\"}}")
            .unwrap();
    }
    assert_eq!(read(&text).unwrap().apps.len(), 10_000);
}

/// What is said for all apps lets nobody in to what only others need, and makes no second one of it.
#[test]
fn what_others_need_is_there_once_and_for_them_alone() {
    let text = "defaults: {host: example.com, needs: db, autoscale: {min: 2, max: 5, metric: rps}}\n\
                apps: {web: {image: web}, db: {image: db}, api: {image: api, path: /api}}";
    let config = read(text).expect("a sound file");
    let [web, db, api] = &config.apps[..] else { panic!("three apps") };
    assert_eq!((db.routes.len(), db.autoscale.min, db.autoscale.max), (0, 0, 1));
    assert_eq!((&db.needs[..], db.workload.named), (&[][..], true));
    assert_eq!((&web.needs[..], web.workload.named), (&["db".to_owned()][..], false));
    let [warning] = &config.warnings[..] else { panic!("one warning: {:?}", config.warnings) };
    assert!(warning.to_string().contains("nobody reaches it from outside"), "{warning}");
    assert_eq!((api.needs.len(), api.workload.named, api.routes.len()), (1, false, 1));
    assert_eq!((api.autoscale.min, api.autoscale.max), (2, 5));
}
