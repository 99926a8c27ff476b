//! YAML as a tree in which every node knows its place.
//!
//! Owns the structure alone: one document, unique keys, aliases and merge keys resolved, all within bounds.
//! What a key or a value means is not known here.

use std::collections::HashMap;
use std::sync::Arc;

use saphyr_parser::{Event, Parser, ScalarStyle, ScanError};

use super::diagnostic::{Diagnostic, Source, Span};

/// Levels of nesting. The schema needs seven; recursion over the tree relies on this bound.
const MAX_DEPTH: usize = 32;
/// Nodes of the tree with aliases resolved, so that a few nested aliases cannot fill the memory.
const MAX_NODES: usize = 1_000_000;

/// A value and its place.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Node {
    /// Where it stands; for an alias, where its anchor does.
    pub(crate) span: Span,
    pub(crate) kind: Kind,
}

/// What a node is.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Kind {
    Scalar { text: String, style: Style },
    List(Vec<Node>),
    Map(Vec<(Key, Node)>),
}

/// A map's key and its place.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Key {
    pub(crate) text: String,
    pub(crate) span: Span,
}

/// How a scalar was written, as far as it matters for what it can be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Style {
    /// Without quotes: may be a number, a truth value, or nothing.
    Plain,
    /// With quotes or as a block: text.
    Quoted,
    /// `${NAME}` was filled in: whatever its text can be read as, but never nothing.
    Filled,
}

impl Node {
    /// Whether this is YAML's null: nothing written, `~` or `null`.
    pub(crate) fn is_null(&self) -> bool {
        matches!(&self.kind, Kind::Scalar { text, style: Style::Plain }
            if matches!(text.as_str(), "" | "~" | "null" | "Null" | "NULL"))
    }
}

/// Reads one document. Mistakes that leave a tree (duplicate keys) are collected; others end the reading.
pub(crate) fn parse(source: &Arc<Source>, text: &str) -> (Option<Node>, Vec<Diagnostic>) {
    let mut loader = Loader {
        source,
        stack: Vec::new(),
        anchors: HashMap::new(),
        nodes: 0,
        root: None,
        documents: 0,
        found: Vec::new(),
    };
    for event in Parser::new_from_str(text) {
        let done = match event {
            Ok((event, span)) => loader.take(event, convert(span)),
            Err(error) => Err(syntax_error(source, &error)),
        };
        if let Err(diagnostic) = done {
            loader.found.push(*diagnostic);
            return (None, loader.found);
        }
    }
    (loader.root, loader.found)
}

/// A collection that is not finished.
struct Frame {
    span: Span,
    anchor: usize,
    open: Open,
}

enum Open {
    List(Vec<Node>),
    Map(Vec<(Key, Node)>, Option<Key>),
}

/// What an anchor names, and how much room a copy takes.
struct Anchored {
    node: Node,
    nodes: usize,
    depth: usize,
}

struct Loader<'a> {
    source: &'a Arc<Source>,
    stack: Vec<Frame>,
    anchors: HashMap<usize, Anchored>,
    nodes: usize,
    root: Option<Node>,
    documents: usize,
    found: Vec<Diagnostic>,
}

type Step = Result<(), Box<Diagnostic>>;

