//! Replicas of runtime process that listen on Unix sockets: the real binary before them, the test app behind.

mod support;

use std::fs;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::os::unix::net::UnixListener;
use std::path::PathBuf;
use std::process::Command;

use futures_util::StreamExt;
use tokio_tungstenite::tungstenite::Message;

use support::http::{Call, get};
use support::load;
use support::proxy::{Proxy, Setup};
use support::wait::{wait_for_async, wait_until};
use support::websocket::{self, assert_echoes};
use support::wire::Wire;
use support::yaml::{self, Env};

/// A proxy with one app, whose replicas listen on sockets.
async fn proxy(env: Env<'_>, keys: &str) -> Proxy {
    Setup::process(&yaml::app(env, &format!("socket: true\n{keys}"))).start().await
}

/// All that is where the sockets are.
fn sockets(proxy: &Proxy) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder(proxy)).into_iter().flatten();
    entries.map(|entry| entry.expect("the folder can be read").path()).collect()
}

fn folder(proxy: &Proxy) -> PathBuf {
    proxy.dir().join("state/sockets")
}

async fn served(proxy: &Proxy) -> String {
    let answer = get(proxy.address(), "/id").await;
    assert_eq!(answer.status, 200, "{}", answer.reason());
    answer.text().to_owned()
}

#[tokio::test]
async fn from_zero_and_warm_and_gone_with_the_replica() {
    let proxy = proxy(&[], "autoscale: {min: 0, max: 1, metric: rps, idle: 300ms}").await;
    assert_eq!(sockets(&proxy), Vec::<PathBuf>::new());
    // From zero to zero and back, with requests on a warm replica between.
    let mut seen = Vec::new();
    for _ in 0..2 {
        let mut answering = Wire::echo(proxy.address(), "localhost").await;
        let [socket] = &*sockets(&proxy) else { panic!("not one socket: {:?}", sockets(&proxy)) };
        assert!(fs::metadata(socket).unwrap().file_type().is_socket());
        seen.push(socket.clone());
        let replica = served(&proxy).await;
        assert_eq!(served(&proxy).await, replica);
        answering.assert_ends().await;
        proxy.ready(0).await;
        wait_until("the socket is gone", || sockets(&proxy).is_empty()).await;
    }
    assert_ne!(seen[0], seen[1]);
    assert_eq!(proxy.report().open_at_sigterm(), 0);
    let mode = fs::metadata(folder(&proxy)).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o700);
    let ready = format!("endpoint=unix:{}", seen[0].display());
    assert!(proxy.log().contains(&ready), "the log says where a replica is: {ready}");
}

#[tokio::test]
async fn a_replica_is_told_its_socket_and_no_port() {
    let said = |env: &str| {
        format!(
            "name: app\nsocket: true\nautoscale: {{min: 1, max: 1}}\nenv: {{REPORT: '{{report}}', {env}}}\n\
             command: echo \"${{SOCKET}} [${{PORT}}]\" > said; exec {{app}}\n"
        )
        .replace("${", "$${")
    };
    let proxy = Setup::process(&said("SOCKET: /elsewhere")).start().await;
    served(&proxy).await;
    let heard = || fs::read_to_string(proxy.dir().join("said")).unwrap();
    let [socket] = &*sockets(&proxy) else { panic!("not one socket: {:?}", sockets(&proxy)) };
    assert_eq!(heard(), format!("{} []\n", socket.display()), "whatever the file says");

    let before = served(&proxy).await;
    proxy.reload(&said("PORT: '5432'"));
    wait_for_async("the new revision serves", || async { (served(&proxy).await != before).then_some(()) })
        .await;
    assert!(heard().ends_with(" [5432]\n"), "{}", heard());
}

#[tokio::test]
async fn a_websocket_holds_its_replica() {
    let proxy = proxy(&[], "autoscale: {min: 0, max: 1, metric: rps, idle: 300ms}").await;
    let mut socket = websocket::open(&proxy).await;
    for message in [Message::text("hello"), Message::binary(vec![7; 3_000_000])] {
        assert_echoes(&mut socket, message).await;
    }
    assert_eq!(proxy.only_app().await["in_flight"], 1);
    socket.close(None).await.unwrap();
    while socket.next().await.is_some() {}
    drop(socket);
    proxy.ready(0).await;
    assert_eq!(proxy.report().open_at_sigterm(), 0);
}

