//! Whatever stands in a `jcloud.yml` is read, or refused with words and places.

#![no_main]

use std::path::Path;

use libfuzzer_sys::fuzz_target;
use pilotlight::config::{Overrides, parse};

/// Nothing lies there, so that no file that the text names is found.
const PATH: &str = "/nonexistent/jcloud.yml";

fuzz_target!(|bytes: &[u8]| {
    let env = |name: &str| (name.len() % 2 == 0).then(|| name.to_owned());
    let Err(errors) = parse(bytes, Path::new(PATH), &Overrides::default(), &env) else { return };
    let lines = bytes.split(|byte| matches!(byte, b'\r' | b'\n')).count();
    let found = errors.diagnostics();
    assert!(!found.is_empty(), "refused without a word");
    for mistake in found {
        assert!(!mistake.message().is_empty(), "{errors}");
        if mistake.path() != Path::new(PATH) {
            continue;
        }
        if let Some(span) = mistake.span() {
            // A mark may stand behind the last line.
            assert!(
                (1..=lines + 1).contains(&span.line) && span.column >= 1,
                "{span:?} of {lines}: {errors}"
            );
            assert!((span.line, span.column) <= (span.end_line, span.end_column), "{span:?}: {errors}");
        }
    }
});
