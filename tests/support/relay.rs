//! A way to the real engine that a test can block: a double of the network between the two, of nothing else. Other
//! tests share the engine, so it cannot be stopped itself.

use std::fs;
use std::path::{Path, PathBuf};

use tokio::io::copy_bidirectional;
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// Where the real engine listens.
pub(crate) const ENGINE: &str = "/var/run/docker.sock";

/// What the way does with those who take it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    Open,
    /// Connections are taken, and nothing ever comes back: an engine that hangs.
    Mute,
}

/// A socket that leads to the real engine, until the test says otherwise.
pub(crate) struct Relay {
    socket: PathBuf,
    way: watch::Sender<Way>,
    accepting: Option<JoinHandle<()>>,
}

impl Relay {
    /// One that is open.
    pub(crate) fn open(socket: &Path) -> Self {
        Self::new(socket, Way::Open)
    }

    /// One that takes connections and says nothing.
    pub(crate) fn mute(socket: &Path) -> Self {
        Self::new(socket, Way::Mute)
    }

    fn new(socket: &Path, way: Way) -> Self {
        let mut relay = Self { socket: socket.to_owned(), way: watch::channel(way).0, accepting: None };
        relay.listen();
        relay
    }

    fn listen(&mut self) {
        let listener = UnixListener::bind(&self.socket).expect("nothing is there yet");
        let way = self.way.subscribe();
        self.accepting = Some(tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                tokio::spawn(relay(client, way.clone()));
            }
        }));
    }

    /// The engine hangs: every connection stays, and not one more byte comes through.
    pub(crate) fn fall_silent(&self) {
        self.way.send_replace(Way::Mute);
    }

    /// The engine is gone: every connection ends, and nobody listens.
    pub(crate) async fn cut(&mut self) {
        let accepting = self.accepting.take().expect("it listens");
        accepting.abort();
        let _ = accepting.await;
        fs::remove_file(&self.socket).expect("it is there");
        // Whoever relays a connection ends with the one who told it which way.
        self.way = watch::channel(Way::Open).0;
    }

    /// The engine is back. Connections that hung are closed.
    pub(crate) async fn restore(&mut self) {
        if self.accepting.is_some() {
            self.cut().await;
        }
        self.listen();
    }
}

async fn relay(mut client: UnixStream, mut way: watch::Receiver<Way>) {
    let closed = way.clone();
    let through = async {
        if *closed.borrow() == Way::Open
            && let Ok(mut engine) = UnixStream::connect(ENGINE).await
        {
            tokio::select! {
                _ = copy_bidirectional(&mut client, &mut engine) => return,
                _ = way.wait_for(|way| *way == Way::Mute) => {}
            }
        }
        std::future::pending::<()>().await;
    };
    let mut told = closed.clone();
    let ended = async { while told.changed().await.is_ok() {} };
    tokio::select! {
        () = through => {}
        () = ended => {}
    }
}
