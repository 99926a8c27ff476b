//! How many instructions a request on a warm connection takes: `cargo bench --bench instructions`.
//!
//! Valgrind counts them, so that they are the same on a noisy machine as on a quiet one. Each kind of exchange is carried
//! a few times and many times, and what the start and the end cost falls out of the difference. Fails where there are
//! more than what is written down here; whoever needs fewer writes that down.

#[path = "../tests/support/mod.rs"]
mod support;

use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Command, ExitCode};

use support::plain::{self, Client};
use support::proxy::Setup;

/// Requests of the short run and of the long one.
const COUNTS: (u64, u64) = (500, 2_500);

/// Instructions of each kind of exchange, see [`plain::exchanges`], in this build: with the toolchain of
/// `rust-version`, on x86-64.
const RECORDED: [u64; 3] = [24_302, 24_988, 27_024];

/// Another compiler's choices, in per cent.
const SLACK: u64 = 2;

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    if let Err(error) = Command::new("valgrind").arg("--version").output() {
        eprintln!("cannot run valgrind: {error}; on Debian, `apt-get install valgrind` brings it");
        return ExitCode::FAILURE;
    }
    let upstream = plain::serve();
    let mut within = true;
    println!("instructions of a request, its access log included:");
    for ((kind, request), recorded) in plain::exchanges().into_iter().zip(RECORDED) {
        let few = total(upstream, &request, COUNTS.0).await;
        let many = total(upstream, &request, COUNTS.1).await;
        let each = (many - few) / (COUNTS.1 - COUNTS.0);
        println!("  {kind}: {each} (recorded: {recorded})");
        within &= each <= recorded + recorded * SLACK / 100;
    }
    if within { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Instructions from the start of a proxy to its end, with so many requests between.
async fn total(upstream: SocketAddr, request: &[u8], count: u64) -> u64 {
    let yaml = format!("name: app\nupstream: http://{upstream}\nworkers: 1\naccess_log: access.log\n");
    let setup = Setup::process(&yaml);
    let counted = setup.dir().join("counted");
    let valgrind = ["valgrind", "--tool=callgrind", "--quiet"].map(str::to_owned);
    let out = format!("--callgrind-out-file={}", counted.display());
    let mut proxy = setup.within([&valgrind[..], &[out]].concat()).start().await;
    let (address, request) = (proxy.address(), request.to_vec());
    let carried = tokio::task::spawn_blocking(move || {
        let mut client = Client::open(address);
        (0..count).for_each(|_| client.exchange(&request));
    });
    carried.await.expect("each was answered");
    proxy.stop().await;
    read(&counted)
}

/// The total in what Valgrind has written.
fn read(counted: &Path) -> u64 {
    let text = fs::read_to_string(counted).expect("Valgrind has written it");
    let total = text.lines().find_map(|line| line.strip_prefix("totals: "));
    total.and_then(|total| total.trim().parse().ok()).expect("a total of one event")
}
