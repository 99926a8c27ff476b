//! What is told of replicas without our asking, and what is said when there is no engine to tell it.

use std::sync::Arc;
use std::time::Duration;

use pilotlight::config::spec::DockerSpec;
use pilotlight::runtime::{Change, Revision, Runtime, RuntimeError, StartOrder, Status};
use serde_json::json;
use tokio::time::{Instant, timeout};

use crate::double::{Behaviour, Double};
use crate::lab::{Folder, Lab, PATIENCE, ask, docker, exited, next_change, random_id, wait_for_resync};

fn at(socket: &std::path::Path) -> DockerSpec {
    DockerSpec { socket: Some(socket.to_owned()), ..DockerSpec::default() }
}

#[tokio::test]
async fn an_end_is_told_with_its_code() {
    let lab = Lab::new();
    let mut events = lab.runtime.watch();
    wait_for_resync(&mut events).await;
    let started = lab.serving(&["exit-when-asked", "3"]).await;
    ask(&started.endpoint).await;
    assert_eq!(next_change(&mut events, &started).await, exited(Some(3), false));
    let Status::Exited(exit) = lab.runtime.status(&started.id).await.unwrap() else { panic!("it runs") };
    assert_eq!((exit.code, exit.out_of_memory), (Some(3), false));
}

#[tokio::test]
async fn want_of_memory_is_told_as_such() {
    let lab = Lab::new();
    let mut events = lab.runtime.watch();
    wait_for_resync(&mut events).await;
    let started = lab.serving(&["eat-when-asked"]).await;
    ask(&started.endpoint).await;
    assert_eq!(next_change(&mut events, &started).await, exited(Some(137), true));
    let Status::Exited(exit) = lab.runtime.status(&started.id).await.unwrap() else { panic!("it runs") };
    assert_eq!((exit.code, exit.out_of_memory), (Some(137), true));
}

#[tokio::test]
async fn what_is_done_by_hand_is_told() {
    let lab = Lab::new();
    let mut events = lab.runtime.watch();
    wait_for_resync(&mut events).await;
    let started = lab.serving(&["serve"]).await;
    for by_hand in ["pause", "unpause"] {
        docker(&[by_hand, &started.id.0]);
        assert_eq!(next_change(&mut events, &started).await, Change::Paused);
    }
    docker(&["kill", &started.id.0]);
    assert_eq!(next_change(&mut events, &started).await, exited(Some(137), false));

    let started = lab.serving(&["serve"]).await;
    docker(&["rm", "-f", &started.id.0]);
    assert_eq!(next_change(&mut events, &started).await, exited(Some(137), false));
}

#[tokio::test]
async fn no_engine_at_all_and_then_one() {
    let folder = Folder::new(&random_id());
    let socket = folder.0.join("docker.sock");
    let lab = Lab::with(at(&socket));
    let mut events = lab.runtime.watch();
    let Err(RuntimeError::Unreachable(text)) = lab.runtime.list().await else { panic!("reached it") };
    assert!(text.contains(socket.to_str().unwrap()) && text.contains("docker.socket"), "{text}");

    std::os::unix::fs::symlink("/var/run/docker.sock", &socket).unwrap();
    wait_for_resync(&mut events).await;
    assert_eq!(lab.runtime.list().await.unwrap(), []);

    std::fs::remove_file(&socket).unwrap();
    let Err(RuntimeError::Unreachable(text)) = lab.runtime.list().await else { panic!("reached it") };
    assert!(text.contains("no Docker Engine at"), "{text}");

    // A socket that an engine left behind.
    drop(std::os::unix::net::UnixListener::bind(&socket).unwrap());
    let Err(RuntimeError::Unreachable(text)) = lab.runtime.list().await else { panic!("reached it") };
    assert!(text.contains("nobody listens"), "{text}");
}

#[tokio::test]
async fn a_double_that_accepts_and_says_nothing() {
    let folder = Folder::new(&random_id());
    let socket = folder.0.join("docker.sock");
    let _mute = std::os::unix::net::UnixListener::bind(&socket).unwrap();
    let lab = Lab::with(at(&socket));
    let begun = Instant::now();
    let calls = (0..5).map(|_| lab.runtime.list());
    for answer in futures_util::future::join_all(calls).await {
        let Err(RuntimeError::Unreachable(text)) = answer else { panic!("reached it") };
        assert!(text.contains("has not answered within 5 s"), "{text}");
    }
    assert!(begun.elapsed() < Duration::from_secs(8), "a crowd waits no longer than one");
}

