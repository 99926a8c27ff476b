//! Connections that each do one exchange after the other, spread over two threads.

use std::net::SocketAddr;
use std::thread;
use std::time::{Duration, Instant};

use tokio::task::{JoinSet, LocalSet};

use crate::told::Told;

/// As many as wrk and h2load are given.
const THREADS: usize = 2;

#[derive(Clone, Copy)]
pub struct Plan {
    pub address: SocketAddr,
    pub time: Duration,
    pub connections: usize,
}

/// Runs `connection` as often as `plan` says; each is told when to end.
pub fn run<F, C>(plan: &Plan, connection: C) -> Told
where
    C: Fn(SocketAddr, Instant) -> F + Send + Copy + 'static,
    F: Future<Output = Told> + 'static,
{
    let plan = *plan;
    let began = Instant::now();
    let threads: Vec<_> = (0..THREADS)
        .map(|thread| {
            let mine = (plan.connections + thread) / THREADS;
            thread::spawn(move || {
                let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
                LocalSet::new().block_on(&runtime.expect("a runtime"), async {
                    let mut tasks = JoinSet::new();
                    for _ in 0..mine {
                        tasks.spawn_local(connection(plan.address, began + plan.time));
                    }
                    join(tasks).await
                })
            })
        })
        .collect();
    let mut told = Told::default();
    for thread in threads {
        told.join(thread.join().expect("no thread panics"));
    }
    told.lasted = began.elapsed();
    told
}

async fn join(mut tasks: JoinSet<Told>) -> Told {
    let mut told = Told::default();
    while let Some(one) = tasks.join_next().await {
        told.join(one.expect("no connection panics"));
    }
    told
}
