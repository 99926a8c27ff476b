//! A double of an engine, for what a real one does not show on demand: another API version, a stream of
//! events that ends. Answers just enough to be taken for one.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use serde_json::Value;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{UnixListener, UnixStream};
use tokio::task::JoinHandle;

/// How it differs from the engine at hand.
#[derive(Clone)]
pub(crate) struct Behaviour {
    /// The newest API version that it speaks, `1.N`: the N.
    pub(crate) newest: u32,
    /// The oldest.
    pub(crate) oldest: u32,
    /// What it says of any container. Creating one breaks off without an answer.
    pub(crate) container: Option<Value>,
}

impl Behaviour {
    /// Speaks these versions, and knows of no container.
    pub(crate) fn speaking(oldest: u32, newest: u32) -> Self {
        Self { newest, oldest, container: None }
    }
}

/// Listens until it is told to end.
pub(crate) struct Double {
    socket: PathBuf,
    asked: Arc<Mutex<Vec<String>>>,
    task: JoinHandle<()>,
}

impl Double {
    pub(crate) fn at(socket: &Path, behaviour: Behaviour) -> Self {
        let listener = UnixListener::bind(socket).unwrap();
        let asked = Arc::default();
        let task = tokio::spawn(accept(listener, behaviour, Arc::clone(&asked)));
        Self { socket: socket.to_owned(), asked, task }
    }

    /// Goes away, and says which paths it was asked for.
    pub(crate) async fn end(self) -> Vec<String> {
        self.task.abort();
        drop(self.task.await);
        std::fs::remove_file(&self.socket).unwrap();
        self.asked.lock().unwrap().clone()
    }
}

async fn accept(listener: UnixListener, behaviour: Behaviour, asked: Arc<Mutex<Vec<String>>>) {
    while let Ok((stream, _)) = listener.accept().await {
        if let Some(path) = answer(stream, &behaviour).await {
            asked.lock().unwrap().push(path);
        }
    }
}

async fn answer(mut stream: UnixStream, behaviour: &Behaviour) -> Option<String> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.ok()?);
    }
    let head = String::from_utf8(head).unwrap();
    let path = head.split(' ').nth(1).unwrap().to_owned();
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
        _ if path.contains("/containers/create") => return Some(path),
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
    drop(stream.write_all(text.as_bytes()).await);
    Some(path)
}
