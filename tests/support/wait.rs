//! Waiting for a condition, in place of waiting for a time.

use std::fmt::Display;
use std::future::Future;
use std::time::{Duration, Instant};

/// Long enough for the slowest machine; a test that reaches it has failed.
pub(crate) const LIMIT: Duration = Duration::from_mins(1);

const POLL: Duration = Duration::from_millis(10);

/// Asks until the answer is yes. Panics, saying `what`, where it never is.
pub(crate) async fn wait_until(what: impl Display, mut condition: impl FnMut() -> bool) {
    wait_for(what, || condition().then_some(())).await;
}

/// Asks until there is an answer, and gives it back.
pub(crate) async fn wait_for<T>(what: impl Display, ask: impl FnMut() -> Option<T>) -> T {
    wait_within(LIMIT, what, ask).await
}

/// The same with a limit of its own, for what may take minutes, such as an image that is built from nothing.
pub(crate) async fn wait_within<T>(
    limit: Duration,
    what: impl Display,
    mut ask: impl FnMut() -> Option<T>,
) -> T {
    within(limit, what, || std::future::ready(ask())).await
}

/// Asks until there is an answer, where asking itself takes its time.
pub(crate) async fn wait_for_async<T, F>(what: impl Display, ask: impl FnMut() -> F) -> T
where
    F: Future<Output = Option<T>>,
{
    within(LIMIT, what, ask).await
}

async fn within<T, F>(limit: Duration, what: impl Display, mut ask: impl FnMut() -> F) -> T
where
    F: Future<Output = Option<T>>,
{
    let start = Instant::now();
    loop {
        if let Some(answer) = ask().await {
            return answer;
        }
        assert!(start.elapsed() < limit, "waited {limit:?} in vain until {what}");
        tokio::time::sleep(POLL).await;
    }
}
