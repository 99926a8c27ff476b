//! HTTP/1.1 as it is spoken to replicas: one exchange at a time on a connection, driven by the task of the request that
//! it is for. A parser in a task of its own would cost each request two changes of task, two channels and a timer.
//!
//! What becomes something else than HTTP, and what keeps the case of header names, is hyper's: see `sender`. Knows
//! nothing of routes, claims and what may be sent again.

mod alarm;
mod body;
mod connection;
mod decode;
mod encode;
pub mod reading;
mod sending;
mod stream;

pub use alarm::Alarm;
pub use body::Framing;
pub use connection::{Connection, Failure};
