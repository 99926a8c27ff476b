//! A double of an engine, for what a real one does not show on demand: another API version, a stream of
//! events that ends, work without end. Answers just enough to be taken for one.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::Value;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{Semaphore, watch};
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::timeout;

use crate::lab::PATIENCE;

/// How it differs from the engine at hand.
#[derive(Clone)]
pub(crate) struct Behaviour {
    /// The newest API version that it speaks, `1.N`: the N.
    pub(crate) newest: u32,
    /// The oldest.
    pub(crate) oldest: u32,
    /// What it says of any container. Creating one breaks off without an answer.
    pub(crate) container: Option<Value>,
    /// Calls whose path has this in it do not come to their end.
    pub(crate) slow: Option<Slow>,
}

/// Work that takes its time.
#[derive(Clone, Copy)]
pub(crate) struct Slow {
    /// A part of the call's path.
    pub(crate) path: &'static str,
    /// Says something each minute. If not, it says nothing, and breaks off when the test lets it go.
    pub(crate) talks: bool,
}

impl Behaviour {
    /// Speaks these versions, and knows of no container.
    pub(crate) fn speaking(oldest: u32, newest: u32) -> Self {
        Self { newest, oldest, container: None, slow: None }
    }

    /// An engine of the usual version that is slow at one thing.
    pub(crate) fn slow(path: &'static str, talks: bool) -> Self {
        Self { slow: Some(Slow { path, talks }), ..Self::speaking(12, 41) }
    }
}

/// Listens until it is told to end.
pub(crate) struct Double {
    socket: PathBuf,
    asked: Arc<Mutex<Vec<String>>>,
    work: Arc<Work>,
    task: JoinHandle<()>,
}

/// The slow calls under way.
struct Work {
    open: watch::Sender<usize>,
    /// As many as there ever were at once.
    most: Mutex<usize>,
    /// One for each call that may end.
    ends: Semaphore,
}

impl Double {
    pub(crate) fn at(socket: &Path, behaviour: Behaviour) -> Self {
        let listener = UnixListener::bind(socket).unwrap();
        let asked = Arc::default();
        let work =
            Arc::new(Work { open: watch::Sender::new(0), most: Mutex::default(), ends: Semaphore::new(0) });
        let task = tokio::spawn(accept(listener, behaviour, Arc::clone(&asked), Arc::clone(&work)));
        Self { socket: socket.to_owned(), asked, work, task }
    }

    /// Waits until so many slow calls are under way.
    pub(crate) async fn has_open(&self, fits: impl FnMut(&usize) -> bool) {
        let mut open = self.work.open.subscribe();
        timeout(PATIENCE, open.wait_for(fits)).await.expect("so many calls").expect("it goes on");
    }

    /// Lets `calls` slow ones end, one by one, each when `at_once` of those that are left are under way. Says how many
    /// were at most.
    pub(crate) async fn let_go(&self, calls: usize, at_once: usize) -> usize {
        for left in (1..=calls).rev() {
            self.has_open(|open| *open >= left.min(at_once)).await;
            self.work.ends.add_permits(1);
        }
        *self.work.most.lock().unwrap()
    }

    /// Goes away, and says which paths it was asked for.
    pub(crate) async fn end(self) -> Vec<String> {
        self.task.abort();
        drop(self.task.await);
        std::fs::remove_file(&self.socket).unwrap();
        self.asked.lock().unwrap().clone()
    }
}

async fn accept(
    listener: UnixListener,
    behaviour: Behaviour,
    asked: Arc<Mutex<Vec<String>>>,
    work: Arc<Work>,
) {
    let mut calls = JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        let (behaviour, asked, work) = (behaviour.clone(), Arc::clone(&asked), Arc::clone(&work));
        calls.spawn(async move { answer(stream, &behaviour, &asked, &work).await });
    }
}

/// What a pull or a build says.
const LINE: &str = "{\"status\": \"at work\"}\n";

/// A slow call, to its end or to that of the connection.
async fn take_time(mut stream: UnixStream, slow: Slow, work: &Work) {
    work.open.send_modify(|open| *open += 1);
    let open = *work.open.borrow();
    {
        let mut most = work.most.lock().unwrap();
        *most = open.max(*most);
    }
    let (mut from, mut to) = stream.split();
    let talk = async {
        if !slow.talks {
            return work.ends.acquire().await.unwrap().forget();
        }
        let head = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n";
        let mut text = head.to_owned();
        while to.write_all(text.as_bytes()).await.is_ok() {
            tokio::time::sleep(Duration::from_mins(1)).await;
            text = format!("{:x}\r\n{LINE}\r\n", LINE.len());
        }
    };
    let left = async { while from.read(&mut [0; 4096]).await.is_ok_and(|read| read > 0) {} };
    tokio::select! {
        () = talk => {}
        () = left => {}
    }
    work.open.send_modify(|open| *open -= 1);
}

async fn answer(
    mut stream: UnixStream,
    behaviour: &Behaviour,
    asked: &Mutex<Vec<String>>,
    work: &Work,
) -> Option<()> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.ok()?);
    }
    let head = String::from_utf8(head).unwrap();
    let path = head.split(' ').nth(1).unwrap().to_owned();
    asked.lock().unwrap().push(path.clone());
    if let Some(slow) = behaviour.slow.filter(|slow| path.contains(slow.path)) {
        take_time(stream, slow, work).await;
        return None;
    }
    let body = if path.ends_with("/version") {
        format!("{{\"ApiVersion\": \"1.{}\"}}", behaviour.newest)
    } else if path.ends_with("/info") {
        "{\"NCPU\": 2, \"MemTotal\": 4294967296, \"LoggingDriver\": \"json-file\"}".to_owned()
    } else if path.contains("/containers/json") {
        "[]".to_owned()
    } else {
        String::new()
    };
    let version = path.strip_prefix("/v1.").and_then(|rest| rest.split('/').next()?.parse::<u32>().ok());
    let (status, body) = match version {
        _ if path.contains("/containers/create") => return None,
        _ if path.contains("/images/") => ("404 Not Found", "{\"message\": \"No such image\"}".to_owned()),
        _ if path.contains("/containers/pilotlight-") => match &behaviour.container {
            Some(container) => ("200 OK", container.to_string()),
            None => ("404 Not Found", "{\"message\": \"No such container\"}".to_owned()),
        },
        Some(version) if !(behaviour.oldest..=behaviour.newest).contains(&version) => {
            ("400 Bad Request", "{\"message\": \"client version is too old or too new\"}".to_owned())
        }
        _ => ("200 OK", body),
    };
    let length = body.len();
    let text = format!(
        "HTTP/1.1 {status}\r\ncontent-type: application/json\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{body}"
    );
    stream.write_all(text.as_bytes()).await.ok()
}
