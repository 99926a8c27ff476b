//! However a client's bytes are cut into pieces, the same heads are found in them, the same ones refused, and the same
//! bytes kept from the parser. The first byte says how they are cut.

#![no_main]

use libfuzzer_sys::fuzz_target;
use pilotlight::gateway::inbound::Inbound;

/// More than an input has heads.
const HEADS: usize = 64;

fuzz_target!(|bytes: &[u8]| {
    let Some((&cut, bytes)) = bytes.split_first() else { return };
    let whole = follow(bytes, bytes.len().max(1));
    let pieces = follow(bytes, usize::from(cut) + 1);
    assert_eq!(pieces.verdicts, whole.verdicts, "{cut}: {}", bytes.escape_ascii());
    assert_eq!(pieces.why, whole.why, "{cut}: {}", bytes.escape_ascii());
    // In pieces the parser may have seen the beginning of a line that turned out to be wrong, and never its end.
    assert!(whole.sound <= pieces.sound, "{cut}: {}", bytes.escape_ascii());
    if let Some(beginning) = bytes.get(whole.sound..pieces.sound) {
        assert!(!beginning.contains(&b'\n'), "{cut}: {}", bytes.escape_ascii());
    }
});

struct Followed {
    verdicts: Vec<Result<(), &'static str>>,
    /// How much the parser gets to see.
    sound: usize,
    why: Option<&'static str>,
}

fn follow(bytes: &[u8], size: usize) -> Followed {
    let mut inbound = Inbound::new(64 * 1024);
    let (mut sound, mut why) = (0, None);
    for piece in bytes.chunks(size) {
        match inbound.follow(piece) {
            Ok(()) => sound += piece.len(),
            Err(broken) => {
                assert!(broken.sound < piece.len(), "something is wrong with nothing");
                sound += broken.sound;
                why = Some(broken.why);
                break;
            }
        }
    }
    Followed { verdicts: (0..HEADS).map(|_| inbound.next_head()).collect(), sound, why }
}
