//! Keys of an app that shape its replicas: GPUs, a workspace that stays, further networks.

mod support;

use support::docker::{OwnNetwork, docker, need_app_image, replicas};
use support::http::get;
use support::proxy::{Proxy, Setup};
use support::wait::wait_for_async;

/// Waits until no replica is left, running or not.
async fn out(proxy: &Proxy) {
    let instance = proxy.instance();
    wait_for_async("no container is left", || async { replicas(&instance).await.is_empty().then_some(()) })
        .await;
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
    let mut seen: Vec<_> = replicas(&instance).await.iter().map(|it| it.id()[..12].to_owned()).collect();
    assert_eq!(journals(&seen[0]).await.len(), 2);
    proxy.reload(&web(0));
    out(&proxy).await;

    assert_eq!(get(proxy.address(), "/ping").await.status, 200);
    let third = replicas(&instance).await.remove(0);
    let env = third.at("/Config/Env").as_array().expect("it has variables").clone();
    assert!(env.contains(&"JCLOUD_WORKSPACE=/data/workspace".into()), "{env:?}");
    seen.push(third.id()[..12].to_owned());
    let mut found = journals(third.id()).await;
    found.sort();
    seen.sort();
    assert_eq!(found, seen, "what the first two wrote is still there");

    proxy.reload("apps:\n  other: {image: '{app}', path: /, autoscale: {min: 0}}\n");
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
    let replica = replicas(&proxy.instance()).await.remove(0);
    let on = replica.at("/NetworkSettings/Networks").as_object().expect("it is on networks").clone();
    let own = format!("pilotlight-{}", &proxy.instance()[..8]);
    let mut names: Vec<_> = on.keys().cloned().collect();
    names.sort();
    assert_eq!(names, [own.clone(), further.name.clone()]);
    assert_eq!(replica.at("/HostConfig/NetworkMode"), &own, "requests come over the proxy's own");
    // A network goes only when nobody is on it any more.
    out(&proxy).await;
}
