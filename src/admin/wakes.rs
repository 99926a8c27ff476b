//! `/api/apps/{name}/wakes`: where the time of an app's last wakes went.

use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};

use crate::app::waking::Waking;
use crate::control::View;

/// One wake. Times are in milliseconds.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct WakeView {
    /// When a replica was ready, in seconds since 1970.
    pub at: f64,
    /// What it began with: `frozen`, `stopped`, `removed`.
    pub from: String,
    /// From the first request to ready.
    pub whole: f64,
    /// From the first request to the start of the replica that served it: the image, and attempts that failed.
    pub queue: f64,
    /// The runtime's calls.
    pub engine: f64,
    /// From there to the app's answer, less what is below.
    pub application: f64,
    /// Of that, how long it was not looked whether it answers.
    pub probe: f64,
    /// From ready to the head of the first answer; `None` where nobody has waited for it to the end.
    pub response: Option<f64>,
}

impl From<&Waking> for WakeView {
    fn from(waking: &Waking) -> Self {
        let since_1970 = waking.at.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        Self {
            at: since_1970.as_secs_f64(),
            from: waking.from.name().to_owned(),
            whole: millis(waking.whole()),
            queue: millis(waking.queue),
            engine: millis(waking.engine),
            application: millis(waking.application),
            probe: millis(waking.probe),
            response: waking.response().map(millis),
        }
    }
}

/// To a thousandth.
fn millis(time: Duration) -> f64 {
    time.as_micros() as f64 / 1000.0
}

/// The name in a path that asks for an app's wakes.
pub(super) fn asked_for(path: &str) -> Option<&str> {
    path.strip_prefix("/api/apps/")?.strip_suffix("/wakes").filter(|name| !name.contains('/'))
}

/// The last hundred wakes of an app, oldest first; `None` where there is no such app.
pub(super) fn list(views: &[View], name: &str) -> Option<Vec<WakeView>> {
    let view = views.iter().find(|view| view.policy.spec.name == name)?;
    Some(view.record.last_wakes().iter().map(|waking| WakeView::from(&**waking)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_app_is_named_in_the_path() {
        assert_eq!(asked_for("/api/apps/web/wakes"), Some("web"));
        for other in ["/api/apps", "/api/apps/web", "/api/apps/a/b/wakes", "/api/apps/wakes"] {
            assert_eq!(asked_for(other), None, "{other}");
        }
    }
}
