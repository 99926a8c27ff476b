//! The build context: a folder as a tar stream, for the engine's build call. Owns walking the folder; reads
//! on a thread of its own, a block at a time, so that a large folder costs no memory.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use bytes::{Bytes, BytesMut};
use tar::{EntryType, Header};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::ignore::Ignore;

/// More than this is a folder that nobody meant: 2 GiB.
const SIZE_LIMIT: u64 = 2 << 30;

/// What is handed over at a time, and how many of those may wait.
const BLOCK: usize = 64 * 1024;
const BLOCKS_WAITING: usize = 8;

/// A context that is being read.
pub(super) struct Context {
    /// The archive, block by block; ends with an error if the folder cannot be read to its end.
    pub(super) blocks: mpsc::Receiver<io::Result<Bytes>>,
    /// What became of the reading, in words: it knows better than whoever sees the stream break off.
    pub(super) outcome: JoinHandle<Result<(), String>>,
}

/// Starts reading `folder`, without the proxy's own state, which lies in `state_dir`.
pub(super) fn read(folder: PathBuf, state_dir: PathBuf) -> Context {
    let (sender, blocks) = mpsc::channel(BLOCKS_WAITING);
    let outcome = tokio::task::spawn_blocking(move || {
        let to = Blocks { sender: sender.clone(), open: BytesMut::new() };
        let written = Walk::over(&folder, &state_dir, to).and_then(Walk::finish);
        written.inspect_err(|text| {
            // A receiver that has gone knows already.
            drop(sender.blocking_send(Err(io::Error::other(text.clone()))));
        })
    });
    Context { blocks, outcome }
}

struct Walk<'a, W: Write> {
    root: &'a Path,
    ignore: Ignore,
    /// Device and inode of the state directory: by whatever path it is met, its keys are nobody else's.
    state: Option<(u64, u64)>,
    archive: tar::Builder<W>,
    /// Bytes of files so far.
    size: u64,
}

