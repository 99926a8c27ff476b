//! Keys of an app that shape its replicas: GPUs, a workspace that stays, further networks; and what a deploy leaves of
//! the image before.

mod support;

use std::path::Path;

use support::docker::{
    APP_IMAGE, OwnContainer, OwnImage, OwnNetwork, all_replicas, docker, need_app_image, replicas, try_docker,
};
use support::http::get;
use support::proxy::{Proxy, Setup};
use support::wait::{wait_for_async, wait_until};
use support::wire::Wire;

/// Waits until no replica is left, running or not.
async fn out(proxy: &Proxy) {
    let instance = proxy.instance();
    wait_for_async("no container is left", || async { replicas(&instance).await.is_empty().then_some(()) })
        .await;
}

/// Takes what there is out of the file.
fn take_out(proxy: &Proxy) {
    proxy.reload("apps:\n  other: {image: '{app}', path: /, autoscale: {min: 0}}\n");
}

/// The engine of the tests has no GPU to give, and its own words for that help nobody.
#[tokio::test]
async fn an_engine_without_gpus_says_what_to_do() {
    need_app_image().await;
    let yaml = "name: web\nimage: {app}\ninstance: G3\nautoscale: {min: 0, max: 1}\n";
    let proxy = Setup::docker(yaml).start().await;
    let answer = get(proxy.address(), "/ping").await;
    assert_eq!(answer.status, 503);
    let reason = answer.reason();
    assert!(reason.starts_with("runtime: cannot start app web: "), "{reason}");
    assert!(
        reason.contains("install nvidia-container-toolkit") && reason.contains("use a C instance"),
        "{reason}"
    );
    assert!(replicas(&proxy.instance()).await.is_empty(), "nothing is left of the attempt");
}

/// The containers whose journals lie in the workspace that one of them sees.
async fn journals(container: &str) -> Vec<String> {
    let copy = tempfile::tempdir().expect("a folder can be made");
    docker(&["cp", &format!("{container}:/data/workspace/."), &copy.path().display().to_string()]).await;
    let entries = std::fs::read_dir(copy.path()).expect("it can be read");
    let names =
        entries.map(|entry| entry.expect("it can be read").file_name().to_string_lossy().into_owned());
    names.filter_map(|name| Some(name.split_once('-')?.0.to_owned())).collect()
}

#[tokio::test]
async fn a_workspace_is_shared_and_outlives_replicas_and_app() {
    need_app_image().await;
    let web = |min| {
        format!(
            "apps:\n  web: {{image: '{{app}}', path: /, disk_size: 10G, env: {{REPORT: /data/workspace}}, \
             autoscale: {{min: {min}, max: 2, metric: rps, idle: 1s}}}}\n"
        )
    };
    let proxy = Setup::docker(&web(2)).start().await;
    assert!(proxy.log().contains("the size that `disk_size` names is not enforced"), "it is warned of");
    proxy.ready(2).await;
    let instance = proxy.instance();
    let seen: Vec<_> = replicas(&instance).await.iter().map(|it| it.id()[..12].to_owned()).collect();
    assert_eq!(journals(&seen[0]).await.len(), 2);
    proxy.reload(&web(0));
    out(&proxy).await;

    let mut open = Wire::echo(proxy.address(), "localhost").await;
    let third = replicas(&instance).await.remove(0);
    let env = third.at("/Config/Env").as_array().expect("it has variables").clone();
    assert!(env.contains(&"JCLOUD_WORKSPACE=/data/workspace".into()), "{env:?}");
    let found = journals(third.id()).await;
    let is_there = |first: &String| found.contains(first);
    assert!(
        found.len() == 3 && seen.iter().all(is_there),
        "what the first two wrote is still there: {found:?}"
    );
    open.assert_ends().await;

    take_out(&proxy);
    out(&proxy).await;
    let ours = ["volume", "ls", "--quiet", "--filter", &format!("label=pilotlight.instance={instance}")];
    assert_eq!(docker(&ours).await, format!("pilotlight-{}-web-workspace", &instance[..8]));
}

#[tokio::test]
async fn a_process_has_a_workspace_too() {
    let yaml = "name: web\ncommand: echo started >> $JCLOUD_WORKSPACE/log; exec {app}\ndisk_size: 1G\n\
                autoscale: {min: 0, max: 1, metric: rps, idle: 200ms}\n";
    let proxy = Setup::process(yaml).start().await;
    for starts in 1..=2 {
        assert_eq!(get(proxy.address(), "/ping").await.status, 200);
        let log = std::fs::read_to_string(proxy.dir().join("state/workspace/web/log"));
        assert_eq!(log.expect("it is there").lines().count(), starts);
        proxy.ready(0).await;
    }
}

