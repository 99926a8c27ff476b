//! How often a request on a warm connection asks for memory. The proxy runs in this process, and so do its client and
//! its upstream, which ask for none.

#[path = "support/mod.rs"]
mod support;

use std::alloc::System;
use std::fs;
use std::thread;

use clap::Parser;
use pilotlight::cli::serve::{self, ServeArgs};
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};
use tempfile::TempDir;

use crate::support::plain::{self, Client};
use crate::support::wait::wait_for;

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// Requests before anything is counted: buffers and tables have their size by then.
const WARM: usize = 300;

/// Requests of a round. Of several rounds the least counts: the control plane asks for memory as well, now and then.
const ROUND: usize = 500;
const ROUNDS: usize = 10;

/// What each kind of exchange may cost, see [`plain::exchanges`]. Whoever can do with less writes that down here.
const MOST: [usize; 3] = [0, 0, 2];

#[derive(Debug, Parser)]
struct Arguments {
    #[command(flatten)]
    serve: ServeArgs,
}

#[tokio::test]
async fn a_request_asks_for_no_more_memory_than_before() {
    let dir = TempDir::new().expect("a folder");
    let (config, state) = (dir.path().join("jcloud.yml"), dir.path().join("state"));
    let keys = "runtime: process\nworkers: 1\nlisten: 127.0.0.1:0\nadmin: {listen: 127.0.0.1:0}";
    let text =
        format!("name: app\nupstream: http://{}\n{keys}\nstate_dir: {}\n", plain::serve(), state.display());
    fs::write(&config, text).expect("it can be written");
    let arguments = Arguments::parse_from(["pilotlight".as_ref(), "--config".as_ref(), config.as_os_str()]);
    // Ends with the process.
    thread::spawn(move || serve::run(&arguments.serve));
    let addresses = wait_for("the proxy listens", || {
        fs::read_to_string(state.join("listen")).ok().filter(|text| text.contains("admin"))
    });
    let addresses = addresses.await;
    let address = addresses.lines().find_map(|line| line.parse().ok()).expect("a public address");
    let counted = tokio::task::spawn_blocking(move || count(Client::open(address))).await.expect("no panic");
    assert!(
        counted.iter().zip(MOST).all(|((_, count), most)| *count <= most),
        "{counted:?}, at most {MOST:?}"
    );
}

/// Of each kind of exchange how often one of it asks for memory.
fn count(mut client: Client) -> Vec<(&'static str, usize)> {
    let mut counted = Vec::new();
    for (kind, request) in plain::exchanges() {
        (0..WARM).for_each(|_| client.exchange(&request));
        let rounds = (0..ROUNDS).map(|_| {
            let region = Region::new(ALLOCATOR);
            (0..ROUND).for_each(|_| client.exchange(&request));
            let change = region.change();
            // Rounded: an exchange's last step may fall into the next round.
            (change.allocations + change.reallocations + ROUND / 2) / ROUND
        });
        counted.push((kind, rounds.min().expect("there are some")));
    }
    counted
}
