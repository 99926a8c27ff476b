//! What happens to containers without our asking. Owns the task behind [`Runtime::watch`](crate::runtime::Runtime::watch).
//!
//! A stream can die without a sign, so everything is to be looked at again on a timer; and what happens
//! between two streams is not told, so the same holds after each connection. Each stream starts at a moment
//! before the message that says so: whoever looks after that message misses nothing.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bollard::models::{EventActor, EventMessage};
use bollard::query_parameters::{EventsOptions, EventsOptionsBuilder};
use futures_util::StreamExt;
use tokio::sync::mpsc;
use tokio::time::{Instant, MissedTickBehavior};

use super::calls::Operation;
use super::engine::{Engine, LOOK};
use super::{labels, look};
use crate::runtime::{Change, Event, Exit, Identity, ReplicaId};

/// Events that wait for the receiver; further ones wait in the engine.
const WAITING: usize = 256;

/// Between two looks at everything.
const RESYNC: Duration = Duration::from_secs(30);

/// Between two attempts to connect: the first wait and the longest.
const BACK_OFF: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(5));

/// 128 + SIGKILL: the code of a replica that the kernel ended for want of memory, among others.
const KILLED: i32 = 137;

/// Starts the task. It ends when the receiver is dropped.
pub(super) fn watch(engine: Arc<Engine>, identity: Identity) -> mpsc::Receiver<Event> {
    let (events, receiver) = mpsc::channel(WAITING);
    let watch = Watch { engine, identity, events, out_of_memory: HashSet::new(), ended: HashSet::new() };
    tokio::spawn(watch.run());
    receiver
}

/// The receiver has been dropped.
struct Dropped;

struct Watch {
    engine: Arc<Engine>,
    identity: Identity,
    events: mpsc::Sender<Event>,
    /// Containers in which the kernel ended a process for want of memory, and which have not ended since.
    out_of_memory: HashSet<String>,
    /// Containers whose end has been told, and which have not been removed since.
    ended: HashSet<String>,
}

impl Watch {
    async fn run(mut self) {
        let events = self.events.clone();
        tokio::select! {
            () = events.closed() => {}
            _ = self.connect() => {}
        }
    }

    async fn connect(&mut self) -> Result<(), Dropped> {
        let mut wait = BACK_OFF.0;
        loop {
            match self.engine.session().await {
                Ok(_) => {
                    let since = Instant::now();
                    self.follow().await?;
                    tracing::debug!("the Docker Engine's event stream ended: connecting again");
                    // Whatever answers next may be another engine.
                    self.engine.forget();
                    if since.elapsed() > BACK_OFF.1 {
                        wait = BACK_OFF.0;
                    }
                }
                Err(failure) => tracing::debug!(?failure, "no event stream from the Docker Engine"),
            }
            tokio::time::sleep(wait).await;
            wait = (wait * 2).min(BACK_OFF.1);
        }
    }

