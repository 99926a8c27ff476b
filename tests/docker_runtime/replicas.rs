//! Starting, finding and stopping replicas.

use std::time::Duration;

use pilotlight::config::spec::{DockerSpec, Resources, Source, Volume, VolumeSource};
use pilotlight::runtime::{Address, Exit, Found, ReplicaId, Runtime, RuntimeError, StartOrder, Status};
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::lab::{Lab, PATIENCE, PORT, ask, docker, docker_can, random_id, wait_until_listening};

const GRACE: Duration = Duration::from_secs(5);

#[tokio::test]
async fn a_replica_from_start_to_stop() {
    let lab = Lab::new();
    assert_eq!(lab.runtime.list().await.unwrap(), []);
    let order = lab.order(lab.workload(&["serve"])).await;
    assert_eq!(order.revision.port, PORT, "the image's only EXPOSE");
    let started = lab.runtime.start(&order).await.unwrap();
    wait_until_listening(&started.endpoint).await;
    assert!(ask(&started.endpoint).await.starts_with("HTTP/1.1 200"));

    let running = Status::Running(started.endpoint.clone());
    assert_eq!(lab.runtime.status(&started.id).await.unwrap(), running);
    let found = Found {
        id: started.id.clone(),
        app: "web".into(),
        revision: order.revision.hash.clone(),
        index: 0,
        status: running,
    };
    assert_eq!(lab.runtime.list().await.unwrap(), [found]);
    assert_eq!(Lab::new().runtime.list().await.unwrap(), [], "another instance sees nothing of it");

    let begun = Instant::now();
    lab.runtime.stop(&started.id, Duration::from_secs(20)).await.unwrap();
    assert!(
        begun.elapsed() < Duration::from_secs(10),
        "no handler for SIGTERM, and still no waiting for the grace"
    );
    assert_eq!(lab.runtime.status(&started.id).await.unwrap(), Status::Gone);
    assert_eq!(lab.runtime.list().await.unwrap(), []);
    lab.runtime.stop(&started.id, GRACE).await.unwrap();

    assert!(docker_can(&["network", "inspect", &lab.network()]));
    lab.runtime.close().await.unwrap();
    assert!(!docker_can(&["network", "inspect", &lab.network()]));
    lab.runtime.close().await.unwrap();
}

#[tokio::test]
async fn a_second_start_finds_the_first() {
    let lab = Lab::new();
    let order = lab.order(lab.workload(&["serve"])).await;
    let first = lab.runtime.start(&order).await.unwrap();
    let second = lab.runtime.start(&order).await.unwrap();
    assert_eq!((&second.id, &second.endpoint), (&first.id, &first.endpoint));
    assert!(first.created.is_some() && second.created.is_none(), "{first:?} {second:?}");

    docker(&["kill", &first.id.0]);
    let after_kill = lab.runtime.start(&order).await.unwrap();
    assert_ne!(after_kill.id, first.id, "a container that has ended is made anew");
    assert_eq!(lab.runtime.status(&first.id).await.unwrap(), Status::Gone);

    docker(&["pause", &after_kill.id.0]);
    assert!(matches!(lab.runtime.status(&after_kill.id).await.unwrap(), Status::Frozen(_)));
    let after_pause = lab.runtime.start(&order).await.unwrap();
    assert_ne!(after_pause.id, after_kill.id, "one that cannot serve is made anew");
    wait_until_listening(&after_pause.endpoint).await;

    docker(&["pause", &after_pause.id.0]);
    lab.runtime.stop(&after_pause.id, GRACE).await.unwrap();
    assert_eq!(lab.runtime.list().await.unwrap(), []);
}

#[tokio::test]
async fn starts_at_once_all_run() {
    let lab = Lab::new();
    let order = lab.order(lab.workload(&["serve"])).await;
    let orders: Vec<_> = (0..4).map(|index| StartOrder { index, ..order.clone() }).collect();
    let started = futures_util::future::join_all(orders.iter().map(|order| lab.runtime.start(order))).await;
    for started in started {
        wait_until_listening(&started.unwrap().endpoint).await;
    }
    let networks = docker(&["network", "ls", "-q", "--filter", &format!("name={}", lab.network())]);
    assert_eq!(networks.lines().count(), 1, "one network for all");
    lab.runtime.close().await.unwrap();
    assert!(docker_can(&["network", "inspect", &lab.network()]), "a network in use stays");
}

