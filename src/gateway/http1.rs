//! One client's connection, spoken to in HTTP/1.

use std::rc::Rc;
use std::sync::Arc;

use http::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;

use crate::config::spec::ClientsSpec;
use crate::gateway::client::Client;
use crate::gateway::connections::End;
use crate::gateway::forward::{self, HangUp, Sight};
use crate::gateway::respond::Reject;
use crate::gateway::transport::{Tapped, Transport};
use crate::gateway::worker::{Stopping, Worker};

/// Fields that the parser has place for without asking for memory; more, or fewer, cost it some for each request.
const FIELDS: usize = 100;

/// Bytes of a body that may come along with a head.
const BEHIND: usize = 8 * 1024;

/// Serves requests until the connection ends.
pub async fn serve(
    worker: &Rc<Worker>,
    client: Arc<Client>,
    transport: Transport,
    spec: &ClientsSpec,
    stopping: Stopping,
) {
    let left = std::cell::Cell::new(spec.requests.unwrap_or(u64::MAX));
    let service = service_fn(|request: Request<Incoming>| {
        // Not within the future: the parser may read on before that is polled for the first time.
        let flaw = client.begins();
        left.set(left.get() - 1);
        let sight = Sight { flaw, last: left.get() == 0 };
        forward::answer(Rc::clone(worker), Arc::clone(&client), request, sight)
    });
    let mut builder = http1::Builder::new();
    builder
        // Silence is the tap's to notice: the parser would set a timer for each request.
        .header_read_timeout(None)
        .max_header_size(spec.header_bytes)
        .max_buf_size(spec.header_bytes + BEHIND)
        .preserve_header_case(spec.preserve_header_case);
    if spec.headers > FIELDS {
        builder.max_headers(spec.headers);
    }
    let tapped = Tapped::new(transport, Arc::clone(&client), spec.header_timeout, spec.idle_timeout);
    let io = TokioIo::new(tapped);
    let ended = {
        let connection = builder.serve_connection(io, service).with_upgrades();
        let mut connection = std::pin::pin!(connection);
        tokio::select! {
            ended = connection.as_mut() => ended,
            () = stopping => {
                connection.as_mut().graceful_shutdown();
                connection.await
            }
        }
    };
    if client.is_stalled() {
        worker.note_end(End::Stalled);
    } else if client.has_fallen_idle() {
        worker.note_end(End::Idle);
    } else if left.get() == 0 && ended.is_ok() && !client.has_switched() {
        worker.note_end(End::Requests);
    }
    if let Err(error) = ended {
        if let Some(reject) = refusal(&client, &error) {
            worker.note_unread(&client, &reject);
        }
        tracing::debug!(peer = %client.ip(), %error, "connection ended");
        // It was told nothing that it could lose.
        if std::error::Error::source(&error).is_some_and(<dyn std::error::Error>::is::<HangUp>) {
            return;
        }
    }
    client.linger().await;
}

/// What the parser has refused by itself.
fn refusal(client: &Client, error: &hyper::Error) -> Option<Reject> {
    if error.is_parse_too_large() {
        Some(Reject::HeaderTooLarge)
    } else if error.is_parse() {
        Some(Reject::BadRequest("no HTTP"))
    } else if client.is_amid_head() && is_late(error) {
        Some(Reject::BodyTimeout)
    } else {
        None
    }
}

fn is_late(error: &hyper::Error) -> bool {
    let source = std::error::Error::source(error).and_then(|source| source.downcast_ref::<std::io::Error>());
    source.is_some_and(|error| error.kind() == std::io::ErrorKind::TimedOut)
}
