//! Images that are pulled, from a real registry: with a login and without, by tag and by digest, and every way in
//! which that comes to nothing. An app beside the one that waits for its image notices nothing.

mod support;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use support::docker::{APP_IMAGE, replicas, try_docker};
use support::http::{Answer, Call, get};
use support::load;
use support::narrow::Narrow;
use support::neighbour::{self, Neighbour};
use support::proxy::{Proxy, Setup};
use support::registry::{PASSWORD, Pushed, Registry, USER, auths, write_config};
use support::wait::{wait_for, wait_for_async, wait_until};

/// What an image takes that is to be seen while it comes: in drops for a minute.
const LARGE: usize = 6 << 20;
const SMALL: usize = 1 << 10;

/// A pull that has begun, in the log.
const BEGUN: &str = "the image is not on this host: pulling it";

/// A proxy with an app that runs `image`, a neighbour under a trickle of requests, and a cold app. Docker's
/// configuration is the test's own.
struct Stage {
    calm: Neighbour,
    proxy: Proxy,
    login: PathBuf,
}

impl Stage {
    async fn new(image: &str) -> Self {
        Self::with(image, &json!({})).await
    }

    async fn with(image: &str, config: &Value) -> Self {
        Self::prepared(&yaml(&format!("image: '{image}'")), config, |_| {}).await
    }

    /// One that soon gives a registry up that is silent.
    async fn impatient(image: &str) -> Self {
        Self::prepared(&given_up_after("3s", image), &json!({}), |_| {}).await
    }

    /// `prepare` may put programs where the proxy finds them.
    async fn prepared(yaml: &str, config: &Value, prepare: impl FnOnce(&Path)) -> Self {
        let setup = Setup::docker(yaml);
        let (login, programs) = (setup.dir().join("login"), setup.dir().join("bin"));
        write_config(&login, config);
        fs::create_dir(&programs).expect("a folder can be made");
        prepare(&programs);
        let path = std::env::var("PATH").expect("everybody has one");
        let path = format!("{}:{path}", programs.display());
        let setup = setup.env("DOCKER_CONFIG", &login.display().to_string()).env("PATH", &path);
        let proxy = setup.start().await;
        Self { calm: Neighbour::of(&proxy).await, proxy, login }
    }

    async fn ask(&self) -> Answer {
        get(self.proxy.address(), "/id").await
    }

    async fn served(&self) {
        let answer = self.ask().await;
        assert_eq!(answer.status, 200, "{}", answer.reason());
    }

    /// Asks, and expects to be told what is wrong, and when to come again.
    async fn refused(&self, words: &str) {
        let answer = self.ask().await;
        assert_eq!(answer.status, 503, "{}", answer.reason());
        let expected = format!("runtime: the image {}", self.image());
        assert!(answer.reason().starts_with(&expected), "{}", answer.reason());
        assert!(answer.reason().contains(words), "{}", answer.reason());
        let seconds: u64 = answer.header("retry-after").parse().expect("it says when to try again");
        assert!((1..=60).contains(&seconds), "{seconds}");
    }

    fn image(&self) -> String {
        let yaml = fs::read_to_string(self.proxy.dir().join("jcloud.yml")).expect("the file is there");
        let name = yaml.split("pulled: {image: '").nth(1).and_then(|rest| rest.split('\'').next());
        name.expect("it names an image").to_owned()
    }

    async fn until_served(&self) {
        wait_for_async("the app serves", || async { (self.ask().await.status == 200).then_some(()) }).await;
    }

    /// Asks until it has been tried once more.
    async fn tried_again(&self) {
        wait_for_async("it is tried again", || async {
            assert_eq!(self.ask().await.status, 503);
            (self.proxy.log().matches(BEGUN).count() > 1).then_some(())
        })
        .await;
    }

    async fn others_wake(&self) {
        let answer = Call::get(self.proxy.address(), "/id").host("cold.example").send().await;
        assert_eq!(answer.expect("an answer").status, 200);
    }

    /// The revisions of the app's containers.
    async fn revisions(&self) -> Vec<String> {
        let found = replicas(&self.proxy.instance()).await;
        let own = found.iter().filter(|it| it.label("pilotlight.app") == "pulled");
        own.map(|it| it.label("pilotlight.revision").to_owned()).collect()
    }

