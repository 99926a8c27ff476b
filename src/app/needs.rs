//! Who needs an app to be up: the apps whose `needs` name it, for as long as they are not out.
//!
//! The control plane's alone. A supervisor takes a pin on each app that its own one needs, and is called when there is
//! news of one; that app's supervisor keeps a replica for as long as there is a pin.

use crate::app::App;
use crate::sync::{Arc, Mutex};

/// The apps that need one to be up, each as often as it has a pin.
#[derive(Debug, Default)]
pub(super) struct Dependants(Mutex<Vec<Arc<App>>>);

impl Dependants {
    fn add(&self, app: &Arc<App>) {
        self.0.lock().push(Arc::clone(app));
    }

    fn remove(&self, app: &Arc<App>) {
        let mut apps = self.0.lock();
        if let Some(at) = apps.iter().position(|it| Arc::ptr_eq(it, app)) {
            apps.swap_remove(at);
        }
    }

    pub(super) fn names(&self) -> Vec<String> {
        let mut names: Vec<_> = self.0.lock().iter().map(|app| app.name.clone()).collect();
        names.sort();
        names
    }

    pub(super) fn are_there(&self) -> bool {
        !self.0.lock().is_empty()
    }

    pub(super) fn all(&self) -> Vec<Arc<App>> {
        self.0.lock().clone()
    }

    /// Has the supervisors of all of them look.
    pub(super) fn call(&self) {
        for app in &*self.0.lock() {
            app.call();
        }
    }
}

/// Keeps an app up for another. Dropping it lets the app go.
#[derive(Debug)]
pub struct Pin {
    need: Arc<App>,
    by: Arc<App>,
}

impl Pin {
    /// `by` needs `need` from now on.
    #[must_use]
    pub fn new(need: &Arc<App>, by: &Arc<App>) -> Self {
        need.dependants.add(by);
        need.call();
        Self { need: Arc::clone(need), by: Arc::clone(by) }
    }

    /// Which app is kept up.
    #[must_use]
    pub fn need(&self) -> &Arc<App> {
        &self.need
    }
}

impl Drop for Pin {
    fn drop(&mut self) {
        self.need.dependants.remove(&self.by);
        self.need.call();
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    #[test]
    fn who_is_needed_is_told_and_knows_by_whom() {
        let (db, web, jobs) = (App::new("db"), App::new("web"), App::new("jobs"));
        assert!(!db.is_needed());
        let pins = [Pin::new(&db, &web), Pin::new(&db, &jobs)];
        assert!(db.called().now_or_never().is_some());
        assert_eq!(db.needed_by(), ["jobs", "web"]);
        drop(pins);
        assert!(db.called().now_or_never().is_some(), "that it may go");
        assert!(!db.is_needed());
    }

    #[tokio::test]
    async fn who_waits_for_a_dependant_waits_for_it() {
        let (db, web) = (App::new("db"), App::new("web"));
        let _pins = [Pin::new(&db, &web), Pin::new(&web, &db)];
        assert!(!db.is_awaited() && !web.is_awaited());
        let _ticket = web.queue(1).expect("there is room");
        assert!(db.is_awaited() && web.is_awaited());
    }

    #[test]
    fn news_of_an_app_reach_who_needs_it() {
        let (db, web) = (App::new("db"), App::new("web"));
        let _pin = Pin::new(&db, &web);
        assert!(web.called().now_or_never().is_none());
        db.publish(Vec::new());
        assert!(web.called().now_or_never().is_some(), "what serves has changed");
        db.set_trouble(None);
        assert!(web.called().now_or_never().is_some(), "so has what is in the way");
    }
}
