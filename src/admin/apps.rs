//! `/api/apps`: each app as it is now.

use std::borrow::Cow;

use bytes::Bytes;
use http::{Response, StatusCode};
use http_body_util::Full;
use serde::Serialize;

use crate::admin::respond;
use crate::app::clock;
use crate::config::show_route;
use crate::config::spec::Source;
use crate::control::{View, observe};
use crate::runtime::docker;

#[derive(Debug, Serialize)]
struct AppView<'a> {
    name: &'a str,
    runtime: &'static str,
    /// Whether the file has it no more, and it only finishes what it has.
    retiring: bool,
    desired: u32,
    ready: u32,
    starting: u32,
    draining: u32,
    frozen: u32,
    in_flight: u32,
    held: usize,
    /// Over the stable window, to a thousandth.
    rps: f64,
    /// Requests since the proxy's start.
    requests: u64,
    reason: &'a str,
    /// What the file names, or the tag of what it has built.
    image: Option<Cow<'a, str>>,
    image_id: Option<&'a str>,
    revision: Option<&'a str>,
    routes: Vec<String>,
}

pub(super) fn list(views: &[View]) -> Response<Full<Bytes>> {
    let statuses: Vec<_> = views.iter().map(|view| view.status.load_full()).collect();
    let apps: Vec<_> = views.iter().zip(&statuses).map(|(view, status)| show(view, status)).collect();
    match serde_json::to_vec(&apps) {
        Ok(json) => respond(StatusCode::OK, "application/json", json.into()),
        Err(error) => {
            tracing::error!(%error, "cannot write the list of apps");
            respond(StatusCode::INTERNAL_SERVER_ERROR, "text/plain", Bytes::new())
        }
    }
}

fn show<'a>(view: &'a View, status: &'a crate::control::status::Status) -> AppView<'a> {
    let spec = &view.policy.spec;
    let (now, meter) = (clock::now(), &view.policy.meter);
    let rps = status.lit.map_or(0.0, |lit| observe::rate(meter, spec.autoscale.stable_window, lit, now));
    let revision = status.revision.as_ref();
    AppView {
        name: &spec.name,
        runtime: match spec.workload.source {
            Source::Host => "process",
            Source::Upstream(_) => "upstream",
            Source::Image(_) | Source::Build(_) => "docker",
        },
        retiring: view.retiring,
        desired: status.desired,
        ready: status.ready,
        starting: status.starting,
        draining: status.draining,
        // No replica is paused in this version.
        frozen: 0,
        in_flight: status.in_flight(),
        held: view.app.held(),
        rps: (rps * 1000.0).round() / 1000.0,
        requests: view.policy.requests(),
        reason: &status.reason,
        image: match &spec.workload.source {
            Source::Image(image) => Some(image.into()),
            Source::Build(_) => Some(docker::built_image(&spec.name).into()),
            Source::Host | Source::Upstream(_) => None,
        },
        image_id: revision.map(|revision| revision.image_id.as_str()).filter(|id| !id.is_empty()),
        revision: revision.map(|revision| revision.hash.as_str()),
        routes: spec.routes.iter().map(show_route).collect(),
    }
}
