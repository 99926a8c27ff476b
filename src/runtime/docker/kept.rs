//! The books on what rests on the engine: containers that are stopped and kept, and which of them have a network that
//! is kept as well. Calls nobody.
//!
//! A network that is kept costs a running container (its sandbox, see `sandbox`), and the engine a process of some
//! megabytes for it. So one is kept for each of the apps that were used last, up to a bound; the app that has not been
//! used for longest gives its place.

use std::collections::{HashMap, HashSet};
use std::sync::{Mutex, MutexGuard, PoisonError};

use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;
use tokio::time::Instant;

use crate::runtime::Endpoint;

/// A container that does not run and can be started.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Kept {
    /// The container.
    pub(super) id: String,
    /// Its network, where that is kept; else it gets one when it is started.
    pub(super) network: Option<Standing>,
}

/// A network that stands already.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Standing {
    /// The sandbox that holds it.
    pub(super) sandbox: String,
    /// Where a replica in it listens.
    pub(super) endpoint: Endpoint,
}

/// A network that is kept for one replica of an app, which runs or does not.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Prepared {
    /// The replica's name.
    name: String,
    used: Instant,
}

/// A replica as the engine has it.
#[derive(Debug)]
pub(super) struct OnEngine {
    /// Whose.
    pub(super) app: String,
    /// The replica's name.
    pub(super) name: String,
    /// What there is.
    pub(super) kept: Kept,
    /// Whether it runs.
    pub(super) runs: bool,
}

/// What rests.
#[derive(Debug)]
pub(super) struct Books {
    /// How many networks are kept at most.
    most: usize,
    /// How many are.
    prepared: Gauge,
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    /// By the replica's name.
    kept: HashMap<String, Kept>,
    /// By the app's.
    prepared: HashMap<String, Prepared>,
    /// Names of replicas whose sandboxes are being made.
    making: HashSet<String>,
    /// Whether what the engine had before these books is entered.
    adopted: bool,
}

impl Inner {
    fn give_up_oldest(&mut self) -> Option<Kept> {
        let Self { kept, prepared, .. } = self;
        let resting = prepared.iter().filter(|(_, prepared)| kept.contains_key(&prepared.name));
        let oldest = resting.min_by_key(|(_, prepared)| prepared.used).map(|(app, _)| app.clone())?;
        kept.remove(&prepared.remove(&oldest)?.name)
    }
}

impl Books {
    /// Books for so many networks.
    pub(super) fn new(most: usize) -> Self {
        Self { most, prepared: Gauge::default(), inner: Mutex::default() }
    }

