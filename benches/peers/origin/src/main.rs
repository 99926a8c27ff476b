//! The upstream of every proxy: HTTP/1.1 by hand, since it must cost less than any of them, HTTP/2 for gRPC,
//! and WebSocket. `origin ADDRESS WORKERS`.

mod grpc;
mod http1;
mod websocket;

use std::env;
use std::net::SocketAddr;
use std::thread;

use socket2::{Domain, Socket, Type};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::LocalSet;

use crate::http1::Answers;

fn main() {
    let mut given = env::args().skip(1);
    let address: SocketAddr = given.next().and_then(|it| it.parse().ok()).expect("origin ADDRESS WORKERS");
    let workers: usize = given.next().and_then(|it| it.parse().ok()).expect("origin ADDRESS WORKERS");
    let answers: &'static Answers = Box::leak(Box::new(Answers::new()));
    let threads: Vec<_> = (0..workers).map(|_| thread::spawn(move || work(address, answers))).collect();
    for thread in threads {
        thread.join().expect("a worker does not end");
    }
}

/// One thread with a socket of its own.
fn work(address: SocketAddr, answers: &'static Answers) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    LocalSet::new().block_on(&runtime, async {
        let listener = listen(address);
        loop {
            let Ok((stream, _)) = listener.accept().await else { continue };
            tokio::task::spawn_local(serve(stream, answers));
        }
    });
}

fn listen(address: SocketAddr) -> TcpListener {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, None).expect("a socket");
    socket.set_reuse_address(true).expect("a socket takes it");
    socket.set_reuse_port(true).expect("a socket takes it");
    socket.set_nonblocking(true).expect("a socket takes it");
    socket.bind(&address.into()).expect("the address is free");
    socket.listen(4096).expect("it listens");
    TcpListener::from_std(socket.into()).expect("within the runtime")
}

async fn serve(stream: TcpStream, answers: &'static Answers) {
    let _ = stream.set_nodelay(true);
    let mut first = [0; 3];
    // No method but HTTP/2's preface begins so.
    match stream.peek(&mut first).await {
        Ok(_) if &first == b"PRI" => grpc::serve(stream).await,
        Ok(_) => http1::serve(stream, answers).await,
        Err(_) => {}
    }
}
