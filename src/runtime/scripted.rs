//! A runtime for tests of the control plane: on virtual time, its delays, faults and deaths drawn from a seed.
//! Checks what no engine would: that nothing is stopped while in use, or started twice.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use fastrand::Rng;
use futures_util::future::BoxFuture;
use tokio::sync::mpsc;

use super::{
    Address, Change, Endpoint, Event, Exit, Found, MemoryUse, Proof, ReplicaId, Reply, Revision, Runtime,
    RuntimeError, StartOrder, Started, Status, Unreached,
};
use crate::config::spec::{HealthSpec, Workload};

/// A runtime without an engine.
#[derive(Clone)]
pub(crate) struct Scripted(Arc<Mutex<World>>);

/// What exists, and what is to go wrong.
pub(crate) struct World {
    pub(crate) rng: Rng,
    /// Of a thousand calls, how many fail.
    pub(crate) faults: u32,
    /// Of a thousand events, how many are lost.
    pub(crate) lost_events: u32,
    /// Longest that a call takes.
    pub(crate) slowest: Duration,
    /// From its start to its first answer, for a replica that is started from now on; at random where there is none.
    pub(crate) boot: Option<Duration>,
    /// How long it takes to prepare, beside the call's own time.
    pub(crate) preparing: Duration,
    /// Of the start calls to come, how many fail.
    pub(crate) failing_starts: u32,
    /// Of the stop calls to come, how many fail.
    pub(crate) failing_stops: u32,
    /// Whether no call comes through.
    pub(crate) unreachable: bool,
    /// Whether what is stopped can be kept; at random where nothing is said.
    pub(crate) keeps: Option<bool>,
    /// Whether what was kept ends at once when it is started.
    pub(crate) kept_in_vain: bool,
    /// Apps of which no start succeeds.
    pub(crate) broken: BTreeSet<String>,
    /// An app, and another that is to be ready whenever one of it is started.
    pub(crate) needs: Option<(&'static str, &'static str)>,
    /// When replicas take connections.
    pub(crate) accepts: Accepts,
    /// How long it takes to find out whether one does.
    pub(crate) answering: Duration,
    /// How often it was to give up what it keeps in memory.
    pub(crate) gave_way: u32,
    /// An app of which there are never two.
    pub(crate) alone: Option<&'static str>,
    /// Whether what is started from now on fails its checks.
    pub(crate) born_sick: bool,
    /// App, index and revision of each start call under way.
    starting: BTreeSet<(String, u32, String)>,
    pub(crate) replicas: BTreeMap<u16, Scene>,
    next_port: u16,
    events: Option<mpsc::Sender<Event>>,
}

/// When a replica takes connections.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Accepts {
    /// When it answers well.
    WhenReady,
    /// From its start on.
    AtOnce,
}

/// One replica.
#[derive(Debug, Clone)]
pub(crate) struct Scene {
    pub(crate) app: String,
    pub(crate) index: u32,
    pub(crate) revision: String,
    pub(crate) life: Life,
    /// Its stop call has begun.
    pub(crate) stopping: bool,
    /// Requests that use it.
    pub(crate) open: u32,
    /// It fails its checks.
    pub(crate) sick: bool,
    ready_at: tokio::time::Instant,
}

/// What a replica is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Life {
    Running,
    /// It has been started, and is given no CPU.
    Frozen,
    /// It does not run, and is kept to be started again.
    Kept,
    Ended,
}

impl Scene {
    /// Whether it goes by that name.
    fn is(&self, (app, index, revision): &(String, u32, String)) -> bool {
        (&self.app, self.index, &self.revision) == (app, *index, revision)
    }

    /// Whether it has been started and has not ended.
    fn runs(&self) -> bool {
        matches!(self.life, Life::Running | Life::Frozen)
    }

    fn running(
        (app, index, revision): (String, u32, String),
        sick: bool,
        ready_at: tokio::time::Instant,
    ) -> Self {
        Self { app, index, revision, life: Life::Running, stopping: false, open: 0, sick, ready_at }
    }
}

