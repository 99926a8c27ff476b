//! Path to answer. Owns what each endpoint says; how connections live is `serve`'s business.

use std::collections::HashMap;
use std::convert::Infallible;
use std::io;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper::header::{CONTENT_TYPE, HeaderValue, TRAILER};
use hyper::{Method, Request, Response, StatusCode};
use rustix::time::{ClockId, clock_gettime};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::bodies::{AnyBody, Broken, Tracked, Zeros, paced, whole};
use crate::journal::Journal;
use crate::knobs::Knobs;
use crate::told;
use crate::upgrade::{self, Kind};

/// What `/hold-memory?mb=N` holds, in place of what it held before.
static HELD: Mutex<Vec<u8>> = Mutex::new(Vec::new());

/// What the endpoints of one connection share.
#[derive(Clone)]
pub(crate) struct Routes {
    /// Where events go.
    journal: Arc<Journal>,
    /// When `/healthz` begins to answer 200.
    ready_after: Duration,
    /// And what must be there by then.
    ready_when: Option<PathBuf>,
    /// Makes the connection's next write nonsense.
    spoil: Arc<AtomicBool>,
}

impl Routes {
    /// Those of a connection, which `spoil` spoils.
    pub(crate) fn new(journal: Arc<Journal>, knobs: &Knobs, spoil: Arc<AtomicBool>) -> Self {
        Self { journal, ready_after: knobs.ready_after, ready_when: knobs.ready_when.clone(), spoil }
    }

    /// Answers one request.
    pub(crate) async fn answer(self, request: Request<Incoming>) -> Result<Response<AnyBody>, Infallible> {
        // What the proxy and the tests ask about the app is no part of what it counts.
        match request.uri().path() {
            "/stats" => return Ok(json_answer(&self.journal.stats())),
            "/healthz" => return Ok(self.health()),
            _ => {}
        }
        let seq =
            request.headers().get("x-seq").map(|seq| String::from_utf8_lossy(seq.as_bytes()).into_owned());
        let open = self.journal.arrival(request.uri().path(), seq);
        let kind = match request.uri().path() {
            "/ws" => Some(Kind::WebSocket),
            "/upgrade" => Some(Kind::Raw),
            _ => None,
        };
        if let Some(kind) = kind {
            return Ok(upgrade::accept(kind, request, open));
        }
        let bodyless = request.method() == Method::HEAD;
        let response = self.plain(request).await;
        Ok(response.map(|body| Tracked::boxed(body, open, bodyless)))
    }

    fn health(&self) -> Response<AnyBody> {
        let old_enough =
            u128::try_from(self.journal.age_ms()).is_ok_and(|age| age >= self.ready_after.as_millis());
        let ready = old_enough && self.ready_when.as_deref().is_none_or(Path::exists);
        status(if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE }, "")
    }

    /// Every endpoint whose connection stays HTTP.
    async fn plain(&self, request: Request<Incoming>) -> Response<AnyBody> {
        let query = Query::of(&request);
        match request.uri().path() {
            "/ping" => json_answer(&json!({ "message": "Ping!" })),
            "/id" => Response::new(whole(self.journal.replica().to_owned())),
            "/sleep" => {
                tokio::time::sleep(query.millis("ms", 0)).await;
                if let Some(file) = query.file("until") {
                    told::by(file).await;
                }
                Response::new(whole("slept\n"))
            }
            "/echo" => echo(request),
            "/headers" => {
                let mut answer = json_answer(&self.describe(&request));
                *answer.status_mut() = query.status();
                answer
            }
            "/stream" => {
                let size = query.get("size", 16);
                Response::new(paced(query.get("chunks", 10), query.millis("every_ms", 100), size))
            }
            "/bytes" => Response::new(Zeros::boxed(query.get("n", 1024))),
            "/slow-body" => match body_length(request.into_body()).await {
                Ok(length) => Response::new(whole(format!("{length}\n"))),
                Err(error) => status(StatusCode::BAD_REQUEST, format!("{error}\n")),
            },
            "/exit" => {
                self.journal.note("exit");
                std::process::exit(query.get("code", 1))
            }
            "/die-mid-body" => Response::new(Broken::boxed(query.get("n", 4096))),
            "/garbage" => {
                self.spoil.store(true, Ordering::Relaxed);
                Response::new(whole("never sent\n"))
            }
            "/status" => {
                let code = query.status();
                status(code, format!("{code}\n"))
            }
            "/burn" => {
                let length = query.millis("ms", 100);
                let burnt = tokio::task::spawn_blocking(move || burn(length)).await;
                status(
                    if burnt.is_ok() { StatusCode::OK } else { StatusCode::INTERNAL_SERVER_ERROR },
                    "burnt\n",
                )
            }
            "/hold-memory" => {
                let bytes = query.get::<usize>("mb", 0) << 20;
                *HELD.lock().unwrap_or_else(PoisonError::into_inner) = vec![1; bytes];
                Response::new(whole("held\n"))
            }
            "/fetch" => {
                match fetch(&query.get("from", String::new()), &query.get("path", "/".to_owned())).await {
                    Ok(answer) => Response::new(whole(answer)),
                    Err(error) => status(StatusCode::BAD_GATEWAY, format!("{error}\n")),
                }
            }
            "/" => Response::new(whole("test-app\n")),
            _ => status(StatusCode::NOT_FOUND, "no such endpoint\n"),
        }
    }

    fn describe(&self, request: &Request<Incoming>) -> Value {
        let headers: Vec<_> = request
            .headers()
            .iter()
            .map(|(name, value)| (name.as_str(), String::from_utf8_lossy(value.as_bytes())))
            .collect();
        json!({
            "method": request.method().as_str(),
            "uri": request.uri().to_string(),
            "version": format!("{:?}", request.version()),
            "headers": headers,
            "replica": self.journal.replica(),
        })
    }
}

