//! What becomes of containers when the proxy goes and comes back: those that fit are adopted, those that do not
//! are replaced, and those of others are left alone.

mod support;

use support::docker::{Container, Events, OwnContainer, docker, need_app_image, replicas, try_docker};
use support::http::{Call, get};
use support::load;
use support::proxy::{Proxy, Setup};
use support::wait::{wait_for_async, wait_until};

/// One app that stays once it is lit.
const APP: &str = "name: web\nimage: {app}\ndocker: {allow: ['{report}']}\nvolumes: ['{report}:/report']\n\
                   env: {REPORT: /report}\nautoscale: {min: 0, max: 1, metric: rps, target: 1000}\n";

async fn start(yaml: &str) -> Proxy {
    need_app_image().await;
    Setup::docker(yaml).start().await
}

/// The name that the replica behind the proxy gives itself.
async fn replica(proxy: &Proxy) -> String {
    let answer = get(proxy.address(), "/id").await;
    assert_eq!(answer.status, 200, "{}", answer.reason());
    answer.text().to_owned()
}

/// Waits until these are all that exist, and gives them.
async fn only(proxy: &Proxy, count: usize) -> Vec<Container> {
    let instance = proxy.instance();
    wait_for_async(format!("{count} containers exist"), || async {
        let found = replicas(&instance).await;
        (found.len() == count && found.iter().all(|it| it.state() == "running")).then_some(found)
    })
    .await
}

fn identity(container: &Container) -> (String, String) {
    (container.id().to_owned(), container.started_at().to_owned())
}

#[tokio::test]
async fn a_killed_proxy_finds_its_container_again() {
    let events = Events::listen();
    let mut proxy = start(APP).await;
    let before = replica(&proxy).await;
    let container = identity(&only(&proxy, 1).await[0]);

    for asked_at_once in [true, false] {
        proxy.kill().await;
        assert_eq!(identity(&only(&proxy, 1).await[0]), container, "it outlives the proxy");
        proxy.start().await;
        if !asked_at_once {
            // Nobody has asked this proxy yet, and the idle time is not over.
            proxy.ready(1).await;
        }
        assert_eq!(replica(&proxy).await, before, "the next request is warm");
        assert_eq!(identity(&only(&proxy, 1).await[0]), container);
    }
    let instance = proxy.instance();
    wait_until("its start is told", || events.count(&instance, "start") > 0).await;
    assert_eq!(events.count(&instance, "create"), 1);
    assert_eq!(proxy.report().count("boot"), 1);
}

/// The file says meanwhile that the app is not ours to start.
#[tokio::test]
async fn a_container_of_what_is_an_upstream_now_is_removed() {
    let mut proxy = start(APP).await;
    replica(&proxy).await;
    only(&proxy, 1).await;
    proxy.kill().await;
    proxy.rewrite("name: web\nupstream: http://127.0.0.1:9\nhold: {timeout: 100ms}\n");
    proxy.start().await;
    only(&proxy, 0).await;
    assert_eq!(get(proxy.address(), "/id").await.reason(), "upstream-down");
}

#[tokio::test]
async fn a_stale_container_serves_until_the_new_one_does() {
    let mut proxy = start(APP).await;
    let stale = replica(&proxy).await;
    let stale_container = only(&proxy, 1).await.remove(0);
    proxy.kill().await;
    proxy.rewrite(&APP.replace("env: {", "env: {COLOUR: blue, START_DELAY_MS: '1500', "));
    proxy.start().await;

    let address = proxy.address();
    let load = load::steady(50.0, move |_| Call::get(address, "/sleep?ms=100").send());
    let fresh = wait_for_async("the new one serves", || async {
        let now = replica(&proxy).await;
        (now != stale).then_some(now)
    })
    .await;
    let instance = proxy.instance();
    wait_for_async("the old one is removed", || async {
        replicas(&instance).await.iter().all(|it| it.id() != stale_container.id()).then_some(())
    })
    .await;
    load.end().await.assert_all_ok();
    assert_eq!(replica(&proxy).await, fresh);
    let containers = only(&proxy, 1).await;
    assert_ne!(containers[0].label("pilotlight.revision"), stale_container.label("pilotlight.revision"));
    let report = proxy.report();
    assert_eq!(report.count("boot"), 2);
    assert_eq!(report.count("sigterm"), 1, "the old one was told, not killed");
    let at = |event: &str, which: usize| report.events(event)[which]["at_ms"].as_i64().expect("a time");
    assert!(at("listening", 1) <= at("sigterm", 0), "it served until the new one could");
    assert_eq!(report.open_at_sigterm(), 0);
    assert_eq!(report.count("exit"), 1);
    assert_eq!(report.count("abort"), 0);
    assert_eq!(report.count("start") - report.count("finish"), 0);
    assert!(report.events("finish").iter().any(|it| stale.contains(it["replica"].as_str().unwrap_or("?"))));
}

