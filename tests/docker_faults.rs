//! Containers that die or vanish by another's hand: requests are answered all the same, and an app beside them
//! notices nothing.

mod support;

use support::docker::{Container, OwnContainer, docker, need_app_image, replicas, try_docker};
use support::http::{Answer, Call, get};
use support::load;
use support::neighbour::{self, Neighbour};
use support::proxy::{Proxy, Setup};
use support::wait::wait_for_async;

const HURT: &str = "  hurt: {image: '{app}', host: localhost, volumes: ['{report}:/report'], \
                    env: {REPORT: /report}, autoscale: {min: 0, max: 1, metric: rps, target: 1000}}\n";

/// A proxy with an app that has one warm container, and a neighbour under a trickle of requests.
struct Stage {
    proxy: Proxy,
    calm: Neighbour,
    victim: Container,
    /// What the app's replica called itself.
    before: String,
}

impl Stage {
    async fn new() -> Self {
        need_app_image().await;
        let yaml = format!("docker: {{allow: ['{{report}}']}}\napps:\n{}{HURT}", neighbour::YAML);
        let proxy = Setup::docker(&yaml).start().await;
        let calm = Neighbour::of(&proxy).await;
        let before = ok(&get(proxy.address(), "/id").await);
        let victim = Self::containers(&proxy).await.remove(0);
        Self { proxy, calm, victim, before }
    }

    async fn containers(proxy: &Proxy) -> Vec<Container> {
        let mut found = replicas(&proxy.instance()).await;
        found.retain(|it| it.label("pilotlight.app") == "hurt");
        found
    }

    /// Another container serves, nothing is left of the one before, and nobody else was disturbed.
    async fn replaced(self) {
        let Self { proxy, calm, victim, before } = self;
        let left = wait_for_async("one container is left", || async {
            let found = Self::containers(&proxy).await;
            (found.len() == 1 && found[0].id() != victim.id() && found[0].state() == "running")
                .then_some(found)
        })
        .await;
        let now = ok(&get(proxy.address(), "/id").await);
        assert_ne!(now, before);
        assert!(now.starts_with(&left[0].id()[..12]), "{now}");
        calm.assert_undisturbed().await;
    }

    fn retries(&self) -> usize {
        self.proxy.log().matches("sending a request again").count()
    }
}

fn ok(answer: &Answer) -> String {
    assert_eq!(answer.status, 200, "{}", answer.reason());
    answer.text().to_owned()
}

/// The one request that comes next.
async fn the_next_request_is_answered(by_hand: &[&str]) {
    let stage = Stage::new().await;
    docker(&[by_hand, &[stage.victim.id()]].concat()).await;
    // By another container; or by a paused one, which may finish what it has before it is removed.
    assert_ne!(ok(&get(stage.proxy.address(), "/id").await), "");
    assert!(stage.retries() <= 1, "{} retries", stage.retries());
    stage.replaced().await;
}

/// A trickle of requests, some of them open when it happens.
async fn no_request_fails(by_hand: &[&str]) {
    let stage = Stage::new().await;
    let address = stage.proxy.address();
    let load = load::steady(20.0, move |_| Call::get(address, "/sleep?ms=100").send());
    wait_for_async("the trickle has begun", || async {
        (stage.proxy.report().events("start").iter().filter(|it| it["path"] == "/sleep").count() > 5)
            .then_some(())
    })
    .await;
    docker(&[by_hand, &[stage.victim.id()]].concat()).await;
    wait_for_async("another serves", || async {
        (stage.proxy.report().replicas().len() > 2 || ok(&get(address, "/id").await) != stage.before)
            .then_some(())
    })
    .await;
    load.end().await.assert_all_ok();
    stage.replaced().await;
}

#[tokio::test]
async fn killed_and_the_next_request_is_answered() {
    the_next_request_is_answered(&["kill"]).await;
}

#[tokio::test]
async fn killed_under_load_and_no_request_fails() {
    no_request_fails(&["kill"]).await;
}

#[tokio::test]
async fn stopped_and_the_next_request_is_answered() {
    the_next_request_is_answered(&["stop"]).await;
}

#[tokio::test]
async fn stopped_under_load_and_no_request_fails() {
    no_request_fails(&["stop"]).await;
}

#[tokio::test]
async fn removed_and_the_next_request_is_answered() {
    the_next_request_is_answered(&["rm", "--force"]).await;
}

#[tokio::test]
async fn removed_under_load_and_no_request_fails() {
    no_request_fails(&["rm", "--force"]).await;
}

#[tokio::test]
async fn paused_and_the_next_request_is_answered() {
    the_next_request_is_answered(&["pause"]).await;
}

#[tokio::test]
async fn paused_under_load_and_no_request_fails() {
    no_request_fails(&["pause"]).await;
}

#[tokio::test]
async fn restarted_under_load_and_no_request_fails() {
    let stage = Stage::new().await;
    let address = stage.proxy.address();
    let load = load::steady(20.0, move |_| Call::get(address, "/ping").send());
    // The proxy clears away what has ended, so that the second half of a restart may find nothing to start.
    let _either = try_docker(&["restart", stage.victim.id()]).await;
    assert_ne!(ok(&get(address, "/id").await), "");
    load.end().await.assert_all_ok();
    let containers = wait_for_async("one container is left", || async {
        let found = Stage::containers(&stage.proxy).await;
        (found.len() == 1 && found[0].state() == "running").then_some(found)
    })
    .await;
    assert!(ok(&get(address, "/id").await).starts_with(&containers[0].id()[..12]));
    stage.calm.assert_undisturbed().await;
}

/// The same container at another address, which no container's event tells.
#[tokio::test]
async fn moved_to_another_address_and_the_next_request_is_answered() {
    let stage = Stage::new().await;
    let address_of = |it: &Container| {
        let networks = it.at("/NetworkSettings/Networks").as_object().expect("it has one").clone();
        let (name, on) = networks.into_iter().next().expect("exactly one");
        (name, on["IPAddress"].as_str().expect("and an address there").to_owned())
    };
    let (network, before) = address_of(&stage.victim);
    docker(&["network", "disconnect", &network, stage.victim.id()]).await;
    // Somebody else takes its place, who knows nothing of the connections to it.
    let image = stage.victim.at("/Config/Image").as_str().expect("it has one");
    let _other = OwnContainer::run(&["--network", &network, "--env", "NEVER_LISTEN=1", image]).await;
    docker(&["network", "connect", &network, stage.victim.id()]).await;
    let moved = Stage::containers(&stage.proxy).await.remove(0);
    let (_, after) = address_of(&moved);
    assert_ne!(before, after, "the test has not done what it says");
    assert_eq!(moved.started_at(), stage.victim.started_at());
    for _ in 0..2 {
        assert_eq!(
            ok(&get(stage.proxy.address(), "/id").await),
            stage.before,
            "the same one, where it is now"
        );
    }
    stage.calm.assert_undisturbed().await;
}
