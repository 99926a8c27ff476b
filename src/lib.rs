//! pilotlight: a reverse proxy with an autoscaler inside. `docs/architecture.md` shows how the parts fit.

pub mod config;
pub mod runtime;
