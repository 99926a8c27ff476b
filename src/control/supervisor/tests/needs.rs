//! Apps that need others: what starts first, what goes last, and who is told of what is in the way.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;

use super::pass;
use crate::app::replica::Claim;
use crate::app::{Denied, clock};
use crate::config::spec::{AppSpec, EdgeSpec};
use crate::config::{Overrides, parse};
use crate::control::status::Status;
use crate::control::{Board, Command, Control, View};
use crate::runtime::scripted::{Life, Scene, Scripted};

/// A proxy with several apps.
struct Stage {
    runtime: Scripted,
    board: Arc<Board>,
    commands: mpsc::Sender<Command>,
    control: JoinHandle<()>,
}

/// Apps by name, with further keys.
fn specs(apps: &[(&str, &str)]) -> Vec<AppSpec> {
    let apps = apps.iter().map(|(name, keys)| {
        format!("  {name}:\n    command: [\"true\"]\n    {}\n", keys.replace('\n', "\n    "))
    });
    let text = format!("runtime: process\napps:\n{}", apps.collect::<String>());
    let config = parse(&text, std::path::Path::new("/x/jcloud.yml"), &Overrides::default(), &|_| None);
    config.unwrap_or_else(|error| panic!("{error}")).apps
}

const WEB: &str =
    "path: /web\nneeds: db\nautoscale: {min: 0, max: 3, metric: rps, idle: 20s, remove_after: 0s}";
const JOBS: &str =
    "path: /jobs\nneeds: [db]\nautoscale: {min: 0, max: 1, metric: rps, idle: 60s, remove_after: 0s}";
const DB: &str = "autoscale: {idle: 5s, remove_after: 0s}";

impl Stage {
    fn new(apps: &[(&str, &str)]) -> Self {
        let runtime = Scripted::new(1);
        runtime.world().needs = Some(("web", "db"));
        runtime.world().alone = Some("db");
        let board = Arc::new(Board::default());
        let mut control = Control::new(Arc::new(runtime.clone()), Arc::default(), Arc::clone(&board));
        control.apply(specs(apps), EdgeSpec::default());
        let (commands, inbox) = mpsc::channel(4);
        Self { runtime, board, commands, control: tokio::spawn(control.run(inbox)) }
    }

    fn view(&self, app: &str) -> View {
        let views = self.board.apps.load();
        views.iter().find(|view| view.app.name == app).expect("there is such an app").clone()
    }

    fn status(&self, app: &str) -> Arc<Status> {
        self.view(app).status.load_full()
    }

