//! What became of a key: not written, written wrong, or a value with its place.
//!
//! Owns the three-way state, so that a wrong value is neither taken for a missing one nor reported twice.

use super::diagnostic::Span;
use super::reader::Reader;
use super::table::Value;
use super::tree::{Key, Node};

/// A value and where it stands.
#[derive(Debug, Clone)]
pub(crate) struct At<T> {
    pub(crate) value: T,
    pub(crate) key: Span,
    pub(crate) span: Span,
}

/// What became of a key.
#[derive(Debug, Clone, Default)]
pub(crate) enum Slot<T> {
    /// Not written.
    #[default]
    Absent,
    /// Written, and reported as wrong: nothing more is to be said about it.
    Bad(Span),
    /// Written and right.
    Given(At<T>),
}

impl<T> Slot<T> {
    /// The value, if it is written and right.
    pub(crate) fn get(&self) -> Option<&T> {
        match self {
            Self::Given(at) => Some(&at.value),
            Self::Absent | Self::Bad(_) => None,
        }
    }

    /// The value, or what stands in for it; a wrong one leads to a configuration that is never handed out.
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
