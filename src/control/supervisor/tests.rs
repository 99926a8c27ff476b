//! One app's life as its supervisor leads it, on the scripted runtime and virtual time: what a hundred thousand
//! random lives might all miss, played on purpose.

mod needs;
mod tiers;

use std::cell::Cell;
use std::collections::BTreeMap;
use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::Poll;
use std::time::Duration;

use futures_util::poll;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use crate::app::clock;
use crate::app::replica::Claim;
use crate::app::{App, Denied};
use crate::config::spec::{AppSpec, EdgeSpec};
use crate::config::{Overrides, parse};
use crate::control::record::{Outcome, Phase, Verdict};
use crate::control::status::Status;
use crate::control::{Board, Command, Control, View};
use crate::runtime::scripted::Scripted;

/// The revision of an app whose environment has no `VERSION`.
const CURRENT: &str = "rNone";

thread_local! {
    /// Whether the host of the test on this thread is short of memory.
    static MEMORY_IS_SHORT: Cell<bool> = const { Cell::new(false) };
}

/// A proxy with one app.
struct Stage {
    runtime: Scripted,
    board: Arc<Board>,
    commands: mpsc::Sender<Command>,
    control: JoinHandle<()>,
}

fn spec(keys: &str) -> AppSpec {
    let text = format!("name: app\nruntime: process\ncommand: [\"true\"]\n{keys}\n");
    let config = parse(&text, std::path::Path::new("/x/jcloud.yml"), &Overrides::default(), &|_| None);
    config.expect("a sound file").apps.remove(0)
}

impl Stage {
    /// With what a proxy before it has left.
    fn new(keys: &str, left: &[&str]) -> Self {
        let runtime = Scripted::new(1);
        // `tiers` is about what is kept.
        runtime.world().keeps = Some(false);
        for (index, revision) in (0..).zip(left) {
            runtime.place(index, revision);
        }
        let board = Arc::new(Board::default());
        let mut control = Control::new(Arc::new(runtime.clone()), Arc::default(), Arc::clone(&board));
        control.is_memory_short = || MEMORY_IS_SHORT.get();
        control.apply(vec![spec(keys)], EdgeSpec::default());
        let (commands, inbox) = mpsc::channel(4);
        Self { runtime, board, commands, control: tokio::spawn(control.run(inbox)) }
    }

    fn view(&self) -> View {
        self.board.apps.load()[0].clone()
    }

    fn app(&self) -> Arc<App> {
        Arc::clone(&self.view().app)
    }

    fn status(&self) -> Arc<Status> {
        self.view().status.load_full()
    }

    async fn reload(&self, keys: &str) {
        self.commands
            .send(Command::Apply(vec![spec(keys)], EdgeSpec::default()))
            .await
            .expect("the control plane runs");
    }

    /// A visitor, from arrival on.
    fn visitor(&self) -> impl Future<Output = Result<Claim, Denied>> + use<> {
        let view = self.view();
        view.policy.meter.writer().record(clock::now().0);
        async move {
            let ticket = view.app.queue(100)?;
            view.app.wait(ticket, Duration::from_mins(1)).await
        }
    }

    /// So many visitors a second, each served at once, for so long; what is ready is checked meanwhile.
    async fn under_load(&self, per_second: u64, length: Duration, check: impl Fn(u32)) {
        let view = self.view();
        let writer = view.policy.meter.writer();
        let end = tokio::time::Instant::now() + length;
        while tokio::time::Instant::now() < end {
            writer.record(clock::now().0);
            tokio::time::sleep(Duration::from_micros(1_000_000 / per_second)).await;
            check(self.status().ready);
        }
    }