impl Scripted {
    pub(crate) fn new(seed: u64) -> Self {
        Self(Arc::new(Mutex::new(World {
            rng: Rng::with_seed(seed),
            faults: 0,
            lost_events: 0,
            slowest: Duration::from_millis(400),
            boot: None,
            preparing: Duration::ZERO,
            answering: Duration::ZERO,
            failing_starts: 0,
            failing_stops: 0,
            unreachable: false,
            keeps: None,
            kept_in_vain: false,
            broken: BTreeSet::new(),
            accepts: Accepts::WhenReady,
            gave_way: 0,
            needs: None,
            alone: None,
            born_sick: false,
            starting: BTreeSet::new(),
            replicas: BTreeMap::new(),
            next_port: 1,
            events: None,
        })))
    }

    pub(crate) fn world(&self) -> MutexGuard<'_, World> {
        self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// A replica that a proxy before this one has left running.
    pub(crate) fn place(&self, index: u32, revision: &str) {
        let mut world = self.world();
        let port = world.next_port;
        world.next_port += 1;
        let ready_at = tokio::time::Instant::now();
        let scene = Scene::running(("app".into(), index, revision.to_owned()), false, ready_at);
        world.replicas.insert(port, scene);
    }

    /// A request begins to use a replica; false: nothing listens there.
    pub(crate) fn enter(&self, address: &Address) -> bool {
        let mut world = self.world();
        let scene = world.replicas.get_mut(&port(address)).filter(|scene| scene.runs());
        if let Some(scene) = &scene {
            assert!(!scene.stopping, "a claim on a replica that is being stopped: {scene:?}");
            assert!(scene.life != Life::Frozen, "a claim on a replica that is frozen: {scene:?}");
        }
        scene.map(|scene| scene.open += 1).is_some()
    }

    /// Whether a request there would be answered well now.
    pub(crate) fn is_ready(&self, address: &Address) -> bool {
        let scene = self.world().replicas.get(&port(address)).cloned();
        scene.is_some_and(|scene| scene.runs() && tokio::time::Instant::now() >= scene.ready_at)
    }

    /// It has ended; false: the replica died under it.
    pub(crate) fn leave(&self, address: &Address) -> bool {
        let mut world = self.world();
        let scene = world.replicas.get_mut(&port(address)).filter(|scene| scene.runs());
        scene.map(|scene| scene.open -= 1).is_some()
    }

    /// One replica dies, if there is any.
    pub(crate) fn kill_one(&self) {
        let mut world = self.world();
        let running: Vec<u16> =
            world.replicas.iter().filter(|(_, scene)| scene.runs()).map(|(port, _)| *port).collect();
        let Some(port) = world.rng.choice(running) else { return };
        world.end(port);
    }

    /// News of an end that was long ago.
    pub(crate) fn tell_of_an_end(&self) {
        let world = self.world();
        let Some((port, scene)) = world.replicas.iter().next() else { return };
        let change = Change::Exited(Exit { code: Some(143), out_of_memory: false });
        world.tell(Event::Changed { id: id(*port), app: scene.app.clone(), change });
    }

    /// Says that a replica's image finds it ill, in news of that replica alone.
    pub(crate) fn tell_of_an_illness(&self, app: &str) {
        let world = self.world();
        let (port, _) = world
            .replicas
            .iter()
            .find(|(_, scene)| scene.app == app)
            .expect("there is a replica of that app");
        world.tell(Event::Changed { id: id(*port), app: app.to_owned(), change: Change::Unhealthy });
    }

    /// Asks the control plane to look at everything.
    pub(crate) fn resync(&self) {
        self.world().tell(Event::Resync);
    }

    /// Takes the time of a call, then perhaps fails it.
    async fn call(&self) -> Result<(), RuntimeError> {
        let (time, fault) = {
            let mut world = self.world();
            let slowest = u64::try_from(world.slowest.as_millis()).unwrap();
            let time = Duration::from_millis(world.rng.u64(0..=slowest));
            let faults = world.faults;
            let fault = (world.rng.u32(0..1000) < faults).then(|| world.rng.u8(0..4));
            (time, if world.unreachable { Some(0) } else { fault })
        };
        tokio::time::sleep(time).await;
        match fault {
            None => Ok(()),
            Some(0) => Err(RuntimeError::Unreachable("scripted: unreachable".into())),
            Some(1) => Err(RuntimeError::TimedOut("scripted: timed out".into())),
            Some(2) => Err(RuntimeError::Refused("scripted: refused".into())),
            Some(_) => Err(Exit { code: Some(1), out_of_memory: false }.into()),
        }
    }
}

