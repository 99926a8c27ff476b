//! `affinity`: what binds a client to a replica. Owns the notation: a word, or a map with a header's name.

use super::choice::one_of;
use super::headers::Name;
use super::reader::Reader;
use super::spec::Affinity;
use super::suggest::{KeyDoc, Section, unknown_key};
use super::table::Value;
use super::tree::{Kind, Node};

/// What may stand in the map.
const MAP: Section = Section {
    name: "affinity",
    keys: &[KeyDoc { name: "header", default: "", meaning: "Name of the header whose value binds" }],
};

/// The words; a header's name is not among them.
#[derive(Clone, Copy)]
enum Kinds {
    Cookie,
    Ip,
    Header,
}

impl Value for Affinity {
    fn read(node: &Node, reader: &mut Reader) -> Option<Self> {
        const FORM: &str = "write `{header: X-User}`";
        const WHICH: &str = "nothing says which header";
        if let Kind::Map(entries) = &node.kind {
            let mut header = None;
            for (key, value) in entries {
                if key.text == "header" {
                    header = Some(Name::read(value, reader));
                } else {
                    unknown_key(reader, key, &[&MAP]);
                }
            }
            if entries.is_empty() {
                reader.mistake(node.span, WHICH, FORM);
            }
            return header.flatten().map(|Name(name)| Self::Header(name));
        }
        let words = [("cookie", Kinds::Cookie), ("ip", Kinds::Ip), ("header", Kinds::Header)];
        match one_of(node, "affinity", &words, &[], reader)? {
            Kinds::Cookie => Some(Self::Cookie),
            Kinds::Ip => Some(Self::Ip),
            Kinds::Header => {
                reader.mistake(node.span, WHICH, FORM);
                None
            }
        }
    }
}
