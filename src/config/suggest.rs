//! Keys as users know them: sections as data, and what to say about a key that is in none.
//!
//! Owns the shape of the key tables and the search for the word that was meant. Reads no values.

use strsim::damerau_levenshtein;

use super::reader::Reader;
use super::schema::SECTIONS;
use super::tree::Key;

/// A key for people.
#[derive(Debug, Clone, Copy)]
pub(crate) struct KeyDoc {
    pub(crate) name: &'static str,
    /// In backticks where it can be written into a file as it is; else in words.
    pub(crate) default: &'static str,
    pub(crate) meaning: &'static str,
}

/// A map of known keys.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Section {
    /// The key that it stands under; empty at the top level and in an app.
    pub(crate) name: &'static str,
    pub(crate) keys: &'static [KeyDoc],
}

/// Keys that a later version will know.
const LATER: &[&str] = &["freeze"];

/// Reports a key that none of the sections has.
pub(crate) fn unknown_key(reader: &mut Reader, key: &Key, sections: &[&Section]) {
    let name = key.text.as_str();
    if LATER.contains(&name) {
        let message = format!("`{name}` is not supported in this version yet");
        return reader.mistake(key.span, message, "remove it");
    }
    let here = sections.iter().flat_map(|section| section.keys).map(|key| key.name);
    let help = if let Some(known) = nearest(name, here.clone()) {
        format!("did you mean `{known}`?")
    } else if let Some(path) = elsewhere(name) {
        path
    } else {
        format!("known here: {}", here.collect::<Vec<_>>().join(", "))
    };
    reader.mistake(key.span, format!("unknown key `{name}`"), help);
}

/// The same key in another section.
fn elsewhere(name: &str) -> Option<String> {
    let section = SECTIONS.iter().find(|(_, section)| section.keys.iter().any(|key| key.name == name))?;
    Some(match section {
        (_, Section { name: "", .. }) => format!("`{name}` belongs to {}", section.0),
        (_, inner) => format!("`{name}` belongs under `{}`", inner.name),
    })
}

/// The word that was meant, if one is near enough.
pub(crate) fn nearest<'a>(word: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let plain = word.to_lowercase().replace('-', "_");
    let limit = (plain.chars().count() / 3).max(1);
    known
        .map(|known| (damerau_levenshtein(&plain, known), known))
        .filter(|(distance, known)| *distance <= limit && *distance < known.len())
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, known)| known)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_the_word_that_was_meant() {
        let known = ["instance", "image", "drain_timeout", "port", "path"];
        let near = |word| nearest(word, known.into_iter());
        assert_eq!(near("instnace"), Some("instance"));
        assert_eq!(near("drainTimeout"), Some("drain_timeout"));
        assert_eq!(near("drain-timeout"), Some("drain_timeout"));
        assert_eq!(near("prot"), Some("port"));
        assert_eq!(near("replicas"), None);
        assert_eq!(near("x"), None);
    }
}
