//! `access_log`: where a line for each request goes. Owns the notation: a file alone, or a map that says more.

use super::diagnostic::Span;
use super::reader::Reader;
use super::schema::AccessLogFile;
use super::slot::{At, Slot};
use super::spec::{AccessFormat, AccessLogSpec, AccessTarget};
use super::table::{Value, read_table};
use super::tree::{Kind, Node};
use super::value::HostPath;

/// The word for standard output; a file of that name is `./stdout`.
const STDOUT: &str = "stdout";

/// What elsewhere turns a log on or off, and would make a file here.
const SWITCHES: [&str; 7] = ["off", "on", "no", "yes", "none", "false", "true"];

/// The section, however it is written.
#[derive(Debug, Clone)]
pub(crate) struct AccessLog(AccessLogFile);

impl Value for AccessLog {
    const PARTIAL: bool = true;

    fn read(node: &Node, reader: &mut Reader) -> Option<Self> {
        if let Kind::Map(_) = node.kind {
            return read_table(node, reader).map(Self);
        }
        let value = HostPath::read(node, reader)?;
        if SWITCHES.contains(&value.0.to_lowercase().as_str()) {
            let message = format!("`{}` is no file", value.0);
            reader.mistake(
                node.span,
                message,
                "write a path or `stdout`; without the key there is no access log",
            );
            return None;
        }
        let file = Slot::Given(At { value, key: node.span, span: node.span });
        Some(Self(AccessLogFile { file, ..AccessLogFile::default() }))
    }
}

/// The section as run; nothing where it is not there.
pub(crate) fn resolve(section: &Slot<AccessLog>, reader: &mut Reader) -> Option<AccessLogSpec> {
    let At { key, value: AccessLog(file), .. } = section.given()?;
    let target = target(*key, &file.file, reader)?;
    let format = file.format.get().copied().unwrap_or(AccessFormat::Combined);
    Some(AccessLogSpec { target, format })
}

fn target(section: Span, file: &Slot<HostPath>, reader: &mut Reader) -> Option<AccessTarget> {
    match file {
        Slot::Given(at) if at.value.0 == STDOUT => Some(AccessTarget::Stdout),
        Slot::Given(at) => Some(AccessTarget::File(reader.resolve(&at.value.0))),
        Slot::Bad(_) => None,
        Slot::Absent => {
            let help = "write `file:`, a path or `stdout`";
            reader.mistake(section, "`access_log` without a file", help);
            None
        }
    }
}
