//! The load that wrk and h2load cannot make; each says what came of it as one line of JSON.
//!
//! - `load open-loop ADDRESS SECONDS CONNECTIONS RATE`
//! - `load websocket ADDRESS SECONDS CONNECTIONS`
//! - `load connections ADDRESS SECONDS CONNECTIONS`: a new one for each request
//! - `load handshakes ADDRESS SECONDS CONNECTIONS`: the same with TLS
//! - `load idle ADDRESS CONNECTIONS`: says `open` when they are, and holds them until its input ends

mod exchange;
mod fresh;
mod idle;
mod open_loop;
mod threads;
mod tls;
mod told;
mod websocket;

use std::env;
use std::str::FromStr;
use std::time::Duration;

use crate::threads::Plan;

fn main() {
    let given: Vec<String> = env::args().skip(1).collect();
    let word = |at: usize| given.get(at).map(String::as_str).unwrap_or_default();
    let address = read(word(1), "an address");
    if word(0) == "idle" {
        return idle::hold(address, read(word(2), "a number of connections"));
    }
    let plan = Plan {
        address,
        time: Duration::from_secs_f64(read(word(2), "seconds")),
        connections: read(word(3), "a number of connections"),
    };
    let told = match word(0) {
        "open-loop" => open_loop::run(&plan, read(word(4), "a rate")),
        "websocket" => threads::run(&plan, websocket::connection),
        "connections" => threads::run(&plan, fresh::clear),
        "handshakes" => threads::run(&plan, fresh::tls),
        other => panic!("no load is called {other:?}"),
    };
    println!("{}", told.json());
}

fn read<T: FromStr>(word: &str, what: &str) -> T {
    word.parse().unwrap_or_else(|_| panic!("{word:?} is not {what}"))
}
