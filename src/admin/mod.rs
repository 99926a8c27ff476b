//! The admin API: what the proxy is doing, on an address of its own. Reads what the control plane shows; changes
//! nothing.

pub mod apps;
pub mod metrics;
pub mod wakes;

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;
use http::header::{ACCEPT, ALLOW, CACHE_CONTROL, CONTENT_TYPE};
use http::{HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use serde::Serialize;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;

use self::metrics::{Format, Metrics};
use crate::control::Board;
use crate::runtime::Runtime;

/// Connections served at once; the others wait to be accepted.
const MAX_CONNECTIONS: usize = 256;

/// For a request's head.
const HEADER_TIMEOUT: Duration = Duration::from_secs(10);

/// What it reads.
pub struct Sources {
    /// What the control plane shows.
    pub board: Arc<Board>,
    /// What is counted.
    pub metrics: Arc<Metrics>,
    /// What runs the replicas; asked for what it has in its books alone.
    pub runtime: Arc<dyn Runtime>,
}

/// Serves until dropped.
pub async fn serve(listener: TcpListener, sources: Sources) {
    let sources = Arc::new(sources);
    let places = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    let mut connections = tokio::task::JoinSet::new();
    loop {
        while connections.try_join_next().is_some() {}
        let Ok(place) = Arc::clone(&places).acquire_owned().await else { return };
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(error) => {
                tracing::warn!(%error, "cannot accept a connection to the admin API");
                tokio::time::sleep(Duration::from_millis(50)).await;
                continue;
            }
        };
        let sources = Arc::clone(&sources);
        let service = tower::service_fn(move |request: Request<Incoming>| {
            let sources = Arc::clone(&sources);
            async move { Ok::<_, Infallible>(answer(&sources, &request).await) }
        });
        connections.spawn(async move {
            let served = http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(HEADER_TIMEOUT)
                .serve_connection(TokioIo::new(stream), TowerToHyperService::new(service))
                .await;
            if let Err(error) = served {
                tracing::debug!(%error, "a connection to the admin API ended");
            }
            drop(place);
        });
    }
}

async fn answer(sources: &Sources, request: &Request<Incoming>) -> Response<Full<Bytes>> {
    let Sources { board, metrics, runtime } = sources;
    let (method, path) = (request.method(), request.uri().path());
    let adopted = board.adopted.load(Ordering::Relaxed);
    let mut response = match path {
        "/healthz" => text(StatusCode::OK, "ok\n"),
        "/readyz" if adopted => text(StatusCode::OK, "ready\n"),
        "/readyz" => text(StatusCode::SERVICE_UNAVAILABLE, "waiting for the runtime\n"),
        "/api/apps" => apps::list(&board.apps.load(), &**runtime),
        "/metrics" => scraped(Arc::clone(metrics), request.headers().get(ACCEPT)).await,
        path => match wakes::asked_for(path) {
            Some(name) => match wakes::list(&board.apps.load(), name) {
                Some(wakes) => json(&wakes),
                None => text(StatusCode::NOT_FOUND, "no such app; /api/apps has all of them\n"),
            },
            None => text(
                StatusCode::NOT_FOUND,
                "no such page; there are /healthz, /readyz, /api/apps, /api/apps/{name}/wakes and /metrics\n",
            ),
        },
    };
    if method != Method::GET && method != Method::HEAD && response.status() != StatusCode::NOT_FOUND {
        response = text(StatusCode::METHOD_NOT_ALLOWED, "GET alone\n");
        response.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
    }
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

async fn scraped(metrics: Arc<Metrics>, accept: Option<&HeaderValue>) -> Response<Full<Bytes>> {
    let format = Format::accepted(accept);
    // On a thread of its own: the figures of thousands of apps take longer than a wake may wait.
    let written = tokio::task::spawn_blocking(move || metrics.text(format)).await;
    match written {
        Ok(Ok(text)) => respond(StatusCode::OK, format.content_type(), text.into()),
        failed => {
            tracing::error!(?failed, "cannot write the metrics");
            respond(StatusCode::INTERNAL_SERVER_ERROR, "text/plain", Bytes::new())
        }
    }
}

fn json(value: &impl Serialize) -> Response<Full<Bytes>> {
    match serde_json::to_vec(value) {
        Ok(json) => respond(StatusCode::OK, "application/json", json.into()),
        Err(error) => {
            tracing::error!(%error, "cannot write an answer of the admin API");
            respond(StatusCode::INTERNAL_SERVER_ERROR, "text/plain", Bytes::new())
        }
    }
}

fn text(status: StatusCode, text: &'static str) -> Response<Full<Bytes>> {
    respond(status, "text/plain; charset=utf-8", Bytes::from_static(text.as_bytes()))
}

fn respond(status: StatusCode, content_type: &'static str, body: Bytes) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}
