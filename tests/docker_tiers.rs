//! What becomes of containers between ready and removed, on a real engine: paused, stopped in a network that stays, and
//! back. Looked at through `docker`, never through the code under test.

mod support;

use std::time::Duration;

use serde_json::json;

use support::docker::{Container, Events, all_replicas, docker, need_app_image, replicas, sandboxes};
use support::http::{Call, get};
use support::load;
use support::metrics::Scrape;
use support::proxy::{Proxy, Setup};
use support::wait::{wait_for_async, wait_until};
use support::wire::Wire;

/// Containers that were made, sandboxes among them.
const CREATED: &str = "pilotlight_docker_calls_total{operation=\"create\"}";

/// With these keys of `autoscale` beside those that every app here has.
async fn start(keys: &str) -> Proxy {
    need_app_image().await;
    let yaml = format!(
        "name: web\nimage: {{app}}\nserver_timing: true\nautoscale: {{min: 0, max: 1, metric: rps, {keys}}}\n"
    );
    Setup::docker(&yaml).start().await
}

/// The name that the replica gives itself.
async fn visit(proxy: &Proxy) -> String {
    let answer = get(proxy.address(), "/id").await;
    assert_eq!(answer.status, 200, "{}", answer.reason());
    answer.text().to_owned()
}

/// Waits until there is one replica, and it is in this state, and the proxy knows.
async fn only(proxy: &Proxy, state: &str) -> Container {
    let (instance, tier) = (proxy.instance(), if state == "paused" { "frozen" } else { "stopped" });
    wait_for_async(format!("the only replica is {state}"), || async {
        // First: the engine says that it is stopped before the proxy has done all that it does then.
        let is_known = proxy.only_app().await[tier] == 1;
        let mut found = all_replicas(&instance).await;
        (found.len() == 1 && found[0].state() == state && is_known).then(|| found.remove(0))
    })
    .await
}

fn address(container: &Container) -> &str {
    container.label("pilotlight.address")
}

#[tokio::test]
async fn what_is_frozen_goes_on_where_it_was() {
    let events = Events::listen();
    let proxy = start("freeze_after: 300ms, idle: 10m").await;
    let before = visit(&proxy).await;
    let frozen = only(&proxy, "paused").await;
    assert_eq!(proxy.only_app().await["state"], "pilot");
    for _ in 0..3 {
        assert_eq!(visit(&proxy).await, before);
        let again = only(&proxy, "paused").await;
        assert_eq!((again.id(), again.started_at()), (frozen.id(), frozen.started_at()));
    }
    let instance = proxy.instance();
    wait_until("the thaws are told", || events.count(&instance, "unpause") >= 3).await;
    assert_eq!((events.count(&instance, "create"), events.count(&instance, "die")), (1, 0));
}

/// A connection that a worker has kept from before must not be used: the replica's kernel would take a request that
/// nobody reads.
#[tokio::test]
async fn a_crowd_at_a_frozen_app_is_served_by_it() {
    let proxy = start("freeze_after: 200ms, idle: 10m").await;
    let address = proxy.address();
    for _ in 0..3 {
        load::at_once(40, |_| Call::get(address, "/ping").send()).await.assert_all_ok();
        only(&proxy, "paused").await;
    }
}

#[tokio::test]
async fn what_is_stopped_is_started_in_the_network_that_it_had() {
    let proxy = start("idle: 300ms").await;
    visit(&proxy).await;
    let first = only(&proxy, "created").await;
    assert!(!address(&first).is_empty());
    let sandbox = sandboxes(&proxy.instance()).await.remove(0);
    assert_eq!(sandbox.state(), "running");
    assert_eq!(first.at("/HostConfig/NetworkMode"), &json!(format!("container:{}", sandbox.id())));

    let created = Scrape::of(&proxy).await.get(CREATED);
    for _ in 0..3 {
        visit(&proxy).await;
        let again = only(&proxy, "exited").await;
        assert_eq!((again.id(), address(&again)), (first.id(), address(&first)));
    }
    assert_eq!(sandboxes(&proxy.instance()).await.remove(0).id(), sandbox.id());
    assert_eq!(Scrape::of(&proxy).await.get(CREATED), created, "nothing was made for it");
}

