//! The runtime `docker` on a real engine: what it starts, sees and takes away. Where an engine's fault is
//! needed that a real one does not show on demand, `double.rs` stands in, and its tests say so.

#![expect(clippy::unwrap_used, reason = "what fails in a helper fails the test that called it")]

mod double;
mod images;
mod lab;
mod replicas;
mod watching;
