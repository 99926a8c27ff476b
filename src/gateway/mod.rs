//! The data plane: moves requests and does nothing else. It never calls a runtime, reads files, resolves names,
//! or takes a lock that the control plane holds while it waits.

pub mod account;
pub mod affinity;
pub mod arrive;
pub mod body;
pub mod chunked;
pub mod client;
pub mod connect;
pub mod connections;
pub mod ejection;
pub mod forward;
pub mod forwarded;
pub mod grpc;
pub mod headers;
pub mod http1;
pub mod http2;
pub mod inbound;
pub mod line;
pub mod listener;
pub mod multiplexed;
pub mod pool;
pub mod proxy_protocol;
pub mod raw_head;
pub mod redirect;
pub mod request;
pub mod respond;
pub mod route;
pub mod rules;
pub mod sender;
pub mod socket;
pub mod stall;
pub mod transport;
pub mod upgrade;
pub mod upload;
pub mod upstream;
pub mod worker;
