//! The data plane: moves requests and does nothing else. It never calls a runtime, reads files, resolves names,
//! or takes a lock that the control plane holds while it waits.

pub mod account;
pub mod body;
pub mod chunked;
pub mod client;
pub mod forward;
pub mod headers;
pub mod inbound;
pub mod listener;
pub mod pool;
pub mod raw_head;
pub mod redirect;
pub mod request;
pub mod respond;
pub mod route;
pub mod rules;
pub mod stall;
pub mod upgrade;
pub mod upstream;
pub mod worker;