#[tokio::test]
async fn nothing_is_kept_longer_than_the_file_says() {
    let proxy = start("idle: 200ms, remove_after: 1s").await;
    visit(&proxy).await;
    only(&proxy, "created").await;
    let instance = proxy.instance();
    wait_for_async("nothing is left", || async {
        let left = (all_replicas(&instance).await.len(), sandboxes(&instance).await.len());
        (left == (0, 0)).then_some(())
    })
    .await;
    visit(&proxy).await;
}

#[tokio::test]
async fn without_a_place_the_container_alone_is_kept() {
    need_app_image().await;
    let yaml = "name: web\nimage: {app}\ndocker: {prepared: 0}\nautoscale: {min: 0, max: 1, metric: rps, idle: 200ms}\n";
    let proxy = Setup::docker(yaml).start().await;
    visit(&proxy).await;
    let first = only(&proxy, "exited").await;
    assert!(sandboxes(&proxy.instance()).await.is_empty());
    visit(&proxy).await;
    assert_eq!(only(&proxy, "exited").await.id(), first.id());
}

/// What a tidy person does while apps sleep.
#[tokio::test]
async fn a_prune_leaves_apps_that_start() {
    let proxy = start("idle: 200ms").await;
    visit(&proxy).await;
    only(&proxy, "created").await;
    let filter = format!("label=pilotlight.instance={}", proxy.instance());
    docker(&["container", "prune", "--force", "--filter", &filter]).await;
    docker(&["network", "prune", "--force", "--filter", &filter]).await;
    assert!(all_replicas(&proxy.instance()).await.is_empty(), "the prune has taken it");
    visit(&proxy).await;
    only(&proxy, "created").await;
    docker(&["container", "prune", "--force", "--filter", &filter]).await;
    let instance = proxy.instance();
    wait_for_async("its network goes where nobody comes", || async {
        sandboxes(&instance).await.is_empty().then_some(())
    })
    .await;
    visit(&proxy).await;
}

#[tokio::test]
async fn a_sandbox_that_died_is_made_anew() {
    let proxy = start("idle: 200ms").await;
    for action in ["kill", "rm"] {
        visit(&proxy).await;
        let instance = proxy.instance();
        wait_for_async("it rests in a sandbox", || async {
            let rests = proxy.only_app().await["stopped"] == 1 && replicas(&instance).await.is_empty();
            rests.then_some(())
        })
        .await;
        let dead = sandboxes(&instance).await.remove(0);
        match action {
            "kill" => docker(&["kill", dead.id()]).await,
            _ => docker(&["rm", "--force", dead.id()]).await,
        };
        visit(&proxy).await;
        wait_for_async("it rests in another", || async {
            let found = sandboxes(&instance).await;
            (found.len() == 1 && found[0].id() != dead.id() && found[0].state() == "running").then_some(())
        })
        .await;
    }
}

/// Killed while its apps sleep, a proxy that comes back wakes them as they were.
#[tokio::test]
async fn what_rests_outlives_the_proxy() {
    for (keys, state) in [("freeze_after: 200ms, idle: 10m", "paused"), ("idle: 200ms", "created")] {
        let mut proxy = start(keys).await;
        visit(&proxy).await;
        let before = only(&proxy, state).await;
        proxy.kill().await;
        proxy.start().await;
        visit(&proxy).await;
        let after = only(&proxy, if state == "paused" { "paused" } else { "exited" }).await;
        assert_eq!(after.id(), before.id());
    }
}

/// A proxy that ends for good takes along what rests.
#[tokio::test]
async fn a_retired_app_leaves_nothing() {
    let proxy = start("idle: 200ms").await;
    visit(&proxy).await;
    only(&proxy, "created").await;
    proxy.reload("name: other\nimage: {app}\nautoscale: {min: 0, max: 1, metric: rps}\n");
    let instance = proxy.instance();
    wait_for_async("nothing is left", || async {
        let left = (all_replicas(&instance).await.len(), sandboxes(&instance).await.len());
        (left == (0, 0)).then_some(())
    })
    .await;
}

