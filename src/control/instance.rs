//! Who this proxy is: an identity that stays over restarts, in a directory that one proxy at a time may hold.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read, Seek, Write};
use std::net::SocketAddr;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};

use crate::config::spec::ListenAddress;
use crate::runtime::Identity;

/// The state directory, held for as long as this lives.
#[derive(Debug)]
pub struct Instance {
    /// Who this proxy is.
    pub identity: Identity,
    directory: PathBuf,
    _lock: File,
}

/// Why there is no identity.
#[derive(Debug, thiserror::Error)]
pub enum InstanceError {
    /// Another proxy has it.
    #[error(
        "{} is held by another pilotlight, process {holder}: stop that one, or give this one a state_dir of its own",
        directory.display()
    )]
    Held {
        /// The state directory.
        directory: PathBuf,
        /// Its process ID.
        holder: String,
    },
    /// It cannot be read or written.
    #[error("state_dir: cannot {what} {}: {error}{}", path.display(), hint(error))]
    Io {
        /// What was tried.
        what: &'static str,
        /// Where.
        path: PathBuf,
        /// How it failed.
        error: io::Error,
    },
    /// It has been tampered with.
    #[error("state_dir: {} is damaged; remove it, and the containers that it named are no longer ours", path.display())]
    Damaged {
        /// Where.
        path: PathBuf,
    },
}

fn hint(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => {
            "; let the user that runs pilotlight write there, or set `state_dir` to a folder where it may"
        }
        io::ErrorKind::StorageFull => "; the disk is full",
        _ => "",
    }
}

impl Instance {
    /// Takes hold of the directory, made where it is missing.
    ///
    /// # Errors
    /// See [`InstanceError`].
    pub fn take(directory: &Path) -> Result<Self, InstanceError> {
        let made = DirBuilder::new().recursive(true).mode(0o700).create(directory);
        made.map_err(failed("make", directory))?;
        let lock = hold(directory)?;
        let id =
            stored(&directory.join("instance"), || blake3::Hash::from(random()).to_hex()[..12].to_owned())?;
        let key = stored(&directory.join("key"), || blake3::Hash::from(random()).to_hex().to_string())?;
        let damaged = |name: &str| InstanceError::Damaged { path: directory.join(name) };
        if id.len() != 12 || !id.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Err(damaged("instance"));
        }
        let key = *blake3::Hash::from_hex(key).map_err(|_| damaged("key"))?.as_bytes();
        Ok(Self { identity: Identity { id, key }, directory: directory.to_owned(), _lock: lock })
    }

    /// Writes down where the proxy listens, for whoever asks it for its status.
    ///
    /// # Errors
    /// See [`InstanceError`].
    pub fn tell_addresses(
        &self,
        public: impl Iterator<Item = ListenAddress>,
        admin: SocketAddr,
    ) -> Result<(), InstanceError> {
        let lines = public.map(|address| format!("{address}\n"));
        let text: String = lines.chain([format!("{ADMIN}{admin}\n")]).collect();
        replace(&self.directory.join(LISTEN), &text)
    }
}

/// The file of the state directory that says where the proxy listens: a public address a line, and then its admin API's.
const LISTEN: &str = "listen";

/// What the admin API's address follows.
const ADMIN: &str = "admin ";

/// Where the admin API of the proxy that has, or had last, this state directory is.
#[must_use]
pub fn admin_address(directory: &Path) -> Option<SocketAddr> {
    let text = fs::read_to_string(directory.join(LISTEN)).ok()?;
    text.lines().find_map(|line| line.strip_prefix(ADMIN)?.parse().ok())
}

fn failed(what: &'static str, path: &Path) -> impl FnOnce(io::Error) -> InstanceError {
    let path = path.to_owned();
    move |error| InstanceError::Io { what, path, error }
}

fn hold(directory: &Path) -> Result<File, InstanceError> {
    let path = directory.join("lock");
    let opened = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(&path);
    let mut file = opened.map_err(failed("open", &path))?;
    if flock(&file, FlockOperation::NonBlockingLockExclusive).is_err() {
        let mut holder = String::new();
        let _unknown = file.read_to_string(&mut holder);
        return Err(InstanceError::Held {
            directory: directory.to_owned(),
            holder: holder.trim().to_owned(),
        });
    }
    let write = |file: &mut File| {
        file.set_len(0)?;
        file.rewind()?;
        writeln!(file, "{}", std::process::id())
    };
    write(&mut file).map_err(failed("write", &path))?;
    Ok(file)
}

/// A secret that is made once and then kept.
fn stored(path: &Path, make: impl FnOnce() -> String) -> Result<String, InstanceError> {
    match fs::read_to_string(path) {
        Ok(text) => return Ok(text.trim().to_owned()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(failed("read", path)(error)),
    }
    let text = make();
    replace(path, &text)?;
    Ok(text)
}

/// Writes a file so that whoever reads it, after a crash as well, finds all of it or what was there before.
fn replace(path: &Path, text: &str) -> Result<(), InstanceError> {
    let draft = path.with_added_extension("new");
    let write = || {
        let mut options = OpenOptions::new();
        let mut file = options.write(true).create(true).truncate(true).mode(0o600).open(&draft)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        fs::rename(&draft, path)?;
        // The new name is on the disk with its directory.
        path.parent().map_or(Ok(()), |directory| File::open(directory)?.sync_all())
    };
    write().map_err(failed("write", path))
}

fn random() -> [u8; 32] {
    let mut bytes = [0; 32];
    let read = File::open("/dev/urandom").and_then(|mut file| file.read_exact(&mut bytes));
    read.expect("every Linux has /dev/urandom");
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_identity_stays_and_one_holds_it() {
        let directory = std::env::temp_dir().join(format!("pilotlight-instance-{}", std::process::id()));
        let first = Instance::take(&directory).unwrap();
        let identity = first.identity.clone();
        let held = Instance::take(&directory).unwrap_err().to_string();
        assert!(held.contains(&format!("process {}", std::process::id())), "{held}");
        drop(first);
        assert_eq!(Instance::take(&directory).unwrap().identity, identity);
        fs::write(directory.join("instance"), "../../etc").unwrap();
        assert!(matches!(Instance::take(&directory), Err(InstanceError::Damaged { .. })));
        fs::remove_dir_all(directory).unwrap();
    }
}
