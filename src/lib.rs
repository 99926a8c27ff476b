//! pilotlight: a reverse proxy with an autoscaler inside. `docs/architecture.md` shows how the parts fit.

pub mod admin;
pub mod app;
pub mod cli;
pub mod config;
pub mod control;
pub mod gateway;
pub mod runtime;
mod sync;
