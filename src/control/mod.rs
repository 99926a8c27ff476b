//! The control plane: a supervisor for each app, what they are told, and the route table.
//!
//! It may wait for engines, files and clocks; the data plane never waits for it.

pub mod backoff;
pub mod certificates;
pub mod decide;
pub mod hosts;
pub mod instance;
pub mod listening;
pub mod observe;
pub mod output;
mod pressure;
pub mod probe;
#[cfg(test)]
mod races;
pub mod record;
pub mod resolve;
pub mod status;
pub mod supervisor;
pub mod upstream;

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;
use tokio::time::MissedTickBehavior;

use crate::app::{App, Policy};
use crate::config::spec::{AppSpec, EdgeSpec};
use crate::control::backoff::Backoff;
use crate::control::hosts::Hosts;
use crate::control::record::Record;
use crate::control::resolve::Resolver;
use crate::control::status::Status;
use crate::control::supervisor::{Message, Parts, Supervisor};
use crate::control::upstream::{Upstream, is_upstream};
use crate::gateway::route::{Entry, RouteTable};
use crate::runtime::{Event, Found, Runtime, RuntimeError};

/// Messages that wait for a supervisor. It never waits itself, so more than a few mean that something is wrong.
const INBOX: usize = 256;

/// Names of upstreams that are looked up at once.
const LOOKUPS: usize = 8;

/// How long a proxy that leaves its replicas waits for what the runtime is doing to some of them.
const LEAVE: Duration = Duration::from_secs(3);

/// How long stopping all replicas may take beyond what each of them may.
const END_MARGIN: Duration = Duration::from_secs(30);

/// What the control plane is told to do.
#[derive(Debug)]
pub enum Command {
    /// These are the apps from now on, and this is what the proxy answers by itself.
    Apply(Vec<AppSpec>, EdgeSpec),
    /// The proxy stops: nothing more is started, nobody is held any more.
    Close,
    /// Ends the control plane; with `true` the replicas as well.
    End(bool, oneshot::Sender<()>),
}

/// One app as others see it.
#[derive(Debug, Clone)]
pub struct View {
    /// The app.
    pub app: Arc<App>,
    /// Its policy.
    pub policy: Arc<Policy>,
    /// What its supervisor shows.
    pub status: Arc<ArcSwap<Status>>,
    /// Whether the file has it no more: it finishes what it has.
    pub retiring: bool,
    /// What its supervisor has done.
    pub record: Arc<Record>,
}

/// What others may read of the control plane at any time.
#[derive(Debug, Default)]
pub struct Board {
    /// All apps, by name; then those that are retiring.
    pub apps: ArcSwap<Vec<View>>,
    /// Whether what ran before is known and taken over.
    pub adopted: AtomicBool,
}

/// The control plane.
pub struct Control {
    runtime: Arc<dyn Runtime>,
    routes: Arc<ArcSwap<RouteTable>>,
    board: Arc<Board>,
    apps: BTreeMap<String, Managed>,
    /// Apps that the file no longer has, until their last replica is gone.
    retiring: BTreeMap<String, Managed>,
    supervisors: JoinSet<()>,
    looks: JoinSet<Result<Vec<Found>, RuntimeError>>,
    /// Something has happened since the look under way began.
    look_again: bool,
    clears: JoinSet<()>,
    backoff: Backoff,
    resolver: Resolver,
    /// Sees whether the file's hosts have DNS, where that is asked for.
    hosts: Option<Hosts>,
    /// Whether what is frozen is to give way.
    is_memory_short: fn() -> bool,
}

struct Managed {
    view: View,
    /// The apps that it needs, as its supervisor knows them.
    needs: Vec<Arc<App>>,
    outbox: mpsc::Sender<Message>,
}

impl Control {
    /// A control plane without apps.
    #[must_use]
    pub fn new(runtime: Arc<dyn Runtime>, routes: Arc<ArcSwap<RouteTable>>, board: Arc<Board>) -> Self {
        Self {
            runtime,
            routes,
            board,
            apps: BTreeMap::new(),
            retiring: BTreeMap::new(),
            supervisors: JoinSet::new(),
            looks: JoinSet::new(),
            look_again: false,
            clears: JoinSet::new(),
            backoff: Backoff::new(Duration::from_millis(100), Duration::from_secs(2)),
            resolver: Resolver::new(LOOKUPS),
            hosts: None,
            is_memory_short: pressure::is_short_now,
        }
    }

