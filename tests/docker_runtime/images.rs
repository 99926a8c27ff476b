//! Where images come from: found, built, or missing.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use pilotlight::config::spec::{DockerSpec, Source, Workload};
use pilotlight::runtime::{Runtime, RuntimeError};
use tokio::time::timeout;

use crate::double::{Behaviour, Double};
use crate::lab::{Lab, PATIENCE, docker, docker_can, random_id, wait_until_listening};

/// An app's name becomes a tag on the engine, which tests that run at the same time share.
fn app() -> String {
    format!("test-{}", random_id())
}

#[tokio::test]
async fn a_folder_is_built_without_what_it_ignores() {
    let lab = Lab::new();
    let folder = lab.build_folder(
        "FROM scratch\nCOPY . /\nEXPOSE 7100\nENTRYPOINT [\"/replica\"]\nCMD [\"list\"]\nHEALTHCHECK --interval=1s --retries=1 CMD [\"/replica\", \"fail\"]\n",
    );
    std::fs::write(folder.join(".dockerignore"), "*.log\n!keep.log\n").unwrap();
    for name in ["drop.log", "keep.log", "app.txt", ".pilotlight", ".git"] {
        std::fs::write(folder.join(name), "x").unwrap();
    }
    std::os::unix::fs::symlink("app.txt", folder.join("link")).unwrap();
    let mut workload = lab.workload(&[]);
    workload.command = None;
    workload.source = Source::Build(folder);
    let app = app();
    let workload = Arc::new(workload);
    let revision = lab.runtime.prepare(&app, &workload).await.unwrap();
    assert_eq!(revision.port, 7100);
    let tag = format!("pilotlight/{app}:latest");
    assert_eq!(docker(&["image", "inspect", "--format", "{{.Id}}", &tag]), revision.image_id);
    let labels =
        "{{index .Config.Labels \"pilotlight.built-by\"}} {{index .Config.Labels \"pilotlight.built-for\"}}";
    assert_eq!(docker(&["image", "inspect", "--format", labels, &tag]), format!("{} {app}", lab.id));
    let again = lab.runtime.prepare(&app, &workload).await.unwrap();
    assert_eq!(again, revision, "nothing has changed, so replicas may stay");

    let mut events = lab.runtime.watch();
    crate::lab::wait_for_resync(&mut events).await;
    let order = pilotlight::runtime::StartOrder {
        app: "web".into(),
        revision: Arc::new(revision),
        index: 0,
        awaited: true,
        boost_millis: 0,
    };
    let started = lab.runtime.start(&order).await.unwrap();
    wait_until_listening(&started.endpoint).await;
    // In the order of their names, and every container has a `sys`.
    let files = lab.written(&started, |lines| lines.iter().any(|line| line == "sys")).await;
    for (name, there) in [
        ("app.txt", true),
        ("keep.log", true),
        ("link", true),
        ("drop.log", false),
        (".git", false),
        (".pilotlight", false),
    ] {
        assert_eq!(files.iter().any(|file| file == name), there, "{name} in {files:?}");
    }
    let change = crate::lab::next_change(&mut events, &started).await;
    assert_eq!(change, pilotlight::runtime::Change::Unhealthy);
}

#[tokio::test]
async fn two_apps_are_built_at_the_same_time() {
    let (one, two) = (Lab::new(), Lab::new());
    let dockerfile = "FROM scratch\nCOPY replica /replica\nENTRYPOINT [\"/replica\"]\n";
    let prepare = async |lab: &Lab| {
        let mut workload = lab.workload(&["serve"]);
        workload.source = Source::Build(lab.build_folder(dockerfile));
        lab.runtime.prepare(&app(), &Arc::new(workload)).await.unwrap()
    };
    let (first, second) = tokio::join!(prepare(&one), prepare(&two));
    assert_ne!(first.hash, second.hash, "their labels and networks differ");
}

