//! What both planes share of one app: its meter, its ready replicas, its hold queue, its policy, its tally.
//!
//! The data plane claims, holds and counts here; the supervisor publishes replicas and refusals. Nothing here
//! waits on I/O, and no lock is held across an await.

pub mod affinity;
mod balance;
pub mod budget;
pub mod clock;
pub mod ejection;
pub mod gate;
pub mod histogram;
pub mod hold;
pub mod meter;
pub mod needs;
pub mod rate;
pub mod replica;
pub mod scout;
pub mod shard;
pub mod tally;
#[cfg(test)]
mod tests;
pub mod waking;

use std::time::Duration;

use arc_swap::{ArcSwap, ArcSwapOption};
use tokio::sync::Notify;

use crate::app::affinity::Wish;
use crate::app::balance::Scale;
use crate::app::clock::Millis;
use crate::app::hold::{Hold, QueueFull};
use crate::app::meter::Meter;
use crate::app::needs::Dependants;
use crate::app::rate::Rate;
use crate::app::replica::{Claim, Replica};
use crate::app::scout::Offer;
use crate::app::tally::Tally;
use crate::app::waking::Waking;
use crate::config::spec::{AppSpec, AutoscaleSpec};
use crate::sync::{Arc, AtomicU64, Ordering};

/// One app.
#[derive(Debug)]
pub struct App {
    /// Its name.
    pub name: String,
    /// The replicas that may be claimed: replaced as a whole, read for each request.
    ready: ArcSwap<Vec<Arc<Replica>>>,
    hold: Hold<Claim, Arc<Trouble>>,
    /// Requests in flight on one replica; changed by a reload.
    limit: AtomicU64,
    /// How long a replica that has just become ready takes to warm up, in milliseconds; changed by a reload.
    slow_start: AtomicU64,
    /// Why requests get no replica, as far as is known.
    trouble: ArcSwapOption<Trouble>,
    /// When the first request since the app went out came to the hold queue; 0: none yet.
    woken_at: AtomicU64,
    /// How it came back the last time.
    waking: ArcSwapOption<Waking>,
    tally: Arc<Tally>,
    dependants: Dependants,
    /// A replica that may be ready, for one request to find out.
    offer: ArcSwapOption<Offer>,
    /// Requests that wait for such a one.
    scouts: Notify,
    supervisor: Notify,
}

/// A place in an app's hold queue.
pub type Ticket<'a> = hold::Ticket<'a, Claim, Arc<Trouble>>;

/// Why an app cannot serve.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trouble {
    /// Which row of the outcome table.
    pub kind: TroubleKind,
    /// For the operator and the client, on one line.
    pub why: String,
    /// Whether requests are refused at once. If not they are held, and this is why they waited in vain.
    pub refuse: bool,
    /// When the next attempt is made.
    pub retry_at: Millis,
}

impl Trouble {
    /// Whether a request that comes now is refused at once. When the next attempt is due it is held: a client that
    /// waited for as long as it was told must not find that nobody else has noticed yet.
    #[must_use]
    pub fn refuses(&self, now: Millis) -> bool {
        self.refuse && (self.kind == TroubleKind::ShuttingDown || now < self.retry_at)
    }
}

/// Which row of the outcome table a trouble belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TroubleKind {
    /// The replica exits, or never becomes ready.
    StartFailed,
    /// The runtime cannot do what it is told.
    Runtime,
    /// Nothing of what is not ours to start is up.
    Upstream,
    /// The proxy is going down.
    ShuttingDown,
}

/// Why a request got no replica.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Denied {
    /// The hold queue is full.
    QueueFull,
    /// Held for as long as it may be.
    TimedOut,
    /// The app is in trouble.
    Trouble(Arc<Trouble>),
}

/// What of an app's specification is read for each request; a reload replaces it in the route table.
#[derive(Debug)]
pub struct Policy {
    /// The checked specification.
    pub spec: Arc<AppSpec>,
    /// Counts its requests; kept over a reload unless the windows change.
    pub meter: Arc<Meter>,
    /// Bounds what one client may ask, where the file does.
    pub rate: Option<Arc<Rate>>,
    /// What meters before this one had counted.
    earlier: u64,
}