    fn open(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds what they count to a registry.
    pub(super) fn register(&self, registry: &mut Registry) {
        let help = "Networks that are kept for replicas, running or stopped; each is a container that waits";
        registry.register("docker_networks_kept", help, self.prepared.clone());
    }

    fn count(&self, books: &Inner) {
        self.prepared.set(i64::try_from(books.prepared.len()).unwrap_or(i64::MAX));
    }

    /// Enters a container that is kept.
    pub(super) fn keep(&self, app: &str, name: &str, kept: Kept) {
        let mut books = self.open();
        if kept.network.is_some() {
            let prepared = Prepared { name: name.to_owned(), used: Instant::now() };
            books.prepared.insert(app.to_owned(), prepared);
        }
        books.kept.insert(name.to_owned(), kept);
        self.count(&books);
    }

    /// The names in the books of which the engine has a container: none that is only being made.
    pub(super) fn names(&self) -> HashSet<String> {
        let books = self.open();
        let names = books.kept.keys().chain(books.prepared.values().map(|prepared| &prepared.name));
        names.filter(|name| !books.making.contains(*name)).cloned().collect()
    }

    /// Enters what the engine has of a time before these books, once: later they know better than a list, which may be
    /// older than a start.
    pub(super) fn adopt(&self, found: impl IntoIterator<Item = OnEngine>) {
        let mut books = self.open();
        if std::mem::replace(&mut books.adopted, true) {
            return;
        }
        for OnEngine { app, name, kept, runs } in found {
            if kept.network.is_some() {
                let prepared = Prepared { name: name.clone(), used: Instant::now() };
                books.prepared.entry(app).or_insert(prepared);
            }
            if !runs {
                books.kept.insert(name, kept);
            }
        }
        self.count(&books);
    }

    /// A sandbox for the replica of that name is being made, of which the engine has no container yet.
    pub(super) fn begin(&self, name: &str) {
        self.open().making.insert(name.to_owned());
    }

    /// Its container is made, or will not be.
    pub(super) fn end(&self, name: &str) {
        self.open().making.remove(name);
    }

    /// Whether a sandbox is being made for the replica of that name.
    pub(super) fn is_making(&self, name: &str) -> bool {
        self.open().making.contains(name)
    }

    /// Takes the container of that name out, to be started. Its network goes on being counted.
    pub(super) fn take(&self, app: &str, name: &str) -> Option<Kept> {
        let mut books = self.open();
        if let Some(prepared) = books.prepared.get_mut(app) {
            prepared.used = Instant::now();
        }
        books.kept.remove(name)
    }

    /// The replica of that name is gone, with all that was kept of it.
    pub(super) fn forget(&self, name: &str) {
        let mut books = self.open();
        books.kept.remove(name);
        books.prepared.retain(|_, prepared| prepared.name != name);
        self.count(&books);
    }

    /// Reserves a place for the network of that replica of `app`; what has to go for it is out of the books then. `None`:
    /// there is none. A place that comes to nothing is to be forgotten.
    pub(super) fn reserve(&self, app: &str, name: &str) -> Option<Vec<Kept>> {
        let mut books = self.open();
        if self.most == 0 || books.prepared.contains_key(app) {
            return None;
        }
        let mut gone = Vec::new();
        while books.prepared.len() >= self.most {
            let Some(oldest) = books.give_up_oldest() else { break };
            gone.push(oldest);
        }
        // Those that run keep theirs, so there may be none in spite of all that has gone.
        let has_place = books.prepared.len() < self.most;
        if has_place {
            let reserved = Prepared { name: name.to_owned(), used: Instant::now() };
            books.prepared.insert(app.to_owned(), reserved);
        }
        self.count(&books);
        has_place.then_some(gone)
    }

    /// Takes out, to be removed, what rests in a network and has not been used for longest.
    pub(super) fn give_up_oldest(&self) -> Option<Kept> {
        let mut books = self.open();
        let oldest = books.give_up_oldest();
        self.count(&books);
        oldest
    }

    /// Whether a network is kept for the app.
    pub(super) fn has_network(&self, app: &str) -> bool {
        self.open().prepared.contains_key(app)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::runtime::Address;

    fn kept(id: &str, prepared: bool) -> Kept {
        let endpoint = Endpoint { address: Address::Tcp(([10, 0, 0, 1], 80).into()) };
        let network = prepared.then(|| Standing { sandbox: format!("{id}-net"), endpoint });
        Kept { id: id.into(), network }
    }

    async fn later() {
        tokio::time::advance(Duration::from_secs(1)).await;
    }

    #[tokio::test(start_paused = true)]
    async fn the_app_that_was_used_longest_ago_gives_its_place() {
        let books = Books::new(2);
        for app in ["a", "b"] {
            assert_eq!(books.reserve(app, app), Some(Vec::new()));
            books.keep(app, app, kept(app, true));
            later().await;
        }
        assert_eq!(books.reserve("a", "a-1"), None, "one is enough");
        assert_eq!(books.take("a", "a"), Some(kept("a", true)));
        later().await;
        books.keep("a", "a", kept("a", true));
        assert_eq!(books.reserve("c", "c"), Some(vec![kept("b", true)]));
        assert_eq!(books.take("b", "b"), None, "it has gone");
        assert_eq!(books.prepared.get(), 2, "a place that is reserved counts");
    }

    #[tokio::test(start_paused = true)]
    async fn what_runs_keeps_its_place() {
        let books = Books::new(1);
        books.keep("a", "a", kept("a", true));
        books.take("a", "a");
        assert_eq!(books.reserve("b", "b"), None);
        books.forget("a");
        assert_eq!(books.reserve("b", "b"), Some(Vec::new()));
        assert_eq!(books.reserve("c", "c"), None, "nor does one that is being made lose it");
    }

    #[tokio::test(start_paused = true)]
    async fn what_rests_is_given_up_before_its_place_is_wanted() {
        let books = Books::new(9);
        for app in ["a", "b", "c"] {
            books.keep(app, app, kept(app, app != "c"));
            later().await;
        }
        books.take("a", "a");
        assert_eq!(books.give_up_oldest(), Some(kept("b", true)), "of those that do not run");
        assert_eq!((books.has_network("a"), books.has_network("b"), books.prepared.get()), (true, false, 1));
        assert_eq!(books.give_up_oldest(), None, "one without a network costs no memory");
    }

    #[tokio::test(start_paused = true)]
    async fn a_container_alone_costs_no_place() {
        assert_eq!(Books::new(0).reserve("a", "a"), None);
        let books = Books::new(1);
        books.keep("a", "a", kept("a", false));
        assert_eq!((books.prepared.get(), books.reserve("b", "b")), (0, Some(Vec::new())));
    }

    #[tokio::test(start_paused = true)]
    async fn what_an_engine_has_is_entered_once() {
        let books = Books::new(2);
        let on_engine =
            |app: &str, runs| OnEngine { app: app.into(), name: app.into(), kept: kept(app, true), runs };
        books.adopt([on_engine("a", true), on_engine("b", false)]);
        assert_eq!((books.take("a", "a"), books.take("b", "b")), (None, Some(kept("b", true))));
        books.adopt([on_engine("b", false)]);
        assert_eq!(books.take("b", "b"), None, "the list was made before it was taken");
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_being_made_is_not_missed() {
        let books = Books::new(2);
        books.keep("a", "a", kept("a", true));
        assert_eq!(books.reserve("b", "b"), Some(Vec::new()));
        books.begin("b");
        assert_eq!(books.names(), HashSet::from(["a".to_owned()]));
        books.keep("b", "b", kept("b", true));
        books.end("b");
        assert_eq!(books.names().len(), 2);
    }
}