#[tokio::test]
async fn a_container_of_an_app_that_is_gone_is_removed() {
    let app = |name: &str| {
        format!("  {name}: {{image: '{{app}}', host: {name}.example, autoscale: {{min: 1, max: 1}}}}\n")
    };
    let mut proxy = start(&format!("apps:\n{}{}", app("stays"), app("goes"))).await;
    let both = only(&proxy, 2).await;
    let stays = both.iter().find(|it| it.label("pilotlight.app") == "stays").map(identity);
    proxy.kill().await;
    proxy.rewrite(&format!("apps:\n{}", app("stays")));
    proxy.start().await;

    let left = only(&proxy, 1).await;
    assert_eq!(Some(identity(&left[0])), stays);
    let gone = Call::get(proxy.address(), "/ping").host("goes.example").send().await.expect("an answer");
    assert_eq!((gone.status, gone.reason()), (404, "no-route"));
}

#[tokio::test]
async fn containers_of_others_are_left_alone() {
    let mut proxy = start(APP).await;
    replica(&proxy).await;
    let ours = only(&proxy, 1).await.remove(0);
    proxy.kill().await;
    docker(&["rm", "--force", ours.id()]).await;

    let similar = format!("{}-0", ours.name());
    let image = ours.at("/Config/Image").as_str().expect("it has one").to_owned();
    let label = |name: &str| format!("{name}={}", ours.label(name));
    let labels =
        ["pilotlight.app", "pilotlight.revision", "pilotlight.replica", "pilotlight.port"].map(label);
    let [app, revision, index, port] = &labels;
    let all = ["--label", app, "--label", revision, "--label", index, "--label", port];
    let theirs = "pilotlight.instance=ffffffffffff";
    let network = format!("pilotlight-{}", &proxy.instance()[..8]);
    let others = [
        OwnContainer::run(&["--name", ours.name(), &image]).await,
        OwnContainer::run(&["--name", &similar, "--network", &network, &image]).await,
        OwnContainer::run(&[&all[..], &["--label", theirs, &image]].concat()).await,
        OwnContainer::run(&[&all[..], &[&image]].concat()).await,
    ];
    let state = "{{.Id}} {{.State.StartedAt}} {{.State.Status}} {{.Name}}";
    let ids: Vec<&str> = others.iter().map(|other| other.id.as_str()).collect();
    let inspect = [&["inspect", "--format", state], &ids[..]].concat();
    let before = docker(&inspect).await;

    proxy.add_arg("--stop-replicas");
    proxy.start().await;
    // The name that comes first is taken: whoever waits is served all the same, under another.
    let answer = get(proxy.address(), "/id").await;
    assert_eq!(answer.status, 200, "{}", answer.reason());
    assert!(proxy.log().contains(&format!("a container named {} exists", ours.name())), "it says so");
    let container = only(&proxy, 1).await.remove(0);
    assert!(answer.text().starts_with(&container.id()[..12]), "{}", answer.text());
    assert_eq!(docker(&inspect).await, before);

    proxy.stop().await;
    assert_eq!(docker(&inspect).await, before, "what is theirs stays when all that is ours goes");
    assert!(replicas(&proxy.instance()).await.is_empty());
    docker(&["network", "inspect", &network]).await;
}

