//! A connection that has become something else than HTTP: bytes both ways, each direction ending by itself, the
//! replica claimed until both have. A client that keeps its end open after the replica has closed its own is cut off
//! after a while, since nobody would ever count it as gone.

use std::io;
use std::pin::pin;
use std::rc::Rc;
use std::time::Duration;

use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};

use crate::app::replica::Claim;
use crate::gateway::worker::Worker;

/// How long a client may go on sending after the replica has ended.
const LINGER: Duration = Duration::from_mins(1);

/// Joins the two sides as soon as both have switched.
pub fn join(worker: &Rc<Worker>, client: OnUpgrade, replica: OnUpgrade, claim: Claim) {
    let open = worker.keep_open();
    tokio::task::spawn_local(async move {
        let (_open, _claim) = (open, claim);
        let (Ok(client), Ok(replica)) = tokio::join!(client, replica) else {
            tracing::debug!("a connection ended before it had switched protocols");
            return;
        };
        if let Err(error) = exchange(TokioIo::new(client), TokioIo::new(replica)).await {
            tracing::debug!(%error, "an upgraded connection broke off");
        }
    });
}

/// Carries bytes both ways until both ends have ended, or the client has had its time after the replica's end.
async fn exchange<C, R>(client: C, replica: R) -> io::Result<()>
where
    C: AsyncRead + AsyncWrite,
    R: AsyncRead + AsyncWrite,
{
    let (mut from_client, mut to_client) = tokio::io::split(client);
    let (mut from_replica, mut to_replica) = tokio::io::split(replica);
    let mut up = pin!(async {
        tokio::io::copy(&mut from_client, &mut to_replica).await?;
        to_replica.shutdown().await
    });
    let mut down = pin!(async {
        tokio::io::copy(&mut from_replica, &mut to_client).await?;
        to_client.shutdown().await
    });
    tokio::select! {
        ended = &mut up => {
            ended?;
            down.await
        }
        ended = &mut down => {
            ended?;
            tokio::time::timeout(LINGER, up).await.unwrap_or(Ok(()))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::AsyncReadExt;

    #[tokio::test(start_paused = true)]
    async fn who_stays_after_the_replica_has_ended_is_cut_off() {
        let ((client, mut user), (replica, app)) = (tokio::io::duplex(64), tokio::io::duplex(64));
        let exchanged = tokio::spawn(exchange(client, replica));
        drop(app);
        assert_eq!(user.read(&mut [0; 8]).await.unwrap(), 0, "it is told at once");
        exchanged.await.unwrap().unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_has_said_its_all_may_listen_for_long() {
        let ((client, mut user), (replica, mut app)) = (tokio::io::duplex(64), tokio::io::duplex(64));
        let exchanged = tokio::spawn(exchange(client, replica));
        user.write_all(b"all").await.unwrap();
        user.shutdown().await.unwrap();
        let mut heard = Vec::new();
        app.read_to_end(&mut heard).await.unwrap();
        tokio::time::sleep(LINGER * 10).await;
        app.write_all(b"late").await.unwrap();
        drop(app);
        let mut answer = Vec::new();
        user.read_to_end(&mut answer).await.unwrap();
        assert_eq!((&heard[..], &answer[..]), (&b"all"[..], &b"late"[..]));
        exchanged.await.unwrap().unwrap();
    }
}
