//! A connection that has become something else than HTTP: bytes both ways, each direction ending by itself, the
//! replica claimed until both have.

use std::rc::Rc;

use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;

use crate::app::replica::Claim;
use crate::gateway::worker::Worker;

/// Joins the two sides as soon as both have switched.
pub fn join(worker: &Rc<Worker>, client: OnUpgrade, replica: OnUpgrade, claim: Claim) {
    let open = worker.keep_open();
    tokio::task::spawn_local(async move {
        let (_open, _claim) = (open, claim);
        let (Ok(client), Ok(replica)) = tokio::join!(client, replica) else {
            tracing::debug!("a connection ended before it had switched protocols");
            return;
        };
        let (mut client, mut replica) = (TokioIo::new(client), TokioIo::new(replica));
        if let Err(error) = tokio::io::copy_bidirectional(&mut client, &mut replica).await {
            tracing::debug!(%error, "an upgraded connection broke off");
        }
    });
}
