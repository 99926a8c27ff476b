//! Apps that do not come up, or not for long: each gives its row of the outcome table within its time, the log says
//! why, and a healthy app beside them notices nothing.

mod support;

use support::docker::{docker, need_app_image, replicas};
use support::http::{Answer, Call, get};
use support::neighbour::{self, Neighbour};
use support::proxy::{Proxy, Setup};
use support::wait::{wait_for_async, wait_until};

const PYTHON: &str = "python:3.11-slim";

/// A proxy with an app in trouble, and a healthy neighbour under a trickle of requests.
struct Stage {
    proxy: Proxy,
    calm: Neighbour,
}

impl Stage {
    /// `keys` are the app's own, on one line.
    async fn new(keys: &str) -> Self {
        need_app_image().await;
        let yaml = format!(
            "apps:\n{}  bad: {{{keys}, host: localhost, \
             autoscale: {{min: 0, max: 1, metric: rps, target: 1000}}}}\n",
            neighbour::YAML
        );
        let proxy = Setup::docker(&yaml).start().await;
        let calm = Neighbour::of(&proxy).await;
        Self { proxy, calm }
    }

    async fn of_python(keys: &str) -> Self {
        docker(&["image", "inspect", PYTHON]).await;
        Self::new(&format!("image: '{PYTHON}', {keys}")).await
    }

    async fn ask(&self) -> Answer {
        get(self.proxy.address(), "/id").await
    }

    /// Ends the replica that it comes to.
    async fn end_one(&self) -> Answer {
        let exit = Call::post(self.proxy.address(), "/exit?code=3", "").send().await;
        exit.expect("an answer, of the proxy's")
    }

    /// Asks, and expects to be told `reason`, and when to come again.
    async fn refused(&self, reason: &str) -> Answer {
        let answer = self.ask().await;
        assert_eq!(answer.status, 503, "{}", answer.reason());
        assert!(answer.reason().starts_with(reason), "{}", answer.reason());
        let seconds: u64 = answer.header("retry-after").parse().expect("it says when to try again");
        assert!((1..=60).contains(&seconds), "{seconds}");
        answer
    }

    async fn logged(&self, words: &str) {
        wait_until(format!("the log says {words:?}"), || self.proxy.log().contains(words)).await;
    }

    /// Nothing of the app's is left, and the neighbour has been served all the time.
    async fn nothing_is_left(self) {
        let instance = self.proxy.instance();
        wait_for_async("only the neighbour's container is left", || async {
            let found = replicas(&instance).await;
            found.iter().all(|it| it.label("pilotlight.app") == "calm").then_some(())
        })
        .await;
        self.calm.assert_undisturbed().await;
    }
}

#[tokio::test]
async fn an_image_that_is_nowhere() {
    let stage = Stage::new("image: 'no-such-image:1'").await;
    let answer = stage.refused("runtime: ").await;
    assert!(answer.reason().contains("no-such-image:1"), "{}", answer.reason());
    // Which registry is asked, and what that says, depends on the machine's network; docker_registry.rs has one.
    stage.logged("is not on this host and cannot be pulled").await;
    stage.nothing_is_left().await;
}

#[tokio::test]
async fn a_wrong_port() {
    let stage = Stage::new("image: '{app}', env: {LISTEN_PORT: '9999'}, health: {start_timeout: 3s}").await;
    let words = "it listens on port 9999, not on 8080: set `port: 9999`";
    stage.refused(&format!("start-failed: not ready 3s after its start: {words}")).await;
    stage.nothing_is_left().await;
}

#[tokio::test]
async fn an_app_that_never_listens() {
    let stage = Stage::new("image: '{app}', env: {NEVER_LISTEN: '1'}, health: {start_timeout: 3s}").await;
    let words = "nothing listens in it: have it listen on 0.0.0.0:8080";
    stage.refused(&format!("start-failed: not ready 3s after its start: {words}")).await;
    stage.nothing_is_left().await;
}

#[tokio::test]
async fn an_app_that_takes_longer_to_start_than_its_visitors_wait() {
    let stage = Stage::new("image: '{app}', env: {NEVER_LISTEN: '1'}, hold: {timeout: 3s}").await;
    let answer = stage.ask().await;
    assert_eq!((answer.status, answer.reason()), (504, "hold-timeout"));
    assert_eq!(answer.header("retry-after"), "5");
    stage.calm.assert_undisturbed().await;
}

