//! Whatever stands in a file is read or refused, and what is read is what a second reader of YAML finds.

use std::path::Path;

use proptest::prelude::*;

use super::diagnostic::Source;
use super::tree::{self, Kind, Node, Style};
use super::{Overrides, parse};

/// The words for what is wrong with it, if anything is.
fn words(bytes: &[u8]) -> Option<String> {
    parse(bytes, Path::new("f"), &Overrides::default(), &|_| None).err().map(|errors| errors.to_string())
}

/// What a plain reader of YAML 1.2 makes of our tree.
fn resolved(node: &Node) -> serde_yaml::Value {
    use serde_yaml::Value;
    match &node.kind {
        Kind::List(items) => Value::Sequence(items.iter().map(resolved).collect()),
        Kind::Map(entries) => Value::Mapping(
            entries.iter().map(|(key, value)| (Value::String(key.text.clone()), resolved(value))).collect(),
        ),
        Kind::Scalar { .. } if node.is_null() => Value::Null,
        Kind::Scalar { text, style: Style::Plain } => {
            match (text.as_str(), text.parse::<i64>(), text.parse::<f64>()) {
                ("true" | "True" | "TRUE", ..) => Value::Bool(true),
                ("false" | "False" | "FALSE", ..) => Value::Bool(false),
                (_, Ok(number), _) => Value::from(number),
                (_, _, Ok(number)) => Value::from(number),
                _ => Value::String(text.clone()),
            }
        }
        Kind::Scalar { text, .. } => Value::String(text.clone()),
    }
}

fn tree_of(text: &str) -> Option<Node> {
    let (tree, found) = tree::parse(&Source::shown(Path::new("f"), text), text);
    tree.filter(|_| found.is_empty())
}

/// An independent reader finds the same structure in every file that both take.
#[test]
fn a_second_reader_agrees_on_every_sample() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut compared = 0;
    for folder in ["config", "tests/config"] {
        for entry in std::fs::read_dir(root.join(folder)).unwrap() {
            let path = entry.unwrap().path();
            let Some(text) =
                std::fs::read_to_string(&path).ok().filter(|_| path.extension() == Some("yml".as_ref()))
            else {
                continue;
            };
            let Some(tree) = tree_of(&text) else { continue };
            let mut other: serde_yaml::Value = serde_yaml::from_str(&text).unwrap();
            other.apply_merge().unwrap();
            assert_eq!(resolved(&tree), other, "{}", path.display());
            compared += 1;
        }
    }
    assert!(compared > 25, "{compared}");
}

fn any_value() -> impl Strategy<Value = serde_yaml::Value> {
    use serde_yaml::Value;
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::Bool),
        any::<i32>().prop_map(|number| Value::from(i64::from(number))),
        "[ -~é\n]{0,12}".prop_map(Value::String),
    ];
    leaf.prop_recursive(4, 32, 5, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 1..5).prop_map(Value::Sequence),
            prop::collection::btree_map("[a-z]{1,6}", inner, 1..5).prop_map(|map| Value::Mapping(
                map.into_iter().map(|(k, v)| (Value::String(k), v)).collect()
            )),
        ]
    })
}

proptest! {
    #[test]
    fn what_another_writer_writes_is_read_the_same(value in any_value()) {
        let text = serde_yaml::to_string(&value).unwrap();
        prop_assert_eq!(tree_of(&text).as_ref().map(resolved), Some(value), "{}", text);
    }

    #[test]
    fn any_bytes_are_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        prop_assert_ne!(words(&bytes), Some(String::new()));
    }

    #[test]
    fn any_text_is_read_or_refused(text in "([-:{}\\[\\]&*!|>'\"#%@`,?~ \t\r\n$a0.]|\\PC){0,80}") {
        prop_assert_ne!(words(text.as_bytes()), Some(String::new()));
    }

    #[test]
    fn a_damaged_file_is_read_or_refused(at in 0..3000_usize, len in 0..20_usize, with in "[-:{}\\[\\]&*!|>'\"#, \t\n$a0]{0,6}") {
        let whole: Vec<char> = include_str!("../../config/full.yml").chars().collect();
        let at = at.min(whole.len());
        let end = (at + len).min(whole.len());
        let text: String = whole[..at].iter().copied().chain(with.chars()).chain(whole[end..].iter().copied()).collect();
        prop_assert_ne!(words(text.as_bytes()), Some(String::new()));
    }
}
