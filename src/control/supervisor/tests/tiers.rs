//! The tiers between ready and removed: how far down a replica goes and when, and how it comes back.

use std::time::Duration;

use super::{CURRENT, MEMORY_IS_SHORT, Stage, pass};
use crate::app::clock;
use crate::app::waking::Tier;
use crate::control::record::Outcome;
use crate::runtime::scripted::{Life, Scene};

const KEYS: &str =
    "autoscale: {min: 0, max: 5, metric: rps, target: 10, freeze_after: 5s, idle: 20s, remove_after: 60s}";

fn stage(keys: &str) -> Stage {
    let stage = Stage::new(keys, &[]);
    stage.runtime.world().keeps = Some(true);
    stage
}

impl Stage {
    fn only(&self) -> Scene {
        let world = self.runtime.world();
        assert_eq!(world.replicas.len(), 1, "{:?}", world.replicas);
        world.replicas.values().next().expect("there is one").clone()
    }

    /// Ready, frozen, stopped.
    fn tiers(&self) -> (u32, u32, u32) {
        let status = self.status();
        (status.ready, status.frozen, status.stopped)
    }

    fn starts(&self) -> u64 {
        self.view().record.starts(Outcome::Ready)
    }

    fn wakes(&self) -> [u64; 3] {
        Tier::ALL.map(|tier| self.view().record.wakes(tier))
    }
}

#[tokio::test(start_paused = true)]
async fn an_idle_app_goes_down_one_tier_after_another() {
    let stage = stage(KEYS);
    drop(stage.visitor().await.expect("it serves"));
    pass(4).await;
    assert_eq!(stage.tiers(), (1, 0, 0));
    pass(4).await;
    assert_eq!(stage.tiers(), (0, 1, 0));
    assert_eq!((stage.only().life, stage.status().lit.is_none()), (Life::Frozen, true));
    pass(16).await;
    assert_eq!(stage.tiers(), (0, 0, 1));
    assert_eq!(stage.only().life, Life::Kept);
    pass(50).await;
    assert_eq!(stage.tiers(), (0, 0, 1));
    pass(20).await;
    assert_eq!((stage.tiers(), stage.runtime.world().replicas.len()), ((0, 0, 0), 0));
    stage.end().await;
}

/// No connection from before the freeze can be used: those of an older generation never are.
#[tokio::test(start_paused = true)]
async fn what_is_frozen_comes_back_in_another_generation() {
    let stage = stage(KEYS);
    let first = stage.visitor().await.expect("it serves");
    let before = (first.replica().key, first.generation());
    drop(first);
    pass(10).await;
    assert_eq!(stage.tiers(), (0, 1, 0));
    let again = stage.visitor().await.expect("it serves again");
    assert_eq!(again.replica().key, before.0);
    assert!(again.generation() > before.1);
    assert_eq!((stage.starts(), stage.wakes()), (1, [1, 0, 1]));
    // And it is not frozen while that lasts.
    pass(60).await;
    assert_eq!(stage.tiers(), (1, 0, 0));
    drop(again);
    stage.end().await;
}

#[tokio::test(start_paused = true)]
async fn what_was_stopped_is_started_again() {
    let stage = stage(KEYS);
    let first = stage.visitor().await.expect("it serves");
    let address = first.replica().endpoint.clone();
    drop(first);
    pass(30).await;
    assert_eq!(stage.tiers(), (0, 0, 1));
    let again = stage.visitor().await.expect("it serves again");
    assert_eq!(again.replica().endpoint, address, "it is the same");
    assert_eq!((stage.starts(), stage.wakes()), (2, [0, 1, 1]));
    drop(again);
    stage.end().await;
}

