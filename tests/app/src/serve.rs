//! The process's life: wait, listen, serve, and on SIGTERM finish what is open. Owns every connection's end.

use std::future::{Future, pending};
use std::io;
use std::pin::pin;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::sleep;

use crate::door::{Door, Stream};
use crate::journal::Journal;
use crate::knobs::{Knobs, Manner};
use crate::raw::{self, Wire};
use crate::routes::Routes;
use crate::told;

/// Serves until SIGTERM, or until the environment says to end.
pub(crate) async fn run(knobs: Knobs, journal: Arc<Journal>) -> ExitCode {
    // First of all: in a container this is process 1, which no signal without a handler reaches.
    let mut terms = signal(SignalKind::terminate()).expect("signals can be handled");
    journal.note("boot");
    let (drain, draining) = watch::channel(false);
    let mut life = pin!(live(&knobs, &journal, draining));
    let mut expiry = pin!(after(knobs.exit_after));
    let code = loop {
        tokio::select! {
            lived = &mut life => match lived {
                Ok(()) => break ExitCode::SUCCESS,
                Err(error) => {
                    eprintln!("test-app: {:?}: {error}", knobs.place);
                    break ExitCode::FAILURE;
                }
            },
            () = &mut expiry => break ExitCode::from(3),
            _ = terms.recv() => {
                journal.note("sigterm");
                if !knobs.ignore_term {
                    drain.send_replace(true);
                }
            }
        }
    };
    journal.note("exit");
    code
}

/// From the start to the last answer; returns only because of a drain or an error.
async fn live(knobs: &Knobs, journal: &Arc<Journal>, draining: watch::Receiver<bool>) -> io::Result<()> {
    tokio::select! {
        () = held_back(knobs) => {}
        () = drained(draining.clone()) => return Ok(()),
    }
    if knobs.never_listen {
        drained(draining).await;
        return Ok(());
    }
    let door = Door::open(&knobs.place, knobs.backlog)?;
    journal.listening(door.port()?);
    let mut connections = JoinSet::new();
    loop {
        let may_accept = !knobs.single || connections.is_empty();
        tokio::select! {
            biased;
            () = drained(draining.clone()) => break,
            stream = door.accept(), if may_accept => {
                connections.spawn(converse(stream?, knobs.clone(), Arc::clone(journal), draining.clone()));
            }
            Some(_) = connections.join_next() => {}
        }
    }
    drop(door);
    while connections.join_next().await.is_some() {}
    // What was upgraded has left hyper's hands, and its request is still open.
    journal.quiet().await;
    Ok(())
}

/// One connection, to its end.
async fn converse(stream: Stream, knobs: Knobs, journal: Arc<Journal>, draining: watch::Receiver<bool>) {
    match knobs.manner {
        Manner::Http => http(stream, &knobs, journal, draining).await,
        Manner::H2c => http2(stream, &knobs, journal, draining).await,
        Manner::Silent => unless_drained(raw::say_nothing(stream), draining).await,
        Manner::Garbage => unless_drained(raw::say_nonsense(stream), draining).await,
        Manner::TwoLengths => unless_drained(raw::say_two_lengths(stream), draining).await,
    }
}

async fn http(stream: Stream, knobs: &Knobs, journal: Arc<Journal>, draining: watch::Receiver<bool>) {
    let (mut wire, spoil) = Wire::new(stream);
    let routes = Routes::new(journal, knobs, spoil);
    let mut builder = http1::Builder::new();
    if let Some(idle) = knobs.keep_alive {
        // hyper's limit for a head begins where the connection falls idle, and on a new one at once: there it is to
        // begin with the first byte.
        builder.timer(TokioTimer::new()).header_read_timeout(idle);
        let begins = tokio::select! {
            begins = wire.begins() => begins,
            () = drained(draining.clone()) => false,
        };
        if !begins {
            return;
        }
    }
    let service = service_fn(move |request| routes.clone().answer(request));
    let mut connection = pin!(builder.serve_connection(TokioIo::new(wire), service).with_upgrades());
    // A connection's errors are its client's affair, and the journal has what became of the request.
    tokio::select! {
        _ = connection.as_mut() => {}
        () = drained(draining) => {
            connection.as_mut().graceful_shutdown();
            let _ = connection.await;
        }
    }
}

async fn http2(stream: Stream, knobs: &Knobs, journal: Arc<Journal>, draining: watch::Receiver<bool>) {
    let (wire, spoil) = Wire::new(stream);
    let routes = Routes::new(journal, knobs, spoil);
    let service = service_fn(move |request| routes.clone().answer(request));
    let builder = http2::Builder::new(TokioExecutor::new());
    let mut connection = pin!(builder.serve_connection(TokioIo::new(wire), service));
    tokio::select! {
        _ = connection.as_mut() => {}
        () = drained(draining) => {
            connection.as_mut().graceful_shutdown();
            let _ = connection.await;
        }
    }
}

async fn unless_drained(conversation: impl Future<Output = ()>, draining: watch::Receiver<bool>) {
    tokio::select! {
        () = conversation => {}
        () = drained(draining) => {}
    }
}

/// Resolves when it may listen.
async fn held_back(knobs: &Knobs) {
    sleep(knobs.start_delay).await;
    if let Some(file) = &knobs.start_when {
        told::by(file).await;
    }
}

/// Resolves when SIGTERM has been heeded.
async fn drained(mut draining: watch::Receiver<bool>) {
    let _ = draining.wait_for(|draining| *draining).await;
}

async fn after(delay: Option<Duration>) {
    match delay {
        Some(delay) => sleep(delay).await,
        None => pending().await,
    }
}