    async fn logged(&self, words: &str) {
        wait_until(format!("the log says {words:?}"), || self.proxy.log().contains(words)).await;
    }

    async fn nobody_else_noticed(self) {
        self.calm.assert_undisturbed().await;
    }
}

fn yaml(keys: &str) -> String {
    format!(
        "apps:\n{}  \
         cold: {{image: '{{app}}', host: cold.example, autoscale: {{min: 0, max: 1}}}}\n  \
         pulled: {{{keys}, host: localhost, autoscale: {{min: 0, max: 1, metric: rps, target: 1000}}}}\n",
        neighbour::YAML
    )
}

/// The same with a time after which a registry that is silent is given up.
fn given_up_after(pull_timeout: &str, image: &str) -> String {
    format!("docker: {{pull_timeout: {pull_timeout}}}\n{}", yaml(&format!("image: '{image}'")))
}

async fn open_with_image() -> (Registry, Pushed) {
    let mut registry = Registry::open().await;
    let image = registry.push(registry.address(), "some/app", SMALL).await;
    (registry, image)
}

async fn private_with_image() -> (Registry, Pushed) {
    let mut registry = Registry::private().await;
    let image = registry.push(registry.address(), "some/app", SMALL).await;
    (registry, image)
}

#[tokio::test]
async fn who_waits_for_an_image_is_served_and_it_is_pulled_once() {
    let mut registry = Registry::open().await;
    let way = Narrow::to(registry.address()).await;
    let image = registry.push(way.address(), "some/app", LARGE).await;
    let before = registry.answered("GET", "/v2/some/app/").len();
    way.trickle();
    let stage = Stage::new(&image.tagged).await;
    stage.logged("Downloading").await;
    // Until all are there: however long that takes, it goes on.
    way.stick();
    let address = stage.proxy.address();
    let crowd = tokio::spawn(load::at_once(50, move |_| Call::get(address, "/id").send()));
    wait_for_async("all are held", || async {
        (stage.proxy.app("pulled").await["held"] == 50).then_some(())
    })
    .await;
    way.open();
    crowd.await.expect("no panic").assert_all_ok();
    let mut fetched = registry.answered("GET", "/v2/some/app/").split_off(before);
    let count = fetched.len();
    fetched.sort();
    fetched.dedup();
    assert_eq!(count, fetched.len(), "something was fetched twice: {fetched:?}");
    assert!(fetched.iter().any(|path| path.contains("/blobs/")), "{fetched:?}");
    let log = stage.proxy.log();
    assert_eq!(log.matches(BEGUN).count(), 1);
    assert_eq!(log.matches("pulled the image").count(), 1);
    assert_eq!(stage.revisions().await.len(), 1);
    stage.nobody_else_noticed().await;
}

#[tokio::test]
async fn the_log_shows_how_a_pull_goes_on_and_others_wake_meanwhile() {
    let mut registry = Registry::open().await;
    let way = Narrow::to(registry.address()).await;
    let image = registry.push(way.address(), "some/app", LARGE).await;
    way.trickle();
    let stage = Stage::new(&image.tagged).await;
    let held = tokio::spawn(Call::get(stage.proxy.address(), "/id").send());
    let line = wait_for("the log shows how far it is", || {
        let log = stage.proxy.log();
        log.lines().find(|line| line.contains("Downloading")).map(str::to_owned)
    })
    .await;
    assert!(line.contains("done=") && line.contains("total="), "{line}");
    assert!(line.contains(&image.tagged), "{line}");
    // It goes on for as long as the others take.
    way.stick();
    stage.others_wake().await;
    assert!(!held.is_finished(), "the test has not done what it says");
    way.open();
    let answer = held.await.expect("no panic").expect("an answer");
    assert_eq!(answer.status, 200, "{}", answer.reason());
    stage.nobody_else_noticed().await;
}

#[tokio::test]
async fn a_login_of_the_configuration() {
    let (registry, image) = private_with_image().await;
    let stage = Stage::with(&image.tagged, &auths(registry.address(), PASSWORD)).await;
    stage.served().await;
    assert!(!stage.proxy.log().contains(PASSWORD));
    stage.nobody_else_noticed().await;
}

