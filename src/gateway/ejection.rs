//! What becomes of a replica that has failed a request: told, and where that takes it out for a while, let in again.

use crate::app::replica::Claim;

/// Notes that the claimed replica has failed its request.
pub fn note_failure(claim: &Claim) {
    let Some(ejected) = claim.report_failed() else { return };
    let (app, endpoint) = (claim.app().name.clone(), ejected.replica.endpoint.address.to_string());
    tracing::warn!(app, endpoint, time = ?ejected.time, "requests to a replica keep failing: others get them for a while");
    tokio::task::spawn_local(async move {
        if ejected.run().await {
            tracing::info!(app, endpoint, "a replica that has failed gets requests again");
        }
    });
}