#[tokio::test]
async fn replicas_join_further_networks() {
    need_app_image().await;
    let further = OwnNetwork::planned("further");
    let yaml = format!(
        "name: web\nimage: {{app}}\nnetworks: [{}]\nautoscale: {{min: 0, max: 1, metric: rps, idle: 1s}}\n",
        further.name
    );
    let proxy = Setup::docker(&yaml).start().await;
    let missing = get(proxy.address(), "/ping").await;
    let advice =
        format!("there is no Docker network {0}: make it (`docker network create {0}`)", further.name);
    assert!(missing.status == 503 && missing.reason().contains(&advice), "{}", missing.reason());
    assert!(replicas(&proxy.instance()).await.is_empty(), "nothing is left of the attempt");

    further.make().await;
    wait_for_async("it is served", || async {
        (get(proxy.address(), "/ping").await.status == 200).then_some(())
    })
    .await;
    let mut open = Wire::echo(proxy.address(), "localhost").await;
    let replica = replicas(&proxy.instance()).await.remove(0);
    let on = replica.at("/NetworkSettings/Networks").as_object().expect("it is on networks").clone();
    let own = format!("pilotlight-{}", &proxy.instance()[..8]);
    let mut names: Vec<_> = on.keys().cloned().collect();
    names.sort();
    assert_eq!(names, [own.clone(), further.name.clone()]);
    assert_eq!(replica.at("/HostConfig/NetworkMode"), &own, "requests come over the proxy's own");
    open.assert_ends().await;
    // A network goes only when nobody is on it any more.
    out(&proxy).await;
}

/// A proxy may end between making a container and connecting it.
#[tokio::test]
async fn what_is_kept_is_on_all_its_networks_when_it_starts_again() {
    need_app_image().await;
    let further = OwnNetwork::planned("kept");
    further.make().await;
    let yaml = format!(
        "name: web\nimage: {{app}}\nnetworks: [{}]\ndocker: {{prepared: 0}}\n\
         autoscale: {{min: 0, max: 1, metric: rps, idle: 1s}}\n",
        further.name
    );
    let proxy = Setup::docker(&yaml).start().await;
    let instance = proxy.instance();
    assert_eq!(get(proxy.address(), "/ping").await.status, 200);
    wait_for_async("it is stopped, and kept", || async {
        (proxy.only_app().await["stopped"] == 1).then_some(())
    })
    .await;
    let kept = all_replicas(&instance).await.remove(0);
    docker(&["network", "disconnect", &further.name, kept.id()]).await;
    let mut open = Wire::echo(proxy.address(), "localhost").await;
    let again = replicas(&instance).await.remove(0);
    assert_eq!(again.id(), kept.id(), "it is the same one");
    let networks = again.at("/NetworkSettings/Networks").as_object().expect("it is on networks").clone();
    assert!(networks.len() == 2 && networks.contains_key(&further.name), "{networks:?}");
    open.assert_ends().await;
    out(&proxy).await;
}

/// A folder whose image differs from all others.
fn write_dockerfile(setup_dir: &Path, version: &str) {
    let folder = setup_dir.join("source");
    std::fs::create_dir_all(&folder).expect("a folder can be made");
    let text = format!("FROM {APP_IMAGE}\nENV BUILD={}-{version}\n", setup_dir.display());
    std::fs::write(folder.join("Dockerfile"), text).expect("it can be written");
}

async fn image_of_the_only_replica(proxy: &Proxy) -> String {
    let found = replicas(&proxy.instance()).await;
    assert_eq!(found.len(), 1, "{found:?}");
    found[0].at("/Image").as_str().expect("it has an image").to_owned()
}

async fn is_there(image: &str) -> bool {
    try_docker(&["image", "inspect", image]).await.is_ok()
}

/// An app that is built in `source`. Its name is a tag that no other test takes away.
struct Built {
    name: String,
}

impl Built {
    fn named(what: &str) -> Self {
        Self { name: format!("{what}-{}", std::process::id()) }
    }

    fn yaml(&self, version: &str) -> String {
        format!(
            "apps:\n  {}: {{build: ./source, path: /, env: {{VERSION: '{version}'}}, drain_timeout: 10m, \
             autoscale: {{min: 1, max: 1, metric: rps}}}}\n",
            self.name
        )
    }

