//! What the demo's replicas run: the page's `/ping`, in this binary, so that the demo needs no image of anybody's.

use std::convert::Infallible;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::process::ExitCode;
use std::time::Duration;

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderValue, Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tokio::task::JoinSet;

/// Which replica has answered.
pub(super) const REPLICA: &str = "x-replica";

/// For a head, so also how long a connection may be idle: longer than the proxy keeps one.
const IDLE: Duration = Duration::from_secs(30);

/// Serves on `$PORT` at `at`, until SIGTERM.
#[must_use]
pub fn run(at: IpAddr) -> ExitCode {
    let port = std::env::var("PORT").ok().and_then(|port| port.parse().ok()).unwrap_or(8080);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    match runtime.and_then(|runtime| runtime.block_on(serve(SocketAddr::new(at, port)))) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("demo-app: {at}:{port}: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn serve(address: SocketAddr) -> io::Result<()> {
    // First of all: process 1 of a container is reached by no signal without a handler.
    let mut terminate = signal(SignalKind::terminate())?;
    let listener = TcpListener::bind(address).await?;
    let name = HeaderValue::try_from(name()).map_err(io::Error::other)?;
    let (stop, stopping) = watch::channel(false);
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            _ = terminate.recv() => break,
            accepted = listener.accept() => {
                let stream = TokioIo::new(accepted?.0);
                let name = name.clone();
                let stopping = stopped(stopping.clone());
                connections.spawn(async move {
                    let service = service_fn(move |request| {
                        std::future::ready(Ok::<_, Infallible>(answer(&request, &name)))
                    });
                    let mut builder = http1::Builder::new();
                    builder.timer(TokioTimer::new()).header_read_timeout(IDLE);
                    let mut connection = std::pin::pin!(builder.serve_connection(stream, service));
                    tokio::select! {
                        _ended = connection.as_mut() => {}
                        () = stopping => {
                            connection.as_mut().graceful_shutdown();
                            let _ended = connection.await;
                        }
                    }
                });
            }
            Some(_ended) = connections.join_next() => {}
        }
    }
    drop(listener);
    stop.send_replace(true);
    while connections.join_next().await.is_some() {}
    Ok(())
}

async fn stopped(mut stopping: watch::Receiver<bool>) {
    // Where nobody can tell any more, it is over as well.
    let _ended = stopping.wait_for(|stop| *stop).await;
}

fn answer(request: &Request<Incoming>, name: &HeaderValue) -> Response<Full<Bytes>> {
    let (status, body) = match request.uri().path() {
        "/ping" => (StatusCode::OK, r#"{"message":"Ping!"}"#),
        _ => (StatusCode::NOT_FOUND, r#"{"detail":"there is /ping"}"#),
    };
    let mut response = Response::new(Full::from(body));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response.headers_mut().insert(REPLICA, name.clone());
    response
}

/// A container has a host name of its own, a process only its number.
fn name() -> String {
    format!("{}-{}", rustix::system::uname().nodename().to_string_lossy(), std::process::id())
}
