//! The texts that are expected, and what in them varies from run to run.

use std::fs;
use std::net::Ipv4Addr;
use std::path::Path;

/// What stands in each line of the test app's journal, which it writes for tests and nobody else.
const JOURNAL: &str = "\"at_ms\":";

/// Panics unless `text` is what `tests/mistakes/NAME.txt` says. `varying` are parts that are another each time, with the
/// word that stands for each.
pub(crate) fn assert_golden(name: &str, text: &str, varying: &[(&str, &str)]) {
    let mut text = text.to_owned();
    for (part, word) in varying {
        text = text.replace(part, word);
    }
    let text = without_addresses(&without_lines(&text, |line| line.contains(JOURNAL)));
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/mistakes").join(name).with_extension("txt");
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        fs::write(&path, text).expect("it can be written");
        return;
    }
    let expected = fs::read_to_string(&path).unwrap_or_default();
    assert!(expected == text, "{} says:\n{expected}\nand this is:\n{text}", path.display());
}

/// Without the lines of which that is true.
pub(crate) fn without_lines(text: &str, is_left_out: impl Fn(&str) -> bool) -> String {
    text.split_inclusive('\n').filter(|line| !is_left_out(line)).collect()
}

/// With `<container>` for each address that an engine has chosen.
fn without_addresses(text: &str) -> String {
    let is_of_number = |c: char| c.is_ascii_digit() || c == '.';
    let mut out = String::new();
    let mut rest = text;
    while let Some(start) = rest.find(is_of_number) {
        let (before, from) = rest.split_at(start);
        let (number, after) = from.split_at(from.find(|c| !is_of_number(c)).unwrap_or(from.len()));
        out += before;
        out += match number.parse::<Ipv4Addr>() {
            Ok(ip) if ip.is_private() => "<container>",
            _ => number,
        };
        rest = after;
    }
    out + rest
}

/// `word` in place of all that follows each `start`, up to `end` or the end of the line: what others say in their own way.
pub(crate) fn in_other_words(text: &str, start: &str, end: &str, word: &str) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some((before, from)) = rest.split_once(start) {
        let stop = from.find(end).unwrap_or(from.len()).min(from.find('\n').unwrap_or(from.len()));
        out += before;
        out += start;
        out += word;
        rest = &from[stop..];
    }
    out + rest
}
