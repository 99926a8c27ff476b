//! The access log: a line for each request, written when its exchange has ended.
//!
//! A worker collects its lines, and a thread writes them down: no disk is waited for by who moves requests. What that
//! thread has no time for is dropped, and counted. Without a log nothing of this is done.

mod entry;
mod journal;
mod stamp;
mod writer;

pub use entry::Entry;
pub use journal::Journal;
pub use writer::{AccessLog, Writing};