/// Who comes while it is being frozen waits for no new replica: it is thawed as soon as it is frozen.
#[tokio::test(start_paused = true)]
async fn a_request_amid_a_freeze_has_it_thawed() {
    let stage = stage(KEYS);
    drop(stage.visitor().await.expect("it serves"));
    stage.runtime.world().slowest = Duration::from_secs(10);
    while stage.status().draining == 0 {
        pass(1).await;
    }
    let visit = tokio::spawn(stage.visitor());
    drop(visit.await.expect("no panic").expect("it serves again"));
    assert_eq!(stage.starts(), 1);
    stage.runtime.world().slowest = Duration::from_millis(1);
    stage.end().await;
}

#[tokio::test(start_paused = true)]
async fn what_does_not_come_back_is_replaced_and_nobody_is_told() {
    let stage = stage(KEYS);
    drop(stage.visitor().await.expect("it serves"));
    pass(10).await;
    stage.runtime.world().lost_events = 1000;
    stage.runtime.kill_one();
    drop(stage.visitor().await.expect("another serves"));
    assert_eq!(stage.starts(), 2);
    stage.end().await;
}

#[tokio::test(start_paused = true)]
async fn what_was_kept_in_vain_is_replaced_and_nobody_is_told() {
    let stage = stage(KEYS);
    drop(stage.visitor().await.expect("it serves"));
    pass(30).await;
    assert_eq!(stage.tiers(), (0, 0, 1));
    stage.runtime.world().kept_in_vain = true;
    drop(stage.visitor().await.expect("another serves"));
    assert_eq!((stage.starts(), stage.view().record.starts(Outcome::Failed)), (2, 0));
    stage.end().await;
}

/// While others serve, so many are frozen and not stopped; the next rush has them first.
#[tokio::test(start_paused = true)]
async fn a_warm_pool_serves_the_next_rush() {
    let stage = stage(
        "autoscale: {min: 0, max: 5, metric: rps, target: 10, stable_window: 10s, panic_window: 2s, idle: 5m, warm_pool: 2}",
    );
    drop(stage.visitor().await.expect("it serves"));
    stage.under_load(45, Duration::from_secs(20), |_| {}).await;
    assert_eq!(stage.tiers(), (5, 0, 0));
    stage.under_load(15, Duration::from_mins(1), |_| {}).await;
    assert_eq!(stage.tiers(), (2, 2, 1));
    let starts = stage.starts();
    stage.under_load(45, Duration::from_secs(20), |_| {}).await;
    assert_eq!((stage.tiers(), stage.starts()), ((5, 0, 0), starts + 1), "one start: the others were thawed");
    pass(700).await;
    assert_eq!(stage.tiers(), (0, 0, 5), "without anybody to serve there is no reserve");
    stage.end().await;
}

/// What rests is of no use to another revision; one of that is laid out in its place, and the next visitor finds it.
#[tokio::test(start_paused = true)]
async fn a_deploy_replaces_what_rests() {
    for rest in [10, 30] {
        let stage = stage(KEYS);
        drop(stage.visitor().await.expect("it serves"));
        pass(rest).await;
        assert_eq!(stage.runtime.world().replicas.len(), 1);
        stage.reload(&format!("env: {{VERSION: '2'}}\n{KEYS}")).await;
        pass(5).await;
        assert_eq!(stage.tiers(), (0, 0, 1));
        assert_eq!((stage.only().life, stage.only().revision), (Life::Kept, "rSome(\"2\")".to_owned()));
        drop(stage.visitor().await.expect("it serves"));
        assert_eq!(stage.wakes(), [0, 1, 1]);
        stage.end().await;
    }
}

/// An engine that is away for a moment costs no frozen replica.
#[tokio::test(start_paused = true)]
async fn an_engine_that_is_away_is_asked_again() {
    let stage = stage(KEYS);
    drop(stage.visitor().await.expect("it serves"));
    pass(10).await;
    stage.runtime.world().unreachable = true;
    let visit = tokio::spawn(stage.visitor());
    pass(5).await;
    assert!(!visit.is_finished(), "it is held");
    stage.runtime.world().unreachable = false;
    drop(visit.await.expect("no panic").expect("it serves again"));
    assert_eq!(stage.starts(), 1);
    stage.end().await;
}

