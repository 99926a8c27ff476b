//! What the demo plays, act by act: the calls of the page, and then a load that one replica does not carry.

use std::time::Duration;

use super::stage::{PlayError, Stage};
use super::tell::milliseconds;

/// Visitors a second: what four replicas carry at ten each, and three do not.
const RATE: u32 = 37;

/// How long they come at least, and at most where a machine is slow to start what they need.
const LOAD: (Duration, Duration) = (Duration::from_secs(10), Duration::from_secs(40));

/// Plays it to the end.
pub(super) async fn play(stage: &Stage) -> Result<(), PlayError> {
    let teller = &stage.teller;
    teller.heading("First of all: what there is to start, and nothing that runs")?;
    stage
        .until("the app is prepared and nothing of it runs", |app| app.revision.is_some() && is_out(app))
        .await?;
    let image = stage.last_seen().and_then(|app| app.image);
    teller.event("pilotlight", image.map_or_else(|| "ready".to_owned(), |image| format!("image {image}")))?;

    teller.heading("1. The first call finds nothing running: it is held until a replica is healthy")?;
    call(stage).await?;
    stage.until("a replica is ready", |app| app.ready > 0).await?;

    teller.heading("2. The second call finds it warm")?;
    call(stage).await?;

    teller.heading("3. Nobody calls: after `idle` the app goes out")?;
    stage.until("the app is out", is_out).await?;

    teller.heading("4. The next call wakes it again")?;
    call(stage).await?;
    stage.until("a replica is ready", |app| app.ready > 0).await?;

    teller.heading(format!("5. {RATE} calls a second, of which a replica should carry 10"))?;
    let (least, most) = LOAD;
    let settled = || stage.last_seen().is_some_and(|app| app.desired > 1 && app.ready >= app.desired);
    let load = stage.load(RATE, |lasted| lasted >= most || (lasted >= least && settled())).await?;
    let (all, good) = (load.took.len() + load.failures.len(), load.took.len());
    teller.outcome(format!(
        "{all} calls in {:.1} s, {good} answered 200: half within {}, 99 of 100 within {}, by {} replicas",
        load.lasted.as_secs_f64(),
        milliseconds(load.within(0.5)),
        milliseconds(load.within(0.99)),
        load.replicas.len(),
    ))?;
    if let Some(failure) = load.failures.first() {
        teller.outcome(format!("{} calls failed, the first one: {failure}", load.failures.len()))?;
    }

    teller.heading("6. Nobody calls any more")?;
    stage.until("the app is out", is_out).await?;
    Ok(())
}

fn is_out(app: &crate::admin::apps::AppView) -> bool {
    app.ready + app.starting + app.draining == 0
}

/// One call, as a person would make it.
async fn call(stage: &Stage) -> Result<(), PlayError> {
    stage.teller.command(format!("curl http://localhost:{}/ping", stage.public.port()))?;
    let (answer, took) = stage.visit().await?;
    let body = String::from_utf8_lossy(&answer.body);
    stage.teller.outcome(format!("{} {body} in {}", answer.status.as_u16(), milliseconds(took)))?;
    Ok(())
}
