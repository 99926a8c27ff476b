//! The place where mistakes are collected while a file is read, and how a node is described in one.
//!
//! Owns no kind of value: those are in `value`, `choice`, `route`, `volume` and `env`.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::diagnostic::{Diagnostic, Source, Span};
use super::slot::Slot;
use super::tree::{Kind, Node, Style};

/// Collects mistakes while a file is read.
pub(crate) struct Reader {
    /// The file that spans point into.
    pub(crate) source: Arc<Source>,
    /// Its folder, absolute: what relative paths start from.
    pub(crate) dir: PathBuf,
    /// What has been found so far.
    pub(crate) found: Vec<Diagnostic>,
    /// What is no mistake, and yet worth a word.
    pub(crate) warnings: Vec<Diagnostic>,
}

impl Reader {
    pub(crate) fn new(source: Arc<Source>, dir: PathBuf) -> Self {
        Self { source, dir, found: Vec::new(), warnings: Vec::new() }
    }

    /// A mistake, with what to do about it.
    pub(crate) fn mistake(&mut self, span: Span, message: impl Into<String>, help: impl Into<String>) {
        self.found.push(Diagnostic::at(&self.source, span, message).help(help));
    }

    /// No mistake, but not what one may think either.
    pub(crate) fn warning(&mut self, span: Span, message: impl Into<String>, help: impl Into<String>) {
        self.warnings.push(Diagnostic::at(&self.source, span, message).help(help));
    }

    /// A mistake that two places make together.
    pub(crate) fn conflict(
        &mut self,
        span: Span,
        message: impl Into<String>,
        (other, label): (Span, &str),
        help: impl Into<String>,
    ) {
        self.found.push(Diagnostic::at(&self.source, span, message).related(other, label).help(help));
    }

    /// Two keys that say the same thing.
    pub(crate) fn exclusive<A, B>(&mut self, (one, a): (&str, &Slot<A>), (two, b): (&str, &Slot<B>)) {
        if let (Some(first), Some(second)) = (a.key(), b.key()) {
            let (first, second) = if first < second { (first, second) } else { (second, first) };
            let message = format!("both `{one}` and `{two}` are given");
            self.conflict(second, message, (first, "first here"), "keep one of the two");
        }
    }

    /// A relative path seen from the file's folder, without `.` and `..`.
    pub(crate) fn resolve(&self, path: &str) -> PathBuf {
        normalise(&self.dir.join(path))
    }

    /// A value of the wrong kind.
    pub(crate) fn wrong_kind(&mut self, node: &Node, expected: &str, help: impl Into<String>) {
        self.mistake(node.span, format!("expected {expected}, found {}", describe(node)), help);
    }
}

/// An absolute path without `.` and `..`, by its text alone.
pub(crate) fn normalise(path: &Path) -> PathBuf {
    use std::path::Component;
    let mut clean = PathBuf::from("/");
    for part in path.components() {
        match part {
            Component::ParentDir => {
                clean.pop();
            }
            Component::Normal(name) => clean.push(name),
            Component::CurDir | Component::RootDir | Component::Prefix(_) => {}
        }
    }
    clean
}

/// What stands there, for a message.
pub(crate) fn describe(node: &Node) -> String {
    match &node.kind {
        Kind::List(_) => "a list".to_owned(),
        Kind::Map(_) => "a map".to_owned(),
        Kind::Scalar { .. } if node.is_null() => "nothing".to_owned(),
        Kind::Scalar { text, style: Style::Plain } if matches!(text.as_str(), "true" | "false") => {
            format!("the truth value `{text}`")
        }
        Kind::Scalar { text, style: Style::Plain } if text.parse::<f64>().is_ok() => {
            format!("the number `{text}`")
        }
        Kind::Scalar { text, style: Style::Quoted } => format!("the text \"{}\"", short(text)),
        Kind::Scalar { text, .. } => format!("`{}`", short(text)),
    }
}

/// Enough of a text to recognise it.
pub(crate) fn short(text: &str) -> String {
    let line = text.lines().next().unwrap_or_default();
    let clean: String = line.chars().take(60).map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect();
    if clean.len() < text.len() { format!("{clean}…") } else { clean }
}
