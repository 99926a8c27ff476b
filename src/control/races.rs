//! Start and stop raced with arrivals, departures, deaths and failing calls, on virtual time: each seed is one
//! interleaving, and prints itself when it fails.

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use fastrand::Rng;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;

use crate::app::{App, Denied, clock};
use crate::config::spec::{AppSpec, EdgeSpec, Metric, Probe};
use crate::config::{Overrides, parse};
use crate::control::{Board, Command, Control};
use crate::gateway::route::RouteTable;
use crate::runtime::scripted::{Accepts, Scripted};

/// Interleavings of one run of the suite.
const SEEDS: u64 = 100_000;

/// Longer than all delays and all work of a script together: whoever waits so long has been forgotten.
const HOLD: Duration = Duration::from_hours(1);

fn spec(rng: &mut Rng) -> AppSpec {
    let text = "name: app\nruntime: process\ncommand: [\"true\"]\n";
    let config = parse(text, std::path::Path::new("/x/jcloud.yml"), &Overrides::default(), &|_| None);
    let mut spec = config.expect("a sound file").apps.remove(0);
    spec.max_concurrency = rng.bool().then(|| rng.u32(1..4));
    spec.slow_start = Duration::from_secs(rng.u64(0..3));
    if rng.bool() {
        spec.health.path = Some("/ping".into());
        spec.health.probe = Probe::Request;
    }
    spec.autoscale.min = 0;
    spec.autoscale.max = rng.u32(1..5);
    spec.autoscale.metric = if rng.bool() { Metric::Rps } else { Metric::Concurrency };
    spec.autoscale.target = f64::from(rng.u32(1..6));
    spec.autoscale.stable_window = Duration::from_secs(rng.u64(1..8));
    spec.autoscale.panic_window = spec.autoscale.stable_window / 4;
    spec.autoscale.idle = Duration::from_millis(rng.u64(0..3000));
    spec.autoscale.freeze_after =
        rng.bool().then(|| Duration::from_millis(rng.u64(0..3000)).min(spec.autoscale.idle));
    spec.autoscale.remove_after = Duration::from_millis(*rng.choice(&[0, 500, 5000]).unwrap());
    spec.autoscale.warm_pool = rng.u32(0..3);
    spec
}

/// What another app may need: nobody asks anything of it.
fn database(rng: &mut Rng) -> AppSpec {
    let mut spec = AppSpec { name: "db".into(), ..spec(rng) };
    // Else it would be ready as soon as it takes connections.
    spec.health.path = Some("/ping".into());
    spec.routes.clear();
    spec.autoscale.max = 1;
    spec.autoscale.warm_pool = 0;
    spec
}

/// The same app as somebody might change it in its file.
fn varied(rng: &mut Rng, spec: &AppSpec) -> AppSpec {
    let mut spec = spec.clone();
    match rng.u8(0..4) {
        0 => spec.max_concurrency = rng.bool().then(|| rng.u32(1..4)),
        1 => spec.autoscale.min = rng.u32(0..=spec.autoscale.max),
        2 => spec.autoscale.stable_window *= 2,
        _ => drop(spec.workload.env.insert("VERSION".into(), rng.u8(0..3).to_string())),
    }
    spec
}

#[derive(Clone)]
struct Stage {
    app: Arc<App>,
    runtime: Scripted,
    excused: bool,
}

/// One client: claims or waits, uses the replica for a while, tries again where it died. Where that `fails` it in the
/// end, it says so, and sees to what that brings about.
async fn visit(stage: Stage, work: Duration, patience: Option<Duration>, fails: bool) {
    let request = async {
        for _ in 0..6 {
            let claim = match stage.app.claim() {
                Some(claim) => Ok((claim, None)),
                None => match stage.app.queue(usize::MAX) {
                    Ok(ticket) => tokio::select! {
                        claim = stage.app.wait(ticket, HOLD) => claim.map(|claim| (claim, None)),
                        (claim, offer) = stage.app.go_ahead() => Ok((claim, Some(offer))),
                    },
                    Err(denied) => Err(denied),
                },
            };
            let (claim, offer) = match claim {
                Ok(claimed) => claimed,
                Err(Denied::TimedOut) => panic!("a ticket was forgotten"),
                Err(Denied::Trouble(trouble)) => {
                    assert!(stage.excused, "{trouble:?}");
                    return;
                }
                Err(Denied::QueueFull) => panic!("the queue has no bound here"),
            };
            let address = claim.replica().endpoint.address.clone();
            if !stage.runtime.enter(&address) {
                claim.report_unreachable();
                continue;
            }
            let open = Open(&stage.runtime, &address);
            tokio::time::sleep(work).await;
            drop(open);
            if let Some(offer) = offer {
                if !stage.runtime.is_ready(&address) {
                    continue;
                }
                offer.pass().await;
            }
            if !fails {
                claim.report_answered();
            } else if let Some(ejected) = claim.report_failed() {
                tokio::spawn(async move { ejected.run().await });
            }
            return;
        }
    };
    match patience {
        Some(patience) => drop(tokio::time::timeout(patience, request).await),
        None => request.await,
    }
}

struct Open<'a>(&'a Scripted, &'a crate::runtime::Address);

impl Drop for Open<'_> {
    fn drop(&mut self) {
        self.0.leave(self.1);
    }
}

