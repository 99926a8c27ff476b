//! Apps that need others, on a real engine: they find each other by name, however often either of them starts.

mod support;

use support::docker::{Container, all_replicas, docker, need_app_image, replicas, sandboxes};
use support::http::get;
use support::proxy::{Proxy, Setup};
use support::wait::wait_for_async;
use support::wire::Wire;

async fn start() -> Proxy {
    need_app_image().await;
    let yaml = "\
apps:
  web:
    image: \"{app}\"
    host: \"*\"
    needs: db
    autoscale: {min: 0, max: 1, metric: rps, idle: 300ms}
  db:
    image: \"{app}\"
    autoscale: {idle: 300ms}
";
    Setup::docker(yaml).start().await
}

/// The containers of one app that run.
async fn running(proxy: &Proxy, app: &str) -> Vec<Container> {
    let mut found = replicas(&proxy.instance()).await;
    found.retain(|container| container.label("pilotlight.app") == app);
    found
}

/// Has the app ask what it needs, by its name, who it is.
async fn who_is_needed(proxy: &Proxy) -> String {
    let answer = get(proxy.address(), "/fetch?from=db:8080&path=/id").await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    answer.text().to_owned()
}

async fn all_stopped(proxy: &Proxy) {
    wait_for_async("both are stopped, and kept", || async {
        let apps = [proxy.app("web").await, proxy.app("db").await];
        apps.iter().all(|app| app["state"] == "out" && app["stopped"] == 1).then_some(())
    })
    .await;
}

/// The name of an app leads to what runs of it, not to what is kept for it: that is in a network of its own for the app
/// that nobody needs, and not for the other.
#[tokio::test]
async fn an_app_finds_what_it_needs_by_its_name() {
    let proxy = start().await;
    for _ in 0..3 {
        let mut open = Wire::echo(proxy.address(), "localhost").await;
        let name = who_is_needed(&proxy).await;
        let db = running(&proxy, "db").await;
        assert_eq!(db.len(), 1, "{db:?}");
        assert!(name.starts_with(&db[0].id()[..12]), "{name} is not {}", db[0].id());
        open.assert_ends().await;
        all_stopped(&proxy).await;
        let kept: Vec<_> = sandboxes(&proxy.instance()).await.iter().map(|it| it.name().to_owned()).collect();
        assert!(kept.len() == 1 && kept[0].contains("-web-"), "{kept:?}");
        assert_eq!(proxy.app("web").await["network_kept"], true);
        assert_eq!(proxy.app("db").await["network_kept"], false);
    }
    assert_eq!(all_replicas(&proxy.instance()).await.len(), 2, "each was started again");
}

/// Somebody removes the database's container while the app serves: another comes, and is found.
#[tokio::test]
async fn what_is_needed_and_dies_is_found_where_it_comes_back() {
    let proxy = start().await;
    let mut open = Wire::echo(proxy.address(), "localhost").await;
    let first = who_is_needed(&proxy).await;
    let db = running(&proxy, "db").await.remove(0);
    docker(&["rm", "--force", db.id()]).await;
    let second = wait_for_async("another is found", || async {
        let answer = get(proxy.address(), "/fetch?from=db:8080&path=/id").await;
        (answer.status == 200).then(|| answer.text().to_owned())
    })
    .await;
    assert_ne!(first, second);
    open.assert_ends().await;
}
