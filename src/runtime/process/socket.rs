//! Unix sockets for replicas. A claim is a path at which there is nothing yet; what the replica puts there goes with the
//! claim, as a server that is killed leaves its socket behind.

use std::fs::{self, DirBuilder, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, FileTypeExt, PermissionsExt};
use std::path::{Path, PathBuf};

use crate::config::socket;
use crate::runtime::RuntimeError;

/// Who may reach a replica by its socket, whatever the mode of that: the user that runs the proxy.
const MODE: u32 = 0o700;

/// The folder of the sockets. One proxy's alone.
#[derive(Debug)]
pub(super) struct Sockets(PathBuf);

impl Sockets {
    /// Those of a proxy with this state directory. What one before has left there is removed: nothing listens on it any
    /// more, as no replica outlives its proxy.
    pub(super) fn new(state_dir: &Path) -> Self {
        let folder = socket::folder(state_dir);
        if let Err(error) = clear(&folder)
            && error.kind() != io::ErrorKind::NotFound
        {
            tracing::warn!(folder = %folder.display(), %error, "cannot remove sockets that are left from before");
        }
        Self(folder)
    }

    /// A path of which nobody else knows. By chance, and not by number: a replica of a proxy that was killed a moment ago
    /// may still have the chance to come there.
    pub(super) fn claim(&self) -> Result<SocketClaim, RuntimeError> {
        let made = DirBuilder::new().recursive(true).mode(MODE).create(&self.0);
        // What there was already may let others in.
        let ours = made.and_then(|()| fs::set_permissions(&self.0, Permissions::from_mode(MODE)));
        ours.map_err(|error| {
            let folder = self.0.display();
            RuntimeError::Refused(format!("cannot make the folder of its socket: {error}\n{folder}"))
        })?;
        let path = loop {
            let path = socket::path(&self.0, fastrand::u32(..));
            if !path.exists() {
                break path;
            }
        };
        Ok(SocketClaim(path))
    }
}

/// Removes all sockets. Anything else that is there is somebody else's.
fn clear(folder: &Path) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        if entry.file_type()?.is_socket() && socket::is_name(&entry.file_name()) {
            fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}

/// One path, until it is dropped.
#[derive(Debug)]
pub(super) struct SocketClaim(PathBuf);

impl SocketClaim {
    pub(super) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for SocketClaim {
    fn drop(&mut self) {
        // Its server may have removed it, or never made it.
        let _ = fs::remove_file(&self.0);
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixListener;

    use super::*;

    #[test]
    fn what_is_there_goes_with_its_claim_or_with_the_next_proxy() {
        let state_dir = tempfile::tempdir().unwrap();
        let folder = socket::folder(state_dir.path());
        fs::create_dir(&folder).unwrap();
        fs::set_permissions(&folder, Permissions::from_mode(0o755)).unwrap();
        let sockets = Sockets::new(state_dir.path());
        let [one, two] = [sockets.claim().unwrap(), sockets.claim().unwrap()];
        assert_ne!(one.path(), two.path());
        assert_eq!(fs::metadata(&folder).unwrap().permissions().mode() & 0o777, MODE);
        let [_first, _second] = [&one, &two].map(|claim| UnixListener::bind(claim.path()).unwrap());
        let gone = one.path().to_owned();
        drop(one);
        assert!(!gone.exists() && two.path().exists());
        let others = ["readme.sock", "0badcafe.sock", "0badcafe.txt"].map(|name| folder.join(name));
        let _others = UnixListener::bind(&others[0]).unwrap();
        fs::write(&others[1], "no socket").unwrap();
        let _another = UnixListener::bind(&others[2]).unwrap();
        Sockets::new(state_dir.path());
        assert!(!two.path().exists());
        assert!(others.iter().all(|path| path.exists()), "{others:?}");
    }
}
