//! The two forms of the file: one app with its keys at the top level, or many under `apps:` over `defaults:`.
//!
//! Owns which key may stand at which level. What the keys mean together is `resolve`'s business.

use super::diagnostic::Span;
use super::reader::Reader;
use super::schema::{AppFile, FORM, ProxyFile};
use super::slot::Slot;
use super::suggest::unknown_key;
use super::table::{Table, read_table};
use super::tree::{Key, Kind, Node};

/// The file as written.
pub(crate) struct Layout {
    pub(crate) proxy: ProxyFile,
    /// Whether the keys of one app stand at the top level.
    pub(crate) single: bool,
    pub(crate) apps: Vec<AppEntry>,
}

/// One app as written, over the defaults.
pub(crate) struct AppEntry {
    /// Its key under `apps`.
    pub(crate) key: Option<Key>,
    /// From its key to its end; `None` for the app at the top level.
    pub(crate) extent: Option<Span>,
    /// Where the keys for all apps stand.
    pub(crate) common: Option<Span>,
    pub(crate) body: AppFile,
}

impl AppEntry {
    /// Whether something stands among the app's own keys, not among those for all apps.
    pub(crate) fn says(&self, span: Span) -> bool {
        // Not whether it stands within the app: what an alias stands for is written elsewhere.
        let ends = |span: Span| (span.end_line, span.end_column);
        !self.common.is_some_and(|common| span >= common && ends(span) <= ends(common))
    }
}

/// Reads the top level.
pub(crate) fn read(root: &Node, reader: &mut Reader) -> Option<Layout> {
    let Kind::Map(entries) = &root.kind else {
        reader.wrong_kind(root, "a map", "write `key: value` lines, such as `image: nginx:1.27`");
        return None;
    };
    let find = |name| entries.iter().find(|(key, _)| key.text == name);
    let (apps, defaults) = (find("apps"), find("defaults"));
    let single = apps.is_none() && defaults.is_none();
    let (mut proxy, mut alone) = (ProxyFile::default(), AppFile::default());
    for (key, value) in entries {
        let known = matches!(key.text.as_str(), "apps" | "defaults")
            || proxy.set(key, value, reader)
            || (single && alone.set(key, value, reader));
        if !known {
            stray(key, single, reader);
        }
    }
    if single {
        alone.check_pairs(reader);
        return Some(Layout {
            proxy,
            single,
            apps: vec![AppEntry { key: None, extent: None, common: None, body: alone }],
        });
    }
    let common = defaults.map(|(_, node)| node.span);
    let defaults = defaults.map_or_else(AppFile::default, |(_, node)| read_defaults(node, reader));
    let Some((key, node)) = apps else {
        let (key, _) = find("defaults").expect("one of the two keys stands there");
        reader.mistake(key.span, "`defaults` without `apps`", "put the apps under `apps:`, name by name");
        return None;
    };
    Some(Layout { proxy, single, apps: read_apps(key, node, (&defaults, common), reader)? })
}

/// A key that the top level does not have.
fn stray(key: &Key, single: bool, reader: &mut Reader) {
    let app_key = AppFile::SECTION.keys.iter().any(|known| known.name == key.text);
    if !single && app_key {
        let message = format!("`{}` belongs to an app, and this file has several", key.text);
        return reader.mistake(
            key.span,
            message,
            "move it to one of the `apps`, or to `defaults` for all of them",
        );
    }
    let sections: &[&_] =
        if single { &[&AppFile::SECTION, &ProxyFile::SECTION, &FORM] } else { &[&ProxyFile::SECTION, &FORM] };
    unknown_key(reader, key, sections);
}

fn read_defaults(node: &Node, reader: &mut Reader) -> AppFile {
    let mut defaults: AppFile = read_table(node, reader).unwrap_or_default();
    if let Some(key) = defaults.name.key() {
        reader.mistake(key, "one `name` for all apps", "remove it: an app's key under `apps` is its name");
        defaults.name = Slot::Absent;
    }
    defaults.check_pairs(reader);
    defaults
}

fn read_apps(
    key: &Key,
    node: &Node,
    (defaults, common): (&AppFile, Option<Span>),
    reader: &mut Reader,
) -> Option<Vec<AppEntry>> {
    let entries = match &node.kind {
        Kind::Map(entries) if !entries.is_empty() => entries,
        Kind::Map(_) => {
            reader.mistake(
                key.span,
                "`apps` has no app",
                "write one below it: `web:`, and its keys below that",
            );
            return None;
        }
        _ if node.is_null() => {
            reader.mistake(
                key.span,
                "`apps` has no app",
                "write one below it: `web:`, and its keys below that",
            );
            return None;
        }
        _ => {
            reader.wrong_kind(node, "a map", "write `name:` for each app, and its keys below that");
            return None;
        }
    };
    let mut apps = Vec::with_capacity(entries.len());
    for (key, value) in entries {
        let Some(own) = read_table::<AppFile>(value, reader) else { continue };
        own.check_pairs(reader);
        let extent = Span { end_line: value.span.end_line, end_column: value.span.end_column, ..key.span };
        let body = own.over_defaults(defaults);
        apps.push(AppEntry { key: Some(key.clone()), extent: Some(extent), common, body });
    }
    Some(apps)
}