/// What the next start begins with is of the new revision before anybody asks.
#[tokio::test]
async fn a_deploy_makes_ready_what_rests() {
    let proxy = start("idle: 200ms").await;
    visit(&proxy).await;
    let before = only(&proxy, "created").await;
    proxy.reload("name: web\nimage: {app}\nenv: {COLOUR: blue}\nautoscale: {min: 0, max: 1, metric: rps, idle: 200ms}\n");
    let after = wait_for_async("one of the new revision is there", || async {
        let found = only(&proxy, "created").await;
        (found.label("pilotlight.revision") != before.label("pilotlight.revision")).then_some(found)
    })
    .await;
    assert!(!address(&after).is_empty());
    assert_eq!(sandboxes(&proxy.instance()).await.len(), 1);
    visit(&proxy).await;
    assert_eq!(only(&proxy, "exited").await.id(), after.id());
}

#[tokio::test]
async fn a_start_is_boosted_until_it_is_over() {
    need_app_image().await;
    let yaml = "name: web\nimage: {app}\ninstance: C1\nboost: {cpu: 1.5, for: ready+5s}\n\
                autoscale: {min: 0, max: 1, metric: rps, idle: 2s}\nenv: {START_DELAY_MS: '1000'}\n";
    let proxy = Setup::docker(yaml).start().await;
    let address = proxy.address();
    let limit = |container: &Container| container.at("/HostConfig/NanoCpus").as_u64();
    let instance = proxy.instance();
    for kept in ["created", "exited"] {
        let visit = tokio::spawn(Wire::echo(address, "localhost"));
        let starting = wait_for_async("it starts", || async { replicas(&instance).await.pop() }).await;
        assert_eq!(limit(&starting), Some(1_500_000_000));
        let mut visit = visit.await.expect("no panic");
        wait_for_async("its boost ends", || async {
            let found = replicas(&instance).await;
            (limit(found.first()?) == Some(100_000_000)).then_some(())
        })
        .await;
        visit.assert_ends().await;
        assert_eq!(limit(&only(&proxy, kept).await), Some(1_500_000_000), "the next start has it again");
    }
}

#[tokio::test]
async fn a_wake_tells_where_its_time_went() {
    let proxy = start("idle: 300ms, remove_after: 10m").await;
    let wakes = || async { get(proxy.admin(), "/api/apps/web/wakes").await.json() };
    assert_eq!(wakes().await, json!([]));
    for from in ["removed", "stopped"] {
        let answer = get(proxy.address(), "/ping").await;
        assert_eq!(answer.status, 200, "{}", answer.reason());
        let told = answer.header("server-timing");
        assert!(told.starts_with(&format!("wake;desc={from}, queue;dur=")), "{told}");
        let warm = get(proxy.address(), "/ping").await;
        assert_eq!(warm.header("server-timing"), "", "it has not waited");
        let last = wait_for_async("it is told", || async {
            let wakes = wakes().await;
            wakes.as_array()?.last().filter(|wake| wake["from"] == from).cloned()
        })
        .await;
        let time = |name: &str| last[name].as_f64().expect("a time");
        let parts = time("queue") + time("engine") + time("application") + time("probe");
        assert!((time("whole") - parts).abs() < 0.1, "{last}");
        assert!(time("engine") > 0.0 && time("response") > 0.0, "{last}");
        let wanted = format!("from=\"{from}\"");
        wait_until("the log says so", || {
            proxy.log().lines().any(|line| line.contains("woken") && line.contains(&wanted))
        })
        .await;
        let instance = proxy.instance();
        wait_for_async("it is out", || async {
            let out = proxy.only_app().await["stopped"] == 1 && replicas(&instance).await.is_empty();
            out.then_some(())
        })
        .await;
    }
    let missing = get(proxy.admin(), "/api/apps/none/wakes").await;
    assert_eq!((missing.status, missing.text()), (404, "no such app; /api/apps has all of them\n"));
}

/// Python's plainest server does not say `SO_REUSEADDR`: it cannot listen where a connection of the one before is still
/// remembered.
const PLAIN_PYTHON: &str = "import http.server, socketserver; \
    socketserver.TCPServer(('', 8080), http.server.SimpleHTTPRequestHandler).serve_forever()";

