//! A deadline that is moved more often than it is met.

use std::pin::{Pin, pin};
use std::task::{Context, Poll, ready};

use tokio::task::unconstrained;
use tokio::time::{Instant, Sleep, sleep_until};

/// A timer that is set once and left alone while deadlines move into the future, since nearly all of them do before they
/// are met.
#[derive(Debug, Default)]
pub struct Alarm(Option<Pin<Box<Sleep>>>);

impl Alarm {
    /// Ready when it is as late as that.
    pub fn poll_at(&mut self, deadline: Instant, cx: &mut Context<'_>) -> Poll<()> {
        let sleep = self.0.get_or_insert_with(|| Box::pin(sleep_until(deadline)));
        if sleep.deadline() > deadline {
            sleep.as_mut().reset(deadline);
        }
        loop {
            // An exchange that has used up its share of a turn, and would again, is not to keep its time for ever.
            ready!(pin!(unconstrained(sleep.as_mut())).poll(cx));
            if sleep.deadline() >= deadline {
                return Poll::Ready(());
            }
            sleep.as_mut().reset(deadline);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::time::Duration;

    use futures_util::poll;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn it_goes_off_at_each_deadline_and_not_before() {
        let (start, second) = (Instant::now(), Duration::from_secs(1));
        let mut alarm = Alarm::default();
        assert!(poll!(poll_fn(|cx| alarm.poll_at(start + 100 * second, cx))).is_pending());
        for after in [20, 5, 30] {
            let deadline = Instant::now() + after * second;
            poll_fn(|cx| alarm.poll_at(deadline, cx)).await;
            assert_eq!(Instant::now(), deadline);
        }
        assert!(poll!(poll_fn(|cx| alarm.poll_at(start, cx))).is_ready(), "it is past that");
    }
}
