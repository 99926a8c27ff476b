//! `${NAME}` and `${NAME:-default}` in values, filled in from the environment.
//!
//! Works on the finished tree, so what is filled in never becomes structure: a value with a line break or a `:`
//! stays one value. Keys are left alone, and so is a `$` that no brace follows. `$$` is a `$`.

use super::diagnostic::Span;
use super::reader::{Reader, short};
use super::tree::{Kind, Node, Style};

/// Looks up a variable.
pub type Lookup<'a> = &'a dyn Fn(&str) -> Option<String>;

/// Fills in every value of the tree; each variable that is missing is reported at its place.
pub(crate) fn fill(node: &mut Node, env: Lookup<'_>, reader: &mut Reader) {
    match &mut node.kind {
        Kind::List(items) => items.iter_mut().for_each(|item| fill(item, env, reader)),
        Kind::Map(entries) => entries.iter_mut().for_each(|(_, value)| fill(value, env, reader)),
        Kind::Scalar { text, style } => {
            if text.contains('$') {
                let (filled, used) = expand(text, env, node.span, reader);
                if used {
                    *style = Style::Filled;
                }
                *text = filled;
            }
        }
    }
}

/// The text with its variables, and whether there were any.
fn expand(text: &str, env: Lookup<'_>, span: Span, reader: &mut Reader) -> (String, bool) {
    let mut filled = String::with_capacity(text.len());
    let mut used = false;
    let mut rest = text;
    let mut seen = Seen { span, line: span.line, column: span.column };
    while let Some(at) = rest.find('$') {
        filled.push_str(&rest[..at]);
        let after = &rest[at + 1..];
        if let Some(after) = after.strip_prefix('$') {
            filled.push('$');
            rest = after;
        } else if let Some(inside) = after.strip_prefix('{') {
            let (expression, after) = inside.split_once('}').unwrap_or((inside, ""));
            let place = seen.next(expression, reader);
            if inside.contains('}') {
                if let Some(value) = variable(expression, env, place, reader) {
                    filled.push_str(&value);
                }
            } else {
                reader.mistake(place, "`${` without `}`", "close it, or write `$${` for the two characters");
            }
            used = true;
            rest = after;
        } else {
            filled.push('$');
            rest = after;
        }
    }
    filled.push_str(rest);
    (filled, used)
}

fn variable(expression: &str, env: Lookup<'_>, place: Span, reader: &mut Reader) -> Option<String> {
    let (name, default) = match expression.split_once(":-") {
        Some((name, default)) => (name, Some(default)),
        None => (expression, None),
    };
    if !is_name(name) {
        let message = format!("`${{{}}}` is no variable", short(expression));
        reader.mistake(place, message, "write `${NAME}` or `${NAME:-default}`; `$$` is a plain `$`");
        return None;
    }
    match (env(name), default) {
        // As in a shell, `:-` covers a variable that is there but empty.
        (Some(value), Some(default)) if value.is_empty() => Some(default.to_owned()),
        (Some(value), _) => Some(value),
        (None, Some(default)) => Some(default.to_owned()),
        (None, None) => {
            let help = format!(
                "set it, or write `${{{name}:-default}}`; `$${{{name}}}` is left to the command's shell"
            );
            reader.mistake(place, format!("the environment has no `{name}`"), help);
            None
        }
    }
}

fn is_name(name: &str) -> bool {
    let mut chars = name.chars();
    chars.next().is_some_and(|c| c.is_ascii_alphabetic() || c == '_')
        && chars.all(|c| c.is_ascii_alphanumeric() || c == '_')
}

/// Where in the file the search for the next variable goes on.
struct Seen {
    span: Span,
    line: usize,
    column: usize,
}

impl Seen {
    /// The place of `${expression}`; that of the whole value where escapes or folding hide it.
    fn next(&mut self, expression: &str, reader: &Reader) -> Span {
        let wanted = format!("${{{expression}");
        for number in self.line..=self.span.end_line {
            let Some(line) = reader.source.line(number) else { break };
            let from = if number == self.line { self.column - 1 } else { 0 };
            let rest: String = line.chars().skip(from).collect();
            if let Some(at) = rest.find(&wanted) {
                let column = from + rest[..at].chars().count() + 1;
                let length = wanted.chars().count() + 1;
                (self.line, self.column) = (number, column + length);
                return Span::of_line(number, column, length);
            }
        }
        self.span
    }
}

#[cfg(test)]
mod tests {
    use std::path::{Path, PathBuf};

    use super::*;
    use crate::config::diagnostic::Source;

    fn filled(value: &str) -> Result<String, Vec<String>> {
        let mut reader = Reader::new(Source::shown(Path::new("f"), value), PathBuf::from("/"));
        let env = |name: &str| match name {
            "A" => Some("1: {x}\ny: 2".to_owned()),
            "EMPTY" => Some(String::new()),
            _ => None,
        };
        let (text, _) = expand(value, &env, Span::of_line(1, 1, value.len()), &mut reader);
        if reader.found.is_empty() {
            Ok(text)
        } else {
            Err(reader.found.iter().map(ToString::to_string).collect())
        }
    }

    #[test]
    fn fills_in_what_braces_name_and_nothing_else() {
        assert_eq!(filled("${A}"), Ok("1: {x}\ny: 2".to_owned()));
        assert_eq!(filled("a${NONE:-b}c"), Ok("abc".to_owned()));
        assert_eq!(filled("[${EMPTY}][${EMPTY:-x}]"), Ok("[][x]".to_owned()));
        assert_eq!(filled("$PORT $$PORT $${PORT} $"), Ok("$PORT $PORT ${PORT} $".to_owned()));
    }

    #[test]
    fn shows_each_missing_variable_at_its_own_place() {
        let found = filled("é ${X} ${X}").unwrap_err();
        assert!(found[0].starts_with("f:1:3: the environment has no `X`"), "{}", found[0]);
        assert!(found[1].starts_with("f:1:8: "), "{}", found[1]);
        assert!(filled("${X").unwrap_err()[0].contains("without `}`"));
        assert!(filled("${X-1}").unwrap_err()[0].contains("is no variable"));
    }
}
