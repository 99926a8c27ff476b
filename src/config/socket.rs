//! Unix sockets of replicas: where they lie in the state directory, and who may have them.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use super::diagnostic::Span;
use super::listen::LONGEST_PATH;
use super::reader::Reader;
use super::spec::RuntimeKind;

/// The folder of all of a proxy's.
#[must_use]
pub(crate) fn folder(state_dir: &Path) -> PathBuf {
    state_dir.join("sockets")
}

/// The one with this number. Nothing longer is in its name, so that how long its path is depends on the folder alone.
#[must_use]
pub(crate) fn path(folder: &Path, number: u32) -> PathBuf {
    folder.join(format!("{number:08x}.sock"))
}

/// Whether a file of that folder has the name of one.
#[must_use]
pub(crate) fn is_name(name: &OsStr) -> bool {
    let number = name.to_str().and_then(|name| name.strip_suffix(".sock"));
    number.is_some_and(|number| number.len() == 8 && number.bytes().all(|byte| byte.is_ascii_hexdigit()))
}

/// Reports a `socket` that no replica could have. The state directory stands where it is written, if it is.
pub(crate) fn check(
    key: Span,
    runtime: RuntimeKind,
    (state_dir, place): (&Path, Option<Span>),
    reader: &mut Reader,
) {
    if runtime == RuntimeKind::Docker {
        let help =
            "write `runtime: process` at the top of the file, or tell the container's `port` in its place";
        reader.mistake(key, "`socket` is for runtime process: a container is reached at its port", help);
        return;
    }
    let bytes = path(&folder(state_dir), u32::MAX).as_os_str().len();
    let Some(excess) = bytes.checked_sub(LONGEST_PATH).filter(|excess| *excess > 0) else { return };
    let message =
        format!("a replica's socket would have a path of {bytes} bytes, and the system takes {LONGEST_PATH}");
    let help = format!(
        "choose a `state_dir` that is shorter by {excess} bytes at least, such as /var/lib/pilotlight; it is now\n{}",
        state_dir.display()
    );
    match place {
        Some(place) => reader.conflict(place, message, (key, "for this"), help),
        None => reader.mistake(key, message, help),
    }
}