impl Policy {
    /// The policy for `spec`, with the meter of the policy before where it still fits.
    #[must_use]
    pub fn new(spec: Arc<AppSpec>, before: Option<&Self>) -> Arc<Self> {
        let same = |before: &Self| windows(&before.spec.autoscale) == windows(&spec.autoscale);
        let (meter, earlier) = match before {
            Some(before) if same(before) => (Arc::clone(&before.meter), before.earlier),
            before => (Arc::new(meter_for(&spec.autoscale)), before.map_or(0, Self::requests)),
        };
        let kept = before.and_then(|before| before.rate.as_ref());
        let rate = spec.rate_limit.map(|spec| match kept {
            Some(kept) if kept.spec() == spec => Arc::clone(kept),
            _ => Arc::new(Rate::new(spec)),
        });
        Arc::new(Self { spec, meter, rate, earlier })
    }

    /// All requests so far, over reloads.
    #[must_use]
    pub fn requests(&self) -> u64 {
        self.earlier + self.meter.total()
    }
}

fn windows(spec: &AutoscaleSpec) -> (Duration, Duration) {
    (spec.panic_window, spec.stable_window)
}

/// Buckets of a sixth of the panic window: its edge is then never more than a sixth of it.
fn meter_for(spec: &AutoscaleSpec) -> Meter {
    Meter::new(clock::millis(spec.panic_window / 6), clock::millis(spec.stable_window))
}

impl App {
    /// An app with no replica.
    #[must_use]
    pub fn new(name: &str) -> Arc<Self> {
        Self::counted(name, Arc::default())
    }

    /// An app with no replica, and with the counts of another that it takes the place of.
    #[must_use]
    pub fn counted(name: &str, tally: Arc<Tally>) -> Arc<Self> {
        Arc::new(Self {
            name: name.to_owned(),
            ready: ArcSwap::from_pointee(Vec::new()),
            hold: Hold::default(),
            limit: AtomicU64::new(u64::from(u32::MAX)),
            slow_start: AtomicU64::new(0),
            trouble: ArcSwapOption::empty(),
            woken_at: AtomicU64::new(0),
            waking: ArcSwapOption::empty(),
            tally,
            dependants: Dependants::default(),
            offer: ArcSwapOption::empty(),
            scouts: Notify::new(),
            supervisor: Notify::new(),
        })
    }

    /// A claim on a replica, at once or never: nothing for a newcomer while others wait.
    #[must_use]
    pub fn claim(self: &Arc<Self>) -> Option<Claim> {
        self.claim_as(&Wish::default())
    }

    /// The same for a request that would have a certain replica, where that has room; else it gets another.
    #[must_use]
    pub fn claim_as(self: &Arc<Self>, wish: &Wish<'_>) -> Option<Claim> {
        if self.hold.waiting() > 0 { None } else { self.claim_any(wish) }
    }

