//! What is wrong with a configuration, where, and what to do about it.
//!
//! Owns how a mistake is shown. Decides nothing about what a mistake is, and reads no files.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// A range of characters in a file. Lines and columns count from 1; the end is exclusive.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Span {
    /// Line of the first character.
    pub line: usize,
    /// Column of the first character, in characters.
    pub column: usize,
    /// Line of the end.
    pub end_line: usize,
    /// Column of the end, in characters.
    pub end_column: usize,
}

impl Span {
    /// `len` characters of one line.
    #[must_use]
    pub fn of_line(line: usize, column: usize, len: usize) -> Self {
        Self { line, column, end_line: line, end_column: column + len }
    }
}

/// A file that mistakes point into.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Source {
    /// As the user named it.
    pub(crate) path: PathBuf,
    /// Empty where the lines must not be shown, because they hold secrets.
    lines: Vec<String>,
}

impl Source {
    /// A file whose lines may be shown.
    pub(crate) fn shown(path: &Path, text: &str) -> Arc<Self> {
        // A CR alone ends a line too, YAML 1.2 section 5.4, and places are counted so.
        let text = text.replace("\r\n", "\n").replace('\r', "\n");
        Arc::new(Self { path: path.to_owned(), lines: text.lines().map(str::to_owned).collect() })
    }

    /// A file whose lines stay out of sight.
    pub(crate) fn hidden(path: &Path) -> Arc<Self> {
        Arc::new(Self { path: path.to_owned(), lines: Vec::new() })
    }

    /// A line by its number from 1.
    pub(crate) fn line(&self, number: usize) -> Option<&str> {
        self.lines.get(number.checked_sub(1)?).map(String::as_str)
    }
}

/// One mistake: its place, what is wrong, what to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Diagnostic {
    source: Arc<Source>,
    span: Option<Span>,
    message: String,
    help: Option<String>,
    related: Option<(Span, String)>,
    context: bool,
}

impl Diagnostic {
    /// A mistake at a place.
    pub(crate) fn at(source: &Arc<Source>, span: Span, message: impl Into<String>) -> Self {
        Self { span: Some(span), ..Self::of_file(source, message) }
    }

    /// A mistake of the file as a whole.
    pub(crate) fn of_file(source: &Arc<Source>, message: impl Into<String>) -> Self {
        Self {
            source: Arc::clone(source),
            span: None,
            message: message.into(),
            help: None,
            related: None,
            context: false,
        }
    }

    /// What to do about it.
    pub(crate) fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    /// The other place that the mistake is about, and what stands there.
    pub(crate) fn related(mut self, span: Span, label: impl Into<String>) -> Self {
        self.related = Some((span, label.into()));
        self
    }

    /// Shows the line before as well: where the structure is wrong, the cause is often there.
    pub(crate) fn with_context(mut self) -> Self {
        self.context = true;
        self
    }

    /// The file, as the user named it.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.source.path
    }

    /// The place, if there is one more precise than the file.
    #[must_use]
    pub fn span(&self) -> Option<Span> {
        self.span
    }

    /// What is wrong, in one line.
    #[must_use]
    pub fn message(&self) -> &str {
        &self.message
    }

    /// Mistakes in the order of the file that they stand in.
    fn order(&self) -> (&Path, Option<Span>, &str) {
        (&self.source.path, self.span, &self.message)
    }

    fn lines_shown(&self, span: Span) -> Vec<Shown<'_>> {
        let mut shown = vec![(span.line, Some((span, '^', "")))];
        if let Some((other, label)) = &self.related {
            shown.push((other.line, Some((*other, '-', label))));
        }
        if self.context && span.line > 1 {
            shown.push((span.line - 1, None));
        }
        shown.retain(|(line, _)| self.source.line(*line).is_some());
        shown.sort_by_key(|(line, marker)| (*line, marker.map(|(span, ..)| span.column)));
        shown
    }
}

impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = self.source.path.display();
        let mut margin = 1;
        match self.span {
            None => write!(f, "{path}: {}", self.message)?,
            Some(span) => {
                write!(f, "{path}:{}:{}: {}", span.line, span.column, self.message)?;
                let shown = self.lines_shown(span);
                margin = shown.iter().map(|(line, _)| line.to_string().len()).max().unwrap_or(1);
                let mut last = 0;
                for (number, marker) in shown {
                    let Some(line) = self.source.line(number) else { continue };
                    if number != last {
                        write!(
                            f,
                            "\n{number:>margin$} | {}",
                            Excerpt::of(line, marker.map(|(span, ..)| span)).text
                        )?;
                    }
                    last = number;
                    if let Some((span, mark, label)) = marker {
                        let excerpt = Excerpt::of(line, Some(span));
                        write!(f, "\n{:margin$} | {}{}", "", excerpt.padding, excerpt.marks(mark))?;
                        if !label.is_empty() {
                            write!(f, " {label}")?;
                        }
                    }
                }
            }
        }
        if let Some(help) = &self.help {
            for (number, line) in help.lines().enumerate() {
                let lead = if number == 0 { "= " } else { "  " };
                write!(f, "\n{:margin$} {lead}{line}", "")?;
            }
        }
        Ok(())
    }
}