#[tokio::test]
async fn it_is_spoken_to_in_http2_as_well() {
    let proxy = proxy(&[("MODE", "h2c")], "protocol: h2c\nhealth: {path: /healthz}").await;
    let seen = get(proxy.address(), "/headers").await.json();
    assert_eq!(seen["version"], "HTTP/2.0", "{seen}");
    assert_eq!(seen["uri"], "http://localhost/headers", "the client's host, and no path of ours: {seen}");
}

#[tokio::test]
async fn health_checks_go_through_it() {
    let keys = "health: {path: /healthz, interval: 100ms, timeout: 2s}\nstop_grace: 100ms";
    let proxy = proxy(&[("READY_AFTER_MS", "700")], keys).await;
    let answer = get(proxy.address(), "/headers").await;
    let headers = answer.json()["headers"].to_string();
    assert!(headers.contains(r#"["host","localhost"]"#), "the client's own: {headers}");
    let report = proxy.report();
    let [boot, start] = ["boot", "start"].map(|name| report.events(name)[0]["at_ms"].as_i64().unwrap());
    assert!(start - boot >= 700, "it was not ready before: {start} - {boot}");
    // Who takes connections and does not answer is replaced.
    let stopped = get(proxy.address(), "/id").await.text().to_owned();
    let pid = stopped.rsplit('-').next().unwrap();
    let wedge = Command::new("kill").args(["-STOP", pid]).status().unwrap();
    assert!(wedge.success());
    let other = wait_for_async("another replica serves", || async {
        let call = Call::get(proxy.address(), "/id").send();
        let answer = tokio::time::timeout(std::time::Duration::from_secs(1), call).await.ok()?.ok()?;
        (answer.status == 200).then(|| answer.text().to_owned())
    });
    assert_ne!(other.await, stopped);
}

/// A full queue refuses a connection by a Unix socket, and has one by TCP wait.
#[tokio::test]
async fn a_rush_waits_for_the_replicas_queue() {
    let proxy = proxy(&[("BACKLOG", "1"), ("SINGLE", "1"), ("KEEP_ALIVE_MS", "1")], "keep_alive: 0s").await;
    served(&proxy).await;
    let address = proxy.address();
    let outcomes = load::at_once(20, |_| Call::get(address, "/sleep?ms=10").send()).await;
    outcomes.assert_all_ok();
    assert_eq!(proxy.report().replicas().len(), 1);
}

#[tokio::test]
async fn one_that_ends_by_itself_leaves_nothing_and_another_takes_over() {
    let proxy = proxy(&[], "autoscale: {min: 1, max: 1}").await;
    let first = served(&proxy).await;
    let socket = sockets(&proxy);
    assert_eq!(get(proxy.address(), "/exit?code=9").await.status, 502);
    wait_until("its socket is gone", || !socket[0].exists()).await;
    let other = wait_for_async("another serves", || async {
        let answer = get(proxy.address(), "/id").await;
        (answer.status == 200).then(|| answer.text().to_owned())
    });
    assert_ne!(other.await, first);
    assert_eq!(sockets(&proxy).len(), 1);
}

/// Replicas of this runtime end with their proxy, so there is nothing to adopt but what they leave behind.
#[tokio::test]
async fn a_proxy_that_was_killed_finds_its_sockets_stale() {
    let mut proxy = proxy(&[], "autoscale: {min: 2, max: 2, metric: rps}").await;
    proxy.ready(2).await;
    let stale = sockets(&proxy);
    assert_eq!(stale.len(), 2);
    let others = folder(&proxy).join("others.sock");
    let _others = UnixListener::bind(&others).unwrap();

    proxy.kill().await;
    assert!(stale.iter().all(|path| path.exists()), "who is killed leaves them");
    proxy.start().await;
    served(&proxy).await;
    proxy.ready(2).await;
    assert_eq!(sockets(&proxy).len(), 3, "two of now, and what is not ours");
    assert!(stale.iter().all(|path| !path.exists()) && others.exists());

    assert!(proxy.stop().await.success());
    assert_eq!(sockets(&proxy), [others]);
}

#[tokio::test]
async fn an_app_moves_from_a_port_to_a_socket_and_back() {
    let keys = "autoscale: {min: 1, max: 1}";
    let proxy = Setup::process(&yaml::app(&[], keys)).start().await;
    let mut before = served(&proxy).await;
    for (socket, count) in [("\nsocket: true", 1), ("", 0)] {
        proxy.reload(&yaml::app(&[], &format!("{keys}{socket}")));
        let now = wait_for_async("the new revision serves", || async {
            Some(served(&proxy).await).filter(|now| *now != before)
        });
        before = now.await;
        wait_until("the sockets are as many", || sockets(&proxy).len() == count).await;
    }
    assert_eq!(proxy.report().open_at_sigterm(), 0);
}