    /// Follows one stream to its end.
    async fn follow(&mut self) -> Result<(), Dropped> {
        let Ok(session) = self.engine.begin(Operation::Events).await else { return Ok(()) };
        // What was removed between two streams would stay in here for good.
        self.out_of_memory.clear();
        self.ended.clear();
        let mut stream = session.docker.events(Some(self.options()));
        self.tell(Event::Resync).await?;
        let mut resync = tokio::time::interval_at(Instant::now() + RESYNC, RESYNC);
        resync.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                _ = resync.tick() => {
                    // Of a replica that went on, what the kernel did to a child so long ago is no reason.
                    self.out_of_memory.clear();
                    self.tell(Event::Resync).await?;
                }
                message = stream.next() => match message {
                    Some(Ok(message)) => self.take(message).await?,
                    Some(Err(error)) => {
                        let failure = self.engine.broke(Operation::Events, error);
                        tracing::debug!(?failure, "the Docker Engine's event stream broke");
                        return Ok(());
                    }
                    None => return Ok(()),
                },
            }
        }
    }

    #[expect(clippy::disallowed_methods, reason = "the engine's clock is the wall clock of this host")]
    fn options(&self) -> EventsOptions {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let mut filters = labels::filter(&self.identity);
        filters.insert("type".to_owned(), vec!["container".to_owned()]);
        EventsOptionsBuilder::new()
            .since(&format!("{}.{:09}", now.as_secs(), now.subsec_nanos()))
            .filters(&filters)
            .build()
    }

    async fn take(&mut self, message: EventMessage) -> Result<(), Dropped> {
        let EventActor { id: Some(id), attributes } = message.actor.unwrap_or_default() else {
            return Ok(());
        };
        let attributes = attributes.unwrap_or_default();
        if attributes.contains_key(labels::SANDBOX) {
            // Should it come back, it may have another address: what is kept in it is to be looked at.
            let has_ended = message.action.as_deref() == Some("die");
            return if has_ended { self.tell(Event::Resync).await } else { Ok(()) };
        }
        let change = match message.action.as_deref().unwrap_or_default() {
            "oom" => {
                self.out_of_memory.insert(id);
                return Ok(());
            }
            "start" => {
                self.ended.remove(&id);
                return Ok(());
            }
            "die" => {
                self.ended.insert(id.clone());
                let exit = self.exit(&id, &attributes).await;
                Change::Exited(exit)
            }
            "destroy" => {
                self.out_of_memory.remove(&id);
                if self.ended.remove(&id) {
                    return Ok(());
                }
                Change::Exited(Exit::UNKNOWN)
            }
            "health_status: unhealthy" => Change::Unhealthy,
            "health_status: healthy" => Change::Healthy,
            // By our hand, and then it is no news, or by somebody else's.
            "pause" | "unpause" => Change::Paused,
            // Whether it can serve now is for a look to tell.
            "rename" => return self.tell(Event::Resync).await,
            _ => return Ok(()),
        };
        let app = attributes.get(labels::APP).cloned().unwrap_or_default();
        self.tell(Event::Changed { id: ReplicaId(id), app, change }).await
    }

    /// How a container ended. The message about memory precedes the end or is late; the engine's own record
    /// settles it where the exit code leaves it open.
    async fn exit(&mut self, id: &str, attributes: &HashMap<String, String>) -> Exit {
        let code = attributes.get("exitCode").and_then(|code| code.parse().ok());
        let mut exit = Exit { code, out_of_memory: self.out_of_memory.remove(id) && code != Some(0) };
        if code == Some(KILLED) && !exit.out_of_memory {
            let what = "look at a container that was killed";
            let inspected = self.engine.call(Operation::Inspect, what, LOOK, |docker| async move {
                docker.inspect_container(id, None).await
            });
            let state = inspected.await.ok().and_then(|inspected| inspected.state);
            exit.out_of_memory = state.is_some_and(|state| look::exit(&state).out_of_memory);
        }
        exit
    }

    async fn tell(&self, event: Event) -> Result<(), Dropped> {
        self.events.send(event).await.map_err(|_| Dropped)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn watching() -> (Watch, mpsc::Receiver<Event>) {
        let identity = Identity { id: "0123456789ab".into(), key: [0; 32] };
        let engine = Arc::new(Engine::at(Some("/nonexistent/docker.sock".into())));
        let (events, receiver) = mpsc::channel(WAITING);
        (Watch { engine, identity, events, out_of_memory: HashSet::new(), ended: HashSet::new() }, receiver)
    }

    fn message(action: &str, code: Option<&str>) -> EventMessage {
        let mut attributes = HashMap::from([(labels::APP.to_owned(), "web".to_owned())]);
        attributes.extend(code.map(|code| ("exitCode".to_owned(), code.to_owned())));
        let actor = EventActor { id: Some("c1".into()), attributes: Some(attributes) };
        EventMessage { action: Some(action.into()), actor: Some(actor), ..Default::default() }
    }

    async fn told(messages: &[EventMessage]) -> Vec<Event> {
        let (mut watch, mut receiver) = watching();
        for message in messages {
            assert!(watch.take(message.clone()).await.is_ok());
        }
        drop(watch);
        let mut events = Vec::new();
        while let Some(event) = receiver.recv().await {
            events.push(event);
        }
        events
    }

    fn exited(code: Option<i32>, out_of_memory: bool) -> Event {
        let change = Change::Exited(Exit { code, out_of_memory });
        Event::Changed { id: ReplicaId("c1".into()), app: "web".into(), change }
    }

    #[tokio::test]
    async fn an_end_is_told_once() {
        let end = [message("kill", None), message("die", Some("3")), message("destroy", None)];
        assert_eq!(told(&end).await, [exited(Some(3), false)]);
        assert_eq!(told(&[message("destroy", None)]).await, [exited(None, false)]);
        let again = [message("die", Some("1")), message("start", None), message("destroy", None)];
        assert_eq!(told(&again).await, [exited(Some(1), false), exited(None, false)]);
    }

    #[tokio::test]
    async fn memory_is_the_reason_where_the_kernel_said_so() {
        assert_eq!(
            told(&[message("oom", None), message("die", Some("137"))]).await,
            [exited(Some(137), true)]
        );
        // A child process fell to it; the replica went on and ended well later.
        assert_eq!(told(&[message("oom", None), message("die", Some("0"))]).await, [exited(Some(0), false)]);
    }

    #[tokio::test]
    async fn health_and_pauses() {
        let events = told(&[
            message("health_status: unhealthy", None),
            message("health_status: healthy", None),
            message("pause", None),
            message("exec_start: sh", None),
        ])
        .await;
        let changed = |change| Event::Changed { id: ReplicaId("c1".into()), app: "web".into(), change };
        assert_eq!(events, [Change::Unhealthy, Change::Healthy, Change::Paused].map(changed));
    }
}