    /// A proxy that runs the first version, and its image.
    async fn first(&self) -> (Proxy, String) {
        need_app_image().await;
        let setup = Setup::docker(&self.yaml("1"));
        write_dockerfile(setup.dir(), "1");
        let proxy = setup.start().await;
        proxy.ready(1).await;
        let image = image_of_the_only_replica(&proxy).await;
        (proxy, image)
    }

    /// Builds anew and reloads.
    fn deploy(&self, proxy: &Proxy, version: &str) {
        write_dockerfile(proxy.dir(), version);
        proxy.reload(&self.yaml(version));
    }

    /// The image of the only replica, once that is another.
    async fn after(&self, proxy: &Proxy, before: &str) -> String {
        wait_for_async("the next one has taken over", || async {
            let found = replicas(&proxy.instance()).await;
            let images: Vec<_> = found.iter().filter_map(|it| it.at("/Image").as_str()).collect();
            (images.len() == 1 && images[0] != before).then_some(())
        })
        .await;
        image_of_the_only_replica(proxy).await
    }

    /// Once it is out of the file, takes its image away, with all that it was built from.
    async fn remove(&self, proxy: &Proxy, image: &str) {
        out(proxy).await;
        assert!(is_there(image).await, "an app that is gone may come back");
        docker(&["rmi", &format!("pilotlight/{}", self.name)]).await;
        assert!(!is_there(image).await);
    }
}

#[tokio::test]
async fn a_deploy_removes_the_image_before_and_no_other() {
    let app = Built::named("tidy");
    let (mut proxy, first) = app.first().await;
    // Without a tag, as the image before will be, and of somebody else's making.
    let file = proxy.dir().join("Dockerfile");
    std::fs::write(&file, format!("FROM {APP_IMAGE}\nENV FOREIGN={}\n", app.name))
        .expect("it can be written");
    let (file, folder) = (file.display().to_string(), proxy.dir().join("source").display().to_string());
    let build = ["build", "--quiet", "--label", "pilotlight.built-by=0123456789ab", "--file", &file, &folder];
    let foreign = OwnImage { id: docker(&build).await };

    app.deploy(&proxy, "2");
    let second = app.after(&proxy, &first).await;
    wait_for_async("the image before is gone", || async { (!is_there(&first).await).then_some(()) }).await;

    // What somebody runs by hand is in use as well.
    let user = OwnContainer::run(&[&second]).await;
    app.deploy(&proxy, "3");
    let third = app.after(&proxy, &second).await;
    wait_until("it was tried", || proxy.log().contains("an image that was built stays")).await;
    assert!(is_there(&second).await && is_there(&third).await);
    drop(user);

    // At the next start nothing runs on it any more.
    proxy.stop().await;
    proxy.start().await;
    wait_for_async("it is gone now", || async { (!is_there(&second).await).then_some(()) }).await;
    assert_eq!(image_of_the_only_replica(&proxy).await, third, "adopted");
    assert!(is_there(&foreign.id).await, "without our label nothing is touched");
    take_out(&proxy);
    app.remove(&proxy, &third).await;
}

/// The deploy comes to no end: the replica before has a request, and then the app is taken out of the file.
#[tokio::test]
async fn an_app_that_goes_leaves_only_the_image_with_its_tag() {
    let app = Built::named("gone");
    let (proxy, first) = app.first().await;
    let mut last = Wire::echo(proxy.address(), "localhost").await;
    app.deploy(&proxy, "2");
    let tag = format!("pilotlight/{}", app.name);
    let second = wait_for_async("the next is ready beside it", || async {
        let tagged = docker(&["image", "inspect", "--format", "{{.Id}}", &tag]).await;
        let image = proxy.app(&app.name).await["image_id"].clone();
        let both = replicas(&proxy.instance()).await.len() == 2;
        (tagged != first && image == *tagged && both).then_some(tagged)
    })
    .await;
    assert!(is_there(&first).await, "its last request is under way");
    take_out(&proxy);
    wait_for_async("only that request keeps anything up", || async {
        let left = replicas(&proxy.instance()).await;
        (left.len() == 1 && *left[0].at("/Image") == *first).then_some(())
    })
    .await;
    assert!(is_there(&first).await, "it is under way still");
    last.assert_ends().await;
    app.remove(&proxy, &second).await;
    wait_for_async("the image before is gone", || async { (!is_there(&first).await).then_some(()) }).await;
}
