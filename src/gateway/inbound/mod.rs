//! HTTP/1.1 as it is spoken to clients: one task for each connection, which reads a head, has it answered, writes that,
//! and begins anew.
//!
//! Owns what a connection of HTTP/1 keeps to between its requests: the time that a head may take, how long it may be
//! silent, and whether it goes on. Knows nothing of routes and replicas.

mod answer;
mod body;
mod date;
mod head;
mod inlet;
pub mod reading;
mod session;

pub use body::{Body, Broken};
pub use session::serve;
