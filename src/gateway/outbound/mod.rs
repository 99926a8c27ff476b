//! HTTP/1.1 as it is spoken to replicas: one exchange at a time on a connection, driven by the task of the request that
//! it is for. A parser in a task of its own would cost each request two changes of task, two channels and a timer.
//!
//! Knows nothing of routes, claims and what may be sent again.

mod alarm;
mod connection;
mod decode;
mod encode;
pub mod reading;
mod stream;

pub use alarm::Alarm;
pub use connection::{Connection, Failure, Stream};
