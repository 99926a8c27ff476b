//! A replica's environment: the `env` map, and files of `KEY=VALUE` lines.
//!
//! Owns both notations. Values may be secrets: no message repeats one, and no line of an env file is shown.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::diagnostic::{Diagnostic, Source, Span};
use super::reader::Reader;
use super::table::Value;
use super::tree::{Kind, Node};
use super::value::{HostPath, scalar};

/// `env`: names to values.
#[derive(Debug, Clone, Default)]
pub(crate) struct EnvMap(pub(crate) BTreeMap<String, String>);

impl Value for EnvMap {
    const MAY_BE_EMPTY: bool = true;

    fn read(node: &Node, reader: &mut Reader) -> Option<Self> {
        let Kind::Map(entries) = &node.kind else {
            if node.is_null() {
                return Some(Self::default());
            }
            reader.wrong_kind(node, "a map", "write `NAME: value` lines below it");
            return None;
        };
        let mut map = BTreeMap::new();
        for (key, value) in entries {
            if !is_name(&key.text) {
                reader.mistake(key.span, "not a variable's name", "no `=`, no spaces, and not empty");
            } else if let Some((text, _)) = scalar(value).filter(|(text, _)| !text.contains('\0')) {
                map.insert(key.text.clone(), text.to_owned());
            } else if value.is_null() {
                let help = format!(
                    "write `\"\"` for an empty one, or `${{{}}}` to pass on the proxy's own",
                    key.text
                );
                reader.mistake(key.span, format!("`{}` has no value", key.text), help);
            } else {
                reader.wrong_kind(value, "one value", "put a list or a map in quotes, as the app reads it");
            }
        }
        Some(Self(map))
    }

    fn over(self, under: &Self) -> Self {
        let mut merged = under.0.clone();
        merged.extend(self.0);
        Self(merged)
    }
}

fn is_name(name: &str) -> bool {
    !name.is_empty() && !name.contains(|c: char| c == '=' || c.is_whitespace() || c.is_control())
}

/// What one env file says.
#[derive(Debug, Clone)]
pub(crate) struct EnvFile(pub(crate) BTreeMap<String, String>);

impl Value for EnvFile {
    fn read(node: &Node, reader: &mut Reader) -> Option<Self> {
        let HostPath(written) = HostPath::read(node, reader)?;
        let path = reader.resolve(&written);
        let text = match std::fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) => {
                let message = format!("cannot read the env file `{written}`: {error}");
                reader.mistake(node.span, message, format!("it was looked for at {}", path.display()));
                return None;
            }
        };
        let shown = shown_path(&reader.source.path, &written);
        let (map, found) = parse(&Source::hidden(&shown), &text);
        reader.found.extend(found);
        Some(Self(map))
    }
}

/// The env file as the user would name it from where the configuration was named.
fn shown_path(config: &Path, written: &str) -> PathBuf {
    config.parent().unwrap_or(Path::new("")).join(written.strip_prefix("./").unwrap_or(written))
}

/// Reads `KEY=VALUE` lines. Of two lines for one name the later counts, as in `docker run --env-file`.
fn parse(source: &Arc<Source>, text: &str) -> (BTreeMap<String, String>, Vec<Diagnostic>) {
    let (mut map, mut found) = (BTreeMap::new(), Vec::new());
    for (index, line) in text.strip_prefix('\u{feff}').unwrap_or(text).lines().enumerate() {
        match entry(line) {
            Ok(None) => {}
            Ok(Some((name, value))) => {
                map.insert(name, value);
            }
            Err(Wrong { column, message, help }) => {
                let span = Span::of_line(index + 1, column, 1);
                found.push(Diagnostic::at(source, span, message).help(help));
            }
        }
    }
    (map, found)
}

/// What is wrong with a line.
struct Wrong {
    column: usize,
    message: &'static str,
    help: &'static str,
}

fn entry(line: &str) -> Result<Option<(String, String)>, Wrong> {
    let body = line.trim_start();
    if body.is_empty() || body.starts_with('#') {
        return Ok(None);
    }
    let column_of = |rest: &str| line.chars().count() - rest.chars().count() + 1;
    let wrong = |rest: &str, message, help| Wrong { column: column_of(rest), message, help };
    let assignment = body.strip_prefix("export ").map_or(body, str::trim_start);
    let Some((name, value)) = assignment.split_once('=') else {
        return Err(wrong(assignment, "no `=` in this line", "write `NAME=value`, or `#` before a comment"));
    };
    if !is_name(name) {
        return Err(wrong(
            assignment,
            "not a variable's name",
            "write `NAME=value`, without spaces around the `=`",
        ));
    }
    let value = value.trim_start();
    let value = match value.chars().next() {
        Some(quote @ ('"' | '\'')) => {
            let (inside, after) = unquote(&value[1..], quote).ok_or_else(|| {
                wrong(
                    value,
                    "the quote does not end",
                    "end it on the same line; `\\n` in double quotes is a line break",
                )
            })?;
            let after = after.trim();
            if !after.is_empty() && !after.starts_with('#') {
                return Err(wrong(
                    value,
                    "text after the closing quote",
                    "put the whole value in one pair of quotes",
                ));
            }
            inside
        }
        // A `#` right after a character is part of the value: passwords and URLs have them.
        _ => value.split(" #").next().unwrap_or_default().trim_end().to_owned(),
    };
    if value.contains('\0') {
        return Err(wrong(assignment, "a value cannot hold a NUL character", "remove it"));
    }
    Ok(Some((name.to_owned(), value)))
}

/// The text up to the closing quote, and what follows.
fn unquote(text: &str, quote: char) -> Option<(String, &str)> {
    let mut inside = String::new();
    let mut chars = text.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            _ if c == quote => return Some((inside, &text[at + 1..])),
            '\\' if quote == '"' => match chars.next()?.1 {
                'n' => inside.push('\n'),
                't' => inside.push('\t'),
                'r' => inside.push('\r'),
                c @ ('"' | '\\' | '$') => inside.push(c),
                c => inside.extend(['\\', c]),
            },
            c => inside.push(c),
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> (BTreeMap<String, String>, Vec<String>) {
        let (map, found) = parse(&Source::hidden(Path::new(".env")), text);
        (map, found.iter().map(ToString::to_string).collect())
    }

    #[test]
    fn reads_what_shells_and_docker_write() {
        let text = "# comment\n\nA=1\nexport B=two words # comment\nC='$x # y'\nD=\"a\\nb \\\"c\\\"\" # d\nE=\nF=p#w=1\nA=2\n  G = 1";
        let (map, found) = read(text);
        let value = |name| map.get(name).map(String::as_str);
        assert_eq!(value("A"), Some("2"));
        assert_eq!(value("B"), Some("two words"));
        assert_eq!(value("C"), Some("$x # y"));
        assert_eq!(value("D"), Some("a\nb \"c\""));
        assert_eq!(value("E"), Some(""));
        assert_eq!(value("F"), Some("p#w=1"));
        assert_eq!(
            found,
            [".env:10:3: not a variable's name\n  = write `NAME=value`, without spaces around the `=`"]
        );
    }

    #[test]
    fn repeats_no_secret_in_a_message() {
        let (_, found) = read("A=\"hunter2\nhunter2\nB='hunter2' hunter2\n");
        assert_eq!(found.len(), 3);
        assert!(found.iter().all(|message| !message.contains("hunter2")), "{found:?}");
        assert!(found[0].starts_with(".env:1:3: the quote does not end"), "{}", found[0]);
    }
}
