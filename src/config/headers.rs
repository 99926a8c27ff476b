//! `headers`: what is changed in the headers of requests and of responses on their way.
//!
//! Owns the notation, and which headers nobody may change: those that say how a message is framed and what belongs
//! to one hop, and those by which the proxy itself tells apps of their clients. Values may be secrets: no message
//! repeats one.

use http::header::{
    CONNECTION, CONTENT_LENGTH, EXPECT, FORWARDED, HOST, PROXY_AUTHORIZATION, TE, TRAILER, TRANSFER_ENCODING,
    UPGRADE,
};
use http::uri::Authority;
use http::{HeaderName, HeaderValue};

use super::diagnostic::Span;
use super::reader::{Reader, short};
use super::schema::{HeaderChangesFile, HeadersFile};
use super::slot::Slot;
use super::spec::{HeaderChanges, HeadersSpec};
use super::table::Value;
use super::tree::{Key, Kind, Node};
use super::value::{Many, scalar};

/// Headers whose meaning ends with a connection, or that say where a message does: the proxy's business alone.
const FRAMING: [HeaderName; 11] = [
    CONNECTION,
    CONTENT_LENGTH,
    EXPECT,
    HeaderName::from_static("http2-settings"),
    HeaderName::from_static("keep-alive"),
    PROXY_AUTHORIZATION,
    HeaderName::from_static("proxy-connection"),
    TE,
    TRAILER,
    TRANSFER_ENCODING,
    UPGRADE,
];

/// The name of a header that may be changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Name(pub(crate) HeaderName);

impl Name {
    fn parse(text: &str, span: Span, reader: &mut Reader) -> Option<Self> {
        let Ok(name) = HeaderName::from_bytes(text.as_bytes()) else {
            let message = format!("`{}` is no header's name", short(text));
            reader.mistake(span, message, "write letters, digits and `-`: `X-Frame-Options`");
            return None;
        };
        if FRAMING.contains(&name) {
            let message = format!("`{name}` is the proxy's to set: it belongs to one connection");
            reader.mistake(span, message, "remove it");
            return None;
        }
        Some(Self(name))
    }
}

impl Value for Name {
    fn read(node: &Node, reader: &mut Reader) -> Option<Self> {
        let Some((text, _)) = scalar(node) else {
            reader.wrong_kind(node, "a header's name", "write one name, or a list of them");
            return None;
        };
        Self::parse(text, node.span, reader)
    }
}

/// A header's value.
#[derive(Debug, Clone)]
pub(crate) struct Line(HeaderValue);

impl Value for Line {
    fn read(node: &Node, reader: &mut Reader) -> Option<Self> {
        let Some((text, _)) = scalar(node) else {
            reader.mistake(
                node.span,
                "a header's value is one text",
                "write one; `\"\"` is an empty one, and `remove` takes the header off",
            );
            return None;
        };
        let value = HeaderValue::from_str(text.trim());
        if value.is_err() {
            reader.mistake(
                node.span,
                "a header's value is one line of ASCII",
                "encode other characters as the header's reader expects it",
            );
        }
        value.ok().map(Self)
    }
}

/// Headers with one value (`set`), or with several (`add`).
#[derive(Debug, Clone)]
pub(crate) struct Lines<V>(Vec<(HeaderName, Span, V)>);

impl<V> Default for Lines<V> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<V: Value + Clone> Value for Lines<V> {
    fn read(node: &Node, reader: &mut Reader) -> Option<Self> {
        let Kind::Map(entries) = &node.kind else {
            reader.wrong_kind(node, "a map", "write `Name: value` lines below it");
            return None;
        };
        let mut lines = Self::default();
        for (Key { text, span }, value) in entries {
            let (name, value) = (Name::parse(text, *span, reader), V::read(value, reader));
            let Some((Name(name), value)) = name.zip(value) else { continue };
            if let Some((_, first, _)) = lines.0.iter().find(|(other, ..)| *other == name) {
                let message = format!("the header `{name}` is given twice");
                reader.conflict(*span, message, (*first, "first here"), "keep one of the two");
            }
            lines.0.push((name, *span, value));
        }
        Some(lines)
    }

    fn over(mut self, under: &Self) -> Self {
        let mut merged: Vec<_> = under.0.clone();
        merged.retain(|(name, ..)| self.0.iter().all(|(own, ..)| own != name));
        merged.append(&mut self.0);
        Self(merged)
    }
}

impl HeadersFile {
    /// Reports changes that these two directions do not allow; looked at where they are written.
    pub(crate) fn check(&self, reader: &mut Reader) {
        let Some(request) = self.request.get() else { return };
        let set = request.set.get().map(|lines| lines.0.as_slice()).unwrap_or_default();
        let added = request.add.get().map(|lines| lines.0.as_slice()).unwrap_or_default();
        let set_names = set.iter().map(|(name, span, _)| (name, *span));
        for (name, span) in set_names.chain(added.iter().map(|(name, span, _)| (name, *span))) {
            if *name == FORWARDED || name.as_str() == "x-real-ip" || name.as_str().starts_with("x-forwarded-")
            {
                let message = format!("`{name}` is the proxy's to set: apps trust it to be the client's");
                reader.mistake(span, message, "remove it");
            }
        }
        let removed = request.remove.get().map(|names| names.0.as_slice()).unwrap_or_default();
        let removed = removed.iter().map(|(Name(name), span)| (name, *span));
        for (_, span) in added
            .iter()
            .map(|(name, span, _)| (name, *span))
            .chain(removed)
            .filter(|(name, _)| **name == HOST)
        {
            reader.mistake(span, "a request has one `Host`", "write it under `set`");
        }
        for (_, span, Line(host)) in set.iter().filter(|(name, ..)| *name == HOST) {
            let parsed = host.to_str().ok().and_then(|host| host.parse::<Authority>().ok());
            if parsed.is_none_or(|host| host.as_str().contains('@')) {
                reader.mistake(*span, "this `Host` is no host", "write a name, and a port where it has one");
            }
        }
    }

    /// The defaults that are left beside this app's own: what it removes is not set after all.
    pub(crate) fn cover(&self, under: &mut Self) {
        cover(&self.request, &mut under.request);
        cover(&self.response, &mut under.response);
    }

    /// The headers' changes as run.
    pub(crate) fn resolve(self) -> HeadersSpec {
        HeadersSpec { request: changes(self.request), response: changes(self.response) }
    }
}

fn cover(own: &Slot<HeaderChangesFile>, under: &mut Slot<HeaderChangesFile>) {
    let (Some(removed), Slot::Given(under)) = (own.get().and_then(|own| own.remove.get()), under) else {
        return;
    };
    let kept = |name: &HeaderName| removed.0.iter().all(|(Name(removed), _)| removed != name);
    if let Slot::Given(set) = &mut under.value.set {
        set.value.0.retain(|(name, ..)| kept(name));
    }
    if let Slot::Given(add) = &mut under.value.add {
        add.value.0.retain(|(name, ..)| kept(name));
    }
}

fn changes(file: Slot<HeaderChangesFile>) -> HeaderChanges {
    let file = file.or_default();
    let add = file.add.or_default().0.into_iter();
    HeaderChanges {
        remove: file.remove.or(Many(Vec::new())).0.into_iter().map(|(Name(name), _)| name).collect(),
        set: file.set.or_default().0.into_iter().map(|(name, _, Line(value))| (name, value)).collect(),
        add: add
            .flat_map(|(name, _, values)| values.0.into_iter().map(move |(Line(v), _)| (name.clone(), v)))
            .collect(),
    }
}
