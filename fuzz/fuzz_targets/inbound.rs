//! However a client's bytes are cut into pieces, the same requests are read in them, and no more of their bodies than they
//! have. The first byte says how they are cut.

#![no_main]

use libfuzzer_sys::fuzz_target;
use pilotlight::gateway::inbound::reading::read;

fuzz_target!(|bytes: &[u8]| {
    let Some((&cut, bytes)) = bytes.split_first() else { return };
    let whole = read(std::iter::once(bytes));
    let pieces = read(bytes.chunks(usize::from(cut) + 1));
    assert_eq!(pieces, whole, "{cut}: {}", bytes.escape_ascii());
    let bodies: usize = whole.0.iter().map(|request| request.body.len()).sum();
    assert!(bodies <= bytes.len(), "{}", bytes.escape_ascii());
});
