//! Kinds of value, and sections: maps of known keys, declared by the `table!` macro.
//!
//! Owns the traits and the walk over a section. The keys themselves are in `schema`.

use super::reader::Reader;
use super::suggest::{Section, unknown_key};
use super::tree::{Key, Kind, Node};

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

/// A key as it is written: its field's name, unless that is a word of the language's.
macro_rules! written {
    ($key:ident) => {
        stringify!($key)
    };
    ($key:ident $written:literal) => {
        $written
    };
}
pub(crate) use written;

/// Declares a section: its keys with type, default and meaning, as a struct and as a table for people.
macro_rules! table {
    ($(#[$doc:meta])* $name:ident, $section:literal { $($key:ident $(as $written:literal)?: $type:ty, $default:literal, $meaning:literal;)* }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Default)]
        pub(crate) struct $name { $(pub(crate) $key: $crate::config::slot::Slot<$type>,)* }

        impl $crate::config::table::Table for $name {
            const SECTION: $crate::config::suggest::Section = $crate::config::suggest::Section {
                name: $section,
                keys: &[$($crate::config::suggest::KeyDoc {
                    name: $crate::config::table::written!($key $($written)?), default: $default, meaning: $meaning,
                },)*],
            };

            fn set(
                &mut self,
                key: &$crate::config::tree::Key,
                node: &$crate::config::tree::Node,
                reader: &mut $crate::config::reader::Reader,
            ) -> bool {
                match key.text.as_str() {
                    $($crate::config::table::written!($key $($written)?) => self.$key.read(key, node, reader),)*
                    _ => return false,
                }
                true
            }

            fn merged(self, under: &Self) -> Self {
                Self { $($key: self.$key.over(&under.$key),)* }
            }
        }

        impl $crate::config::table::Value for $name {
            const MAY_BE_EMPTY: bool = true;
            const PARTIAL: bool = true;

            fn read(
                node: &$crate::config::tree::Node,
                reader: &mut $crate::config::reader::Reader,
            ) -> Option<Self> {
                $crate::config::table::read_table(node, reader)
            }

            fn over(self, under: &Self) -> Self {
                $crate::config::table::Table::merged(self, under)
            }
        }
    };
}
pub(crate) use table;
