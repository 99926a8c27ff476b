//! The folder that the demo works in: its `jcloud.yml`, the proxy's identity and, with Docker, what the image is made
//! of. The same for every demo of a user, so that the next one clears up behind one that was killed.

use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::process::Command;

use rustix::process::geteuid;

use crate::config::spec::RuntimeKind;

/// The demo's folder.
#[derive(Debug)]
pub(super) struct Place {
    folder: PathBuf,
}

/// Why there is none.
#[derive(Debug, thiserror::Error)]
pub(super) enum PlaceError {
    /// The system's.
    #[error("cannot {what} {}: {error}", path.display())]
    Io {
        /// What was tried.
        what: &'static str,
        /// Where.
        path: PathBuf,
        /// How it failed.
        error: io::Error,
    },
    /// Somebody else's.
    #[error("{} is not this user's: remove it, or set TMPDIR to another folder", .0.display())]
    Foreign(PathBuf),
}

fn failed(what: &'static str, path: &Path) -> impl FnOnce(io::Error) -> PlaceError {
    let path = path.to_owned();
    move |error| PlaceError::Io { what, path, error }
}

/// What an image is made of.
const ROOT: &str = "root";

/// The app, and how it is scaled: the page's file, with the times of a demo.
const FILE: &str = "\
name: pilotlight-demo
instance: C3
autoscale:
  min: 0
  max: 5
  metric: rps
  target: 10
  stable_window: 6s   # the default is 60s: a demo has less time
  idle: 3s            # so is this
";

impl Place {
    /// Makes the folder, or takes what a demo before has left. Nobody else may read or change what is in it.
    pub(super) fn open() -> Result<Self, PlaceError> {
        let user = geteuid().as_raw();
        let folder = std::env::temp_dir().join(format!("pilotlight-demo-{user}"));
        match DirBuilder::new().mode(0o700).create(&folder) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
                return Err(failed("make", &folder)(error));
            }
            _ => {}
        }
        // The folder for passing files is everybody's: what stands there already may be a trap.
        let found = fs::symlink_metadata(&folder).map_err(failed("look at", &folder))?;
        if !found.is_dir() || found.uid() != user || found.mode() & 0o022 != 0 {
            return Err(PlaceError::Foreign(folder));
        }
        Ok(Self { folder })
    }

    /// The file that the demo serves.
    pub(super) fn file(&self) -> PathBuf {
        self.folder.join("jcloud.yml")
    }

    /// Where its proxy keeps its identity.
    pub(super) fn state_dir(&self) -> PathBuf {
        self.folder.join(".pilotlight")
    }

    /// Writes the file, and what an image needs; gives back the file's text.
    pub(super) fn furnish(&self, runtime: RuntimeKind) -> Result<String, PlaceError> {
        let program = std::env::current_exe().map_err(failed("find", Path::new("this executable")))?;
        let text = match runtime {
            RuntimeKind::Docker => {
                self.write_image(&program)?;
                format!("build: .\n{FILE}")
            }
            RuntimeKind::Process => {
                let command = serde_json::json!([program, "demo-app", "127.0.0.1"]);
                format!("runtime: process\ncommand: {command}\n{FILE}")
            }
        };
        let file = self.file();
        fs::write(&file, &text).map_err(failed("write", &file))?;
        Ok(text)
    }

    /// An image with nothing in it but this executable and the libraries that it is linked to.
    fn write_image(&self, program: &Path) -> Result<(), PlaceError> {
        let root = self.folder.join(ROOT);
        if root.exists() {
            fs::remove_dir_all(&root).map_err(failed("remove", &root))?;
        }
        fs::create_dir(&root).map_err(failed("make", &root))?;
        let copy = root.join("pilotlight");
        fs::copy(program, &copy).map_err(failed("copy", program))?;
        let libraries = libraries(&copy)?;
        for path in &libraries {
            let target = root.join(path.strip_prefix("/").unwrap_or(path));
            let folder = target.parent().unwrap_or(&root);
            fs::create_dir_all(folder).map_err(failed("make", folder))?;
            fs::copy(path, &target).map_err(failed("copy", path))?;
        }
        let mut folders: Vec<_> = libraries.iter().filter_map(|path| path.parent()?.to_str()).collect();
        folders.sort_unstable();
        folders.dedup();
        let dockerfile = format!(
            "FROM scratch\nCOPY {ROOT} /\nENV LD_LIBRARY_PATH={}\nEXPOSE 8080\n\
             ENTRYPOINT [\"/pilotlight\", \"demo-app\", \"0.0.0.0\"]\n",
            folders.join(":")
        );
        let path = self.folder.join("Dockerfile");
        fs::write(&path, dockerfile).map_err(failed("write", &path))
    }

    /// Whether a demo has used Docker here, this one or one before that was killed.
    pub(super) fn has_image(&self) -> bool {
        self.folder.join(ROOT).exists()
    }

    /// Removes it all.
    pub(super) fn clear(self) -> Result<(), PlaceError> {
        fs::remove_dir_all(&self.folder).map_err(failed("remove", &self.folder))
    }
}