#[tokio::test]
async fn an_app_that_is_healthy_later_than_it_listens() {
    let stage = Stage::new(
        "image: '{app}', env: {READY_AFTER_MS: '600000'}, health: {path: /healthz, start_timeout: 3s}",
    )
    .await;
    let answer = stage.refused("start-failed: not ready 3s after its start: ").await;
    assert!(answer.reason().contains("GET /healthz: 503"), "{}", answer.reason());
    stage.nothing_is_left().await;
}

#[tokio::test]
async fn an_app_that_exits_at_once() {
    let stage =
        Stage::of_python("command: [python3, -c, \"import sys; print('the moon is missing'); sys.exit(7)\"]")
            .await;
    let answer = stage.refused("start-failed: ").await;
    assert!(answer.reason().contains("exited with code 7"), "{}", answer.reason());
    stage.logged("the moon is missing").await;
    // Not started again at once: the reason stays.
    assert!(stage.refused("start-failed: ").await.reason().contains("code 7"));
    stage.nothing_is_left().await;
}

#[tokio::test]
async fn a_command_that_is_not_in_the_image() {
    let stage = Stage::of_python("command: [no-such-program]").await;
    let answer = stage.ask().await;
    assert_eq!(answer.status, 503);
    assert!(answer.reason().contains("command"), "it says what to look at: {}", answer.reason());
    stage.nothing_is_left().await;
}

#[tokio::test]
async fn an_app_that_needs_more_memory_than_it_has() {
    let stage = Stage::of_python(
        "command: [python3, -c, \"x = bytearray(1 << 30)\"], resources: {cpu: 1, memory: 64M}",
    )
    .await;
    let answer = stage.refused("start-failed: ").await;
    assert!(answer.reason().contains("out of memory"), "{}", answer.reason());
    stage.logged("out of memory before it was ready: give it a larger `instance`").await;
    stage.nothing_is_left().await;
}

#[tokio::test]
async fn an_app_that_exits_after_a_while_is_replaced_and_then_held_back() {
    let stage = Stage::new("image: '{app}'").await;
    let first = stage.ask().await;
    assert_eq!(first.status, 200, "{}", first.reason());
    stage.end_one().await;
    stage.logged("exited with code 3").await;
    let second = stage.ask().await;
    assert_eq!(second.status, 200, "made good at once: {}", second.reason());
    assert_ne!(first.body, second.body);
    // It keeps dying: from the second time on it is not started again at once, and the reason is told.
    let refused = wait_for_async("it is refused", || async {
        let answer = stage.end_one().await;
        // Whoever has ended one has its end for an answer.
        (answer.status != 502).then_some(answer)
    })
    .await;
    assert_eq!(refused.status, 503);
    assert!(refused.reason().starts_with("start-failed: exited with code 3, "), "{}", refused.reason());
    let third = wait_for_async("it is tried again", || async {
        let answer = stage.ask().await;
        (answer.status == 200).then_some(answer)
    })
    .await;
    assert_ne!(second.body, third.body);
    stage.calm.assert_undisturbed().await;
}

#[tokio::test]
async fn an_app_that_listens_and_never_answers() {
    let stage = Stage::new("image: '{app}', env: {NEVER_ANSWER: '1'}, timeout: 3s").await;
    // Its start is held to the same time, and may take longer.
    let first = wait_for_async("it is up", || async {
        Some(stage.ask().await).filter(|answer| answer.reason() != "hold-timeout")
    })
    .await;
    for answer in [first, stage.ask().await] {
        assert_eq!((answer.status, answer.reason()), (504, "upstream-timeout"));
    }
    stage.calm.assert_undisturbed().await;
}

#[tokio::test]
async fn an_app_that_speaks_no_http() {
    let stage = Stage::new("image: '{app}', env: {MODE: garbage}").await;
    let answer = stage.ask().await;
    assert_eq!((answer.status, answer.reason()), (502, "upstream-protocol"));
    stage.calm.assert_undisturbed().await;
}

#[tokio::test]
async fn an_image_that_cannot_be_built() {
    need_app_image().await;
    let setup = Setup::docker("name: web\nbuild: ./broken\nport: 80\nautoscale: {min: 0, max: 1}\n");
    let folder = setup.dir().join("broken");
    std::fs::create_dir(&folder).expect("a folder can be made");
    std::fs::write(folder.join("Dockerfile"), "FROM pilotlight-test-app:latest\nCOPY no-such-file /\n")
        .expect("and a file in it");
    let proxy = setup.start().await;
    let answer = get(proxy.address(), "/").await;
    assert_eq!(answer.status, 503);
    assert!(answer.reason().starts_with("runtime: cannot build "), "{}", answer.reason());
    assert!(!answer.text().contains("broken"), "where it lies is no visitor's business: {}", answer.text());
    wait_until("the log says why", || proxy.log().contains("no-such-file")).await;
}
