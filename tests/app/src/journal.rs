//! What happened, in order: counts for `/stats`, and a JSON line for each event on standard output and in the
//! report file. Owns the counts; knows nothing of HTTP.

use std::env;
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rustix::time::{ClockId, clock_gettime};
use serde_json::{Value, json};
use tokio::sync::Notify;

/// What happened so far.
pub(crate) struct Journal {
    replica: String,
    started_ms: i64,
    report: Option<File>,
    counts: Mutex<Counts>,
    /// Told when a request ends.
    ended: Notify,
}

#[derive(Default)]
struct Counts {
    open: u64,
    served: u64,
    order: Vec<String>,
}

impl Journal {
    /// A new journal. `report` is a file, or a folder in which a file named after this replica is made.
    pub(crate) fn open(report: Option<&Path>) -> Self {
        let replica = format!("{}-{}", hostname(), std::process::id());
        let report = report.map(|path| {
            let path = if path.is_dir() { path.join(format!("{replica}.jsonl")) } else { path.to_owned() };
            OpenOptions::new()
                .append(true)
                .create(true)
                .open(&path)
                .unwrap_or_else(|error| panic!("REPORT={}: {error}", path.display()))
        });
        Self { replica, started_ms: now_ms(), report, counts: Mutex::default(), ended: Notify::new() }
    }

    /// This replica's name: host and process.
    pub(crate) fn replica(&self) -> &str {
        &self.replica
    }

    /// Milliseconds since the journal was opened.
    pub(crate) fn age_ms(&self) -> i64 {
        now_ms() - self.started_ms
    }

    /// Writes down an event that is no request's.
    pub(crate) fn note(&self, event: &str) {
        let counts = self.counts();
        self.write(json!({ "event": event, "open": counts.open, "served": counts.served }));
    }

    /// Requests can come, at this port; at none on a socket.
    pub(crate) fn listening(&self, port: Option<u16>) {
        self.write(json!({ "event": "listening", "port": port }));
    }

    /// A request has arrived. The answer ends it.
    pub(crate) fn arrival(self: &Arc<Self>, path: &str, seq: Option<String>) -> OpenRequest {
        let mut counts = self.counts();
        counts.open += 1;
        counts.order.extend(seq.clone());
        self.write(json!({ "event": "start", "path": path, "seq": seq, "open": counts.open }));
        drop(counts);
        OpenRequest { journal: Arc::clone(self), path: path.to_owned(), seq, finished: false }
    }

    /// Resolves when no request is open.
    pub(crate) async fn quiet(&self) {
        loop {
            let ended = self.ended.notified();
            if self.counts().open == 0 {
                return;
            }
            ended.await;
        }
    }

    /// What `/stats` answers.
    pub(crate) fn stats(&self) -> Value {
        let counts = self.counts();
        json!({
            "replica": self.replica,
            "started": self.started_ms,
            "served": counts.served,
            "open": counts.open,
            "order": counts.order,
        })
    }

    fn counts(&self) -> MutexGuard<'_, Counts> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// One write call a line, so that replicas can share a file. A reader that has gone is no reason to die.
    fn write(&self, mut event: Value) {
        event["replica"] = json!(self.replica);
        event["at_ms"] = json!(now_ms());
        let line = format!("{event}\n");
        let mut out = std::io::stdout().lock();
        let _ = out.write_all(line.as_bytes()).and_then(|()| out.flush());
        if let Some(mut report) = self.report.as_ref() {
            let _ = report.write_all(line.as_bytes());
        }
    }
}

/// A request that has arrived and whose answer is not finished. Dropping it ends it one way or the other.
pub(crate) struct OpenRequest {
    journal: Arc<Journal>,
    path: String,
    seq: Option<String>,
    finished: bool,
}

impl OpenRequest {
    /// The answer was handed over whole.
    pub(crate) fn finish(&mut self) {
        self.finished = true;
    }
}

impl Drop for OpenRequest {
    fn drop(&mut self) {
        let mut counts = self.journal.counts();
        counts.open -= 1;
        counts.served += u64::from(self.finished);
        let event = if self.finished { "finish" } else { "abort" };
        self.journal.write(
            json!({ "event": event, "path": self.path, "seq": self.seq, "open": counts.open, "served": counts.served }),
        );
        drop(counts);
        self.journal.ended.notify_waiters();
    }
}

/// Milliseconds of the monotonic clock, which all processes of a machine share.
fn now_ms() -> i64 {
    let now = clock_gettime(ClockId::Monotonic);
    now.tv_sec * 1000 + now.tv_nsec / 1_000_000
}

fn hostname() -> String {
    env::var("HOSTNAME").unwrap_or_else(|_| rustix::system::uname().nodename().to_string_lossy().into_owned())
}
