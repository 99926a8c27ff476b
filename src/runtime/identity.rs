//! Who a proxy is: what tells its replicas from those of another proxy on the same host. Owns the type only;
//! reading and keeping it is the business of whoever holds the state directory's lock.

use std::fmt;

/// One proxy's identity, the same for as long as its state directory lives.
#[derive(Clone, PartialEq, Eq)]
pub struct Identity {
    /// Twelve lower-case hex digits; the value of the label that marks what is this proxy's.
    pub id: String,
    /// Keys the hash of a revision, so that the hash gives away nothing of the secrets in it.
    pub key: [u8; 32],
}

impl Identity {
    /// The first eight digits: enough to tell names apart, short enough to leave room in them.
    #[must_use]
    pub fn short(&self) -> &str {
        self.id.get(..8).unwrap_or(&self.id)
    }
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Identity").field("id", &self.id).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_key_is_never_printed() {
        let identity = Identity { id: "0123456789ab".into(), key: [77; 32] };
        assert_eq!(identity.short(), "01234567");
        assert!(!format!("{identity:?}").contains("77"));
    }
}