#[tokio::test]
async fn a_foreign_container_of_the_same_name_is_untouched() {
    let (lab, other) = (Lab::new(), Lab::new());
    let order = lab.order(lab.workload(&["serve"])).await;
    let name = lab.name(&order);
    let theirs = format!("pilotlight.instance={}", other.id);
    let foreign =
        docker(&["run", "-d", "--name", &name, "--label", &theirs, "-e", "PORT=1", &lab.image.name]);

    let Err(RuntimeError::NameTaken(text)) = lab.runtime.start(&order).await else { panic!("took it") };
    assert!(text.contains(&name), "{text}");
    let Err(RuntimeError::Refused(text)) = lab.runtime.stop(&ReplicaId(foreign.clone()), GRACE).await else {
        panic!("stopped it")
    };
    assert!(text.contains("not this proxy's"), "{text}");
    let state = docker(&["inspect", "--format", "{{.Id}} {{.State.Running}} {{.RestartCount}}", &name]);
    assert_eq!(state, format!("{foreign} true 0"));
}

#[tokio::test]
async fn a_replica_that_ends_at_once_says_so_and_leaves_nothing() {
    let lab = Lab::new();
    let order = lab.order(lab.workload(&["exit", "3"])).await;
    let end = Exit { code: Some(3), out_of_memory: false };
    match lab.runtime.start(&order).await {
        Err(RuntimeError::Exited { exit, .. }) => {
            assert_eq!(exit, end);
            assert_eq!(lab.runtime.list().await.unwrap(), []);
        }
        // It was still running when it was looked at.
        Ok(started) => {
            docker(&["wait", &started.id.0]);
            assert_eq!(lab.runtime.status(&started.id).await.unwrap(), Status::Exited(end.clone()));
            assert_eq!(lab.runtime.list().await.unwrap()[0].status, Status::Exited(end));
        }
        Err(other) => panic!("{other}"),
    }
}

#[tokio::test]
async fn a_command_that_is_not_in_the_image_gets_advice() {
    let lab = Lab::new();
    let mut workload = lab.workload(&["no-such-program"]);
    workload.source = Source::Build(lab.build_folder("FROM scratch\nCOPY replica /\n"));
    let order = lab.order(workload.clone()).await;
    let exit = match lab.runtime.start(&order).await {
        Err(RuntimeError::Exited { exit, .. }) => exit,
        // It was still running when it was looked at.
        Ok(started) => {
            docker(&["wait", &started.id.0]);
            let Status::Exited(exit) = lab.runtime.status(&started.id).await.unwrap() else {
                panic!("it runs")
            };
            lab.runtime.stop(&started.id, GRACE).await.unwrap();
            exit
        }
        Err(other) => panic!("{other}"),
    };
    assert!(exit.before_ready().contains("check `command`"), "{exit}");

    // Without an init in front of it, it is the engine that finds out.
    let dockerfile = "FROM scratch\nCOPY replica /\nENTRYPOINT [\"/no-such/init\"]\n";
    workload.source = Source::Build(lab.build_folder(dockerfile));
    let order = lab.order(workload).await;
    let Err(RuntimeError::Refused(text)) = lab.runtime.start(&order).await else { panic!("started it") };
    assert!(text.contains("no-such/init") && text.contains("check `command`"), "{text}");
    assert_eq!(lab.runtime.list().await.unwrap(), []);
}

