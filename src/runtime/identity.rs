//! Whose the replicas are.

/// One proxy's identity; it stays over restarts.
#[derive(Clone, PartialEq, Eq)]
pub struct Identity {
    /// Twelve hex digits: in labels and names.
    pub id: String,
    /// Keys the revision's hash, so that a label gives no secret away.
    pub key: [u8; 32],
}

impl std::fmt::Debug for Identity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Identity").field("id", &self.id).finish_non_exhaustive()
    }
}