/// The number of a line that is shown, and what is marked in it: where, with which sign and which words.
type Shown<'a> = (usize, Option<(Span, char, &'a str)>);

/// As much of a source line as fits a terminal, and how far in the marker stands.
struct Excerpt {
    text: String,
    padding: String,
    width: usize,
}

/// Characters of a source line that are shown.
const LINE_SHOWN: usize = 120;

impl Excerpt {
    fn of(line: &str, span: Option<Span>) -> Self {
        let chars: Vec<char> = line.chars().collect();
        let column = span.map_or(0, |span| span.column.saturating_sub(1)).min(chars.len());
        let from = if column < LINE_SHOWN { 0 } else { column - LINE_SHOWN / 2 };
        let to = chars.len().min(from + LINE_SHOWN);
        // A tab stays one, so that the marker below lines up; what else could move a terminal's cursor does not.
        let text = chars[from..to].iter().map(|c| if c.is_control() && *c != '\t' { '\u{fffd}' } else { *c });
        let padding = chars[from..column].iter().map(|c| if *c == '\t' { '\t' } else { ' ' });
        let end = span.map_or(0, |span| {
            if span.end_line == span.line { span.end_column.saturating_sub(1) } else { chars.len() }
        });
        Self {
            text: text.collect::<String>().trim_end().to_owned(),
            padding: padding.collect(),
            width: end.min(to).saturating_sub(column).max(1),
        }
    }

    fn marks(&self, mark: char) -> String {
        std::iter::repeat_n(mark, self.width).collect()
    }
}

/// In the order of the file, each once.
pub(crate) fn in_order(mut diagnostics: Vec<Diagnostic>) -> Vec<Diagnostic> {
    diagnostics.sort_by(|a, b| a.order().cmp(&b.order()));
    diagnostics.dedup();
    diagnostics
}

/// Every mistake of a configuration, in the order of the file. Displayed, it shows them all.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}", self.render())]
pub struct ConfigErrors {
    diagnostics: Vec<Diagnostic>,
}

impl ConfigErrors {
    pub(crate) fn new(diagnostics: Vec<Diagnostic>) -> Self {
        Self { diagnostics: in_order(diagnostics) }
    }

    /// The mistakes, sorted by file, line and column; at least one.
    #[must_use]
    pub fn diagnostics(&self) -> &[Diagnostic] {
        &self.diagnostics
    }

    fn render(&self) -> String {
        let mut parts: Vec<String> = self.diagnostics.iter().map(ToString::to_string).collect();
        if parts.len() > 1 {
            parts.push(format!("{} mistakes", parts.len()));
        }
        parts.join("\n\n")
    }
}

impl From<Diagnostic> for ConfigErrors {
    fn from(diagnostic: Diagnostic) -> Self {
        Self::new(vec![diagnostic])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_end_where_yaml_ends_them() {
        let source = Source::shown(Path::new("f"), "a\rb\r\nc\n\rd\n");
        let lines: Vec<_> = (0..=6).map(|number| source.line(number)).collect();
        assert_eq!(lines, [None, Some("a"), Some("b"), Some("c"), Some(""), Some("d"), None]);
    }

    #[test]
    fn shows_both_places_in_the_order_of_the_file() {
        let source = Source::shown(Path::new("a.yml"), "x: 1\ny: 2\nx: 3\n");
        let diagnostic = Diagnostic::at(&source, Span::of_line(3, 1, 1), "duplicate key `x`")
            .related(Span::of_line(1, 1, 1), "first here")
            .help("keep one");
        assert_eq!(
            diagnostic.to_string(),
            "a.yml:3:1: duplicate key `x`\n1 | x: 1\n  | - first here\n3 | x: 3\n  | ^\n  = keep one"
        );
    }

    #[test]
    fn keeps_the_marker_below_its_place_in_a_long_line() {
        let line = format!("{}HERE", "x".repeat(500));
        let excerpt = Excerpt::of(&line, Some(Span::of_line(1, 501, 4)));
        assert_eq!(excerpt.text.chars().count(), 64);
        assert_eq!(excerpt.text.find("HERE"), Some(excerpt.padding.len()));
        assert_eq!(excerpt.marks('^'), "^^^^");
    }

    #[test]
    fn shows_no_line_of_a_file_with_secrets() {
        let source = Source::hidden(Path::new(".env"));
        let diagnostic = Diagnostic::at(&source, Span::of_line(2, 1, 1), "no `=`");
        assert_eq!(diagnostic.to_string(), ".env:2:1: no `=`");
    }

    #[test]
    fn lets_no_control_character_through() {
        let excerpt = Excerpt::of("a\u{1b}[31mb", None);
        assert!(!excerpt.text.contains('\u{1b}'));
    }
}