    /// Has it see, from now on, whether the file's hosts have DNS.
    pub fn look_up(&mut self, hosts: Hosts) {
        self.hosts = Some(hosts);
    }

    /// Runs until told to end.
    pub async fn run(mut self, mut commands: mpsc::Receiver<Command>) {
        let mut events = self.runtime.watch();
        let mut watching = true;
        let mut looks = tokio::time::interval(pressure::LOOK);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        self.look(Duration::ZERO);
        loop {
            tokio::select! {
                command = commands.recv() => match command {
                    Some(Command::Apply(specs, edge)) => self.apply(specs, edge),
                    Some(Command::Close) => self.tell_all(|| Message::Close),
                    Some(Command::End(stop_replicas, done)) => {
                        self.end(stop_replicas).await;
                        let _nobody_waits = done.send(());
                        return;
                    }
                    None => return,
                },
                event = events.recv(), if watching => match event {
                    Some(Event::Changed { id, app, change }) => self.tell(&app, Message::Changed(id, change)),
                    Some(Event::Resync) => self.look(Duration::ZERO),
                    None => watching = false,
                },
                _ = looks.tick() => if self.something_rests() && (self.is_memory_short)() {
                    self.make_room();
                },
                Some(Ok(found)) = self.looks.join_next() => self.seen(found),
                Some(_ended) = self.supervisors.join_next() => self.forget_retired(),
                Some(_cleared) = self.clears.join_next() => {}
            }
        }
    }

    fn something_rests(&self) -> bool {
        let rests = |status: &Status| status.frozen_since.is_some() || status.stopped > 0;
        self.apps.values().any(|managed| rests(&managed.view.status.load()))
    }

    /// Memory is short: of what is frozen, that goes first which has not been used for longest; where nothing is, what the
    /// runtime keeps for those that are stopped.
    fn make_room(&mut self) {
        let since = |managed: &Managed| managed.view.status.load().frozen_since;
        let frozen = self.apps.iter().filter_map(|(name, managed)| Some((since(managed)?, name, managed)));
        if let Some((_, name, managed)) = frozen.min_by_key(|(since, ..)| *since) {
            tracing::info!(app = name, "memory is short: stopping what is frozen");
            managed.tell(name, Message::GiveWay);
        } else if self.clears.is_empty() {
            let runtime = Arc::clone(&self.runtime);
            self.clears.spawn(async move { runtime.give_way().await });
        }
    }

    /// Makes these the apps: new ones get a supervisor, changed ones a new policy, the others are retired.
    pub fn apply(&mut self, specs: Vec<AppSpec>, edge: EdgeSpec) {
        let mut kept = BTreeMap::new();
        for spec in specs {
            let name = spec.name.clone();
            let managed = match self.apps.remove(&name) {
                Some(managed) if managed.is_upstream() == is_upstream(&spec) => managed.renewed(spec, false),
                other => {
                    // Replicas where there was an upstream, or the other way round. What is counted goes on.
                    let before = other.as_ref().map(|other| other.view.clone());
                    if let Some(other) = other {
                        self.retire(&name, other);
                    }
                    self.revive(&name, spec, before.as_ref())
                }
            };
            kept.insert(name, managed);
        }
        if let Some(hosts) = &self.hosts {
            let apps = kept.values().flat_map(|managed| &managed.view.policy.spec.routes);
            hosts.set(apps.chain(edge.redirects.iter().map(|redirect| &redirect.from)));
        }
        for (name, gone) in std::mem::replace(&mut self.apps, kept) {
            tracing::info!(app = name, "retiring an app that the file no longer has");
            self.retire(&name, gone);
        }
        self.tell_needs();
        let entry = |Managed { view, .. }: &Managed| Entry {
            app: Arc::clone(&view.app),
            policy: Arc::clone(&view.policy),
        };
        self.routes.store(Arc::new(RouteTable::new(self.apps.values().map(entry).collect(), edge)));
        self.show();
        if self.board.adopted.load(Ordering::Relaxed) {
            // Only a look tells the new ones what there is of theirs.
            self.look(Duration::ZERO);
        }
    }