    async fn visit(&self, app: &str) -> Result<Claim, Denied> {
        while !self.board.adopted.load(Ordering::Relaxed) {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        let view = self.view(app);
        view.policy.meter.writer().record(clock::now().0);
        let ticket = view.app.queue(100)?;
        view.app.wait(ticket, Duration::from_mins(1)).await
    }

    async fn reload(&self, apps: &[(&str, &str)]) {
        let order = Command::Apply(specs(apps), EdgeSpec::default());
        self.commands.send(order).await.expect("the control plane runs");
    }

    /// How many replicas of that app there are.
    fn replicas(&self, app: &str) -> usize {
        self.runtime.world().replicas.values().filter(|scene| scene.app == app).count()
    }

    async fn end(self) {
        drop(self.commands);
        self.control.await.expect("without a panic");
    }
}

/// That it is ready first is seen to by the runtime.
#[tokio::test(start_paused = true)]
async fn what_is_needed_is_ready_first_and_goes_after_the_last_who_needs_it() {
    let stage = Stage::new(&[("web", WEB), ("jobs", JOBS), ("db", DB)]);
    pass(60).await;
    assert_eq!(stage.replicas("db"), 0, "nobody needs it yet");
    drop(stage.visit("web").await.expect("it serves"));
    drop(stage.visit("jobs").await.expect("so does the other"));
    assert_eq!(stage.status("db").reason, "needed by jobs, web → 1");
    pass(40).await;
    assert_eq!((stage.replicas("web"), stage.replicas("jobs"), stage.replicas("db")), (0, 1, 1));
    assert_eq!(stage.status("db").reason, "needed by jobs → 1");
    pass(22).await;
    assert_eq!((stage.replicas("jobs"), stage.replicas("db")), (0, 1), "its time of silence begins now");
    pass(10).await;
    assert_eq!(stage.replicas("db"), 0);
    drop(stage.visit("web").await.expect("it comes back with it"));
    assert_eq!(stage.replicas("db"), 1);
    stage.end().await;
}

#[tokio::test(start_paused = true)]
async fn who_waits_is_told_what_is_in_the_way_and_served_when_it_is_not() {
    let stage = Stage::new(&[("web", WEB), ("db", DB)]);
    stage.runtime.world().broken.insert("db".into());
    let Err(Denied::Trouble(trouble)) = stage.visit("web").await else { panic!("without its database") };
    assert_eq!(trouble.why, "it needs db: scripted: no");
    assert_eq!(stage.status("web").reason, "it needs db: scripted: no");
    stage.runtime.world().broken.clear();
    // Those who come until the next attempt are refused; then they wait for it.
    let served = tokio::time::timeout(Duration::from_mins(5), async {
        while let Err(denied) = stage.visit("web").await {
            assert!(matches!(denied, Denied::Trouble(_)), "{denied:?}");
            pass(1).await;
        }
    });
    served.await.expect("it is served in the end");
    assert_eq!(stage.view("web").app.trouble(), None);
    stage.end().await;
}

/// Its connections would lead nowhere when it comes back.
#[tokio::test(start_paused = true)]
async fn what_is_frozen_keeps_what_it_needs() {
    let frozen =
        "path: /web\nneeds: db\nautoscale: {min: 0, max: 1, metric: rps, idle: 10m, freeze_after: 5s}";
    let stage = Stage::new(&[("web", frozen), ("db", DB)]);
    drop(stage.visit("web").await.expect("it serves"));
    pass(300).await;
    assert_eq!((stage.status("web").frozen, stage.status("db").ready), (1, 1));
    pass(400).await;
    assert_eq!((stage.status("web").frozen, stage.replicas("db")), (0, 0));
    stage.end().await;
}

/// The others of an app that serves wait for what it needs; what serves goes on.
#[tokio::test(start_paused = true)]
async fn a_need_that_dies_comes_back_and_nothing_else_starts_meanwhile() {
    let stage = Stage::new(&[("web", WEB), ("db", DB)]);
    let claim = stage.visit("web").await.expect("it serves");
    pass(20).await;
    let db = |scene: &&mut crate::runtime::scripted::Scene| scene.app == "db";
    stage.runtime.world().replicas.values_mut().find(db).expect("it runs").life = Life::Ended;
    stage.runtime.resync();
    pass(10).await;
    assert_eq!((stage.status("db").ready, stage.status("web").ready), (1, 1));
    drop(claim);
    stage.end().await;
}

#[tokio::test(start_paused = true)]
async fn a_file_that_needs_something_else_counts_at_once() {
    let stage = Stage::new(&[("web", WEB), ("db", DB)]);
    drop(stage.visit("web").await.expect("it serves"));
    let other = WEB.replace("db", "cache");
    stage.reload(&[("web", &other), ("cache", DB)]).await;
    pass(8).await;
    assert_eq!((stage.status("cache").ready, stage.replicas("db")), (1, 0));
    assert_eq!(stage.status("web").ready, 1);
    stage.end().await;
}

/// Two of them would spoil what both have mounted.
#[tokio::test(start_paused = true)]
async fn of_a_database_there_are_never_two() {
    let stage = Stage::new(&[("web", WEB), ("db", DB)]);
    let claim = stage.visit("web").await.expect("it serves");
    let renewed = format!("{DB}\nenv: {{VERSION: \"2\"}}\nhealth: {{path: /up, interval: 1s}}");
    stage.reload(&[("web", WEB), ("db", &renewed)]).await;
    for moment in 0..6000 {
        tokio::time::sleep(Duration::from_millis(10)).await;
        assert!(stage.replicas("db") <= 1, "at {moment}");
        if moment == 2000 {
            assert_eq!(stage.status("db").ready, 1, "it was replaced");
            stage.runtime.world().replicas.values_mut().for_each(|scene| scene.sick = scene.app == "db");
        }
    }
    let db = stage.runtime.world().replicas.values().find(|scene| scene.app == "db").cloned();
    assert!(db.as_ref().is_some_and(|db| db.revision.contains('2') && !db.sick), "{db:?}");
    drop(claim);
    stage.end().await;
}

/// Its image says so only after a minute or two in which it looked well.
#[tokio::test(start_paused = true)]
async fn one_that_falls_ill_again_and_again_is_started_ever_more_seldom() {
    let stage = Stage::new(&[("web", WEB), ("db", DB)]);
    let claim = stage.visit("web").await.expect("it serves");
    let mut away = 0;
    for _ in 0..8 {
        pass(95).await;
        stage.runtime.tell_of_an_illness("db");
        pass(30).await;
        away = 0;
        while stage.status("db").ready == 0 {
            pass(1).await;
            away += 1;
        }
    }
    assert!(away > 10, "it was back {away} s after half a minute");
    drop(claim);
    stage.end().await;
}

/// An engine that is away for longer than a stop is tried leaves what it was to stop.
#[tokio::test(start_paused = true)]
async fn nor_where_the_first_cannot_be_stopped() {
    let stage = Stage::new(&[("web", WEB), ("db", DB)]);
    let claim = stage.visit("web").await.expect("it serves");
    let renewed = format!("{DB}\nenv: {{VERSION: \"2\"}}");
    // More often than one stop is tried.
    stage.runtime.world().failing_stops = 20;
    stage.reload(&[("web", WEB), ("db", &renewed)]).await;
    pass(20).await;
    assert!(stage.runtime.world().failing_stops < 12, "it is tried again and again");
    assert_eq!(stage.replicas("db"), 1);
    pass(100).await;
    let db = stage.runtime.world().replicas.values().find(|scene| scene.app == "db").cloned();
    assert!(db.as_ref().is_some_and(|db| db.revision.contains('2')), "{db:?}");
    assert_eq!(stage.replicas("db"), 1);
    drop(claim);
    stage.end().await;
}

/// It may stay for hours: whoever waits for another is told.
#[tokio::test(start_paused = true)]
async fn what_cannot_be_stopped_is_told_to_who_waits() {
    let stage = Stage::new(&[("web", WEB), ("db", DB)]);
    drop(stage.visit("web").await.expect("it serves"));
    stage.runtime.world().failing_stops = u32::MAX;
    pass(60).await;
    assert_eq!((stage.status("web").lit.is_none(), stage.status("db").ready), (true, 0), "both are out");
    let Err(Denied::Trouble(trouble)) = stage.visit("web").await else { panic!("without its database") };
    assert!(trouble.why.starts_with("it needs db: "), "{}", trouble.why);
    stage.runtime.world().failing_stops = 0;
    let served = tokio::time::timeout(Duration::from_mins(5), async {
        while stage.visit("web").await.is_err() {
            pass(1).await;
        }
    });
    served.await.expect("it is served in the end");
    stage.end().await;
}

/// What is only removed needs nothing for that.
#[tokio::test(start_paused = true)]
async fn what_goes_for_good_wakes_nothing() {
    let kept = WEB.replace("remove_after: 0s", "remove_after: 100s");
    let stage = Stage::new(&[("web", &kept), ("db", DB)]);
    stage.runtime.world().keeps = Some(true);
    drop(stage.visit("web").await.expect("it serves"));
    pass(60).await;
    assert_eq!((stage.status("web").stopped, stage.replicas("db")), (1, 0));
    for moment in 0..800 {
        tokio::time::sleep(Duration::from_millis(100)).await;
        assert_eq!(stage.replicas("db"), 0, "at {moment}");
    }
    assert_eq!(stage.replicas("web"), 0, "it is gone meanwhile");
    stage.end().await;
}

/// The revision before may serve for minutes, until the new one has its image and what it needs.
#[tokio::test(start_paused = true)]
async fn what_an_older_revision_needs_stays_as_long_as_that() {
    let stage = Stage::new(&[("web", WEB), ("db", DB)]);
    let claim = stage.visit("web").await.expect("it serves");
    stage.runtime.world().needs = None;
    stage.runtime.world().preparing = Duration::from_secs(30);
    let other = format!("{}\nenv: {{VERSION: \"2\"}}", WEB.replace("db", "cache"));
    stage.reload(&[("web", &other), ("cache", DB)]).await;
    pass(25).await;
    assert_eq!((stage.status("web").ready, stage.replicas("db")), (1, 1), "it still serves");
    pass(25).await;
    assert_eq!((stage.replicas("db"), stage.status("cache").ready), (1, 1), "a request is still open there");
    drop(claim);
    pass(10).await;
    assert_eq!((stage.replicas("db"), stage.status("cache").ready), (0, 1));
    stage.end().await;
}

/// What it was to be could not be prepared, and then nobody wanted it.
#[tokio::test(start_paused = true)]
async fn an_app_that_returns_becomes_what_the_file_says() {
    let stage = Stage::new(&[("web", WEB), ("jobs", JOBS), ("db", DB)]);
    let claim = stage.visit("web").await.expect("it serves");
    let renewed = format!("{WEB}\nenv: {{VERSION: \"2\"}}");
    let apps = [("web", renewed.as_str()), ("jobs", JOBS), ("db", DB)];
    stage.runtime.world().faults = 1000;
    stage.reload(&apps).await;
    pass(5).await;
    stage.reload(&apps[1..]).await;
    pass(5).await;
    stage.runtime.world().faults = 0;
    stage.reload(&apps).await;
    pass(20).await;
    let scenes: Vec<_> = stage.runtime.world().replicas.values().cloned().collect();
    let is_renewed = |scene: &Scene| scene.app == "web" && scene.revision.contains('2');
    assert!(scenes.iter().any(is_renewed), "{scenes:?}");
    drop(claim);
    stage.end().await;
}

/// For a time each of the two needs the other.
#[tokio::test(start_paused = true)]
async fn a_need_that_turns_round_holds_nobody_up() {
    let (needing, needed) =
        ("autoscale: {min: 0, max: 3, metric: rps, idle: 20s}", "\nenv: {VERSION: \"2\"}");
    let web = format!("path: /web\nneeds: db\n{needing}");
    let db = format!("path: /db\n{needing}");
    let stage = Stage::new(&[("web", &web), ("db", &db)]);
    stage.runtime.world().alone = None;
    let claim = stage.visit("web").await.expect("it serves");
    stage.runtime.world().needs = Some(("db", "web"));
    let web = format!("path: /web\n{needing}{needed}");
    let db = format!("path: /db\nneeds: web\n{needing}{needed}");
    stage.reload(&[("web", &web), ("db", &db)]).await;
    drop(claim);
    pass(10).await;
    drop(stage.visit("db").await.expect("it serves"));
    assert_eq!((stage.status("web").ready, stage.status("db").ready), (1, 1));
    pass(60).await;
    assert_eq!((stage.status("web").ready, stage.status("db").ready), (0, 0));
    stage.end().await;
}

/// Trouble that was there when the app went out says nothing of the next time.
#[tokio::test(start_paused = true)]
async fn trouble_of_a_need_is_forgotten_with_it() {
    let stage = Stage::new(&[("web", WEB), ("jobs", JOBS), ("db", DB)]);
    stage.runtime.world().broken.insert("db".into());
    for _ in 0..8 {
        assert!(stage.visit("web").await.is_err());
        pass(3).await;
    }
    pass(20).await;
    assert_eq!((stage.status("web").lit.is_none(), stage.view("web").app.trouble()), (true, None));
    stage.end().await;
}

/// Whoever has requests under way may still ask its database.
#[tokio::test(start_paused = true)]
async fn at_the_end_what_is_needed_goes_last() {
    let stage = Stage::new(&[("web", WEB), ("db", DB)]);
    let claim = stage.visit("web").await.expect("it serves");
    let (done, ended) = oneshot::channel();
    stage.commands.send(Command::End(true, done)).await.expect("the control plane runs");
    pass(10).await;
    assert_eq!((stage.replicas("web"), stage.replicas("db")), (1, 1), "a request is open");
    drop(claim);
    ended.await.expect("it ends");
    assert_eq!((stage.replicas("web"), stage.replicas("db")), (0, 0));
    stage.control.await.expect("without a panic");
}

/// An operator sees what an app waits for.
#[tokio::test(start_paused = true)]
async fn what_is_waited_for_is_shown() {
    let stage = Stage::new(&[("web", WEB), ("db", DB)]);
    stage.runtime.world().boot = Some(Duration::from_secs(3));
    let mut visit = Box::pin(stage.visit("web"));
    let waited = tokio::time::timeout(Duration::from_secs(2), &mut visit).await;
    assert!(waited.is_err());
    assert!(stage.status("web").reason.ends_with(" → 1, when db is ready"), "{}", stage.status("web").reason);
    drop(visit.await.expect("it serves"));
    pass(1).await;
    assert!(!stage.status("web").reason.contains("db"), "{}", stage.status("web").reason);
    stage.end().await;
}