impl Scripted {
    /// Takes a replica's CPU away or gives it back. A call that timed out has done so or not.
    async fn set_frozen(&self, port: u16, frozen: bool) -> Result<(), RuntimeError> {
        let called = self.call().await;
        let mut world = self.world();
        let done = match &called {
            Ok(()) => true,
            Err(RuntimeError::TimedOut(_)) => world.rng.bool(),
            Err(_) => false,
        };
        match world.replicas.get_mut(&port).filter(|scene| scene.runs()) {
            Some(scene) if done => scene.life = if frozen { Life::Frozen } else { Life::Running },
            Some(_) | None => {}
        }
        match world.replicas.get(&port) {
            Some(scene) if scene.runs() => called,
            _ => Err(RuntimeError::Refused("scripted: it does not run".into())),
        }
    }
}

impl World {
    /// One of `app` is about to be started.
    fn assert_alone(&self, app: &str) {
        let runs = |scene: &&Scene| scene.app == app && scene.runs();
        let other = self.replicas.values().find(runs).filter(|_| self.alone == Some(app));
        assert!(other.is_none(), "a second {app} is started beside {other:?}");
    }

    /// The same.
    fn assert_needs(&self, app: &str) {
        let Some((_, need)) = self.needs.filter(|(dependant, _)| *dependant == app) else { return };
        let now = tokio::time::Instant::now();
        let serves = |scene: &Scene| {
            scene.app == need && scene.life == Life::Running && !scene.stopping && now >= scene.ready_at
        };
        assert!(self.replicas.values().any(serves), "{app} is started before {need} is ready");
    }

    fn end(&mut self, port: u16) {
        let lost = self.lost_events;
        let heard = self.rng.u32(0..1000) >= lost;
        let Some(scene) = self.replicas.get_mut(&port) else { return };
        scene.life = Life::Ended;
        let change = Change::Exited(Exit { code: Some(137), out_of_memory: false });
        let event = Event::Changed { id: id(port), app: scene.app.clone(), change };
        if heard {
            self.tell(event);
        }
    }

    fn tell(&self, event: Event) {
        if let Some(events) = &self.events {
            let _full = events.try_send(event);
        }
    }
}

fn id(port: u16) -> ReplicaId {
    ReplicaId(format!("scene-{port}"))
}

fn port(address: &Address) -> u16 {
    match address {
        Address::Tcp(address) => address.port(),
        Address::Unix(_) => unreachable!("scripted replicas have ports"),
    }
}

fn port_of(id: &ReplicaId) -> u16 {
    id.0.strip_prefix("scene-").unwrap().parse().unwrap()
}

fn endpoint(port: u16) -> Endpoint {
    Endpoint { address: Address::Tcp(SocketAddr::from(([127, 0, 0, 1], port))) }
}

fn status(port: u16, scene: Option<&Scene>) -> Status {
    match scene {
        None => Status::Gone,
        Some(scene) => match scene.life {
            Life::Running => Status::Running(endpoint(port)),
            Life::Frozen => Status::Frozen(endpoint(port)),
            Life::Kept => Status::Exited(Exit { code: Some(143), out_of_memory: false }),
            Life::Ended => Status::Exited(Exit { code: Some(137), out_of_memory: false }),
        },
    }
}

