//! A host of the file that DNS does not know. The proxy has a network to itself, and a name server of ours in it.

use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::net::UdpSocket;
use std::os::fd::AsFd;
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use tokio::task::JoinHandle;

use crate::golden::assert_golden;
use crate::support::proxy::Setup;
use crate::support::wait::wait_until;
use crate::trouble::troubles;

/// A network without anything but its loopback. It goes with its guard, or with this process.
struct OwnNetwork {
    holder: Child,
    _lives: ChildStdin,
}

impl OwnNetwork {
    fn make() -> Self {
        let mut holder = Command::new("unshare")
            .args(["--net", "--", "sh", "-c", "ip link set lo up && echo up && exec cat"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("unshare runs");
        let lives = holder.stdin.take().expect("it was asked for");
        let mut said = String::new();
        let out = holder.stdout.take().expect("and so was this");
        BufReader::new(out).read_line(&mut said).expect("it can be read");
        assert_eq!(
            said, "up\n",
            "a network of one's own takes root, and `ip`: `tests/run prepare` installs it"
        );
        Self { holder, _lives: lives }
    }

    fn path(&self) -> String {
        format!("/proc/{}/ns/net", self.holder.id())
    }

    /// A socket there.
    fn bind(&self, address: &'static str) -> UdpSocket {
        let network = File::open(self.path()).expect("it is there");
        let bind = move || {
            move_into_link_name_space(network.as_fd(), Some(LinkNameSpaceType::Network))
                .expect("it may be entered");
            UdpSocket::bind(address).expect("nobody is there yet")
        };
        // Of a thread's own: the test stays where it is, and the socket where it was made.
        std::thread::spawn(bind).join().expect("no panic")
    }
}

impl Drop for OwnNetwork {
    fn drop(&mut self) {
        let _ = self.holder.kill();
        let _ = self.holder.wait();
    }
}

/// Answers what it is asked, for as long as it lives.
struct NameServer(JoinHandle<()>);

impl NameServer {
    /// `shop.test` exists once `opened` says so.
    fn on(socket: UdpSocket, opened: &Arc<AtomicBool>) -> Self {
        let opened = Arc::clone(opened);
        socket.set_nonblocking(true).expect("a socket can be told");
        let socket = tokio::net::UdpSocket::from_std(socket).expect("and given to tokio");
        Self(tokio::spawn(async move {
            let mut question = [0; 512];
            while let Ok((length, client)) = socket.recv_from(&mut question).await {
                let _gone = socket
                    .send_to(&answer(&question[..length], opened.load(Ordering::Relaxed)), client)
                    .await;
            }
        }))
    }
}

impl Drop for NameServer {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// `known.test` has an address, and so may `shop.test`; of `unsure.test` nothing can be told, and nothing else exists.
fn answer(question: &[u8], opened: bool) -> Vec<u8> {
    const HEADER: usize = 12;
    let asks_for = |name: &str| question.windows(name.len()).any(|part| part == name.as_bytes());
    // Behind the name, a zero, the type and the class: additional records of the question are left out.
    let end = HEADER + question[HEADER..].iter().position(|byte| *byte == 0).expect("a name ends") + 5;
    let is_a = question[end - 4..end - 2] == [0, 1];
    let (code, answers) = match (asks_for("known") || (opened && asks_for("shop")), asks_for("unsure")) {
        (true, _) => (0, u8::from(is_a)),
        (_, true) => (2, 0),
        _ => (3, 0),
    };
    let mut reply = question[..2].to_vec();
    reply.extend([0x81, 0x80 | code, 0, 1, 0, answers, 0, 0, 0, 0]);
    reply.extend(&question[HEADER..end]);
    if answers > 0 {
        // The name above, an A record of class IN, for a minute, of four bytes.
        reply.extend([0xC0, 0x0C, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4, 192, 0, 2, 1]);
    }
    reply
}

/// The words that put a proxy into that network, with the name server for its own.
fn within(network: &OwnNetwork, folder: &Path) -> Vec<String> {
    let file = |name: &str, text: &str| {
        fs::write(folder.join(name), text).expect("files can be written");
        format!("mount --bind {} /etc/{name}", folder.join(name).display())
    };
    let resolv = file("resolv.conf", "nameserver 127.0.0.1\noptions timeout:1 attempts:1\n");
    let switch = file("nsswitch.conf", "hosts: files dns\n");
    let script = format!("{resolv} && {switch} && exec \"$@\"");
    let net = format!("--net={}", network.path());
    let words = ["nsenter", &net, "--", "unshare", "--mount", "--", "sh", "-c", &script, "sh"];
    words.map(str::to_owned).to_vec()
}

fn yaml(hosts: &str) -> String {
    format!("name: web\ncommand: sleep 60\nautoscale: {{min: 0}}\nhost: [{hosts}]\n")
}

#[tokio::test]
async fn a_host_without_dns() {
    let network = OwnNetwork::make();
    let opened = Arc::default();
    let server = NameServer::on(network.bind("127.0.0.1:53"), &opened);
    let setup = Setup::process(&yaml("known.test, unsure.test, shop.test, '*.test', localhost, a.localhost"));
    let words = within(&network, setup.dir());
    let mut proxy = setup.within(words).start().await;
    wait_until("the host is told", || proxy.log().contains("shop.test")).await;
    wait_until("the others were looked up", || proxy.log().contains("unsure.test")).await;

    // A name is told once, and what is new at once. The last one comes after all that was not known.
    proxy.reload(&yaml("known.test, unsure.test, shop.test, zebra.test"));
    wait_until("the new one is told", || proxy.log().contains("zebra.test")).await;
    let text = troubles(&proxy.log()).concat();
    assert_golden("host-without-dns", &text, &[(&proxy.address().port().to_string(), "<port>")]);

    // What was put right is said to be, when the file is read again.
    opened.store(true, Ordering::Relaxed);
    proxy.reload(&yaml("shop.test, zebra.test"));
    wait_until("it is known now", || {
        proxy.log().lines().any(|line| line.contains("DNS knows this host now") && line.contains("shop.test"))
    })
    .await;

    // Where no server answers, nothing is known of any name.
    drop(server);
    proxy.reload(&yaml("lost.test"));
    wait_until("it was looked up", || proxy.log().contains("lost.test")).await;
    assert_eq!(troubles(&proxy.log()).concat(), text);
    assert!(proxy.stop().await.success());
}
