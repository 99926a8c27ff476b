//! What a replica has written last, as far as it says why it did not start. Pure.
//!
//! It is the operator's to read: no visitor gets more than a reason's first line, and none of this is in it.

use std::fmt;

use tracing::field::DisplayValue;

/// What languages say of a thing that is not installed, and what to do about it.
const MISSING: [(&str, &str); 4] = [
    (
        "ModuleNotFoundError:",
        "add the package to the app's requirements, and install them where its image is built",
    ),
    (
        "Error: Cannot find module",
        "add the package to the app's package.json, and install it where its image is built",
    ),
    (
        "Error [ERR_MODULE_NOT_FOUND]:",
        "add the package to the app's package.json, and install it where its image is built",
    ),
    ("error while loading shared libraries:", "install the library where the app's image is built"),
];

/// The line that counts most in what a replica has written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LastWords<'a> {
    line: &'a str,
    /// What to do about it, where that is known.
    pub hint: Option<&'static str>,
}

impl<'a> LastWords<'a> {
    /// The last line that says what is missing, else the last that is not empty.
    #[must_use]
    pub fn of(output: &'a [String]) -> Option<Self> {
        let hint = |line: &str| MISSING.iter().find(|(words, _)| line.contains(words)).map(|(_, hint)| *hint);
        let mut lines = output.iter().rev().map(|line| line.trim()).filter(|line| !line.is_empty());
        let missing = lines.clone().find(|line| hint(line).is_some());
        missing.or_else(|| lines.next()).map(|line| Self { line, hint: hint(line) })
    }
}

impl fmt::Display for LastWords<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "its output says: {}", self.line)?;
        self.hint.map_or(Ok(()), |hint| write!(f, "\n{hint}"))
    }
}

/// Lines for the log, each marked as the replica's: none can pass for one of ours.
pub struct Lines<'a>(&'a [String]);

impl<'a> Lines<'a> {
    /// For a field of the log, which is left out where there are none.
    #[must_use]
    pub fn field(output: &'a [String]) -> Option<DisplayValue<Self>> {
        (!output.is_empty()).then(|| tracing::field::display(Self(output)))
    }
}

impl fmt::Display for Lines<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|line| write!(f, "\n  | {line}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(output: &[&str]) -> Option<String> {
        let output: Vec<_> = output.iter().map(ToString::to_string).collect();
        LastWords::of(&output).map(|words| words.to_string())
    }

    #[test]
    fn the_last_line_that_is_not_empty_counts() {
        assert_eq!(told(&["a", "b ", " "]).as_deref(), Some("its output says: b"));
        assert_eq!(told(&[""]), None);
    }

    #[test]
    fn a_line_that_says_what_is_missing_counts_more() {
        let python = told(&["  File \"/app/main.py\", line 1", "ModuleNotFoundError: No module named 'x'"]);
        let words = "its output says: ModuleNotFoundError: No module named 'x'\nadd the package to the app's requirements, and install them where its image is built";
        assert_eq!(python.as_deref(), Some(words));
        let node = ["Error: Cannot find module 'express'", "    at f (node:internal)", "", "Node.js v20.1.0"];
        let node = told(&node).unwrap();
        assert!(node.starts_with("its output says: Error: Cannot find module 'express'\nadd "), "{node}");
    }

    #[test]
    fn a_replicas_lines_are_marked_in_the_log() {
        let output = ["a".to_owned(), "2026-01-01T00:00:00Z ERROR b".to_owned()];
        assert!(Lines::field(&[]).is_none());
        assert_eq!(Lines(&output).to_string(), "\n  | a\n  | 2026-01-01T00:00:00Z ERROR b");
    }
}