#[tokio::test]
async fn a_stop_leaves_containers_to_the_next_start_unless_told_otherwise() {
    let mut proxy = start(APP).await;
    let before = replica(&proxy).await;
    let container = identity(&only(&proxy, 1).await[0]);
    assert!(proxy.stop().await.success());
    assert_eq!(identity(&only(&proxy, 1).await[0]), container);
    assert_eq!(proxy.report().count("sigterm"), 0);

    proxy.add_arg("--stop-replicas");
    proxy.start().await;
    assert_eq!(replica(&proxy).await, before);
    let network = format!("pilotlight-{}", &proxy.instance()[..8]);
    docker(&["network", "inspect", &network]).await;

    let address = proxy.address();
    let last = tokio::spawn(Call::get(address, "/sleep?ms=1000").send());
    wait_until("the replica has it", || {
        proxy.report().events("start").iter().any(|it| it["path"] == "/sleep")
    })
    .await;
    assert!(proxy.stop().await.success());
    assert_eq!(last.await.expect("no panic").expect("an answer").status, 200, "what runs may finish");
    assert!(replicas(&proxy.instance()).await.is_empty());
    assert!(try_docker(&["network", "inspect", &network]).await.is_err(), "its network has gone with it");
    assert_eq!(proxy.report().count("sigterm"), 1);
    assert_eq!(proxy.report().open_at_sigterm(), 0);
}

#[tokio::test]
async fn a_stop_in_the_middle_of_a_start_leaves_nothing() {
    let setup =
        Setup::docker(&APP.replace("env: {", "env: {START_DELAY_MS: '600000', ")).arg("--stop-replicas");
    need_app_image().await;
    let mut proxy = setup.start().await;
    let address = proxy.address();
    let held = tokio::spawn(Call::get(address, "/ping").send());
    wait_until("the replica has begun", || proxy.report().count("boot") == 1).await;
    assert!(proxy.stop().await.success());
    let answer = held.await.expect("no panic").expect("an answer");
    assert_eq!((answer.status, answer.reason()), (503, "shutting-down"));
    assert_eq!(answer.header("retry-after"), "1");
    assert!(replicas(&proxy.instance()).await.is_empty());
    let label = format!("label=pilotlight.instance={}", proxy.instance());
    assert_eq!(docker(&["network", "ls", "--quiet", "--filter", &label]).await, "");
}

/// What the proxy keeps beside the file is no part of the image: neither a secret that goes along, nor a change at
/// each start.
#[tokio::test]
async fn an_image_is_built_without_the_proxys_own_state() {
    need_app_image().await;
    let setup = Setup::docker("name: built\nbuild: .\nport: 8080\nautoscale: {min: 1, max: 1}\n");
    let write = |name: &str, text: &str| {
        let path = setup.dir().join(name);
        std::fs::create_dir_all(path.parent().expect("it is in a folder")).expect("which can be made");
        std::fs::write(path, text).expect("and written");
    };
    write("Dockerfile", "FROM pilotlight-test-app:latest\nCOPY . /context\n");
    write(".dockerignore", "proxy.log\nreport\njcloud.yml\n");
    write("other/.pilotlight/key", "another proxy's");
    write("other/state/kept", "no state of ours");
    let mut proxy = setup.start().await;
    let container = only(&proxy, 1).await.remove(0);
    assert_eq!(proxy.only_app().await["image"], "pilotlight/built:latest", "it is said which that is");
    let inside = |path: &'static str| {
        let from = format!("{}:/context/{path}", container.id());
        async move { try_docker(&["cp", &from, "-"]).await.is_ok() }
    };
    assert!(inside("other/state/kept").await);
    for path in ["state", "other/.pilotlight"] {
        assert!(!inside(path).await, "{path} went along");
    }

    proxy.stop().await;
    proxy.start().await;
    wait_until("it is built again", || proxy.log().matches("built the image").count() == 2).await;
    proxy.ready(1).await;
    assert_eq!(identity(&only(&proxy, 1).await[0]), identity(&container), "nothing has changed");
}