/// The request's body and trailers, as they come.
fn echo(request: Request<Incoming>) -> Response<AnyBody> {
    // hyper sends only those trailers that the head announces.
    let announced: Vec<_> = request.headers().get_all(TRAILER).iter().cloned().collect();
    let kind = request.headers().get(CONTENT_TYPE).cloned();
    let mut response = Response::new(request.into_body().map_err(io::Error::other).boxed_unsync());
    for name in announced {
        response.headers_mut().append(TRAILER, name);
    }
    if let Some(kind) = kind {
        response.headers_mut().insert(CONTENT_TYPE, kind);
    }
    response
}

/// What another app answers: the body of a GET.
async fn fetch(from: &str, path: &str) -> io::Result<Vec<u8>> {
    let mut stream = TcpStream::connect(from).await?;
    stream.write_all(format!("GET {path} HTTP/1.0\r\n\r\n").as_bytes()).await?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await?;
    let head = answer.windows(4).position(|end| end == b"\r\n\r\n").ok_or(io::ErrorKind::InvalidData)?;
    Ok(answer.split_off(head + 4))
}

async fn body_length(mut body: Incoming) -> hyper::Result<usize> {
    let mut length = 0;
    while let Some(frame) = body.frame().await {
        length += frame?.data_ref().map_or(0, bytes::Bytes::len);
    }
    Ok(length)
}

/// Uses `length` of CPU time, however long a busy machine takes to grant it.
fn burn(length: Duration) {
    let used = || Duration::try_from(clock_gettime(ClockId::ThreadCPUTime)).unwrap_or_default();
    let start = used();
    while used().saturating_sub(start) < length {
        std::hint::spin_loop();
    }
}

fn status(code: StatusCode, text: impl Into<bytes::Bytes>) -> Response<AnyBody> {
    let mut response = Response::new(whole(text));
    *response.status_mut() = code;
    response
}

fn json_answer(value: &Value) -> Response<AnyBody> {
    let mut response = Response::new(whole(value.to_string()));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

/// What follows the question mark: names, numbers and files, nothing that needs decoding.
struct Query(HashMap<String, String>);

impl Query {
    fn of(request: &Request<Incoming>) -> Self {
        let pairs =
            request.uri().query().unwrap_or_default().split('&').filter_map(|pair| pair.split_once('='));
        Self(pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).collect())
    }

    fn get<T: FromStr>(&self, name: &str, default: T) -> T {
        self.0.get(name).and_then(|value| value.parse().ok()).unwrap_or(default)
    }

    fn file(&self, name: &str) -> Option<&Path> {
        self.0.get(name).map(Path::new)
    }

    /// What an answer is to have.
    fn status(&self) -> StatusCode {
        StatusCode::from_u16(self.get("code", 200)).unwrap_or(StatusCode::BAD_REQUEST)
    }

    fn millis(&self, name: &str, default: u64) -> Duration {
        Duration::from_millis(self.get(name, default))
    }
}
