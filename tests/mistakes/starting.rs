//! What is in the way of the proxy's own start.

use std::net::TcpListener;

use crate::folder::{Folder, as_nobody};
use crate::golden::assert_golden;
use crate::support::proxy::Setup;

const APP: &str = "runtime: process\nname: web\ncommand: sleep 60\n";

#[tokio::test]
async fn a_port_that_is_taken() {
    let taken = TcpListener::bind("127.0.0.1:0").expect("a port can be had");
    let port = taken.local_addr().expect("it is bound").port().to_string();
    for (name, keys) in [
        ("listen-port-taken", format!("listen: 127.0.0.1:{port}\nadmin: {{listen: 127.0.0.1:0}}\n")),
        ("admin-port-taken", format!("listen: 127.0.0.1:0\nadmin: {{listen: 127.0.0.1:{port}}}\n")),
    ] {
        let folder = Folder::new(&(keys + APP));
        assert_golden(name, &folder.sees(&[]).await, &[(&port, "<port>")]);
    }
}

/// An address of RFC 5737, which nobody has.
#[tokio::test]
async fn an_address_of_another_machine() {
    let folder = Folder::new(&format!("listen: 192.0.2.1:80\nadmin: {{listen: 127.0.0.1:0}}\n{APP}"));
    assert_golden("address-of-another-machine", &folder.sees(&[]).await, &[]);
}

#[tokio::test]
async fn a_port_that_only_root_may_use() {
    let folder = Folder::new(&format!("listen: 80\nadmin: {{listen: 127.0.0.1:0}}\n{APP}"));
    let mut words = as_nobody(folder.path());
    if !words.is_empty() {
        // A container's network may let everybody use them; in a new one it is as on any machine.
        words.splice(0..0, ["unshare", "--net", "--"].map(str::to_owned));
    }
    assert_golden("privileged-port", &folder.sees_within(&words, &[]).await, &[]);
}

#[tokio::test]
async fn a_state_directory_that_somebody_else_owns() {
    let (folder, others) = (Folder::empty(), Folder::empty());
    folder.write("jcloud.yml", &format!("state_dir: {}/state\n{APP}", others.text()));
    let words = as_nobody(folder.path());
    let no_writing = std::os::unix::fs::PermissionsExt::from_mode(0o555);
    std::fs::set_permissions(others.path(), no_writing).expect("it is ours");
    let said = folder.sees_within(&words, &[]).await;
    assert_golden("state-dir-not-ours", &said, &[(&others.text(), "<folder>")]);
}

#[tokio::test]
async fn two_proxies_on_one_state_directory() {
    let proxy = Setup::process("name: web\ncommand: sleep 60\nautoscale: {min: 0}\n").start().await;
    let state_dir = proxy.dir().join("state").display().to_string();
    let folder = Folder::new(&format!("state_dir: {state_dir}\n{APP}"));
    let pid = proxy.pid().as_raw_nonzero().to_string();
    assert_golden("second-proxy", &folder.sees(&[]).await, &[(&state_dir, "<state_dir>"), (&pid, "<pid>")]);
}
