//! Names to addresses, by the system's resolver: a blocking call that nobody can take back, so only so many are
//! made at once, whatever becomes of those who wait for them.

use std::net::{SocketAddr, ToSocketAddrs};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Semaphore;

use crate::config::spec::Origin;

/// Calls at once, over all apps.
const AT_ONCE: usize = 8;

/// For one answer, the wait for a place included.
const TIMEOUT: Duration = Duration::from_secs(5);

/// Addresses of one name that are used; further ones are left out.
const MOST: usize = 64;

/// Looks names up.
#[derive(Debug, Clone)]
pub struct Resolver(Arc<Semaphore>);

impl Default for Resolver {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(AT_ONCE)))
    }
}

impl Resolver {
    /// All addresses of a name, each once and in a fixed order; at least one.
    ///
    /// # Errors
    /// What went wrong, for people.
    pub async fn look_up(&self, origin: &Origin) -> Result<Vec<SocketAddr>, String> {
        let Origin { host, port } = origin.clone();
        let failed = |why: &dyn std::fmt::Display| format!("cannot resolve {}: {why}", origin.host);
        let call = async {
            let place = Arc::clone(&self.0).acquire_owned().await.map_err(|error| failed(&error))?;
            let call = move || {
                // Held until the call is over, however long that takes.
                let _place = place;
                (host.as_str(), port).to_socket_addrs().map(Iterator::collect::<Vec<_>>)
            };
            let found = tokio::task::spawn_blocking(call).await.map_err(|error| failed(&error))?;
            found.map_err(|error| failed(&error))
        };
        let found = tokio::time::timeout(TIMEOUT, call).await;
        let mut found = found.unwrap_or_else(|_elapsed| Err(failed(&format!("no answer in {TIMEOUT:?}"))))?;
        found.sort_unstable();
        found.dedup();
        found.truncate(MOST);
        if found.is_empty() { Err(failed(&"it has no address")) } else { Ok(found) }
    }
}