#[tokio::test]
async fn a_double_of_another_version_is_spoken_to_in_its_own() {
    let folder = Folder::new(&random_id());
    let socket = folder.0.join("docker.sock");
    let lab = Lab::with(at(&socket));
    for (oldest, newest, spoken) in [(12, 41, 41), (44, 44, 44), (12, 41, 41), (50, 99, 53)] {
        let double = Double::at(&socket, Behaviour::speaking(oldest, newest));
        // Nothing was asked while the one before went away: the first call finds out.
        if let Err(error) = lab.runtime.list().await {
            assert!(matches!(error, RuntimeError::Unreachable(_)), "{error}");
            lab.runtime.list().await.unwrap();
        }
        let asked = double.end().await;
        let expected = format!("/v1.{spoken}/containers/json");
        assert!(asked.last().unwrap().starts_with(&expected), "{asked:?}");
    }
}

#[tokio::test]
async fn a_double_whose_event_stream_ends_is_asked_again() {
    let folder = Folder::new(&random_id());
    let socket = folder.0.join("docker.sock");
    let double = Double::at(&socket, Behaviour::speaking(12, 41));
    let lab = Lab::with(at(&socket));
    let mut events = lab.runtime.watch();
    for _ in 0..3 {
        wait_for_resync(&mut events).await;
    }
    drop(events);
    let asked = double.end().await;
    assert!(asked.iter().filter(|path| path.contains("/events?")).count() >= 2, "{asked:?}");
}

#[tokio::test]
async fn the_watch_ends_with_its_receiver() {
    let lab = Lab::new();
    let mut events = lab.runtime.watch();
    wait_for_resync(&mut events).await;
    let before = tokio::runtime::Handle::current().metrics().num_alive_tasks();
    drop(events);
    let ends = async {
        while tokio::runtime::Handle::current().metrics().num_alive_tasks() >= before {
            tokio::task::yield_now().await;
        }
    };
    timeout(PATIENCE, ends).await.expect("the task ends");
}

/// An order for an engine that is no real one.
fn order(lab: &Lab) -> StartOrder {
    let revision = Revision {
        hash: "0123456789ab".into(),
        workload: Arc::new(lab.workload(&["serve"])),
        image_id: "sha256:1f".into(),
        port: 7000,
        cpu_millis: 1000,
    };
    StartOrder { app: "web".into(), revision: Arc::new(revision), index: 0, awaited: true, boost_millis: 0 }
}

#[tokio::test]
async fn a_double_that_breaks_off_while_creating_is_looked_at() {
    let folder = Folder::new(&random_id());
    let socket = folder.0.join("docker.sock");
    let lab = Lab::with(DockerSpec { network: Some("n".into()), ..at(&socket) });
    let order = order(&lab);
    let double = Double::at(&socket, Behaviour::speaking(12, 41));
    let nothing_there = lab.runtime.start(&order).await;
    assert!(matches!(nothing_there, Err(RuntimeError::TimedOut(_))), "{nothing_there:?}");
    let asked = double.end().await;
    assert!(asked.last().unwrap().contains(&lab.name(&order)), "it was looked for by name: {asked:?}");

    let container = json!({
        "Id": "c1",
        "State": {"Running": true},
        "Config": {"Labels": {
            "pilotlight.instance": lab.id,
            "pilotlight.revision": order.revision.hash,
            "pilotlight.port": "7000",
        }},
        "HostConfig": {"NetworkMode": "n"},
        "NetworkSettings": {"Networks": {"n": {"IPAddress": "10.9.8.7"}}},
    });
    let double = Double::at(&socket, Behaviour { container: Some(container), ..Behaviour::speaking(12, 41) });
    // The session ended with the double before.
    let started = lab.runtime.start(&order).await.unwrap();
    assert_eq!(
        (started.id.0.as_str(), started.endpoint.address.to_string().as_str()),
        ("c1", "10.9.8.7:7000")
    );
    double.end().await;
}

#[tokio::test]
async fn a_double_starts_a_few_replicas_at_a_time() {
    let folder = Folder::new(&random_id());
    let socket = folder.0.join("docker.sock");
    let double = Double::at(&socket, Behaviour::slow("/containers/create?", false));
    let lab = Lab::with(DockerSpec { network: Some("n".into()), ..at(&socket) });
    let order = order(&lab);
    let orders: Vec<_> = (0..30).map(|index| StartOrder { index, ..order.clone() }).collect();
    let start = futures_util::future::join_all(orders.iter().map(|order| lab.runtime.start(order)));
    let (started, most) = tokio::join!(start, double.let_go(30, 8));
    assert!(started.iter().all(Result::is_err), "each call broke off");
    assert_eq!(most, 8);
    double.end().await;
}