/// Two proxies with an app of the same name: the later build takes the tag, and the earlier image is wanted all the same.
#[tokio::test]
async fn an_image_without_its_tag_is_kept_while_it_is_wanted() {
    let (one, two) = (Lab::new(), Lab::new());
    let name = app();
    let build = async |lab: &Lab, version: &str| {
        let dockerfile = format!("FROM scratch\nCOPY replica /{version}\nENTRYPOINT [\"/{version}\"]\n");
        let mut workload = lab.workload(&["serve"]);
        workload.source = Source::Build(lab.build_folder(&dockerfile));
        lab.runtime.prepare(&name, &Arc::new(workload)).await.unwrap().image_id
    };
    let there = |image: &str| docker_can(&["image", "inspect", image]);
    let first = build(&one, "first").await;
    let theirs = build(&two, "theirs").await;
    one.runtime.tidy().await;
    two.runtime.tidy().await;
    assert!(there(&first) && there(&theirs));

    let second = build(&one, "second").await;
    one.runtime.tidy().await;
    assert!(!there(&first) && there(&second), "the one before is not wanted any more");
    assert!(there(&theirs), "and another proxy's is its own business");
}

#[tokio::test]
async fn a_build_that_fails_shows_its_last_lines() {
    let lab = Lab::new();
    let mut workload = lab.workload(&["serve"]);
    workload.source = Source::Build(lab.build_folder("FROM scratch\nCOPY no-such-file /\n"));
    let Err(RuntimeError::Image(text)) = lab.runtime.prepare(&app(), &Arc::new(workload.clone())).await
    else {
        panic!("built it")
    };
    assert!(text.contains("no-such-file") && text.contains("Step 1/"), "{text}");

    workload.source = Source::Build(lab.folder.0.join("nowhere"));
    let Err(RuntimeError::Image(text)) = lab.runtime.prepare(&app(), &Arc::new(workload)).await else {
        panic!("built it")
    };
    assert!(text.contains("nowhere/Dockerfile"), "{text}");
}

#[tokio::test]
async fn a_folder_that_cannot_be_sent_is_the_reason() {
    let lab = Lab::new();
    let folder = lab.build_folder("FROM scratch\nCOPY replica /\n");
    let hole = std::fs::File::create(folder.join("hole")).unwrap();
    hole.set_len(3 << 30).unwrap();
    let mut workload = lab.workload(&["serve"]);
    workload.source = Source::Build(folder);
    let Err(RuntimeError::Image(text)) = lab.runtime.prepare(&app(), &Arc::new(workload)).await else {
        panic!("built it")
    };
    assert!(text.contains(".dockerignore"), "{text}");
}

#[tokio::test]
async fn an_image_that_cannot_be_had_says_why() {
    let lab = Lab::new();
    let mut workload = lab.workload(&["serve"]);
    // A port of this host where no registry listens: works the same with and without a network.
    workload.source = Source::Image("127.0.0.1:1/no/such-image:1".into());
    let Err(RuntimeError::Image(text)) = lab.runtime.prepare("web", &Arc::new(workload.clone())).await else {
        panic!("found it")
    };
    assert!(text.contains("127.0.0.1:1/no/such-image:1") && text.contains("cannot be reached"), "{text}");

    workload.source = Source::Image("Not An Image".into());
    let Err(RuntimeError::Image(text)) = lab.runtime.prepare("web", &Arc::new(workload.clone())).await else {
        panic!("found it")
    };
    assert!(text.contains("Not An Image"), "{text}");

    workload.source = Source::Host;
    assert!(matches!(lab.runtime.prepare("web", &Arc::new(workload)).await, Err(RuntimeError::Refused(_))));
}

#[tokio::test]
async fn an_image_that_was_removed_since_is_missing() {
    let lab = Lab::new();
    let mut order = lab.order(lab.workload(&["serve"])).await;
    let revision = Arc::make_mut(&mut order.revision);
    revision.image_id = format!("sha256:{}", "0".repeat(64));
    let Err(RuntimeError::Image(text)) = lab.runtime.start(&order).await else { panic!("started it") };
    assert!(text.contains("no longer on the engine"), "{text}");
}

