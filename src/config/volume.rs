//! Mounts: `name:/path`, `/host/path:/path`, `./beside:/path`, each with `:ro` or without.
//!
//! Owns their notation and the rule that a path of the host is mounted only where `docker.allow` says so.

use std::path::{Path, PathBuf};

use super::diagnostic::Span;
use super::reader::{Reader, normalise, short};
use super::spec::{Volume, VolumeSource, WORKSPACE};
use super::table::Value;
use super::tree::Node;
use super::value::{Any, text};

impl Value for Volume {
    fn read(node: &Node, reader: &mut Reader) -> Option<Self> {
        const FORMS: &str =
            "write `name:/path`, `/host/path:/path` or `./beside:/path`, with `:ro` for read-only";
        let written = text(node, "a volume", reader)?;
        let mut wrong = |message: &str, help: &str| {
            reader.mistake(node.span, format!("`{}`: {message}", short(&written)), help);
            None
        };
        let parts: Vec<&str> = written.split(':').collect();
        let (source, target, mode) = match parts[..] {
            [source, target] => (source, target, "rw"),
            [source, target, mode] => (source, target, mode),
            _ => return wrong("not `source:/path`", FORMS),
        };
        let read_only = match mode {
            "ro" => true,
            "rw" => false,
            _ => return wrong("the mode is not `ro` or `rw`", FORMS),
        };
        if !target.starts_with('/') || target.contains('\0') {
            return wrong("the path inside the replica does not start with `/`", FORMS);
        }
        if target.split('/').any(|segment| segment == "..") {
            return wrong("the path inside the replica has `..`", "write the path that is meant");
        }
        let target = normalise(target.as_ref());
        if target.parent().is_none() {
            return wrong("`/` itself cannot be mounted over", "mount a folder below it");
        }
        let is_path = source.starts_with('/') || matches!(source.split('/').next(), Some("." | ".."));
        let source = if is_path {
            VolumeSource::Host(reader.resolve(source))
        } else if source.starts_with('~') {
            return wrong("`~` is not filled in", "write the path in full, or `${HOME}`");
        } else if source.contains('/') {
            return wrong("a volume's name has no `/`", "write `./` before a folder beside the file");
        } else if is_volume_name(source) {
            VolumeSource::Named(source.to_owned())
        } else {
            return wrong(
                "not a volume's name",
                "two or more letters, digits, `_`, `.` and `-`, a letter or digit first",
            );
        };
        Some(Self { source, target: target.to_string_lossy().into_owned(), read_only })
    }
}

/// What the engine takes for a name.
fn is_volume_name(name: &str) -> bool {
    name.len() >= 2
        && name.starts_with(|c: char| c.is_ascii_alphanumeric())
        && name.bytes().all(|c| c.is_ascii_alphanumeric() || b"_.-".contains(&c))
}

/// What several mounts, and the proxy's permission, say together.
pub(crate) fn check(volumes: &Any<Volume>, allow: Option<&[PathBuf]>, reader: &mut Reader) {
    for (index, (volume, span)) in volumes.0.iter().enumerate() {
        if let Some((_, first)) = volumes.0[..index].iter().find(|(other, _)| other.target == volume.target) {
            let message = format!("two volumes are mounted at `{}`", volume.target);
            reader.conflict(*span, message, (*first, "first here"), "mount one of them elsewhere");
        }
        if let (VolumeSource::Host(path), Some(allow)) = (&volume.source, allow) {
            allowed(path, *span, allow, reader);
        }
    }
}

/// What `disk_size` means, and what it does not.
pub(crate) fn check_workspace(key: Span, volumes: Option<&Any<Volume>>, reader: &mut Reader) {
    let there = volumes.and_then(|volumes| volumes.0.iter().find(|(volume, _)| volume.target == WORKSPACE));
    if let Some((_, span)) = there {
        let message = format!("`disk_size` mounts a volume at `{WORKSPACE}` as well");
        reader.conflict(
            *span,
            message,
            (key, "here"),
            "mount the volume elsewhere, or leave `disk_size` out",
        );
    }
    let help = "the workspace may take as much as its disk has: keep an eye on it";
    reader.warning(key, "the size that `disk_size` names is not enforced", help);
}

fn allowed(path: &Path, span: Span, allow: &[PathBuf], reader: &mut Reader) {
    if !allow.iter().any(|allowed| path.starts_with(allowed)) {
        let path = path.display();
        let message = format!("the host's path `{path}` is not allowed");
        let help = format!("allow it or a folder above at the top of the file:\ndocker:\n  allow: [{path}]");
        reader.mistake(span, message, help);
    }
}
