//! Requests at a steady rate, whatever the answers do: a slow answer delays no later request.

use std::collections::BTreeMap;
use std::fmt;
use std::future::Future;
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::{Instant, MissedTickBehavior, interval};

use super::http::{Answer, Failure};

/// What became of a load.
#[derive(Debug, Default)]
pub(crate) struct Outcomes {
    /// Answers by status.
    pub(crate) statuses: BTreeMap<u16, usize>,
    /// What went wrong where no whole answer came.
    pub(crate) failures: Vec<String>,
    /// From sending to the whole answer, in the order in which they came.
    pub(crate) waits: Vec<Duration>,
}

impl Outcomes {
    /// How many requests were sent.
    pub(crate) fn sent(&self) -> usize {
        self.waits.len() + self.failures.len()
    }

    /// Panics unless every request was answered 200.
    pub(crate) fn assert_all_ok(&self) {
        let good = self.statuses.get(&200).copied().unwrap_or_default();
        assert_eq!(good, self.sent(), "{self}");
    }

    /// The longest wait.
    pub(crate) fn longest(&self) -> Duration {
        self.waits.iter().copied().max().unwrap_or_default()
    }

    /// Half of the waits are no longer.
    pub(crate) fn median(&self) -> Duration {
        let mut waits = self.waits.clone();
        waits.sort_unstable();
        waits.get(waits.len() / 2).copied().unwrap_or_default()
    }

    /// Panics unless every request was answered 200 and none stood out. What disturbs a load in these tests does
    /// so for seconds; what a busy machine does to one shows in the median as well.
    pub(crate) fn assert_undisturbed(&self) {
        self.assert_all_ok();
        let (longest, median) = (self.longest(), self.median());
        let bound = Duration::from_secs(2) + 50 * median;
        assert!(longest < bound, "one of {} waited {longest:?}, the median is {median:?}", self.sent());
    }

    /// Adds what another load gave.
    pub(crate) fn add(&mut self, other: Self) {
        for (status, count) in other.statuses {
            *self.statuses.entry(status).or_default() += count;
        }
        self.failures.extend(other.failures);
        self.waits.extend(other.waits);
    }

    fn note(&mut self, (wait, answer): (Duration, Result<Answer, Failure>)) {
        match answer {
            Ok(answer) => {
                *self.statuses.entry(answer.status).or_default() += 1;
                self.waits.push(wait);
            }
            Err(error) => self.failures.push(error.to_string()),
        }
    }
}

impl fmt::Display for Outcomes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let some: Vec<_> = self.failures.iter().take(5).collect();
        write!(f, "{} sent: {:?}, {} failed: {some:?}", self.sent(), self.statuses, self.failures.len())
    }
}

/// `per_second` calls, for so long; ends with the last answer.
pub(crate) async fn at_rate<F>(
    per_second: f64,
    length: Duration,
    mut call: impl FnMut(usize) -> F,
) -> Outcomes
where
    F: Future<Output = Result<Answer, Failure>> + Send + 'static,
{
    let mut ticks = interval(Duration::from_secs_f64(1.0 / per_second));
    // What a busy machine delays is sent late, not left out.
    ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
    let end = Instant::now() + length;
    let mut calls = JoinSet::new();
    let mut sent = 0;
    while Instant::now() < end {
        ticks.tick().await;
        calls.spawn(timed(call(sent)));
        sent += 1;
    }
    collect(calls).await
}

/// A load that goes on until it is told to end, or the test does.
pub(crate) struct Steady {
    stop: oneshot::Sender<()>,
    calls: JoinHandle<Outcomes>,
}

/// Begins `per_second` calls.
pub(crate) fn steady<F>(per_second: f64, mut call: impl FnMut(usize) -> F + Send + 'static) -> Steady
where
    F: Future<Output = Result<Answer, Failure>> + Send + 'static,
{
    let (stop, mut stopped) = oneshot::channel();
    let calls = tokio::spawn(async move {
        let mut ticks = interval(Duration::from_secs_f64(1.0 / per_second));
        ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
        let mut calls = JoinSet::new();
        let mut sent = 0;
        loop {
            tokio::select! {
                biased;
                _ = &mut stopped => break,
                _ = ticks.tick() => {}
            }
            calls.spawn(timed(call(sent)));
            sent += 1;
        }
        collect(calls).await
    });
    Steady { stop, calls }
}

impl Steady {
    /// Sends no more; ends with the last answer.
    pub(crate) async fn end(self) -> Outcomes {
        let _ = self.stop.send(());
        self.calls.await.expect("a load does not panic")
    }
}

/// `count` calls, all at once; ends with the last answer.
pub(crate) async fn at_once<F>(count: usize, call: impl FnMut(usize) -> F) -> Outcomes
where
    F: Future<Output = Result<Answer, Failure>> + Send + 'static,
{
    collect((0..count).map(call).map(timed).collect()).await
}

async fn timed<F: Future>(call: F) -> (Duration, F::Output) {
    let start = Instant::now();
    let output = call.await;
    (start.elapsed(), output)
}

async fn collect(mut calls: JoinSet<(Duration, Result<Answer, Failure>)>) -> Outcomes {
    let mut outcomes = Outcomes::default();
    while let Some(ended) = calls.join_next().await {
        outcomes.note(ended.expect("a call does not panic"));
    }
    outcomes
}
