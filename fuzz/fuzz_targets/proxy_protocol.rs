//! Whatever comes before all else: no panic, and an answer that more bytes do not change.

#![no_main]

use libfuzzer_sys::fuzz_target;
use pilotlight::gateway::proxy_protocol::parse;

fuzz_target!(|bytes: &[u8]| {
    let whole = parse(bytes);
    for end in 0..bytes.len().min(300) {
        match parse(&bytes[..end]) {
            None => {}
            Some(Ok((header, length))) => {
                assert!(length <= end, "{}", bytes.escape_ascii());
                assert_eq!(whole, Some(Ok((header, length))), "{}", bytes.escape_ascii());
            }
            Some(Err(_)) => assert!(matches!(whole, Some(Err(_))), "{}", bytes.escape_ascii()),
        }
    }
});
