//! Names to addresses, by the system's resolver: a blocking call that nobody can take back, so only so many are
//! made at once, whatever becomes of those who wait for them.

use std::io;
use std::net::{SocketAddr, ToSocketAddrs};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Semaphore;

/// For one answer, the wait for a place included.
const TIMEOUT: Duration = Duration::from_secs(5);

/// Addresses of one name that are used; further ones are left out.
const MOST: usize = 64;

/// How the C library says that a name, or an address of it, does not exist. Anything else (no server, none that
/// answers, one that is in trouble itself) says nothing of the name.
const NO_SUCH_NAME: [&str; 4] = [
    "Name or service not known",
    "No address associated with hostname",
    "Name does not resolve",
    "Name has no usable address",
];

/// Looks names up.
#[derive(Debug, Clone)]
pub struct Resolver(Arc<Semaphore>);

/// Why there are no addresses.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("cannot resolve {host}: {why}")]
pub struct Unresolved {
    host: String,
    why: String,
    /// Whether it is known that there is no such name.
    pub no_such_name: bool,
}

impl Resolver {
    /// One that makes so many calls at once.
    #[must_use]
    pub fn new(at_once: usize) -> Self {
        Self(Arc::new(Semaphore::new(at_once)))
    }

    /// All addresses of a name, each once and in a fixed order; at least one.
    ///
    /// # Errors
    /// What went wrong, for people.
    pub async fn look_up(&self, host: &str, port: u16) -> Result<Vec<SocketAddr>, Unresolved> {
        let failed = |why: &dyn std::fmt::Display| {
            let why = why.to_string();
            let no_such_name = NO_SUCH_NAME.iter().any(|words| why.contains(words));
            Unresolved { host: host.to_owned(), why, no_such_name }
        };
        let call = async {
            let place = Arc::clone(&self.0).acquire_owned().await.map_err(|error| failed(&error))?;
            let host = host.to_owned();
            let call = move || {
                // Held until the call is over, however long that takes.
                let _place = place;
                (host.as_str(), port).to_socket_addrs().map(Iterator::collect::<Vec<_>>)
            };
            let found: io::Result<_> =
                tokio::task::spawn_blocking(call).await.map_err(|error| failed(&error))?;
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

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_is_written_out_needs_no_server() {
        let found = Resolver::new(1).look_up("127.0.0.1", 80).await;
        assert_eq!(found, Ok(vec![SocketAddr::from(([127, 0, 0, 1], 80))]));
    }

    /// No server is asked about a name that cannot be one.
    #[tokio::test]
    async fn the_c_librarys_words_for_no_such_name_are_known() {
        let unresolved = Resolver::new(1).look_up("a..b", 80).await.unwrap_err();
        assert!(unresolved.no_such_name, "{unresolved}");
    }
}
