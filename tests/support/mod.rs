//! What black-box tests share. Each part owns what it starts and clears it up when dropped, panics included.

// Every test file is a crate of its own and uses its own part of this.
#![allow(dead_code)]

pub(crate) mod app;
pub(crate) mod docker;
pub(crate) mod flow;
pub(crate) mod fountain;
pub(crate) mod h2;
pub(crate) mod http;
pub(crate) mod load;
pub(crate) mod memory;
pub(crate) mod metrics;
pub(crate) mod narrow;
pub(crate) mod neighbour;
pub(crate) mod plain;
pub(crate) mod processes;
pub(crate) mod proxy;
pub(crate) mod registry;
pub(crate) mod relay;
pub(crate) mod sockets;
pub(crate) mod streams;
pub(crate) mod wait;
pub(crate) mod websocket;
pub(crate) mod wire;
pub(crate) mod yaml;