/// A credential helper that knows one registry.
fn helper(folder: &Path, registry: &Registry) {
    let path = folder.join("docker-credential-pilotlight-test");
    let answer = json!({"ServerURL": registry.address(), "Username": USER, "Secret": PASSWORD});
    let script = format!(
        "#!/bin/sh\nread -r asked\nif [ \"$1 $asked\" = 'get {}' ]; then\necho '{answer}'\nelse\n\
         echo credentials not found in native keychain\nexit 1\nfi\n",
        registry.address()
    );
    fs::write(&path, script).expect("a program can be written");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("and made one");
}

#[tokio::test]
async fn a_login_of_the_helper_for_that_registry() {
    let (registry, image) = private_with_image().await;
    let config = json!({"credHelpers": {registry.address().to_string(): "pilotlight-test"}});
    let yaml = yaml(&format!("image: '{}'", image.tagged));
    let stage = Stage::prepared(&yaml, &config, |folder| helper(folder, &registry)).await;
    stage.served().await;
    assert!(!stage.proxy.log().contains(PASSWORD));
    stage.nobody_else_noticed().await;
}

#[tokio::test]
async fn a_login_of_the_store_for_all_registries() {
    let (registry, image) = private_with_image().await;
    // The entry is what `docker login` leaves beside a store.
    let config = json!({"credsStore": "pilotlight-test", "auths": {registry.address().to_string(): {}}});
    let yaml = yaml(&format!("image: '{}'", image.tagged));
    let stage = Stage::prepared(&yaml, &config, |folder| helper(folder, &registry)).await;
    stage.served().await;
    stage.nobody_else_noticed().await;
}

#[tokio::test]
async fn a_build_from_an_image_that_wants_a_login() {
    let (registry, image) = private_with_image().await;
    let config = auths(registry.address(), PASSWORD);
    let stage = Stage::prepared(&yaml("build: ./made"), &config, |programs| {
        let folder = programs.parent().expect("it lies in one").join("made");
        fs::create_dir(&folder).expect("a folder can be made");
        fs::write(folder.join("Dockerfile"), format!("FROM {}\n", image.tagged)).expect("and a file in it");
    })
    .await;
    stage.served().await;
    stage.nobody_else_noticed().await;
}

#[tokio::test]
async fn without_a_login_it_says_so_and_with_one_it_recovers() {
    let (registry, image) = private_with_image().await;
    let stage = Stage::new(&image.tagged).await;
    stage.refused(&format!("`docker login {}`", registry.address())).await;
    // From then on nobody waits until the next attempt.
    stage.refused("wants a login").await;
    write_config(&stage.login, &auths(registry.address(), PASSWORD));
    stage.until_served().await;
    stage.nobody_else_noticed().await;
}

#[tokio::test]
async fn with_a_wrong_login_it_says_so_and_with_the_right_one_it_recovers() {
    let (registry, image) = private_with_image().await;
    let stage = Stage::with(&image.tagged, &auths(registry.address(), "not the password")).await;
    stage.refused("does not accept the login").await;
    stage.logged(&format!("`docker login {}`", registry.address())).await;
    write_config(&stage.login, &auths(registry.address(), PASSWORD));
    stage.until_served().await;
    let log = stage.proxy.log();
    assert!(!log.contains(PASSWORD) && !log.contains("not the password"));
    stage.nobody_else_noticed().await;
}

#[tokio::test]
async fn an_image_that_the_registry_does_not_have() {
    let (registry, image) = open_with_image().await;
    for name in [format!("{}/no/such-app:1", registry.address()), image.tagged.replace(":1", ":2")] {
        let stage = Stage::new(&name).await;
        stage.refused(&format!("its registry {} does not have it: check", registry.address())).await;
        stage.tried_again().await;
        stage.nobody_else_noticed().await;
    }
}

#[tokio::test]
async fn a_registry_that_does_not_run() {
    let (mut registry, image) = open_with_image().await;
    registry.stop();
    let stage = Stage::new(&image.tagged).await;
    stage.refused(&format!("its registry {} cannot be reached", registry.address())).await;
    stage.tried_again().await;
    stage.nobody_else_noticed().await;
}