    /// Until it is known what runs. Nobody is let in before, so nothing is counted before either.
    async fn adopted(&self) {
        while !self.board.adopted.load(Ordering::Relaxed) {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }

    fn revisions(&self) -> Vec<String> {
        self.runtime.world().replicas.values().map(|scene| scene.revision.clone()).collect()
    }

    fn sicken_all(&self, sick: bool) {
        self.runtime.world().replicas.values_mut().for_each(|scene| scene.sick = sick);
    }

    async fn end(self) {
        drop(self.commands);
        self.control.await.expect("without a panic");
    }
}

async fn pass(seconds: u64) {
    tokio::time::sleep(Duration::from_secs(seconds)).await;
}

/// Nobody has asked since the proxy's start: what ran before is kept for its idle time, and then goes.
#[tokio::test(start_paused = true)]
async fn what_is_adopted_is_not_idle_yet() {
    let stage = Stage::new("autoscale: {min: 0, metric: rps, idle: 30s}", &[CURRENT]);
    pass(25).await;
    assert_eq!(stage.status().ready, 1, "{:?}", stage.status());
    assert_eq!(stage.runtime.world().replicas.len(), 1);
    pass(15).await;
    assert_eq!((stage.status().ready, stage.runtime.world().replicas.len()), (0, 0));
    stage.end().await;
}

/// Neither a further replica nor one that was there before is a cold start; the phases of one make up the whole.
#[tokio::test(start_paused = true)]
async fn only_the_first_replica_of_a_wake_is_a_cold_start() {
    let stage = Stage::new("autoscale: {min: 0, max: 5, metric: rps, target: 10, idle: 30s}", &[]);
    let record = stage.view().record;
    for wakes in 1..=2 {
        drop(stage.visitor().await);
        stage.under_load(45, Duration::from_secs(20), |_| {}).await;
        assert_eq!(stage.status().ready, 5);
        let whole = record.cold_starts().expect("there was one");
        let parts = Phase::ALL.into_iter().filter(|phase| *phase != Phase::Response);
        let phases: Vec<_> = parts.filter_map(|phase| record.cold_start_phase(phase)).collect();
        assert_eq!((whole.count(), phases.len()), (wakes, 4), "the runtime creates nothing beforehand");
        assert!(phases.iter().all(|phase| phase.count() == wakes));
        let sum: Duration = phases.iter().map(|phase| phase.sum).sum();
        assert!(whole.sum.abs_diff(sum) < Duration::from_millis(5), "{whole:?} {phases:?}");
        assert_eq!(record.starts(Outcome::Ready), 5 * wakes);
        pass(90).await;
        assert_eq!((stage.status().ready, record.decisions(Verdict::Zero)), (0, wakes));
    }
    stage.end().await;

    let stage = Stage::new("autoscale: {min: 0, metric: rps}", &[CURRENT]);
    drop(stage.visitor().await.expect("it serves"));
    assert_eq!(stage.view().record.cold_starts(), None, "it was there before");
    stage.end().await;
}

#[tokio::test(start_paused = true)]
async fn a_restart_under_load_keeps_every_replica() {
    for metric in ["rps", "concurrency", "cpu"] {
        let keys = format!("autoscale: {{min: 0, metric: {metric}, target: 10}}");
        let stage = Stage::new(&keys, &[CURRENT; 5]);
        // What nobody can reach just now is not for giving up.
        stage.adopted().await;
        stage.under_load(45, Duration::from_millis(550), |_| {}).await;
        assert_eq!(stage.status().ready, 5, "{metric}: {:?}", stage.status());
        assert_eq!(stage.runtime.world().replicas.len(), 5, "{metric}");
        if metric == "rps" {
            stage.under_load(45, Duration::from_secs(50), |ready| assert_eq!(ready, 5)).await;
        }
        stage.end().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_restart_with_another_file_replaces_one_for_one() {
    let stage = Stage::new("autoscale: {min: 0, metric: rps, target: 10}", &["rOld"; 5]);
    stage.adopted().await;
    stage.under_load(45, Duration::from_millis(550), |_| {}).await;
    stage.under_load(45, Duration::from_secs(20), |ready| assert!(ready >= 5, "{ready}")).await;
    assert_eq!(stage.revisions(), [CURRENT; 5]);
    stage.end().await;
}

/// Between its look at the queue and its noting that it is out, the app gets a visitor: all that is left of its
/// arrival is its ticket.
#[tokio::test(start_paused = true)]
async fn a_request_in_the_moment_of_going_out_is_a_wake() {
    let stage = Stage::new("autoscale: {min: 0, metric: rps}", &[]);
    pass(5).await;
    let mut visitor = pin!(stage.visitor());
    assert!(matches!(poll!(visitor.as_mut()), Poll::Pending));
    stage.app().forget_wake();
    pass(5).await;
    assert!(matches!(poll!(visitor.as_mut()), Poll::Ready(Ok(_))), "{:?}", stage.status());
    stage.end().await;
}

#[tokio::test(start_paused = true)]
async fn a_start_comes_to_its_end_without_the_visitor_it_was_for() {
    let stage = Stage::new("autoscale: {min: 0, metric: rps, idle: 30s}", &[]);
    stage.runtime.world().boot = Some(Duration::from_secs(40));
    let impatient = tokio::time::timeout(Duration::from_secs(2), stage.visitor()).await;
    assert!(impatient.is_err());
    pass(42).await;
    assert_eq!(stage.status().ready, 1, "{:?}", stage.status());
    pass(32).await;
    assert_eq!(stage.runtime.world().replicas.len(), 0, "nobody came: {:?}", stage.status());
    stage.end().await;
}

#[tokio::test(start_paused = true)]
async fn one_failed_start_of_several_refuses_nobody() {
    let stage = Stage::new("autoscale: {min: 3, max: 3, metric: rps}", &[]);
    stage.runtime.world().failing_starts = 1;
    stage.runtime.world().boot = Some(Duration::from_secs(5));
    let served = stage.visitor().await;
    assert!(served.is_ok(), "{served:?}");
    pass(10).await;
    assert_eq!(stage.status().ready, 3, "{:?}", stage.status());
    stage.end().await;
}

#[tokio::test(start_paused = true)]
async fn a_file_that_could_not_be_prepared_is_tried_again() {
    let stage = Stage::new("autoscale: {min: 1, metric: rps}", &[]);
    pass(5).await;
    stage.runtime.world().faults = 1000;
    stage.reload("autoscale: {min: 1, metric: rps}\nenv: {VERSION: two}").await;
    pass(5).await;
    assert_eq!(stage.revisions(), [CURRENT], "what serves goes on");
    stage.runtime.world().faults = 0;
    pass(70).await;
    assert_eq!(stage.revisions(), ["rSome(\"two\")"]);
    stage.end().await;
}

#[tokio::test(start_paused = true)]
async fn a_corrected_file_does_not_wait_for_the_wrong_one() {
    let stage = Stage::new("autoscale: {min: 1, metric: rps}", &[]);
    pass(5).await;
    stage.runtime.world().preparing = Duration::from_hours(1);
    stage.reload("autoscale: {min: 1, metric: rps}\nenv: {VERSION: wrong}").await;
    pass(5).await;
    stage.runtime.world().preparing = Duration::ZERO;
    stage.reload("autoscale: {min: 1, metric: rps}\nenv: {VERSION: right}").await;
    pass(5).await;
    assert_eq!(stage.revisions(), ["rSome(\"right\")"]);
    stage.end().await;
}

const CHECKED: &str = "autoscale: {min: 3, max: 3, metric: rps}\nhealth: {path: /health, interval: 5s}\n";

#[tokio::test(start_paused = true)]
async fn the_unhealthy_one_of_several_is_replaced() {
    let stage = Stage::new(CHECKED, &[]);
    pass(5).await;
    let sick = *stage.runtime.world().replicas.keys().next().expect("there are three");
    stage.runtime.world().replicas.get_mut(&sick).expect("just seen").sick = true;
    pass(25).await;
    assert_eq!(stage.status().ready, 3, "{:?}", stage.status());
    assert!(!stage.runtime.world().replicas.contains_key(&sick));
    stage.end().await;
}

/// What all of them need is away: taking them all out would make a lame service a dead one.
#[tokio::test(start_paused = true)]
async fn where_all_are_unhealthy_they_serve_until_one_is_not() {
    let stage = Stage::new(CHECKED, &[]);
    pass(5).await;
    stage.sicken_all(true);
    stage.runtime.world().born_sick = true;
    for _ in 0..60 {
        pass(1).await;
        assert_eq!(stage.status().ready, 3, "{:?}", stage.status());
        assert!(stage.runtime.world().replicas.len() <= 4, "one shows whether a new one would do better");
    }
    stage.runtime.world().born_sick = false;
    stage.sicken_all(false);
    for _ in 0..3000 {
        tokio::time::sleep(Duration::from_millis(10)).await;
        assert!(stage.status().ready >= 2, "most serve all the while: {:?}", stage.status());
    }
    assert_eq!(stage.runtime.world().replicas.len(), 3, "all is well again");
    stage.end().await;
}

#[tokio::test(start_paused = true)]
async fn where_all_are_unhealthy_and_new_ones_are_not_all_are_replaced() {
    let stage = Stage::new(CHECKED, &[]);
    pass(5).await;
    stage.sicken_all(true);
    pass(40).await;
    assert_eq!(stage.status().ready, 3, "{:?}", stage.status());
    assert!(stage.runtime.world().replicas.values().all(|scene| !scene.sick));
    stage.end().await;
}

#[tokio::test(start_paused = true)]
async fn a_reload_of_health_reaches_what_runs() {
    let stage = Stage::new("autoscale: {min: 1, max: 1, metric: rps}", &[]);
    pass(5).await;
    stage.sicken_all(true);
    pass(60).await;
    assert!(stage.runtime.world().replicas.values().all(|scene| scene.sick), "nobody looks");
    stage.reload("autoscale: {min: 1, max: 1, metric: rps}\nhealth: {path: /health, interval: 5s}").await;
    pass(30).await;
    assert!(stage.runtime.world().replicas.values().all(|scene| !scene.sick), "{:?}", stage.status());
    stage.end().await;
}

/// It may be deep in its one request, and has no answer for a check then.
#[tokio::test(start_paused = true)]
async fn who_is_busy_to_its_limit_is_not_ill() {
    let keys =
        "max_concurrency: 1\nautoscale: {min: 1, max: 1, metric: rps}\nhealth: {path: /health, interval: 5s}";
    let stage = Stage::new(keys, &[]);
    pass(5).await;
    let first: Vec<_> = stage.runtime.world().replicas.keys().copied().collect();
    let claim = stage.app().claim().expect("it is ready");
    stage.sicken_all(true);
    pass(60).await;
    stage.sicken_all(false);
    drop(claim);
    pass(60).await;
    assert_eq!(stage.runtime.world().replicas.keys().copied().collect::<Vec<_>>(), first);
    stage.end().await;
}

/// Of so many requests, one after the other, the fewest that a replica gets.
fn least_share(app: &Arc<App>, requests: usize) -> usize {
    let mut shares = BTreeMap::<u64, usize>::new();
    for _ in 0..requests {
        *shares.entry(app.claim().expect("somebody is ready").replica().key).or_default() += 1;
    }
    shares.into_values().min().unwrap_or_default()
}

#[tokio::test(start_paused = true)]
async fn a_newcomer_warms_up_and_what_was_adopted_is_warm() {
    fastrand::seed(7);
    let keys = |count: u32, slow_start: &str| {
        format!("slow_start: {slow_start}\nautoscale: {{min: {count}, max: {count}, metric: rps}}")
    };
    let stage = Stage::new(&keys(1, "100s"), &[CURRENT]);
    pass(5).await;
    stage.reload(&keys(2, "100s")).await;
    while stage.status().ready < 2 {
        pass(1).await;
    }
    let first = least_share(&stage.app(), 1000);
    assert!((10..=130).contains(&first), "{first} of a thousand in its first seconds");
    pass(50).await;
    let later = least_share(&stage.app(), 1000);
    assert!((200..=380).contains(&later), "{later} of a thousand half-way");
    stage.reload(&keys(2, "0s")).await;
    pass(1).await;
    let half = least_share(&stage.app(), 1000);
    assert!(half > 440, "a reload ends it: {half}");
    stage.end().await;
}
