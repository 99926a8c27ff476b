//! The admin API, and `check`.

use std::fs;
use std::process::Command;

use hyper::Method;

use crate::proxy;
use crate::support::http::{Call, get};
use crate::support::proxy::Setup;
use crate::support::wait::wait_for_async;
use crate::support::yaml;

#[tokio::test]
async fn the_admin_api_tells_what_there_is() {
    let config = yaml::apps(&[("one", &[], "host: one.test"), ("two", &[], "host: two.test\npath: /x")]);
    let proxy = Setup::process(&config).start().await;
    let admin = proxy.admin();
    assert_eq!(get(admin, "/healthz").await.status, 200);
    wait_for_async("it is ready", || async { (get(admin, "/readyz").await.status == 200).then_some(()) })
        .await;
    assert_eq!(Call::get(proxy.address(), "/id").host("one.test").send().await.unwrap().status, 200);
    let apps = get(admin, "/api/apps").await;
    assert_eq!(apps.header("content-type"), "application/json");
    let apps = apps.json();
    let apps = apps.as_array().expect("a list");
    for app in apps {
        let keys = app.as_object().expect("an object each");
        for key in [
            "name",
            "runtime",
            "desired",
            "ready",
            "starting",
            "draining",
            "frozen",
            "in_flight",
            "held",
            "rps",
            "reason",
            "image",
            "routes",
        ] {
            assert!(keys.contains_key(key), "{key}: {app}");
        }
        assert_eq!(app["runtime"], "process");
    }
    let [one, two] = apps.as_slice() else { panic!("not two: {apps:?}") };
    assert_eq!((&one["name"], &one["ready"], &one["desired"]), (&"one".into(), &1.into(), &1.into()));
    assert_eq!((&two["name"], &two["ready"], &two["desired"]), (&"two".into(), &0.into(), &0.into()));
    assert_eq!(two["routes"], serde_json::json!(["two.test/x"]));
    assert!(one["rps"].as_f64() > Some(0.0), "{one}");
    for path in ["/", "/api", "/api/apps/one", "/id"] {
        assert_eq!(get(admin, path).await.status, 404, "{path}");
    }
    assert_eq!(Call::new(Method::DELETE, admin, "/api/apps").send().await.unwrap().status, 405);
    assert_eq!(get(proxy.address(), "/api/apps").await.status, 404, "it is not public");
}

#[tokio::test]
async fn what_waits_and_what_runs_is_seen() {
    let proxy = proxy(&[("START_WHEN", "{report}/go")], "").await;
    let call = tokio::spawn(Call::get(proxy.address(), &proxy.until("seen")).send());
    let seen = |key: &'static str| {
        wait_for_async(format!("one {key}"), {
            let proxy = &proxy;
            move || async move { (proxy.only_app().await[key] == 1).then_some(()) }
        })
    };
    seen("held").await;
    seen("starting").await;
    proxy.tell("go");
    seen("in_flight").await;
    proxy.tell("seen");
    assert_eq!(call.await.unwrap().unwrap().status, 200);
}

#[test]
fn check_says_yes_or_shows_every_mistake() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("jcloud.yml");
    let check = |text: &str| {
        fs::write(&file, text).unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_pilotlight"));
        let output = command.arg("check").arg("--config").arg(&file).output().unwrap();
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        (output.status.code(), text(output.stdout), text(output.stderr))
    };
    let (code, out, err) = check("runtime: process\nname: web\ncommand: serve\n");
    assert_eq!((code, err.as_str()), (Some(0), ""));
    assert!(out.contains("web") && out.contains("serve"), "{out}");
    let (code, out, err) = check("runtime: process\nname: web\ncomand: serve\nautoscale: {min: 3, max: 2}\n");
    assert_eq!((code, out.as_str()), (Some(1), ""));
    assert!(err.contains(":3:1") && err.contains("command") && err.contains(":4:"), "{err}");
    fs::remove_file(&file).unwrap();
    let gone = Command::new(env!("CARGO_BIN_EXE_pilotlight"))
        .arg("check")
        .arg("--config")
        .arg(&file)
        .output()
        .unwrap();
    assert_eq!(gone.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&gone.stderr).contains("jcloud.yml"));
}
