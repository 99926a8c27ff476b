//! Connections that have each had an answer and ask for nothing more.

use std::io::{Read, stdin};
use std::net::SocketAddr;

use tokio::net::TcpStream;

use crate::exchange::{KEPT, exchange};

pub fn hold(address: SocketAddr, count: usize) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let held: Vec<TcpStream> = runtime.block_on(async {
        let mut held = Vec::with_capacity(count);
        for _ in 0..count {
            let mut stream = TcpStream::connect(address).await.expect("it listens");
            exchange(&mut stream, KEPT).await.expect("an answer");
            held.push(stream);
        }
        held
    });
    println!("open");
    // Its end is the sign to leave.
    let _ = stdin().read_to_end(&mut Vec::new());
    drop(held);
}