#[tokio::test]
async fn a_deaf_replica_is_killed_after_its_grace() {
    let lab = Lab::new();
    // As PID 1 of its own it is shielded from SIGTERM: an image that brings its init has no other.
    let dockerfile = "FROM scratch\nCOPY replica /init\nENTRYPOINT [\"/init\"]\n";
    let mut workload = lab.workload(&["serve"]);
    workload.source = Source::Build(lab.build_folder(dockerfile));
    let order = lab.order(workload).await;
    let started = lab.runtime.start(&order).await.unwrap();
    wait_until_listening(&started.endpoint).await;
    let grace = Duration::from_secs(2);
    let begun = Instant::now();
    lab.runtime.stop(&started.id, grace).await.unwrap();
    assert!(begun.elapsed() >= grace, "killed after {:?}", begun.elapsed());
    assert!(begun.elapsed() < PATIENCE);
    assert_eq!(lab.runtime.status(&started.id).await.unwrap(), Status::Gone);
}

#[tokio::test]
async fn output_cpu_time_and_memory() {
    let lab = Lab::new();
    let talker = lab.serving(&["serve", "one", "two", "three"]).await;
    let mut last = lab.written(&talker, |lines| lines.len() >= 6).await;
    last.sort();
    assert_eq!(last, ["err one", "err three", "err two", "out one", "out three", "out two"]);
    assert_eq!(lab.runtime.tail(&talker.id, 2).await.unwrap().len(), 2);

    let burner = lab.serving(&["burn"]).await;
    let before = lab.runtime.cpu_time(&burner.id).await.unwrap();
    let grows = async {
        while lab.runtime.cpu_time(&burner.id).await.unwrap() < before + Duration::from_millis(50) {}
    };
    tokio::time::timeout(PATIENCE, grows).await.expect("a time that grows");

    let memory = lab.runtime.memory(&burner.id).await.unwrap();
    assert_eq!(memory.limit, Some(64 << 20), "the instance's");
    assert!((1..64 << 20).contains(&memory.held), "{memory:?}");

    lab.runtime.stop(&burner.id, Duration::ZERO).await.unwrap();
    assert!(matches!(lab.runtime.cpu_time(&burner.id).await, Err(RuntimeError::Exited { .. })));
    assert!(matches!(lab.runtime.memory(&burner.id).await, Err(RuntimeError::Exited { .. })));
    assert!(matches!(lab.runtime.tail(&burner.id, 1).await, Err(RuntimeError::Exited { .. })));
}

#[tokio::test]
async fn a_network_that_was_removed_is_made_again() {
    let lab = Lab::new();
    let first = lab.serving(&["serve"]).await;
    lab.runtime.stop(&first.id, GRACE).await.unwrap();
    docker(&["network", "rm", &lab.network()]);
    let second = lab.serving(&["serve"]).await;
    assert!(ask(&second.endpoint).await.contains("200"));
    assert_eq!(lab.runtime.list().await.unwrap().len(), 1);
}

#[tokio::test]
async fn a_network_of_the_user_s() {
    let other = Lab::new();
    let spec = |network: &str| DockerSpec { network: Some(network.to_owned()), ..DockerSpec::default() };
    let label = format!("pilotlight.instance={}", other.id);
    docker(&["network", "create", "--label", &label, &other.network()]);
    let lab = Lab::with(spec(&other.network()));
    let started = lab.serving(&["serve"]).await;
    assert!(ask(&started.endpoint).await.contains("200"));
    lab.runtime.stop(&started.id, GRACE).await.unwrap();
    lab.runtime.close().await.unwrap();
    assert!(docker_can(&["network", "inspect", &other.network()]), "the user's own network stays");

    let lab = Lab::with(spec("pilotlight-no-such-network"));
    let order = lab.order(lab.workload(&["serve"])).await;
    let Err(RuntimeError::Refused(text)) = lab.runtime.start(&order).await else { panic!("started it") };
    assert!(text.contains("docker network create pilotlight-no-such-network"), "{text}");

    let lab = Lab::with(spec("host"));
    let mut workload = lab.workload(&["serve"]);
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    workload.port = Some(free.port());
    let order = lab.order(workload).await;
    let started = lab.runtime.start(&order).await.unwrap();
    assert_eq!(started.endpoint.address, Address::Tcp(free));
    wait_until_listening(&started.endpoint).await;
    let found = lab.runtime.list().await.unwrap();
    assert_eq!(found[0].status, Status::Running(started.endpoint));
}