    /// Tells supervisors which apps theirs need, where that is news.
    fn tell_needs(&mut self) {
        let apps: HashMap<_, _> =
            self.apps.iter().map(|(name, managed)| (name.clone(), Arc::clone(&managed.view.app))).collect();
        for (name, managed) in &mut self.apps {
            let names = &managed.view.policy.spec.needs;
            let needs: Vec<_> = names.iter().filter_map(|name| apps.get(name).cloned()).collect();
            let same = needs.len() == managed.needs.len()
                && needs.iter().zip(&managed.needs).all(|(one, other)| Arc::ptr_eq(one, other));
            if !same {
                managed.needs.clone_from(&needs);
                managed.tell(name, Message::Needs(needs));
            }
        }
    }

    /// Tells an app to go. One with replicas is kept until the last is gone; an upstream leaves nothing.
    fn retire(&mut self, name: &str, mut gone: Managed) {
        gone.view.retiring = true;
        gone.tell(name, Message::Retire);
        if !gone.is_upstream() {
            self.retiring.insert(name.to_owned(), gone);
        }
    }

    /// An app that is not served: the one of that name that is on its way out, or a new one, which takes over the counts
    /// of the one `before`.
    fn revive(&mut self, name: &str, spec: AppSpec, before: Option<&View>) -> Managed {
        let retired = if is_upstream(&spec) { None } else { self.retiring.remove(name) };
        match retired.filter(|managed| !managed.outbox.is_closed()) {
            // Back before it was gone: what drains may serve again.
            Some(managed) => managed.renewed(spec, true),
            None => self.supervise(spec, before),
        }
    }

    fn show(&self) {
        let all = self.apps.values().chain(self.retiring.values());
        self.board.apps.store(Arc::new(all.map(|managed| managed.view.clone()).collect()));
    }

    fn supervise(&mut self, spec: AppSpec, before: Option<&View>) -> Managed {
        let upstream = is_upstream(&spec);
        let tally = before.map(|before| Arc::clone(before.app.tally())).unwrap_or_default();
        let record = before.map(|before| Arc::clone(&before.record)).unwrap_or_default();
        let app = App::counted(&spec.name, tally);
        let policy = Policy::new(Arc::new(spec), None);
        let status = Arc::default();
        let (outbox, inbox) = mpsc::channel(INBOX);
        let view = View {
            app: Arc::clone(&app),
            policy: Arc::clone(&policy),
            status: Arc::clone(&status),
            retiring: false,
            record: Arc::clone(&record),
        };
        if upstream {
            let resolver = self.resolver.clone();
            let parts = upstream::Parts { app, policy, status, inbox, resolver };
            self.supervisors.spawn(Upstream::new(parts).run());
        } else {
            let parts = Parts { app, policy, runtime: Arc::clone(&self.runtime), status, record, inbox };
            self.supervisors.spawn(Supervisor::new(parts).run());
        }
        Managed { view, needs: Vec::new(), outbox }
    }

    /// Asks the runtime what exists, one question at a time.
    fn look(&mut self, after: Duration) {
        if self.looks.is_empty() {
            self.look_again = false;
            let runtime = Arc::clone(&self.runtime);
            self.looks.spawn(async move {
                tokio::time::sleep(after).await;
                runtime.list().await
            });
        } else {
            self.look_again = true;
        }
    }