/// A lab whose engine is a double that does one thing slowly.
fn slow_at(path: &'static str, talks: bool) -> (Lab, Double) {
    let socket = std::env::temp_dir().join(format!("pilotlight-double-{}.sock", random_id()));
    let double = Double::at(&socket, Behaviour::slow(path, talks));
    (Lab::with(DockerSpec { socket: Some(socket), ..DockerSpec::default() }), double)
}

fn pulled(lab: &Lab, number: usize) -> Arc<Workload> {
    Arc::new(Workload { source: Source::Image(format!("image-{number}:1")), ..lab.workload(&["serve"]) })
}

fn built(lab: &Lab) -> Arc<Workload> {
    Arc::new(Workload {
        source: Source::Build(lab.build_folder("FROM scratch\n")),
        ..lab.workload(&["serve"])
    })
}

#[tokio::test]
async fn a_double_looks_pulls_and_builds_for_a_few_apps_at_a_time() {
    for (path, at_once) in [("/json", 16), ("/images/create?", 4), ("/build?", 2)] {
        let (lab, double) = slow_at(path, false);
        let workload = |number| if path == "/build?" { built(&lab) } else { pulled(&lab, number) };
        let workloads: Vec<_> = (0..40).map(workload).collect();
        let prepare = join_all(workloads.iter().map(|workload| lab.runtime.prepare("web", workload)));
        let (prepared, most) = tokio::join!(prepare, double.let_go(40, at_once));
        assert!(prepared.iter().all(Result::is_err), "{path}: each call broke off");
        assert_eq!(most, at_once, "{path}");
        double.end().await;
    }
}

/// Whoever does not want it any more drops the call; the engine sees that the connection ends.
#[tokio::test]
async fn a_double_that_pulls_or_builds_is_told_to_stop() {
    for path in ["/images/create?", "/build?"] {
        for talks in [false, true] {
            let (lab, double) = slow_at(path, talks);
            let workload = if path == "/build?" { built(&lab) } else { pulled(&lab, 0) };
            let prepare = lab.runtime.prepare("web", &workload);
            tokio::select! {
                prepared = prepare => panic!("{path}: {prepared:?}"),
                () = double.has_open(|open| *open == 1) => {}
            }
            double.has_open(|open| *open == 0).await;
            double.end().await;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_double_that_pulls_or_builds_without_end_is_given_up() {
    for path in ["/images/create?", "/build?"] {
        let (lab, double) = slow_at(path, true);
        let workload = if path == "/build?" { built(&lab) } else { pulled(&lab, 0) };
        let prepared = timeout(Duration::from_hours(24), lab.runtime.prepare("web", &workload)).await;
        let Err(RuntimeError::Image(text)) = prepared.expect("an end") else { panic!("{path}: it was had") };
        assert!(text.contains("given up after 60 minutes"), "{text}");
        double.has_open(|open| *open == 0).await;
        double.end().await;
    }
}

/// The same, at the real engine.
#[tokio::test]
async fn a_build_that_is_dropped_ends() {
    let lab = Lab::new();
    let mark = random_id();
    let folder = lab
        .build_folder(&format!("FROM scratch\nCOPY replica /\nRUN [\"/replica\", \"serve\", \"{mark}\"]\n"));
    let workload = Arc::new(Workload { source: Source::Build(folder), ..lab.workload(&["serve"]) });
    let runs = || docker(&["ps", "--no-trunc", "--format", "{{.Command}}"]).contains(&mark);
    let (app, begins) = (app(), timeout(PATIENCE, until(&runs)));
    tokio::select! {
        prepared = lab.runtime.prepare(&app, &workload) => panic!("{prepared:?}"),
        begun = begins => begun.expect("it comes to its last step"),
    }
    timeout(PATIENCE, until(|| !runs())).await.expect("its container is gone");
}

async fn until(condition: impl Fn() -> bool) {
    while !condition() {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