#[tokio::test]
async fn a_registry_that_hangs_is_given_up_and_asked_again() {
    let mut registry = Registry::open().await;
    let way = Narrow::to(registry.address()).await;
    let image = registry.push(way.address(), "some/app", LARGE).await;
    way.trickle();
    let stage = Stage::impatient(&image.tagged).await;
    let held = tokio::spawn(Call::get(stage.proxy.address(), "/id").send());
    stage.logged("Downloading").await;
    way.stick();
    stage.others_wake().await;
    let answer = held.await.expect("no panic").expect("an answer");
    assert_eq!(answer.status, 503, "{}", answer.reason());
    let words = format!("its registry {} has sent nothing for 3 s", way.address());
    assert!(answer.reason().contains(&words), "{}", answer.reason());
    way.open();
    stage.until_served().await;
    stage.nobody_else_noticed().await;
}

/// The head of the manifest is all that an engine waits for then; it has said nothing itself yet.
#[tokio::test]
async fn a_registry_that_never_says_a_word_is_given_up() {
    let mut registry = Registry::open().await;
    let way = Narrow::to(registry.address()).await;
    let image = registry.push(way.address(), "some/app", SMALL).await;
    way.stick();
    let stage = Stage::impatient(&image.tagged).await;
    stage.refused(&format!("its registry {} has sent nothing for 3 s", way.address())).await;
    way.open();
    stage.until_served().await;
    stage.nobody_else_noticed().await;
}

#[tokio::test]
async fn an_image_by_its_digest() {
    let (registry, image) = open_with_image().await;
    let stage = Stage::new(&image.pinned).await;
    stage.served().await;
    assert!(try_docker(&["image", "inspect", &image.tagged]).await.is_err(), "only what was asked for");
    stage.nobody_else_noticed().await;
    drop(registry);
}

#[tokio::test]
async fn an_image_by_its_tag_and_its_digest() {
    let (registry, image) = open_with_image().await;
    let (_, digest) = image.pinned.split_once('@').expect("it has one");
    // The digest decides; the tag may have moved, or be gone.
    let stage = Stage::new(&format!("{}@{digest}", image.tagged.replace(":1", ":moved"))).await;
    stage.served().await;
    stage.nobody_else_noticed().await;
    drop(registry);
}

/// What an app runs is changed to an image that cannot be had yet.
#[tokio::test]
async fn a_deploy_that_cannot_be_pulled_leaves_what_runs_and_comes_when_it_can() {
    let (registry, image) = private_with_image().await;
    let stage = Stage::new(APP_IMAGE).await;
    stage.served().await;
    let before = stage.revisions().await;
    stage.proxy.reload(&yaml(&format!("image: '{}'", image.tagged)));
    stage.logged("wants a login").await;
    stage.served().await;
    assert_eq!(stage.revisions().await, before);
    write_config(&stage.login, &auths(registry.address(), PASSWORD));
    wait_for_async("only the new one is left", || async {
        stage.served().await;
        let now = stage.revisions().await;
        (now.len() == 1 && now != before).then_some(())
    })
    .await;
    stage.nobody_else_noticed().await;
}

#[tokio::test]
async fn a_name_that_is_put_right_does_not_wait_for_a_pull_that_hangs() {
    let mut registry = Registry::open().await;
    let way = Narrow::to(registry.address()).await;
    let image = registry.push(way.address(), "some/app", SMALL).await;
    way.stick();
    let hangs = given_up_after("1h", &image.tagged);
    let stage = Stage::prepared(&hangs, &json!({}), |_| {}).await;
    stage.logged(BEGUN).await;
    let held = tokio::spawn(Call::get(stage.proxy.address(), "/id").send());
    wait_for_async("it is held", || async { (stage.proxy.app("pulled").await["held"] == 1).then_some(()) })
        .await;
    stage.proxy.reload(&given_up_after("1h", APP_IMAGE));
    let answer = held.await.expect("no panic").expect("an answer");
    assert_eq!(answer.status, 200, "{}", answer.reason());
    stage.nobody_else_noticed().await;
}
