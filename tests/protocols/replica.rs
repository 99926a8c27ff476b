//! A replica whose every byte is the test's own.

use std::net::SocketAddr;

use tokio::net::TcpListener;
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::timeout;

use crate::support::fountain;
use crate::support::proxy::{Proxy, Setup};
use crate::support::wait::LIMIT;
use crate::support::wire::Wire;

/// The server, within the test. Dropping it ends it.
pub(crate) struct Replica {
    address: SocketAddr,
    asked: UnboundedReceiver<Asked>,
    accepting: JoinHandle<()>,
}

/// The first request on a connection, of which nothing is answered yet. Dropping it closes that.
pub(crate) struct Asked {
    /// The request's head.
    pub(crate) head: String,
    /// What follows that, and the way back.
    pub(crate) wire: Wire,
}

impl Replica {
    /// Starts one.
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port is free");
        let address = listener.local_addr().expect("it has one");
        let (tell, asked) = unbounded_channel();
        let accepting = tokio::spawn(async move {
            // Dropped with the server, and all connections with it on which nobody has asked for anything.
            let mut connections = JoinSet::new();
            while let Ok((mut stream, _)) = listener.accept().await {
                let tell = tell.clone();
                connections.spawn(async move {
                    // One without a request is a check of whether it is up.
                    if let Ok(Some(head)) = fountain::head(&mut stream).await {
                        let _ = tell.send(Asked { head, wire: Wire::over(stream) });
                    }
                });
                while connections.try_join_next().is_some() {}
            }
        });
        Self { address, asked, accepting }
    }

    /// A proxy in front of it, with further keys, a line each.
    pub(crate) async fn proxy(&self, keys: &str) -> Proxy {
        self.setup(keys).start().await
    }

    /// The same before it is started.
    pub(crate) fn setup(&self, keys: &str) -> Setup {
        Setup::process(&format!("name: app\nupstream: http://{}\n{keys}\n", self.address))
    }

    /// The next request that comes on a connection of its own.
    pub(crate) async fn asked(&mut self) -> Asked {
        let asked = timeout(LIMIT, self.asked.recv()).await;
        asked.expect("a request comes, on a new connection").expect("it listens")
    }
}

impl Drop for Replica {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

impl Asked {
    /// The request's body, without its chunks' frames.
    pub(crate) async fn body(&mut self) -> Vec<u8> {
        if let Some(length) = self.length() {
            return self.wire.take(length).await;
        }
        let mut body = Vec::new();
        while let Some(chunk) = self.wire.chunk().await {
            body.extend(chunk);
        }
        body
    }

    /// The next so many bytes of it, where no more has been sent yet.
    pub(crate) async fn part(&mut self, length: usize) -> Vec<u8> {
        if self.length().is_some() {
            return self.wire.take(length).await;
        }
        let mut part = Vec::new();
        while part.len() < length {
            part.extend(self.wire.chunk().await.expect("the body goes on"));
        }
        part
    }

    /// How long the body is, where the head says so.
    fn length(&self) -> Option<usize> {
        self.head.lines().find_map(|line| line.strip_prefix("content-length: ")?.parse().ok())
    }
}
