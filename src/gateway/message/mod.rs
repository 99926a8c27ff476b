//! What messages of HTTP/1.1 are made of, whichever way they go: how a body is framed, coming and going, and how what is
//! written waits for its socket. `inbound` and `outbound` speak it, with clients and with replicas.

pub mod coming;
pub mod going;
pub mod letters;
pub mod outbox;
pub mod sending;
pub mod spare;
pub mod switched;
