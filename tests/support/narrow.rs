//! A way to a server that a test can narrow or block: a double of a bad network between an engine and a registry.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt, copy};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// One step of a trickle: so much, then so long nothing.
const BLOCK: usize = 2 << 10;
const PAUSE: Duration = Duration::from_millis(20);

/// How answers come through.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Pace {
    Open,
    Trickle,
    /// Not one more byte, and the connection stays.
    Stuck,
}

/// A port that leads to a server.
pub(crate) struct Narrow {
    address: SocketAddr,
    pace: watch::Sender<Pace>,
    accepting: JoinHandle<()>,
}

impl Narrow {
    /// One that is wide open.
    pub(crate) async fn to(server: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port can be had");
        let address = listener.local_addr().expect("it is bound");
        let (pace, told) = watch::channel(Pace::Open);
        let accepting = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                tokio::spawn(relay(client, server, told.clone()));
            }
        });
        Self { address, pace, accepting }
    }

    /// The port.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Everything comes through at once again.
    pub(crate) fn open(&self) {
        self.pace.send_replace(Pace::Open);
    }

    /// From now on answers come in drops.
    pub(crate) fn trickle(&self) {
        self.pace.send_replace(Pace::Trickle);
    }

    /// From now on nothing comes through, on any connection.
    pub(crate) fn stick(&self) {
        self.pace.send_replace(Pace::Stuck);
    }
}

impl Drop for Narrow {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

async fn relay(mut client: TcpStream, server: SocketAddr, mut pace: watch::Receiver<Pace>) {
    let Ok(mut server) = TcpStream::connect(server).await else { return };
    let (mut from_client, mut to_client) = client.split();
    let (mut from_server, mut to_server) = server.split();
    let answers = async {
        let mut block = vec![0; BLOCK];
        while let Ok(length @ 1..) = from_server.read(&mut block).await {
            if *pace.borrow() == Pace::Trickle {
                tokio::time::sleep(PAUSE).await;
            }
            if pace.wait_for(|pace| *pace != Pace::Stuck).await.is_err()
                || to_client.write_all(&block[..length]).await.is_err()
            {
                return;
            }
        }
    };
    // Either end that closes ends both.
    tokio::select! {
        () = answers => {}
        _ = copy(&mut from_client, &mut to_server) => {}
    }
}
