//! Whatever proxies say of the client: no panic, and never somebody whom nobody has named.

#![no_main]

use std::net::IpAddr;

use http::{HeaderMap, HeaderValue};
use libfuzzer_sys::fuzz_target;
use pilotlight::config::spec::Peers;
use pilotlight::gateway::forwarded;

fuzz_target!(|bytes: &[u8]| {
    let trusted = Peers { networks: vec!["10.0.0.0/8".parse().expect("a network")], local: false };
    let peer = IpAddr::from([10, 0, 0, 1]);
    let mut lines = bytes.split(|byte| *byte == b'\n');
    let name =
        if lines.next().is_some_and(|line| line.len() % 2 == 0) { "forwarded" } else { "x-forwarded-for" };
    let mut headers = HeaderMap::new();
    for line in lines.filter_map(|line| HeaderValue::from_bytes(line).ok()) {
        headers.append(name, line);
    }
    let client = forwarded::client(&headers, peer, &trusted);
    let named = headers.values().filter_map(|line| line.to_str().ok()).any(|line| !line.is_empty());
    assert!(client == peer || named, "{client}: {}", bytes.escape_ascii());
    let _either = forwarded::is_secure(&headers);
});