impl Loader<'_> {
    fn take(&mut self, event: Event<'_>, span: Span) -> Step {
        match event {
            Event::Nothing | Event::StreamStart | Event::StreamEnd | Event::DocumentEnd => Ok(()),
            Event::DocumentStart(_) => {
                self.documents += 1;
                if self.documents > 1 {
                    return Err(self
                        .error(span, "a second document begins here")
                        .help("remove the `---`")
                        .into());
                }
                Ok(())
            }
            Event::Alias(id) => self.alias(id, span),
            Event::Scalar(text, style, anchor, tag) => {
                self.no_tag(tag.is_some(), span)?;
                self.scalar(text.into_owned(), style, anchor, span)
            }
            Event::SequenceStart(anchor, tag) => {
                self.no_tag(tag.is_some(), span)?;
                self.open(span, anchor, Open::List(Vec::new()))
            }
            Event::MappingStart(anchor, tag) => {
                self.no_tag(tag.is_some(), span)?;
                self.open(span, anchor, Open::Map(Vec::new(), None))
            }
            Event::SequenceEnd | Event::MappingEnd => self.close(span),
        }
    }

    fn error(&self, span: Span, message: impl Into<String>) -> Diagnostic {
        Diagnostic::at(self.source, span, message)
    }

    fn no_tag(&self, tagged: bool, span: Span) -> Step {
        if tagged {
            let error = self.error(span, "tags (`!…`) are not used here");
            return Err(error.help("remove the tag; quotes make text of a number").into());
        }
        Ok(())
    }

    fn scalar(&mut self, text: String, style: ScalarStyle, anchor: usize, span: Span) -> Step {
        if let Some(Frame { open: Open::Map(_, pending @ None), .. }) = self.stack.last_mut() {
            *pending = Some(Key { text, span });
            return Ok(());
        }
        let style = if style == ScalarStyle::Plain { Style::Plain } else { Style::Quoted };
        self.finish(Node { span, kind: Kind::Scalar { text, style } }, anchor)
    }

    fn alias(&mut self, id: usize, span: Span) -> Step {
        self.no_complex_key(span)?;
        let Some(anchored) = self.anchors.get(&id) else {
            let error = self.error(span, "this alias lies within the value that it names");
            return Err(error.help("write the value out").into());
        };
        if self.stack.len() + anchored.depth > MAX_DEPTH {
            return Err(self.too_deep(span));
        }
        self.nodes += anchored.nodes;
        let node = anchored.node.clone();
        self.bounded(span)?;
        self.attach(node);
        Ok(())
    }

    fn open(&mut self, span: Span, anchor: usize, open: Open) -> Step {
        self.no_complex_key(span)?;
        if self.stack.len() >= MAX_DEPTH {
            return Err(self.too_deep(span));
        }
        self.stack.push(Frame { span, anchor, open });
        Ok(())
    }

    fn close(&mut self, end: Span) -> Step {
        let frame = self.stack.pop().expect("the parser closes what it opened");
        let span = Span { end_line: end.end_line, end_column: end.end_column, ..frame.span };
        let kind = match frame.open {
            Open::List(items) => Kind::List(items),
            Open::Map(entries, _) => Kind::Map(self.unique(entries)?),
        };
        self.finish(Node { span, kind }, frame.anchor)
    }

    /// Keys once each, merge keys resolved.
    fn unique(&mut self, entries: Vec<(Key, Node)>) -> Result<Vec<(Key, Node)>, Box<Diagnostic>> {
        let mut first: HashMap<String, Span> = HashMap::new();
        let mut kept = Vec::with_capacity(entries.len());
        let mut merged = None;
        for (key, value) in entries {
            if let Some(span) = first.get(&key.text) {
                let error = self.error(key.span, format!("duplicate key `{}`", key.text));
                self.found.push(error.related(*span, "first here").help("keep one of the two"));
                continue;
            }
            first.insert(key.text.clone(), key.span);
            if key.text == "<<" { merged = Some(value) } else { kept.push((key, value)) }
        }
        let sources = match merged {
            None => Vec::new(),
            Some(Node { kind: Kind::List(maps), .. }) => maps,
            Some(map) => vec![map],
        };
        for map in sources {
            let Kind::Map(entries) = map.kind else {
                let error = self.error(map.span, "`<<` merges maps, and this is none");
                return Err(error.help("write `<<: *name` of an anchor `&name` at a map").into());
            };
            for (key, value) in entries {
                if !first.contains_key(&key.text) {
                    first.insert(key.text.clone(), key.span);
                    kept.push((key, value));
                }
            }
        }
        Ok(kept)
    }

    fn finish(&mut self, node: Node, anchor: usize) -> Step {
        self.nodes += 1;
        self.bounded(node.span)?;
        if anchor > 0 {
            let (nodes, depth) = measure(&node);
            self.nodes += nodes;
            self.bounded(node.span)?;
            self.anchors.insert(anchor, Anchored { node: node.clone(), nodes, depth });
        }
        self.attach(node);
        Ok(())
    }

    fn attach(&mut self, node: Node) {
        match self.stack.last_mut().map(|frame| &mut frame.open) {
            None => self.root = Some(node),
            Some(Open::List(items)) => items.push(node),
            Some(Open::Map(entries, pending)) => {
                let key = pending.take().expect("a map's value comes after its key");
                entries.push((key, node));
            }
        }
    }

    fn no_complex_key(&self, span: Span) -> Step {
        if let Some(Frame { open: Open::Map(_, None), .. }) = self.stack.last() {
            return Err(self.error(span, "a key must be a word").help("write `key: value`").into());
        }
        Ok(())
    }

    fn bounded(&self, span: Span) -> Step {
        if self.nodes > MAX_NODES {
            let error = self.error(span, format!("more than {MAX_NODES} values, aliases written out"));
            return Err(error.help("use fewer aliases (`*name`)").into());
        }
        Ok(())
    }

    fn too_deep(&self, span: Span) -> Box<Diagnostic> {
        self.error(span, format!("nested more than {MAX_DEPTH} levels deep")).into()
    }
}

/// Nodes, and levels.
fn measure(node: &Node) -> (usize, usize) {
    let below = |(nodes, depth): (usize, usize), child: &Node| {
        let (n, d) = measure(child);
        (nodes + n, depth.max(d + 1))
    };
    match &node.kind {
        Kind::Scalar { .. } => (1, 0),
        Kind::List(items) => items.iter().fold((1, 1), below),
        Kind::Map(entries) => entries.iter().map(|(_, value)| value).fold((1, 1), below),
    }
}

fn convert(span: saphyr_parser::Span) -> Span {
    Span {
        line: span.start.line(),
        column: span.start.col() + 1,
        end_line: span.end.line(),
        end_column: span.end.col() + 1,
    }
}

/// The parser's own words, with a hint for what people trip over.
fn syntax_error(source: &Arc<Source>, error: &ScanError) -> Box<Diagnostic> {
    let (number, column) = (error.marker().line(), error.marker().col() + 1);
    let line = source.line(number).unwrap_or_default();
    let rest: String = line.chars().skip(column - 1).collect();
    let indentation: String = line.chars().take_while(|c| c.is_whitespace()).collect();
    let help = if indentation.contains('\t') {
        "indent with spaces: YAML forbids tabs there"
    } else if rest.starts_with('*') && error.info().contains("anchor") {
        "`*` begins an alias in YAML: put the value in quotes, `\"*.example.com\"`"
    } else if error.info().contains("quoted scalar") {
        "close the quote that begins here; a text of several lines is indented"
    } else if rest.starts_with(['@', '`', '%']) {
        "put the value in quotes: YAML reserves its first character"
    } else {
        "look at the indentation, the quotes and the brackets of this line and the one before; a value with `: ` needs quotes"
    };
    let message = format!("not valid YAML: {}", error.info());
    Diagnostic::at(source, Span::of_line(number, column, 1), message).help(help).with_context().into()
}
