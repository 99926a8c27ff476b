//! From a tree to typed values: the `Value` and `Table` traits, and the place where mistakes are collected.
//!
//! Owns how a node becomes a value and how a value of `defaults:` lies below an app's. The keys themselves are
//! in `schema`, single kinds of value in `value`, `route` and `volume`.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::diagnostic::{Diagnostic, Source, Span};
use super::suggest::{Section, unknown_key};
use super::tree::{Key, Kind, Node, Style};

/// Collects mistakes while a file is read.
pub(crate) struct Reader {
    /// The file that spans point into.
    pub(crate) source: Arc<Source>,
    /// Its folder, absolute: what relative paths start from.
    pub(crate) dir: PathBuf,
    /// What has been found so far.
    pub(crate) found: Vec<Diagnostic>,
}

impl Reader {
    pub(crate) fn new(source: Arc<Source>, dir: PathBuf) -> Self {
        Self { source, dir, found: Vec::new() }
    }

    /// A mistake, with what to do about it.
    pub(crate) fn mistake(&mut self, span: Span, message: impl Into<String>, help: impl Into<String>) {
        self.found.push(Diagnostic::at(&self.source, span, message).help(help));
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

/// A value and where it stands.
#[derive(Debug, Clone)]
pub(crate) struct At<T> {
    pub(crate) value: T,
    pub(crate) key: Span,
    pub(crate) span: Span,
}

/// What became of a key.
#[derive(Debug, Clone)]
pub(crate) enum Slot<T> {
    /// Not written.
    Absent,
    /// Written, and reported as wrong: nothing more is to be said about it.
    Bad(Span),
    /// Written and right.
    Given(At<T>),
}

// Derived, it would ask for `T: Default`.
impl<T> Default for Slot<T> {
    fn default() -> Self {
        Self::Absent
    }
}

impl<T> Slot<T> {
    /// The value, if it is written and right.
    pub(crate) fn get(&self) -> Option<&T> {
        match self {
            Self::Given(at) => Some(&at.value),
            Self::Absent | Self::Bad(_) => None,
        }
    }

    /// The value, or what stands in for it. Where the value is wrong the result never leaves this module's callers.
    pub(crate) fn or(self, default: T) -> T {
        match self {
            Self::Given(at) => at.value,
            Self::Absent | Self::Bad(_) => default,
        }
    }

    /// The value with its place, if it is written and right.
    pub(crate) fn given(&self) -> Option<&At<T>> {
        match self {
            Self::Given(at) => Some(at),
            Self::Absent | Self::Bad(_) => None,
        }
    }

    /// Where the key stands, if it does.
    pub(crate) fn key(&self) -> Option<Span> {
        match self {
            Self::Absent => None,
            Self::Bad(key) | Self::Given(At { key, .. }) => Some(*key),
        }
    }

    pub(crate) fn is_bad(&self) -> bool {
        matches!(self, Self::Bad(_))
    }

    pub(crate) fn is_absent(&self) -> bool {
        matches!(self, Self::Absent)
    }
}

impl<T: Default> Slot<T> {
    /// The value, or that of a section in which nothing is written.
    pub(crate) fn or_default(self) -> T {
        self.or(T::default())
    }
}

impl<T: Value> Slot<T> {
    /// Reads the value of a key into this slot.
    pub(crate) fn read(&mut self, key: &Key, node: &Node, reader: &mut Reader) {
        let before = reader.found.len();
        let value = if node.is_null() && !T::MAY_BE_EMPTY {
            reader.mistake(key.span, format!("`{}` has no value", key.text), "write one, or remove the key");
            None
        } else {
            T::read(node, reader)
        };
        *self = match value {
            Some(value) if T::PARTIAL || reader.found.len() == before => {
                Self::Given(At { value, key: key.span, span: node.span })
            }
            _ => Self::Bad(key.span),
        };
    }

    /// This slot over that of `defaults:`.
    pub(crate) fn over(self, under: &Self) -> Self
    where
        T: Clone,
    {
        match (self, under) {
            (Self::Absent, under) => under.clone(),
            (Self::Given(at), Self::Given(below)) => {
                Self::Given(At { value: at.value.over(&below.value), ..at })
            }
            (kept, _) => kept,
        }
    }
}

/// A kind of value.
pub(crate) trait Value: Sized {
    /// Whether nothing at all counts as a value: a section whose keys are all commented out.
    const MAY_BE_EMPTY: bool = false;
    /// Whether a value with mistakes inside is still looked at; its own slots know which.
    const PARTIAL: bool = false;

    /// The value, or `None` when it was reported as wrong.
    fn read(node: &Node, reader: &mut Reader) -> Option<Self>;

    /// This value over that of `defaults:`: it wins, unless it is a map, which wins key by key.
    fn over(self, _under: &Self) -> Self {
        self
    }
}

/// A section: a map of known keys.
pub(crate) trait Table: Default {
    /// Its name and keys, as users read them.
    const SECTION: Section;

    /// Reads one key; false where this section has no such key.
    fn set(&mut self, key: &Key, node: &Node, reader: &mut Reader) -> bool;

    /// Each key over that of `under`.
    fn merged(self, under: &Self) -> Self;
}

/// Reads a map into a section; keys that it does not have are reported.
pub(crate) fn read_table<T: Table>(node: &Node, reader: &mut Reader) -> Option<T> {
    let mut table = T::default();
    match &node.kind {
        Kind::Map(entries) => {
            for (key, value) in entries {
                if !table.set(key, value, reader) {
                    unknown_key(reader, key, &[&T::SECTION]);
                }
            }
        }
        _ if node.is_null() => {}
        _ => {
            let keys: Vec<_> = T::SECTION.keys.iter().map(|key| key.name).collect();
            reader.wrong_kind(node, "a map", format!("write keys below it: {}", keys.join(", ")));
            return None;
        }
    }
    Some(table)
}

/// Declares a section: its keys with type, default and meaning, as a struct and as a table for people.
macro_rules! table {
    ($(#[$doc:meta])* $name:ident, $section:literal { $($key:ident: $type:ty, $default:literal, $meaning:literal;)* }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Default)]
        pub(crate) struct $name { $(pub(crate) $key: $crate::config::reader::Slot<$type>,)* }

        impl $crate::config::reader::Table for $name {
            const SECTION: $crate::config::suggest::Section = $crate::config::suggest::Section {
                name: $section,
                keys: &[$($crate::config::suggest::KeyDoc {
                    name: stringify!($key), default: $default, meaning: $meaning,
                },)*],
            };

            fn set(
                &mut self,
                key: &$crate::config::tree::Key,
                node: &$crate::config::tree::Node,
                reader: &mut $crate::config::reader::Reader,
            ) -> bool {
                match key.text.as_str() {
                    $(stringify!($key) => self.$key.read(key, node, reader),)*
                    _ => return false,
                }
                true
            }

            fn merged(self, under: &Self) -> Self {
                Self { $($key: self.$key.over(&under.$key),)* }
            }
        }

        impl $crate::config::reader::Value for $name {
            const MAY_BE_EMPTY: bool = true;
            const PARTIAL: bool = true;

            fn read(
                node: &$crate::config::tree::Node,
                reader: &mut $crate::config::reader::Reader,
            ) -> Option<Self> {
                $crate::config::reader::read_table(node, reader)
            }

            fn over(self, under: &Self) -> Self {
                $crate::config::reader::Table::merged(self, under)
            }
        }
    };
}
pub(crate) use table;