#[tokio::test]
async fn limits_and_defaults_are_on_the_container() {
    let lab = Lab::new();
    let mut workload = lab.workload(&["serve"]);
    // More cores than any host has: the engine would refuse that.
    workload.resources = Resources { cpu_millis: 4_000_000_000, memory: 100 << 20, gpus: 0 };
    workload.env = [("SECRET".to_owned(), "x y".to_owned())].into();
    let volume = format!("pilotlight-test-{}", random_id());
    workload.volumes = vec![
        Volume { source: VolumeSource::Named(volume.clone()), target: "/data".into(), read_only: false },
        Volume { source: VolumeSource::Host(lab.folder.0.clone()), target: "/host".into(), read_only: true },
    ];
    let order = lab.order(workload).await;
    let started = lab.runtime.start(&order).await.unwrap();
    let inspected: Value = serde_json::from_str(&docker(&["inspect", &started.id.0])).unwrap();
    let (config, host) = (&inspected[0]["Config"], &inspected[0]["HostConfig"]);
    let cores: u64 = docker(&["info", "--format", "{{.NCPU}}"]).parse().unwrap();
    assert_eq!(host["NanoCpus"], json!(cores * 1_000_000_000));
    assert_eq!(u64::from(order.revision.cpu_millis), cores * 1000, "its use is held against that");
    assert_eq!(host["Memory"], json!(100 << 20));
    assert_eq!(host["MemorySwap"], json!(100 << 20));
    assert_eq!(host["PidsLimit"], json!(1024));
    assert_eq!(host["Init"], json!(true));
    assert_eq!(host["SecurityOpt"], json!(["no-new-privileges"]));
    assert_eq!(host["CapDrop"], json!(["ALL"]));
    assert_eq!(host["CapAdd"].as_array().unwrap().len(), 7);
    assert_eq!(host["RestartPolicy"]["Name"], json!("no"));
    assert_eq!(host["Privileged"], json!(false));
    if docker(&["info", "--format", "{{.LoggingDriver}}"]) == "json-file" {
        assert_eq!(host["LogConfig"]["Config"], json!({"max-size": "10m", "max-file": "3"}));
    }
    let env = config["Env"].as_array().unwrap();
    assert!(env.contains(&json!("SECRET=x y")) && env.contains(&json!(format!("PORT={PORT}"))), "{env:?}");
    assert_eq!(config["Labels"]["pilotlight.revision"], json!(order.revision.hash));
    let mounts = inspected[0]["Mounts"].as_array().unwrap();
    let at = |target: &str| mounts.iter().find(|mount| mount["Destination"] == target).unwrap();
    assert_eq!((&at("/data")["Type"], &at("/data")["RW"]), (&json!("volume"), &json!(true)));
    assert_eq!((&at("/host")["Type"], &at("/host")["RW"]), (&json!("bind"), &json!(false)));
    lab.runtime.stop(&started.id, Duration::ZERO).await.unwrap();
    // A named volume outlives its replicas.
    docker(&["volume", "rm", &volume]);
}

/// What the proxy asks for when memory is short: of what rests, the network goes, and the next start needs none.
#[tokio::test]
async fn a_network_that_gives_way_is_not_missed() {
    let lab = Lab::with(DockerSpec { prepared: 1, ..DockerSpec::default() });
    let order = lab.order(lab.workload(&["serve"])).await;
    let first = lab.runtime.start(&order).await.unwrap();
    lab.runtime.give_way().await;
    assert!(lab.runtime.list().await.unwrap().iter().any(|it| it.id == first.id), "it runs, so it stays");
    let kept = lab.runtime.rest(&first.id, &order, Duration::from_secs(1)).await.unwrap();
    assert!(kept.is_some() && lab.runtime.keeps_network("web"));
    lab.runtime.give_way().await;
    assert!(!lab.runtime.keeps_network("web"));
    let left = docker(&["ps", "-aq", "--filter", &format!("label=pilotlight.instance={}", lab.id)]);
    assert_eq!(left.trim(), "", "the replica goes with its network");
    let again = lab.runtime.start(&order).await.unwrap();
    assert!(!again.kept);
    wait_until_listening(&again.endpoint).await;
}