impl<'a, W: Write> Walk<'a, W> {
    fn over(root: &'a Path, state_dir: &Path, to: W) -> Result<Self, String> {
        let rules = match fs::read(root.join(".dockerignore")) {
            Ok(bytes) => String::from_utf8_lossy(&bytes).into_owned(),
            Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
            Err(error) => return Err(cannot_read(&root.join(".dockerignore"), &error)),
        };
        let state = match fs::metadata(state_dir) {
            Ok(metadata) => Some((metadata.dev(), metadata.ino())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => return Err(cannot_read(state_dir, &error)),
        };
        let (ignore, archive) = (Ignore::parse(&rules), tar::Builder::new(to));
        let mut walk = Self { root, ignore, state, archive, size: 0 };
        walk.folder("")?;
        Ok(walk)
    }

    fn finish(self) -> Result<(), String> {
        let mut to = self.archive.into_inner().map_err(|error| cannot_send(&error))?;
        to.flush().map_err(|error| cannot_send(&error))
    }

    /// Everything in the folder at `inside`, relative to the root; by name, so that equal folders are equal archives.
    fn folder(&mut self, inside: &str) -> Result<(), String> {
        let folder = self.root.join(inside);
        let failed = |error: io::Error| cannot_read(&folder, &error);
        let mut entries =
            fs::read_dir(&folder).and_then(Iterator::collect::<io::Result<Vec<_>>>).map_err(failed)?;
        entries.sort_by_key(fs::DirEntry::file_name);
        for entry in entries {
            let name = entry.file_name();
            let Some(name) = name.to_str() else {
                return Err(format!(
                    "{} has a name that is not UTF-8: rename it, or leave it out with .dockerignore",
                    entry.path().display()
                ));
            };
            let path = if inside.is_empty() { name.to_owned() } else { format!("{inside}/{name}") };
            self.entry(&path)?;
        }
        Ok(())
    }

    fn entry(&mut self, path: &str) -> Result<(), String> {
        let full = self.root.join(path);
        let left_out = self.ignore.leaves_out(path);
        let metadata = match fs::symlink_metadata(&full) {
            Ok(metadata) => metadata,
            // Removed since the folder was listed.
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(_) if left_out => return Ok(()),
            Err(error) => return Err(cannot_read(&full, &error)),
        };
        let kind = metadata.file_type();
        if self.state == Some((metadata.dev(), metadata.ino())) {
            return Ok(());
        }
        if left_out {
            let descend = kind.is_dir() && self.ignore.takes_back_below(path);
            return if descend { self.folder(path) } else { Ok(()) };
        }
        let mut header = Header::new_gnu();
        header.set_mode(metadata.permissions().mode() & 0o7777);
        header.set_size(0);
        if kind.is_dir() {
            header.set_entry_type(EntryType::Directory);
            self.archive.append_data(&mut header, path, io::empty()).map_err(|error| cannot_send(&error))?;
            return self.folder(path);
        }
        if kind.is_symlink() {
            let target = fs::read_link(&full).map_err(|error| cannot_read(&full, &error))?;
            header.set_entry_type(EntryType::Symlink);
            return self.archive.append_link(&mut header, path, target).map_err(|error| cannot_send(&error));
        }
        if !kind.is_file() {
            debug_assert!(
                kind.is_socket() || kind.is_fifo() || kind.is_block_device() || kind.is_char_device()
            );
            tracing::debug!(path = %full.display(), "neither file nor folder: left out of the build");
            return Ok(());
        }
        self.file(path, &full, &mut header)
    }

    fn file(&mut self, path: &str, full: &Path, header: &mut Header) -> Result<(), String> {
        let file = File::open(full).map_err(|error| cannot_read(full, &error))?;
        let size = file.metadata().map_err(|error| cannot_read(full, &error))?.len();
        self.size += size;
        if self.size > SIZE_LIMIT {
            return Err(format!(
                "the folder {} is larger than {} GiB: name what the image does not need in .dockerignore",
                self.root.display(),
                SIZE_LIMIT >> 30
            ));
        }
        header.set_entry_type(EntryType::Regular);
        header.set_size(size);
        // A file that changes its size under our hands must not shift the rest of the archive.
        let exactly = file.chain(io::repeat(0)).take(size);
        self.archive.append_data(header, path, exactly).map_err(|error| cannot_read(full, &error))
    }
}

fn cannot_read(path: &Path, error: &io::Error) -> String {
    format!(
        "cannot read {}: {error}; leave it out with .dockerignore if the image does not need it",
        path.as_os_str().as_bytes().escape_ascii()
    )
}

fn cannot_send(error: &io::Error) -> String {
    format!("cannot send the build's folder: {error}")
}

/// Collects what is written to blocks and sends them.
struct Blocks {
    sender: mpsc::Sender<io::Result<Bytes>>,
    open: BytesMut,
}

impl Write for Blocks {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.open.extend_from_slice(bytes);
        if self.open.len() >= BLOCK {
            self.flush()?;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        let block = self.open.split().freeze();
        if block.is_empty() {
            return Ok(());
        }
        self.sender.blocking_send(Ok(block)).map_err(|_| io::ErrorKind::BrokenPipe.into())
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    /// A folder that goes away with the test.
    struct Folder(PathBuf);

    impl Folder {
        fn new(name: &str) -> Self {
            let path = std::env::temp_dir().join(format!("pilotlight-context-{name}-{}", std::process::id()));
            fs::create_dir_all(&path).unwrap();
            Self(path)
        }

        fn with(self, path: &str, text: &str) -> Self {
            let path = self.0.join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
            self
        }

        /// Path, kind, and link target or text of everything in the archive.
        fn archived(&self) -> Vec<(String, EntryType, String)> {
            let mut bytes = Vec::new();
            Walk::over(&self.0, &self.0.join("state"), &mut bytes).unwrap().finish().unwrap();
            let mut archive = tar::Archive::new(bytes.as_slice());
            let entries = archive.entries().unwrap().map(|entry| {
                let mut entry = entry.unwrap();
                let path = entry.path().unwrap().display().to_string();
                let kind = entry.header().entry_type();
                let mut text = String::new();
                entry.read_to_string(&mut text).unwrap();
                let link = entry.link_name().unwrap().map(|link| link.display().to_string());
                (path, kind, link.unwrap_or(text))
            });
            entries.collect()
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            drop(fs::remove_dir_all(&self.0));
        }
    }

    #[test]
    fn what_comes_along() {
        let folder = Folder::new("all")
            .with("Dockerfile", "FROM scratch")
            .with("src/main.py", "main")
            .with(".git/config", "x")
            .with(".pilotlight/instance", "x")
            .with("src/.pilotlight/key", "x")
            .with("state/key", "x")
            .with("src/state/kept", "kept")
            .with("logs/keep.log", "kept")
            .with("logs/drop.log", "x")
            .with(".dockerignore", "logs\n!logs/keep.log\n");
        symlink("src/main.py", folder.0.join("link")).unwrap();
        symlink("/nowhere", folder.0.join("dangling")).unwrap();
        let files: Vec<_> =
            folder.archived().into_iter().filter(|(_, kind, _)| *kind != EntryType::Directory).collect();
        let expected = [
            (".dockerignore", EntryType::Regular, "logs\n!logs/keep.log\n"),
            ("Dockerfile", EntryType::Regular, "FROM scratch"),
            ("dangling", EntryType::Symlink, "/nowhere"),
            ("link", EntryType::Symlink, "src/main.py"),
            ("logs/keep.log", EntryType::Regular, "kept"),
            ("src/main.py", EntryType::Regular, "main"),
            ("src/state/kept", EntryType::Regular, "kept"),
        ];
        assert_eq!(files, expected.map(|(path, kind, text)| (path.to_owned(), kind, text.to_owned())));
    }

    #[test]
    fn long_names_survive() {
        let name = format!("{}/{}", "d".repeat(120), "f".repeat(120));
        let folder = Folder::new("long").with(&name, "text");
        assert!(folder.archived().contains(&(name, EntryType::Regular, "text".to_owned())));
    }

    #[test]
    fn a_folder_larger_than_anybody_means_is_refused() {
        let folder = Folder::new("huge");
        // Sparse: takes no room on the disk.
        File::create(folder.0.join("hole")).unwrap().set_len(SIZE_LIMIT + 1).unwrap();
        let Err(text) = Walk::over(&folder.0, Path::new("/nonexistent"), io::sink()) else {
            panic!("took it")
        };
        assert!(text.contains("2 GiB") && text.contains(".dockerignore"), "{text}");
    }

    #[tokio::test]
    async fn a_folder_that_cannot_be_read_breaks_the_stream_with_the_reason() {
        let mut context = read("/nonexistent/folder".into(), "/nonexistent".into());
        let mut last = None;
        while let Some(block) = context.blocks.recv().await {
            last = Some(block);
        }
        assert!(last.unwrap().is_err());
        assert!(context.outcome.await.unwrap().unwrap_err().contains("/nonexistent/folder"));
    }
}
