//! How long a client has been taking nothing of what is written to it, or giving nothing of what it has to say. The
//! system asks a silent peer whether it is there, and one that does not read answers; only who waits can tell.

use std::future::Future;
use std::pin::{Pin, pin};
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::task::unconstrained;
use tokio::time::{Instant, Sleep, sleep, sleep_until};

use crate::app::clock::{self, Millis};

/// How far the coarse clock may be behind, and more.
const BEHIND: Duration = Duration::from_secs(1);

/// The clock of who waits for another to move.
///
/// Not `TCP_USER_TIMEOUT`: while the first segment that waits is longer than the window, which it is for a slow reader
/// with little memory, the kernel counts on although bytes are taken.
#[derive(Debug)]
pub struct Stall {
    patience: Duration,
    /// When it was first found that nothing moves; `None` where something has since.
    since: Option<Instant>,
    /// Stays set while pieces move, so that a slow client does not cost a timer for each.
    alarm: Option<Pin<Box<Sleep>>>,
}

impl Stall {
    /// A clock that is over after `patience`.
    #[must_use]
    pub const fn new(patience: Duration) -> Self {
        Self { patience, since: None, alarm: None }
    }

    /// Something was taken.
    pub fn moved(&mut self) {
        self.since = None;
    }

    /// Nothing moves now. Ready where that has been so for as long as there is patience.
    pub fn poll_over(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let end = *self.since.get_or_insert_with(Instant::now) + self.patience;
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

/// The clock of who is quiet at times, asked only then: it looks when there is reason to, and costs nothing between.
#[derive(Debug)]
pub struct Patrol {
    patience: Duration,
    round: Option<Pin<Box<Sleep>>>,
    /// Before that it need not be asked, since it tells its task by itself.
    due: Millis,
}

impl Patrol {
    /// A clock that is over after `patience`.
    #[must_use]
    pub const fn new(patience: Duration) -> Self {
        Self { patience, round: None, due: Millis(0) }
    }

    /// Ready where `quiet_since` has been so for as long as there is patience. Always to be asked by the same task.
    pub fn poll_over(&mut self, cx: &mut Context<'_>, quiet_since: Millis) -> Poll<()> {
        if clock::coarse() < self.due {
            return Poll::Pending;
        }
        let round = self.round.get_or_insert_with(|| Box::pin(sleep(self.patience)));
        // One who has used up his share of a turn would not be told.
        while pin!(unconstrained(round.as_mut())).poll(cx).is_ready() {
            let quiet = clock::coarse().since(quiet_since);
            if quiet >= self.patience {
                return Poll::Ready(());
            }
            round.as_mut().reset(Instant::now() + self.patience.saturating_sub(quiet));
        }
        let left = round.deadline().saturating_duration_since(Instant::now());
        self.due = clock::coarse().after(left.saturating_sub(BEHIND));
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
    async fn who_was_busy_is_waited_for_from_then_on() {
        const PATIENCE: Duration = Duration::from_secs(75);
        let mut patrol = Patrol::new(PATIENCE);
        let mut poll = async |since| poll!(poll_fn(|cx| patrol.poll_over(cx, since)));
        for _ in 0..3 {
            let quiet = clock::now();
            assert!(poll(quiet).await.is_pending());
            advance(PATIENCE / 2).await;
            assert!(poll(quiet).await.is_pending());
            // It is busy, for however long.
            advance(2 * PATIENCE).await;
        }
        let quiet = clock::now();
        poll_fn(|cx| patrol.poll_over(cx, quiet)).await;
        assert_eq!(clock::now().since(quiet), PATIENCE);
    }

    #[tokio::test(start_paused = true)]
    async fn who_has_used_up_his_turn_is_told_all_the_same() {
        const PATIENCE: Duration = Duration::from_secs(75);
        let (quiet, mut patrol) = (clock::now(), Patrol::new(PATIENCE));
        let mut first = true;
        poll_fn(|cx| {
            while first && pin!(tokio::task::coop::consume_budget()).poll(cx).is_ready() {}
            first = false;
            patrol.poll_over(cx, quiet)
        })
        .await;
        assert!(clock::now().since(quiet) >= PATIENCE);
    }

    #[tokio::test(start_paused = true)]
    async fn each_piece_counts_anew() {
        const PATIENCE: Duration = Duration::from_mins(3);
        let mut stall = Stall::new(PATIENCE);
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