/// A proxy that comes back finds what rests.
#[tokio::test(start_paused = true)]
async fn what_rests_is_adopted() {
    for (life, wakes) in [(Life::Frozen, [1, 0, 0]), (Life::Kept, [0, 1, 0])] {
        let stage = Stage::new(KEYS, &[CURRENT]);
        for scene in stage.runtime.world().replicas.values_mut() {
            scene.life = life;
        }
        stage.adopted().await;
        drop(stage.visitor().await.expect("it serves"));
        assert_eq!(stage.wakes(), wakes);
        assert_eq!(stage.runtime.world().replicas.len(), 1);
        stage.end().await;
    }
}

/// Where memory is short what is frozen gives way; it is started again like any other that is stopped.
#[tokio::test(start_paused = true)]
async fn what_is_frozen_gives_way() {
    let stage = stage(KEYS);
    drop(stage.visitor().await.expect("it serves"));
    pass(8).await;
    assert_eq!(stage.tiers(), (0, 1, 0));
    let (since, now) = (stage.status().frozen_since, clock::now());
    assert!(
        since.is_some_and(|since| now.since(since) > Duration::from_secs(6)),
        "since it has nothing to do"
    );
    MEMORY_IS_SHORT.set(true);
    pass(3).await;
    assert_eq!((stage.tiers(), stage.status().frozen_since), ((0, 0, 1), None));
    assert_eq!(stage.runtime.world().gave_way, 0, "one after the other");
    pass(2).await;
    assert_eq!(stage.runtime.world().gave_way, 1, "what the runtime keeps is next");
    MEMORY_IS_SHORT.set(false);
    pass(10).await;
    assert_eq!(stage.runtime.world().gave_way, 1);
    stage.end().await;
}

/// News of an end may be of the time before: what was stopped, and runs again, is looked at before it is believed.
#[tokio::test(start_paused = true)]
async fn old_news_of_an_end_ends_nothing() {
    let stage = stage(KEYS);
    drop(stage.visitor().await.expect("it serves"));
    pass(30).await;
    let again = stage.visitor().await.expect("it serves again");
    let starts = stage.starts();
    stage.runtime.tell_of_an_end();
    pass(3).await;
    assert_eq!((stage.tiers(), stage.only().life), ((1, 0, 0), Life::Running));
    assert_eq!(stage.starts(), starts, "none had to take its place");
    drop(again);
    stage.runtime.kill_one();
    pass(3).await;
    assert_ne!(stage.runtime.world().replicas.values().next().map(|scene| scene.life), Some(Life::Ended));
    stage.end().await;
}

/// A start that fails says nothing of a replica that runs already.
#[tokio::test(start_paused = true)]
async fn a_frozen_replica_does_not_wait_for_a_back_off() {
    let stage = stage(&format!("{KEYS}\nmax_concurrency: 1"));
    let first = stage.visitor().await.expect("it serves");
    stage.runtime.world().failing_starts = 1000;
    // A second one, which fails again and again.
    stage.under_load(25, Duration::from_secs(70), |_| {}).await;
    drop(first);
    while stage.status().frozen == 0 {
        pass(1).await;
    }
    let begin = clock::now();
    drop(stage.visitor().await.expect("it serves again"));
    assert!(clock::now().since(begin) < Duration::from_secs(2));
    stage.end().await;
}

/// A freeze that nobody has seen the end of costs no replica.
#[tokio::test(start_paused = true)]
async fn an_engine_that_is_away_ends_nothing() {
    let stage = stage(KEYS);
    drop(stage.visitor().await.expect("it serves"));
    pass(3).await;
    stage.runtime.world().unreachable = true;
    pass(5).await;
    assert_eq!((stage.status().frozen, stage.only().life), (1, Life::Running));
    stage.runtime.world().unreachable = false;
    stage.runtime.resync();
    pass(4).await;
    drop(stage.visitor().await.expect("it serves again"));
    assert_eq!(stage.starts(), 1);
    stage.end().await;
}
