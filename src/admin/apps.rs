//! `/api/apps`: each app as it is now.

use bytes::Bytes;
use http::Response;
use http_body_util::Full;
use serde::{Deserialize, Serialize};

use crate::admin::json;
use crate::app::clock;
use crate::config::show_route;
use crate::config::spec::{Metric, Source};
use crate::control::status::Status;
use crate::control::{View, observe};
use crate::runtime::{Runtime, docker};

/// One app, as `/api/apps` tells of it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AppView {
    /// Its name.
    pub name: String,
    /// `docker`, `process`, or `upstream` for what is not ours to start.
    pub runtime: String,
    /// Whether anything of it runs.
    pub state: State,
    /// Whether the file has it no more, and it only finishes what it has.
    pub retiring: bool,
    /// Replicas that the autoscaler wants.
    pub desired: u32,
    /// Replicas that take requests.
    pub ready: u32,
    /// Of those, how many are passed over because requests to them fail.
    pub ejected: u32,
    /// Replicas on the way there.
    pub starting: u32,
    /// Replicas on the way out.
    pub draining: u32,
    /// Replicas that are paused.
    pub frozen: u32,
    /// Replicas that are stopped and kept, to be started again.
    pub stopped: u32,
    /// Whether the network of one of its replicas is kept, so that it starts faster.
    pub network_kept: bool,
    /// Fewest replicas that the file allows.
    pub min: u32,
    /// Most replicas that the file allows.
    pub max: u32,
    /// What is held to the target; `None` where nothing is scaled.
    pub metric: Option<Metric>,
    /// What one replica should carry, in the metric's unit; `None` where nothing is scaled.
    pub target: Option<f64>,
    /// Requests under way, streams and switched connections among them.
    pub in_flight: u32,
    /// Requests that wait for a replica.
    pub held: usize,
    /// Requests per second over the stable window, to a thousandth.
    pub rps: f64,
    /// Requests since the proxy's start.
    pub requests: u64,
    /// The last decision, or what is in the way.
    pub reason: String,
    /// What the file names, or the tag of what it has built.
    pub image: Option<String>,
    /// The image that runs, which its tag may have left.
    pub image_id: Option<String>,
    /// What is run, as a hash; `None` until it is known.
    pub revision: Option<String>,
    /// Where its requests come in.
    pub routes: Vec<String>,
    /// Apps that are up before it, and for as long as it is.
    pub needs: Vec<String>,
}

/// How an app stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// Something of it runs, or is on its way.
    Lit,
    /// Nothing of it runs but replicas that are paused.
    Pilot,
    /// There is nothing of it.
    Out,
}

impl State {
    fn of(running: u32, frozen: u32) -> Self {
        match (running, frozen) {
            (0, 0) => Self::Out,
            (0, _) => Self::Pilot,
            _ => Self::Lit,
        }
    }
}

pub(super) fn list(views: &[View], runtime: &dyn Runtime) -> Response<Full<Bytes>> {
    let statuses: Vec<_> = views.iter().map(|view| view.status.load_full()).collect();
    let apps: Vec<_> =
        views.iter().zip(&statuses).map(|(view, status)| show(view, status, runtime)).collect();
    json(&apps)
}

fn show(view: &View, status: &Status, runtime: &dyn Runtime) -> AppView {
    let spec = &view.policy.spec;
    let (now, meter) = (clock::now(), &view.policy.meter);
    let rps = status.lit.map_or(0.0, |lit| observe::rate(meter, spec.autoscale.stable_window, lit, now));
    let revision = status.revision.as_ref();
    let scaled = !matches!(spec.workload.source, Source::Upstream(_));
    AppView {
        name: spec.name.clone(),
        runtime: match spec.workload.source {
            Source::Host => "process",
            Source::Upstream(_) => "upstream",
            Source::Image(_) | Source::Build(_) => "docker",
        }
        .to_owned(),
        state: State::of(status.ready + status.starting + status.draining, status.frozen),
        retiring: view.retiring,
        desired: status.desired,
        ready: status.ready,
        ejected: status.ejected(),
        starting: status.starting,
        draining: status.draining,
        frozen: status.frozen,
        stopped: status.stopped,
        network_kept: runtime.keeps_network(&spec.name),
        min: if scaled { spec.autoscale.min } else { 0 },
        max: if scaled { spec.autoscale.max } else { 0 },
        metric: scaled.then_some(spec.autoscale.metric),
        target: scaled.then_some(spec.autoscale.target),
        in_flight: status.in_flight(),
        held: view.app.held(),
        rps: (rps * 1000.0).round() / 1000.0,
        requests: view.policy.requests(),
        reason: status.reason.clone(),
        image: match &spec.workload.source {
            Source::Image(image) => Some(image.clone()),
            Source::Build(_) => Some(docker::built_image(&spec.name)),
            Source::Host | Source::Upstream(_) => None,
        },
        image_id: revision.map(|revision| revision.image_id.clone()).filter(|id| !id.is_empty()),
        revision: revision.map(|revision| revision.hash.clone()),
        routes: spec.routes.iter().map(show_route).collect(),
        needs: spec.needs.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_app_is_out_when_there_is_nothing_of_it() {
        assert_eq!(State::of(0, 0), State::Out);
        assert_eq!(State::of(0, 2), State::Pilot);
        assert_eq!(State::of(1, 2), State::Lit);
    }
}
