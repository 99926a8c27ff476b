//! However a replica's bytes are cut into pieces, the same answer is read in them, and its body is never longer than they
//! are. The first byte says how they are cut.

#![no_main]

use libfuzzer_sys::fuzz_target;
use pilotlight::gateway::outbound::reading::read;

fuzz_target!(|bytes: &[u8]| {
    let Some((&cut, bytes)) = bytes.split_first() else { return };
    let whole = read(std::iter::once(bytes));
    let pieces = read(bytes.chunks(usize::from(cut) + 1));
    assert_eq!(pieces, whole, "{cut}: {}", bytes.escape_ascii());
    assert!(whole.body.len() + whole.rest <= bytes.len(), "{}", bytes.escape_ascii());
});
