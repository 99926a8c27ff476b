//! A Docker Engine that cannot be had.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixListener;

use crate::folder::as_nobody;
use crate::golden::assert_golden;
use crate::support::proxy::{Proxy, Setup};
use crate::support::wait::wait_for_async;
use crate::trouble::{logged, reason};

const YAML: &str =
    "name: web\nimage: nginx\nautoscale: {min: 0, max: 1}\ndocker: {socket: '{report}/docker.sock'}\n";

/// Visitors are held meanwhile, for as long as a restart of the engine may take.
async fn told(name: &str, proxy: &Proxy) {
    let logged = logged(proxy).await;
    let reason = wait_for_async("/api/apps says what the log says", || async {
        Some(reason(proxy).await).filter(|reason| logged.contains(reason))
    })
    .await;
    let text = format!("/api/apps says:\n{reason}\n\nThe log says:\n{logged}");
    let socket = proxy.report_dir().join("docker.sock").display().to_string();
    assert_golden(name, &text, &[(&socket, "/var/run/docker.sock")]);
}

#[tokio::test]
async fn an_engine_that_is_not_there() {
    let proxy = Setup::docker(YAML).start().await;
    told("engine-not-running", &proxy).await;
}

#[tokio::test]
async fn an_engine_that_has_stopped() {
    let setup = Setup::docker(YAML);
    // Its socket stays.
    drop(UnixListener::bind(setup.dir().join("report/docker.sock")).expect("it can be made"));
    let proxy = setup.start().await;
    told("engine-stopped", &proxy).await;
}

#[tokio::test]
async fn an_engine_that_this_user_may_not_use() {
    let setup = Setup::docker(YAML);
    let socket = setup.dir().join("report/docker.sock");
    let _listens = UnixListener::bind(&socket).expect("it can be made");
    fs::set_permissions(&socket, fs::Permissions::from_mode(0o000)).expect("it is ours");
    let words = as_nobody(setup.dir());
    let proxy = setup.within(words).start().await;
    told("engine-no-permission", &proxy).await;
}