impl Runtime for Scripted {
    fn name(&self) -> &'static str {
        "scripted"
    }

    fn prepare<'a>(&'a self, _: &'a str, workload: &'a Arc<Workload>) -> Reply<'a, Revision> {
        Box::pin(async move {
            self.call().await?;
            let preparing = self.world().preparing;
            tokio::time::sleep(preparing).await;
            let (hash, image_id) = (format!("r{:?}", workload.env.get("VERSION")), String::new());
            let cpu_millis = workload.resources.cpu_millis;
            Ok(Revision { hash, workload: Arc::clone(workload), image_id, port: 0, cpu_millis })
        })
    }

    fn start<'a>(&'a self, order: &'a StartOrder) -> Reply<'a, Started> {
        Box::pin(async move {
            // What an engine's names are made of.
            let name = (order.app.clone(), order.index, order.revision.hash.clone());
            let alone = self.world().starting.insert(name.clone());
            assert!(alone, "{name:?} is started twice at once");
            self.world().assert_alone(&name.0);
            self.world().assert_needs(&name.0);
            let mut failed = self.call().await.err();
            let mut world = self.world();
            world.starting.remove(&name);
            if world.failing_starts > 0 || world.broken.contains(&name.0) {
                world.failing_starts = world.failing_starts.saturating_sub(1);
                failed = Some(RuntimeError::Refused("scripted: no".into()));
            }
            // A call that timed out has done its work or not; the others have not.
            let done = match failed {
                None => true,
                Some(RuntimeError::TimedOut(_)) => world.rng.bool(),
                Some(_) => false,
            };
            if done {
                let same = |scene: &Scene| scene.is(&name);
                world.replicas.retain(|_, scene| !same(scene) || scene.life != Life::Ended);
                let delay = Duration::from_millis(world.rng.u64(0..300));
                let ready_at = tokio::time::Instant::now() + world.boot.unwrap_or(delay);
                let (sick, in_vain) = (world.born_sick, world.kept_in_vain);
                let mut was_there = false;
                let there = world.replicas.iter_mut().find(|(_, scene)| same(scene));
                let port = if let Some((port, scene)) = there {
                    assert!(!scene.stopping, "started under a name that is being stopped");
                    was_there = true;
                    if scene.life == Life::Kept {
                        *scene = Scene::running(name.clone(), sick, ready_at);
                        if in_vain {
                            scene.life = Life::Ended;
                        }
                    }
                    *port
                } else {
                    let port = world.next_port;
                    world.next_port += 1;
                    world.replicas.insert(port, Scene::running(name.clone(), sick, ready_at));
                    port
                };
                if failed.is_none() {
                    return Ok(Started {
                        id: id(port),
                        endpoint: endpoint(port),
                        created: None,
                        kept: was_there,
                    });
                }
            }
            Err(failed.expect("else it was started"))
        })
    }

    fn stop<'a>(&'a self, id: &'a ReplicaId, _: Duration) -> Reply<'a, ()> {
        Box::pin(async move {
            let port = port_of(id);
            if let Some(scene) = self.world().replicas.get_mut(&port) {
                assert!(scene.open == 0 || !scene.runs(), "stopped while in use: {scene:?}");
                scene.stopping = true;
            }
            let mut called = self.call().await;
            let mut world = self.world();
            if world.failing_stops > 0 {
                world.failing_stops -= 1;
                called = Err(RuntimeError::Unreachable("scripted: away".into()));
            }
            match &called {
                Ok(()) => drop(world.replicas.remove(&port)),
                Err(_) => {
                    if let Some(scene) = world.replicas.get_mut(&port) {
                        scene.stopping = false;
                    }
                }
            }
            called
        })
    }

    fn rest<'a>(
        &'a self,
        id: &'a ReplicaId,
        order: &'a StartOrder,
        _: Duration,
    ) -> Reply<'a, Option<ReplicaId>> {
        Box::pin(async move {
            let port = port_of(id);
            if let Some(scene) = self.world().replicas.get_mut(&port) {
                assert!(scene.open == 0 || !scene.runs(), "stopped while in use: {scene:?}");
                scene.stopping = true;
            }
            let called = self.call().await;
            let mut world = self.world();
            let keeps = world.rng.u8(0..4) > 0;
            let keeps = world.keeps.unwrap_or(keeps);
            if called.is_ok() && !keeps {
                world.replicas.remove(&port);
            }
            let Some(scene) = world.replicas.get_mut(&port) else { return called.map(|()| None) };
            scene.stopping = false;
            called?;
            scene.life = Life::Kept;
            // An engine tells of it, and may be slow to.
            let (late, events) = (world.rng.u64(0..1500), world.events.clone());
            drop(world);
            let change = Change::Exited(Exit { code: Some(143), out_of_memory: false });
            let event = Event::Changed { id: id.clone(), app: order.app.clone(), change };
            tokio::spawn(async move {
                tokio::time::sleep(Duration::from_millis(late)).await;
                if let Some(events) = events {
                    let _full = events.try_send(event);
                }
            });
            Ok(Some(id.clone()))
        })
    }

    fn lay_out<'a>(&'a self, order: &'a StartOrder) -> Reply<'a, Option<ReplicaId>> {
        Box::pin(async move {
            self.call().await?;
            let mut world = self.world();
            let keeps = world.rng.bool();
            if !world.keeps.unwrap_or(keeps) {
                return Ok(None);
            }
            let name = (order.app.clone(), order.index, order.revision.hash.clone());
            let there = world.replicas.values().any(|scene| scene.is(&name));
            assert!(!there, "laid out under a name that is taken");
            let port = world.next_port;
            world.next_port += 1;
            let scene = Scene::running(name, false, tokio::time::Instant::now());
            world.replicas.insert(port, Scene { life: Life::Kept, ..scene });
            Ok(Some(id(port)))
        })
    }

    fn give_way(&self) -> BoxFuture<'_, ()> {
        self.world().gave_way += 1;
        Box::pin(std::future::ready(()))
    }

    fn freeze<'a>(&'a self, id: &'a ReplicaId) -> Reply<'a, ()> {
        if let Some(scene) = self.world().replicas.get(&port_of(id)) {
            assert!(scene.open == 0 || !scene.runs(), "frozen while in use: {scene:?}");
        }
        Box::pin(self.set_frozen(port_of(id), true))
    }

    fn thaw<'a>(&'a self, id: &'a ReplicaId) -> Reply<'a, ()> {
        Box::pin(self.set_frozen(port_of(id), false))
    }

    fn list(&self) -> Reply<'_, Vec<Found>> {
        Box::pin(async move {
            self.call().await?;
            let world = self.world();
            let found = world.replicas.iter().map(|(port, scene)| Found {
                id: id(*port),
                app: scene.app.clone(),
                revision: scene.revision.clone(),
                index: scene.index,
                status: status(*port, Some(scene)),
            });
            Ok(found.collect())
        })
    }

    fn status<'a>(&'a self, id: &'a ReplicaId) -> Reply<'a, Status> {
        Box::pin(async move {
            self.call().await?;
            let port = port_of(id);
            Ok(status(port, self.world().replicas.get(&port)))
        })
    }

    fn tail<'a>(&'a self, _: &'a ReplicaId, _: usize) -> Reply<'a, Vec<String>> {
        Box::pin(async move { self.call().await.map(|()| vec!["last words".to_owned()]) })
    }

    fn cpu_time<'a>(&'a self, _: &'a ReplicaId) -> Reply<'a, Duration> {
        Box::pin(async move { self.call().await.map(|()| Duration::ZERO) })
    }

    fn memory<'a>(&'a self, _: &'a ReplicaId) -> Reply<'a, MemoryUse> {
        Box::pin(async move { self.call().await.map(|()| MemoryUse { held: 0, limit: None }) })
    }

    fn watch(&self) -> mpsc::Receiver<Event> {
        let (events, receiver) = mpsc::channel(64);
        self.world().events = Some(events);
        receiver
    }

    fn reach<'a>(
        &'a self,
        endpoint: &'a Endpoint,
        health: &'a HealthSpec,
        proof: Proof,
    ) -> BoxFuture<'a, Result<(), Unreached>> {
        let answering = self.world().answering;
        Box::pin(async move {
            if !answering.is_zero() {
                tokio::time::sleep(answering).await;
            }
            let world = self.world();
            let now = tokio::time::Instant::now();
            match world.replicas.get(&port(&endpoint.address)) {
                // Its kernel accepts connections all the same.
                Some(scene) if scene.life == Life::Frozen && proof == Proof::Answer => {
                    Err("no answer".to_owned().into())
                }
                Some(scene) if scene.runs() && !scene.sick && now >= scene.ready_at => Ok(()),
                // Its socket is there before it answers well.
                Some(scene) if scene.runs() && world.accepts == Accepts::AtOnce && health.path.is_none() => {
                    Ok(())
                }
                _ => Err("nothing listens".to_owned().into()),
            }
        })
    }

    fn close(&self) -> Reply<'_, ()> {
        Box::pin(async { Ok(()) })
    }
}