async fn play(seed: u64) {
    let mut rng = Rng::with_seed(seed);
    let spec = spec(&mut rng);
    let max = spec.autoscale.max;
    let runtime = Scripted::new(rng.u64(..));
    let (faulty, deadly, reloading, failing) = (rng.bool(), rng.bool(), rng.bool(), rng.bool());
    let db = rng.bool().then(|| database(&mut rng));
    let needy = |mut spec: AppSpec| {
        spec.needs.extend(db.iter().map(|db| db.name.clone()));
        std::iter::once(spec).chain(db.clone()).collect::<Vec<_>>()
    };
    // What has died is known a moment later, and what a call has done that failed.
    if db.is_some() && !faulty && !deadly {
        runtime.world().alone = Some("db");
        runtime.world().needs = (!reloading).then_some(("app", "db"));
    }
    if spec.health.probe == Probe::Request {
        runtime.world().accepts = Accepts::AtOnce;
    }
    if faulty {
        runtime.world().faults = rng.u32(1..300);
    }
    if deadly {
        runtime.world().lost_events = rng.u32(0..500);
    }
    let board = Arc::new(Board::default());
    let routes = Arc::new(ArcSwap::from_pointee(RouteTable::default()));
    let mut control = Control::new(Arc::new(runtime.clone()), routes, Arc::clone(&board));
    control.apply(needy(spec.clone()), EdgeSpec::default());
    let (commands, inbox) = mpsc::channel(4);
    let control = tokio::spawn(control.run(inbox));
    // Deaths can look like failures to start, so they excuse a refusal too, as does an app that is taken away.
    let excused = faulty || deadly || reloading;

    let shown = Arc::clone(&board);
    let watch = tokio::spawn(async move {
        loop {
            let status = shown.apps.load().first().map(|view| view.status.load_full()).unwrap_or_default();
            // While one revision takes over from another, both may be ready.
            let most = if reloading { 2 * max } else { max };
            assert!(status.ready + status.starting <= most, "more than {most}: {status:?}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    });
    let mut visits = JoinSet::new();
    for _ in 0..rng.usize(1..25) {
        tokio::time::sleep(Duration::from_millis(*rng.choice(&[0, 0, 1, 40, 300, 1500, 4000]).unwrap()))
            .await;
        if reloading && rng.u8(0..4) == 0 {
            let gone = rng.u8(0..3) == 0;
            let apps = if gone { Vec::new() } else { needy(varied(&mut rng, &spec)) };
            commands.send(Command::Apply(apps, EdgeSpec::default())).await.expect("the control plane runs");
            tokio::time::sleep(Duration::from_millis(rng.u64(0..3))).await;
        }
        let view = board.apps.load().first().cloned();
        for _ in 0..*rng.choice(&[1, 1, 1, 2, 8]).unwrap() {
            let Some(view) = &view else { break };
            let stage = Stage { app: Arc::clone(&view.app), runtime: runtime.clone(), excused };
            view.policy.meter.writer().record(clock::now().0);
            let work = Duration::from_millis(*rng.choice(&[0, 1, 20, 400, 3000]).unwrap());
            let patience = rng.bool().then(|| Duration::from_millis(rng.u64(0..1500)));
            let fails = failing && rng.u8(0..4) > 0;
            visits.spawn(visit(stage, work, patience.filter(|_| rng.bool()), fails));
        }
        if deadly && rng.u8(0..4) == 0 {
            runtime.kill_one();
        }
        if rng.u8(0..6) == 0 {
            runtime.resync();
        }
    }
    while let Some(ended) = visits.join_next().await {
        ended.unwrap_or_else(|panic| std::panic::resume_unwind(panic.into_panic()));
    }
    assert!(!watch.is_finished(), "more replicas than max");
    watch.abort();

    // Once nothing fails any more everything goes out, and nothing is left.
    runtime.world().faults = 0;
    runtime.world().lost_events = 0;
    commands.send(Command::Apply(needy(spec), EdgeSpec::default())).await.expect("the control plane runs");
    tokio::time::sleep(Duration::from_millis(1)).await;
    let view = board.apps.load()[0].clone();
    assert_eq!(view.app.held(), 0);
    for look in 0.. {
        let all_out = board.apps.load().iter().all(|view| view.status.load().lit.is_none());
        if all_out && runtime.world().replicas.is_empty() {
            break;
        }
        assert!(look < 200, "not out: {:?} {:?}", view.status.load(), runtime.world().replicas);
        tokio::time::sleep(Duration::from_secs(1)).await;
        runtime.resync();
    }
    let (done, ended) = oneshot::channel();
    commands.send(Command::End(true, done)).await.expect("the control plane runs");
    ended.await.expect("it ends");
    control.await.expect("without a panic");
}

fn run(seed: u64) {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    let played = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| runtime.block_on(play(seed))));
    if let Err(panic) = played {
        eprintln!("seed {seed} fails");
        std::panic::resume_unwind(panic);
    }
}

#[test]
fn a_hundred_thousand_interleavings() {
    let threads = std::thread::available_parallelism().map_or(2, std::num::NonZero::get);
    std::thread::scope(|scope| {
        for thread in 0..threads {
            scope.spawn(move || (0..SEEDS).skip(thread).step_by(threads).for_each(run));
        }
    });
}
