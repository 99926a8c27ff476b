//! The table of keys for people, made of the schema: the README's, and that of `pilotlight check --keys`.

use super::schema::SECTIONS;
use super::suggest::Section;

/// Every key with its default and its meaning, as Markdown: those of an app, then those of the proxy.
#[must_use]
pub fn markdown() -> String {
    let (proxy, app): (Vec<_>, Vec<_>) = SECTIONS.iter().partition(|(place, _)| place.contains("top level"));
    let mut out = String::new();
    for (title, sections) in [("An app's keys", app), ("The proxy's keys, at the top level", proxy)] {
        out.push_str(title);
        out.push_str(":\n\n| key | default | meaning |\n|---|---|---|\n");
        out.extend(sections.iter().flat_map(|(_, section)| rows(section)));
        out.push('\n');
    }
    out.truncate(out.trim_end().len());
    out.push('\n');
    out
}

fn rows(section: &Section) -> impl Iterator<Item = String> {
    let name = section.name;
    // A section's own row would only point at its keys, which follow.
    let paths = section.keys.iter().map(move |key| {
        let path = if name.is_empty() { key.name.to_owned() } else { format!("{name}.{}", key.name) };
        (path, key)
    });
    paths.filter(|(path, _)| SECTIONS.iter().all(|(_, inner)| inner.name != path)).map(|(path, key)| {
        format!("| `{path}` | {} | {} |\n", key.default, key.meaning).replace("|  |", "| |")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const README: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/README.md");
    const MARKERS: (&str, &str) = ("<!-- keys -->\n", "<!-- /keys -->");

    #[test]
    fn readme_has_this_table() {
        let readme = std::fs::read_to_string(README).unwrap();
        let (before, rest) = readme.split_once(MARKERS.0).expect("the README has the markers");
        let (table, after) = rest.split_once(MARKERS.1).expect("the README has the markers");
        let expected = format!("\n{}\n", markdown());
        if std::env::var_os("UPDATE_GOLDEN").is_some() {
            let text = format!("{before}{}{expected}{}{after}", MARKERS.0, MARKERS.1);
            std::fs::write(README, text).unwrap();
        } else {
            assert!(
                table == expected,
                "the README's table of keys is old: run with UPDATE_GOLDEN=1\n{expected}"
            );
        }
    }
}