/// The files that `program` is linked to, the loader among them; none where it is static. The loader is asked, as
/// `ldd` does: a static program does not know the variable, and says its version. It does not tell of a program with
/// capabilities, which a copy does not have.
fn libraries(program: &Path) -> Result<Vec<PathBuf>, PlaceError> {
    let what = "ask for the libraries of";
    let mut command = Command::new(program);
    let asked = command.arg("--version").env("LD_TRACE_LOADED_OBJECTS", "1").output();
    let output = asked.map_err(failed(what, program))?;
    let text = String::from_utf8_lossy(&output.stdout);
    if !output.status.success() || text.contains("not found") {
        return Err(failed(what, program)(io::Error::other(format!("{}: {text}", output.status))));
    }
    Ok(listed(&text))
}

/// Of lines such as `libc.so.6 => /lib/libc.so.6 (0x…)` and `/lib64/ld-linux.so.2 (0x…)` the paths.
fn listed(text: &str) -> Vec<PathBuf> {
    let paths = text.lines().filter_map(|line| {
        let (named, _address) = line.trim().rsplit_once(" (0x")?;
        let path = named.rsplit_once("=> ").map_or(named, |(_, path)| path);
        path.starts_with('/').then(|| PathBuf::from(path))
    });
    paths.collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{self, Overrides};

    #[test]
    fn the_loaders_list_is_read() {
        let text = "\tlinux-vdso.so.1 (0x00007ffd)\n\tlibgcc_s.so.1 => /lib/x/libgcc_s.so.1 (0x00007f3)\n\
                    \t/lib64/ld-linux-x86-64.so.2 (0x00007f4)\n\tlibodd.so => not found\n";
        assert_eq!(listed(text), ["/lib/x/libgcc_s.so.1", "/lib64/ld-linux-x86-64.so.2"].map(PathBuf::from));
        assert!(listed("pilotlight 0.1.0\n").is_empty());
    }

    #[test]
    fn what_it_serves_is_right() {
        let dir = tempfile::tempdir().unwrap();
        let place = Place { folder: dir.path().to_owned() };
        let runs = |runtime| {
            place.furnish(runtime).unwrap();
            let config = config::load(&place.file(), &Overrides::default(), &|_| None).unwrap();
            assert_eq!(config.proxy.state_dir, place.state_dir());
            config.proxy.runtime
        };
        assert_eq!(runs(RuntimeKind::Docker), RuntimeKind::Docker);
        assert!(dir.path().join("root/pilotlight").is_file() && dir.path().join("Dockerfile").is_file());
        assert_eq!(runs(RuntimeKind::Process), RuntimeKind::Process);
    }
}
