//! A person's folder with a `jcloud.yml`, and what the binary says there before it comes up.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Stdio;

use tempfile::TempDir;
use tokio::process::Command;
use tokio::time::timeout;

use crate::support::wait::LIMIT;

/// A folder, gone when dropped.
pub(crate) struct Folder(TempDir);

impl Folder {
    /// With this `jcloud.yml`.
    pub(crate) fn new(yaml: &str) -> Self {
        let folder = Self::empty();
        folder.write("jcloud.yml", yaml);
        folder
    }

    /// Without any file.
    pub(crate) fn empty() -> Self {
        Self(TempDir::new().expect("a folder can be made"))
    }

    /// Puts a file there.
    pub(crate) fn write(&self, name: &str, text: &str) {
        fs::write(self.0.path().join(name), text).expect("files can be written");
    }

    /// Where it is.
    pub(crate) fn path(&self) -> &Path {
        self.0.path()
    }

    /// Its path as text.
    pub(crate) fn text(&self) -> String {
        self.path().display().to_string()
    }

    /// What `pilotlight ARGS` says there, which is to fail.
    pub(crate) async fn sees(&self, args: &[&str]) -> String {
        self.sees_within(&[], args).await
    }

    /// The same, started by these words: a program that becomes the binary.
    pub(crate) async fn sees_within(&self, words: &[String], args: &[&str]) -> String {
        let words = words.iter().map(String::as_str).chain([env!("CARGO_BIN_EXE_pilotlight")]);
        let words: Vec<_> = words.chain(args.iter().copied()).collect();
        let run = Command::new(words[0])
            .args(&words[1..])
            .current_dir(self.path())
            .stdin(Stdio::null())
            .kill_on_drop(true)
            .output();
        let output = timeout(LIMIT, run).await.expect("it ends by itself").expect("it runs");
        let said = String::from_utf8(output.stderr).expect("it speaks UTF-8");
        assert_eq!(output.status.code(), Some(1), "{said}");
        assert!(output.stdout.is_empty(), "{:?}", output.stdout);
        said
    }
}

/// The words that make the binary run as somebody without rights, in a folder that everybody may use. Whoever runs the
/// tests without any is that already.
pub(crate) fn as_nobody(folder: &Path) -> Vec<String> {
    if !rustix::process::geteuid().is_root() {
        return Vec::new();
    }
    // Where cargo has put it others may not reach it.
    let copy = folder.join("pilotlight");
    fs::copy(env!("CARGO_BIN_EXE_pilotlight"), &copy).expect("the binary can be copied");
    let files = fs::read_dir(folder).expect("the folder can be read");
    for path in files.map(|entry| entry.expect("so can its entries").path()).chain([folder.to_owned()]) {
        fs::set_permissions(path, fs::Permissions::from_mode(0o777)).expect("all of it is ours");
    }
    let script = format!("shift; exec {} \"$@\"", copy.display());
    let words =
        ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "--", "sh", "-c", &script, "sh"];
    words.map(str::to_owned).to_vec()
}