    fn seen(&mut self, found: Result<Vec<Found>, RuntimeError>) {
        let found = match found {
            Ok(found) => found,
            Err(error) if self.apps.values().all(Managed::is_upstream) && self.retiring.is_empty() => {
                // Nobody needs it. Should it come, its events say so, and what was left there is cleared.
                tracing::debug!(runtime = self.runtime.name(), %error, "no runtime, and none is needed");
                self.board.adopted.store(true, Ordering::Relaxed);
                return;
            }
            Err(error) => {
                if self.backoff.failures() == 0 {
                    tracing::warn!(runtime = self.runtime.name(), %error, "waiting for the runtime");
                }
                self.tell_all(|| Message::Unreachable(error.to_string()));
                let wait = self.backoff.fail();
                self.look(wait);
                return;
            }
        };
        self.backoff.reset();
        let mut by_app: HashMap<String, Vec<Found>> = HashMap::new();
        for it in found {
            by_app.entry(it.app.clone()).or_default().push(it);
        }
        // A replica of what is an upstream now is one of an app that is gone.
        let with_replicas = self.apps.iter().filter(|(_, managed)| !managed.is_upstream());
        for (name, managed) in with_replicas.chain(&self.retiring) {
            managed.tell(name, Message::Found(by_app.remove(name).unwrap_or_default()));
        }
        for it in by_app.into_values().flatten() {
            self.clear(it);
        }
        self.board.adopted.store(true, Ordering::Relaxed);
        if self.look_again {
            self.look(Duration::ZERO);
        }
    }

    /// Removes a replica of an app that is not in the file.
    fn clear(&mut self, found: Found) {
        let runtime = Arc::clone(&self.runtime);
        self.clears.spawn(async move {
            tracing::info!(app = found.app, replica = %found.id, "removing a replica of an app that is gone");
            if let Err(error) = runtime.stop(&found.id, Duration::from_secs(10)).await {
                tracing::error!(app = found.app, replica = %found.id, %error, "it could not be removed");
            }
        });
    }

    /// Forgets apps whose last replica is gone, and has what they have left in the runtime removed.
    fn forget_retired(&mut self) {
        let before = self.retiring.len();
        self.retiring.retain(|_, managed| !managed.outbox.is_closed());
        if self.retiring.len() < before {
            self.show();
            let runtime = Arc::clone(&self.runtime);
            self.clears.spawn(async move { runtime.tidy().await });
        }
    }

    fn tell(&self, app: &str, message: Message) {
        let with_replicas = self.apps.get(app).filter(|managed| !managed.is_upstream());
        if let Some(managed) = with_replicas.or_else(|| self.retiring.get(app)) {
            managed.tell(app, message);
        }
    }

    fn tell_all(&self, message: impl Fn() -> Message) {
        for (name, managed) in &self.apps {
            managed.tell(name, message());
        }
    }

    /// Ends the supervisors: with their replicas, or leaving those to the next proxy.
    async fn end(mut self, stop_replicas: bool) {
        if !stop_replicas {
            // What the runtime is amid shall not be left half made.
            self.tell_all(|| Message::Leave);
            let left = async { while self.supervisors.join_next().await.is_some() {} };
            let _in_time = tokio::time::timeout(LEAVE, left).await;
        }
        if stop_replicas {
            self.tell_all(|| Message::Retire);
            let specs = self.apps.values().map(|managed| &managed.view.policy.spec);
            let times = specs.map(|spec| (spec.drain_timeout + spec.stop_grace, spec.workload.named));
            // One after the other, if it comes to the worst.
            let longest = times.clone().map(|(time, _)| time).max().unwrap_or_default();
            let longest = longest + times.filter(|(_, named)| *named).map(|(time, _)| time).sum::<Duration>();
            let gone = async {
                while self.supervisors.join_next().await.is_some() {}
                while self.clears.join_next().await.is_some() {}
            };
            if tokio::time::timeout(longest + END_MARGIN, gone).await.is_err() {
                tracing::warn!("some replicas did not end in time");
            }
            if let Err(error) = self.runtime.close().await {
                tracing::warn!(%error, "something of ours is left in the runtime");
            }
        }
    }
}

impl Managed {
    fn is_upstream(&self) -> bool {
        is_upstream(&self.view.policy.spec)
    }

    fn renewed(self, spec: AppSpec, returning: bool) -> Self {
        if *self.view.policy.spec == spec && !returning {
            return self;
        }
        let policy = Policy::new(Arc::new(spec), Some(&self.view.policy));
        tracing::info!(app = self.view.app.name, "the file has changed this app");
        self.tell(&self.view.app.name, Message::Reload(Arc::clone(&policy)));
        Self { view: View { policy, retiring: false, ..self.view }, ..self }
    }

    fn tell(&self, app: &str, message: Message) {
        if let Err(error) = self.outbox.try_send(message) {
            tracing::error!(app, %error, "a supervisor does not listen");
        }
    }
}
