//! How long a client has been taking nothing of what is written to it. The system asks a silent peer whether it is
//! there, and one that does not read answers; only the writer can tell.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::{Instant, Sleep, sleep_until};

/// Ample for a client that reads at all, however slowly: the system says so after a third of its buffer at the latest.
///
/// Not `TCP_USER_TIMEOUT`: while the first segment that waits is longer than the window, which it is for a slow reader
/// with little memory, the kernel counts on although bytes are taken.
pub const PATIENCE: Duration = Duration::from_mins(3);

/// The writer's clock.
#[derive(Debug, Default)]
pub struct Stall {
    /// When it was first found that nothing can be written; `None` where something could since.
    since: Option<Instant>,
    /// Stays set while pieces are taken, so that a slow client does not cost a timer for each.
    alarm: Option<Pin<Box<Sleep>>>,
}

impl Stall {
    /// Something was taken.
    pub fn moved(&mut self) {
        self.since = None;
    }

    /// Nothing can be written now. Ready where that has been so for [`PATIENCE`].
    pub fn poll_over(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let end = *self.since.get_or_insert_with(Instant::now) + PATIENCE;
        let alarm = self.alarm.get_or_insert_with(|| Box::pin(sleep_until(end)));
        while alarm.as_mut().poll(cx).is_ready() {
            if alarm.deadline() >= end {
                return Poll::Ready(());
            }
            alarm.as_mut().reset(end);
        }
        Poll::Pending
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::poll;
    use std::future::poll_fn;
    use tokio::time::advance;

    #[tokio::test(start_paused = true)]
    async fn each_piece_counts_anew() {
        let mut stall = Stall::default();
        for _ in 0..5 {
            assert!(poll!(poll_fn(|cx| stall.poll_over(cx))).is_pending());
            advance(PATIENCE.saturating_sub(Duration::from_secs(1))).await;
            assert!(poll!(poll_fn(|cx| stall.poll_over(cx))).is_pending());
            stall.moved();
        }
        let blocked = Instant::now();
        poll_fn(|cx| stall.poll_over(cx)).await;
        assert_eq!(blocked.elapsed(), PATIENCE);
    }
}
