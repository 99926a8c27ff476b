//! The admin API: what the proxy is doing, on an address of its own. Reads what the control plane shows; changes
//! nothing.

mod apps;

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;
use http::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE};
use http::{HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;

use crate::control::Board;

/// Connections served at once; the others wait to be accepted.
const MAX_CONNECTIONS: usize = 256;

/// For a request's head.
const HEADER_TIMEOUT: Duration = Duration::from_secs(10);

/// Serves until dropped.
pub async fn serve(listener: TcpListener, board: Arc<Board>) {
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
        let board = Arc::clone(&board);
        let service = tower::service_fn(move |request: Request<Incoming>| {
            std::future::ready(Ok::<_, Infallible>(answer(&board, request.method(), request.uri().path())))
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

fn answer(board: &Board, method: &Method, path: &str) -> Response<Full<Bytes>> {
    let adopted = board.adopted.load(Ordering::Relaxed);
    let mut response = match path {
        "/healthz" => text(StatusCode::OK, "ok\n"),
        "/readyz" if adopted => text(StatusCode::OK, "ready\n"),
        "/readyz" => text(StatusCode::SERVICE_UNAVAILABLE, "waiting for the runtime\n"),
        "/api/apps" => apps::list(&board.apps.load()),
        _ => text(StatusCode::NOT_FOUND, "no such page; there are /healthz, /readyz and /api/apps\n"),
    };
    if method != Method::GET && method != Method::HEAD && response.status() != StatusCode::NOT_FOUND {
        response = text(StatusCode::METHOD_NOT_ALLOWED, "GET alone\n");
        response.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
    }
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
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