    /// A place in the hold queue, unless `max` wait already or whoever comes now is refused.
    ///
    /// # Errors
    /// See [`Denied`].
    pub fn queue(self: &Arc<Self>, max: usize) -> Result<Ticket<'_>, Denied> {
        if let Some(trouble) = self.trouble().filter(|trouble| trouble.refuses(clock::coarse())) {
            // The supervisor may be parked; it decides whether the time to try again has come.
            self.call();
            return Err(Denied::Trouble(trouble));
        }
        // Before the queue is tried: that it is full, or has no place at all, is a wake too.
        let _first =
            self.woken_at.compare_exchange(0, clock::coarse().0.max(1), Ordering::Relaxed, Ordering::Relaxed);
        let queued = self.hold.enqueue(max, || self.claim_any(&Wish::default()));
        self.call();
        queued.map_err(|QueueFull| Denied::QueueFull)
    }

    /// Waits for a ticket's turn, at most for `time`.
    ///
    /// # Errors
    /// See [`Denied`].
    pub async fn wait(
        &self,
        ticket: impl Future<Output = Result<Claim, Arc<Trouble>>>,
        time: Duration,
    ) -> Result<Claim, Denied> {
        // Refused meanwhile, by one who may have told the tickets before this one was there.
        if let Some(trouble) = self.trouble().filter(|trouble| trouble.refuses(clock::coarse())) {
            return Err(Denied::Trouble(trouble));
        }
        match tokio::time::timeout(time, ticket).await {
            Ok(Ok(claim)) => Ok(claim),
            Ok(Err(trouble)) => Err(Denied::Trouble(trouble)),
            Err(_elapsed) => Err(self.trouble().map_or(Denied::TimedOut, Denied::Trouble)),
        }
    }

    /// Whichever replica suits best, see [`balance`].
    fn claim_any(self: &Arc<Self>, wish: &Wish<'_>) -> Option<Claim> {
        let limit = self.limit();
        let scale = Scale::new(limit, Duration::from_millis(self.slow_start.load(Ordering::Relaxed)));
        let take = |replica: &Arc<Replica>| Claim::take(self, replica, limit);
        balance::choose(&self.ready.load(), wish, &self.name, scale, take)
    }

    /// Whether another replica than this one serves.
    fn has_other_than(&self, replica: &Replica) -> bool {
        self.ready.load().iter().any(|other| other.key != replica.key && other.is_in())
    }

    /// Gives what has become free to whoever waits.
    pub fn pass_on(self: &Arc<Self>) {
        if self.hold.waiting() > 0 {
            self.hold.dispatch(|| self.claim_any(&Wish::default()));
        }
    }

    /// Replaces the replicas that may be claimed, and serves who waits for one.
    pub fn publish(self: &Arc<Self>, replicas: Vec<Arc<Replica>>) {
        self.ready.store(Arc::new(replicas));
        self.pass_on();
        self.dependants.call();
    }

    /// Whether any replica may be claimed.
    #[must_use]
    pub fn serves(&self) -> bool {
        !self.ready.load().is_empty()
    }

    /// Whether a request waits for it, or for an app that needs it.
    #[must_use]
    pub fn is_awaited(self: &Arc<Self>) -> bool {
        // While one file takes over from another, two apps may need each other for a time.
        let mut apps = vec![Arc::clone(self)];
        let mut at = 0;
        while let Some(app) = apps.get(at).cloned() {
            if app.held() > 0 {
                return true;
            }
            for dependant in app.dependants.all() {
                if !apps.iter().any(|known| Arc::ptr_eq(known, &dependant)) {
                    apps.push(dependant);
                }
            }
            at += 1;
        }
        false
    }

    /// Whether another app needs this one to be up.
    #[must_use]
    pub fn is_needed(&self) -> bool {
        self.dependants.are_there()
    }

    /// The names of the apps that do, sorted.
    #[must_use]
    pub fn needed_by(&self) -> Vec<String> {
        self.dependants.names()
    }

    /// Sets or clears the trouble; a refusing one also ends the wait of all that are held.
    pub fn set_trouble(&self, trouble: Option<Trouble>) {
        let trouble = trouble.map(Arc::new);
        self.trouble.store(trouble.clone());
        if let Some(trouble) = trouble.filter(|trouble| trouble.refuse) {
            self.hold.fail_all(|| Arc::clone(&trouble));
        }
        self.dependants.call();
    }

    /// Why requests get no replica, as far as is known.
    #[must_use]
    pub fn trouble(&self) -> Option<Arc<Trouble>> {
        self.trouble.load_full()
    }

    /// How many requests may be in flight on one replica.
    #[must_use]
    pub fn limit(&self) -> u32 {
        u32::try_from(self.limit.load(Ordering::Relaxed)).unwrap_or(u32::MAX)
    }

    /// Changes how many requests may be in flight on one replica.
    pub fn set_limit(self: &Arc<Self>, limit: Option<u32>) {
        self.limit.store(u64::from(limit.unwrap_or(u32::MAX)), Ordering::Relaxed);
        self.pass_on();
    }

    /// Changes how long a replica takes to warm up.
    pub fn set_slow_start(&self, time: Duration) {
        self.slow_start.store(clock::millis(time), Ordering::Relaxed);
    }

    /// How many requests wait.
    #[must_use]
    pub fn held(&self) -> usize {
        self.hold.waiting()
    }

    /// What has become of its requests.
    #[must_use]
    pub fn tally(&self) -> &Arc<Tally> {
        &self.tally
    }

    /// When the first request since [`Self::forget_wake`] came to the hold queue.
    #[must_use]
    pub fn woken_at(&self) -> Option<Millis> {
        match self.woken_at.load(Ordering::Relaxed) {
            0 => None,
            at => Some(Millis(at)),
        }
    }

    /// It comes back, in a moment, like this.
    pub fn set_waking(&self, waking: Arc<Waking>) {
        self.waking.store(Some(waking));
    }

    /// A request that has waited since `arrived` is answered; gives what it has waited for, where that was a wake.
    #[must_use]
    pub fn answered_who_waited(&self, arrived: tokio::time::Instant) -> Option<Arc<Waking>> {
        let waking = self.waking.load_full().filter(|waking| arrived < waking.ready)?;
        if waking.answered(arrived) {
            // It has to be told of.
            self.call();
        }
        Some(waking)
    }

    /// The app has gone out: the next held request is a wake.
    pub fn forget_wake(&self) {
        self.woken_at.store(0, Ordering::Relaxed);
    }

    /// Asks the supervisor to look.
    pub fn call(&self) {
        self.supervisor.notify_one();
    }

    /// Resolves when somebody has called since the last time.
    pub async fn called(&self) {
        self.supervisor.notified().await;
    }
}