#[tokio::test]
async fn a_server_that_shares_no_port_starts_where_it_was() {
    let yaml = format!(
        "name: web\nimage: python:3.11-slim\ncommand: [python, -c, \"{PLAIN_PYTHON}\"]\n\
         autoscale: {{min: 0, max: 1, metric: rps, idle: 100ms}}\n"
    );
    let proxy = Setup::docker(&yaml).start().await;
    let listing = || async { get(proxy.address(), "/").await.status };
    assert_eq!(listing().await, 200);
    let first = only(&proxy, "created").await;
    for _ in 0..4 {
        assert_eq!(listing().await, 200);
        assert_eq!(only(&proxy, "exited").await.id(), first.id());
    }
    assert!(!proxy.log().contains("does not start again"), "it did each time");
}

/// One that finds its own lock file and gives up is made anew, at once and without a word to the visitor; and what
/// happens once is remembered.
#[tokio::test]
async fn what_does_not_start_twice_is_made_anew() {
    let script =
        format!("test -e /tmp/lock && exit 1; touch /tmp/lock; exec python -c \\\"{PLAIN_PYTHON}\\\"");
    let yaml = format!(
        "name: web\nimage: python:3.11-slim\ncommand: [sh, -c, \"{script}\"]\n\
         autoscale: {{min: 0, max: 1, metric: rps, idle: 100ms}}\n"
    );
    let proxy = Setup::docker(&yaml).start().await;
    let instance = proxy.instance();
    for rests in ["created", "exited"] {
        assert_eq!(get(proxy.address(), "/").await.status, 200);
        only(&proxy, rests).await;
    }
    for _ in 0..2 {
        assert_eq!(get(proxy.address(), "/").await.status, 200);
        wait_for_async("nothing is kept any more", || async {
            let left = (all_replicas(&instance).await.len(), sandboxes(&instance).await.len());
            (left == (0, 0)).then_some(())
        })
        .await;
    }
    assert_eq!(proxy.log().matches("does not start again").count(), 1);
}

/// Arrivals at any moment of any change of tier: each is answered, by a replica that runs, and by no second one.
#[tokio::test]
async fn five_hundred_arrivals_amid_changes() {
    const APPS: usize = 8;
    const ARRIVALS: usize = 63;
    need_app_image().await;
    let app = |n| {
        format!(
            "  app{n}: {{image: '{{app}}', host: app{n}.test, \
             autoscale: {{min: 0, max: 1, metric: rps, freeze_after: 30ms, idle: 1200ms}}}}\n"
        )
    };
    let apps: String = (0..APPS).map(app).collect();
    let proxy = Setup::docker(&format!("apps:\n{apps}")).start().await;
    let address = proxy.address();
    let visits = (0..APPS).map(|n| async move {
        let mut rng = fastrand::Rng::with_seed(n as u64);
        for _ in 0..ARRIVALS {
            let answer =
                Call::get(address, "/ping").host(&format!("app{n}.test")).send().await.expect("an answer");
            assert_eq!(answer.status, 200, "{}", answer.reason());
            // A lit app is looked at once a second: it is frozen then, and stopped a moment later.
            let pause = *rng.choice(&[0, 950, 1000, 1050, 1250, 1300, 1800]).expect("there are some");
            tokio::time::sleep(Duration::from_millis(pause + rng.u64(0..60))).await;
        }
    });
    futures_util::future::join_all(visits).await;
    let scrape = Scrape::of(&proxy).await;
    let mut wakes = [0.0; 3];
    for n in 0..APPS {
        for (sum, from) in wakes.iter_mut().zip(["frozen", "stopped", "removed"]) {
            *sum += scrape
                .get(&format!("pilotlight_wakes_total{{app=\"app{n}\",from=\"{from}\"}}"))
                .unwrap_or(0.0);
        }
        let app = proxy.app(&format!("app{n}")).await;
        assert!(app["ready"].as_u64() <= Some(1), "{app}");
    }
    assert!(wakes[0] > 20.0 && wakes[1] > 20.0, "frozen, stopped, removed: {wakes:?}");
}
