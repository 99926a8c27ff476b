//! The figures of each app, read when somebody asks. An app that the file no longer has is not on the board, and
//! so leaves no series; what has a series for each replica would leave them for good, so nothing has.

use std::fmt;
use std::sync::Arc;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, MetricEncoder, NoLabelSet};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::Unit;

use crate::app::histogram::{BOUNDS, Times};
use crate::app::tally::{Again, Closing, Counts, Cut, Refusal, STATUSES, Tally};
use crate::app::waking::Tier;
use crate::control::record::{Outcome, Phase, Verdict};
use crate::control::status::Status;
use crate::control::{Board, View};

/// What belongs to no app has this in place of one's name, which no app can have. For Prometheus that is no label.
const NO_APP: &str = "";

/// All apps, and what belongs to none.
#[derive(Debug)]
pub(super) struct Apps {
    pub(super) board: Arc<Board>,
    pub(super) unrouted: Arc<Tally>,
}

/// One app as it was when somebody asked.
struct Seen<'a> {
    view: &'a View,
    status: Arc<Status>,
    /// Nothing where nobody has ever asked for it: histograms of many apps that never run would be long.
    counts: Option<Counts>,
}

impl Collector for Apps {
    fn encode(&self, mut encoder: DescriptorEncoder) -> fmt::Result {
        let views = self.board.apps.load();
        let seen: Vec<_> = views.iter().map(Seen::of).collect();
        let unrouted = self.unrouted.read();
        let apps = seen.iter().filter_map(|app| Some((app.name(), app.counts.as_ref()?)));
        let counted: Vec<_> = apps.chain(unrouted.as_ref().map(|counts| (NO_APP, counts))).collect();
        requests(&mut encoder, &counted)?;
        refusals(&mut encoder, &counted)?;
        retries(&mut encoder, &counted)?;
        moment(&mut encoder, &seen)?;
        supervisors(&mut encoder, &seen)?;
        cold_starts(&mut encoder, &seen)?;
        wakes(&mut encoder, &seen)
    }
}

impl<'a> Seen<'a> {
    fn of(view: &'a View) -> Self {
        Self { view, status: view.status.load_full(), counts: view.app.tally().read() }
    }

    fn name(&self) -> &str {
        &self.view.app.name
    }
}

/// How many ended how, and after what time.
fn requests(encoder: &mut DescriptorEncoder, counted: &[(&str, &Counts)]) -> fmt::Result {
    let help = "Requests that have ended, by the class of their status; none: no answer began, since the client left or was hung up on. \
                A switch to another protocol is 1xx. No app: no route matched, or the proxy answered for itself.";
    let mut family = encoder.encode_descriptor("requests", help, None, MetricType::Counter)?;
    for (app, counts) in counted {
        for (status, count) in STATUSES.iter().zip(counts.statuses) {
            counter(&mut family, &[("app", *app), ("status", *status)], count)?;
        }
    }
    let help = "From a request's head to the last byte of its answer, or to where the exchange broke off or switched.";
    let unit = &Unit::Seconds;
    let mut family =
        encoder.encode_descriptor("request_duration", help, Some(unit), MetricType::Histogram)?;
    for (app, counts) in counted {
        histogram(&mut family, &[("app", *app)], &counts.took)?;
    }
    let help = "In the hold queue, whatever came of it; only requests that were in it.";
    let mut family = encoder.encode_descriptor("hold_duration", help, Some(unit), MetricType::Histogram)?;
    for (app, counts) in counted.iter().filter(|(app, _)| *app != NO_APP) {
        histogram(&mut family, &[("app", *app)], &counts.held)?;
    }
    Ok(())
}

/// How many got no answer of their app's, or no whole one.
fn refusals(encoder: &mut DescriptorEncoder, counted: &[(&str, &Counts)]) -> fmt::Result {
    let help =
        "Requests that the proxy answered in the app's stead, by the first word of x-pilotlight-reason.";
    let mut family = encoder.encode_descriptor("requests_rejected", help, None, MetricType::Counter)?;
    for (app, counts) in counted {
        for (why, count) in Refusal::ALL.into_iter().zip(counts.refusals) {
            let is_possible = match why {
                Refusal::BadRequest | Refusal::RequestTimeout => true,
                Refusal::NoRoute | Refusal::HeaderTooLarge | Refusal::UriTooLong => *app == NO_APP,
                _ => *app != NO_APP,
            };
            if is_possible {
                counter(&mut family, &[("app", *app), ("reason", why.name())], count)?;
            }
        }
    }
    let help = "Answers without their last byte: the client left, or the replica broke off. Also counted by their status.";
    let mut family = encoder.encode_descriptor("responses_aborted", help, None, MetricType::Counter)?;
    for (app, counts) in counted.iter().filter(|(app, _)| *app != NO_APP) {
        for (by, count) in Cut::ALL.into_iter().zip(counts.cuts) {
            counter(&mut family, &[("app", *app), ("by", by.name())], count)?;
        }
    }
    let help = "WebSockets that the proxy closed: neither side had sent a message for long enough, it was as old as it may be, or its \
                replica stopped and it does not count.";
    let mut family = encoder.encode_descriptor("websockets_closed", help, None, MetricType::Counter)?;
    for (app, counts) in counted.iter().filter(|(app, _)| *app != NO_APP) {
        for (why, count) in Closing::ALL.into_iter().zip(counts.closings) {
            counter(&mut family, &[("app", *app), ("why", why.name())], count)?;
        }
    }
    Ok(())
}

/// How many were sent once more, and how often that took a replica out.
fn retries(encoder: &mut DescriptorEncoder, counted: &[(&str, &Counts)]) -> fmt::Result {
    let help = "Requests that were to be sent to another replica: unsent (the one before had provably not got it), repeated (it may \
                have), refused (it may have, and a fifth of the requests of late were repeated already).";
    let mut family = encoder.encode_descriptor("retries", help, None, MetricType::Counter)?;
    for (app, counts) in counted.iter().filter(|(app, _)| *app != NO_APP) {
        for (kind, count) in Again::ALL.into_iter().zip(counts.again) {
            counter(&mut family, &[("app", *app), ("kind", kind.name())], count)?;
        }
    }
    let help =
        "Replicas that were passed over for a while because requests to them failed one after the other.";
    let mut family = encoder.encode_descriptor("replica_ejections", help, None, MetricType::Counter)?;
    for (app, counts) in counted.iter().filter(|(app, _)| *app != NO_APP) {
        counter(&mut family, &[("app", *app)], counts.ejections)?;
    }
    Ok(())
}

/// What is at this moment.
fn moment(encoder: &mut DescriptorEncoder, seen: &[Seen<'_>]) -> fmt::Result {
    let mut gauges = |name: &str, help: &str, value: &dyn Fn(&Seen<'_>) -> u64| {
        let mut family = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
        seen.iter().try_for_each(|app| gauge(&mut family, &[("app", app.name())], value(app)))
    };
    let help = "Requests, streams and WebSockets that a replica has now.";
    gauges("requests_in_flight", help, &|app| app.status.in_flight().into())?;
    gauges("requests_held", "Requests in the hold queue now.", &|app| app.view.app.held() as u64)?;
    gauges("replicas_desired", "Replicas that the autoscaler wants.", &|app| app.status.desired.into())?;
    let help = "Replicas by state: starting, ready (takes requests), draining (ends what it has, or is being stopped), \
                frozen (has its memory and no CPU), stopped (is kept, and does not run).";
    let mut family = encoder.encode_descriptor("replicas", help, None, MetricType::Gauge)?;
    for app in seen {
        let Status { starting, ready, draining, frozen, stopped, .. } = *app.status;
        let states = [("starting", starting), ("ready", ready), ("draining", draining)];
        for (state, count) in states.into_iter().chain([("frozen", frozen), ("stopped", stopped)]) {
            gauge(&mut family, &[("app", app.name()), ("state", state)], count.into())?;
        }
    }
    Ok(())
}

/// What supervisors have done.
fn supervisors(encoder: &mut DescriptorEncoder, seen: &[Seen<'_>]) -> fmt::Result {
    let help = "Decisions of the autoscaler, one a second while the app is lit: more replicas, fewer, none, as many.";
    let mut family = encoder.encode_descriptor("decisions", help, None, MetricType::Counter)?;
    for app in seen {
        for kind in Verdict::ALL {
            let count = app.view.record.decisions(kind);
            counter(&mut family, &[("app", app.name()), ("kind", kind.name())], count)?;
        }
    }
    let help = "Starts of replicas that came to their end: ready, or failed.";
    let mut family = encoder.encode_descriptor("replica_starts", help, None, MetricType::Counter)?;
    for app in seen {
        for outcome in Outcome::ALL {
            let count = app.view.record.starts(outcome);
            counter(&mut family, &[("app", app.name()), ("outcome", outcome.name())], count)?;
        }
    }
    Ok(())
}

fn cold_starts(encoder: &mut DescriptorEncoder, seen: &[Seen<'_>]) -> fmt::Result {
    let help = "From the request that woke an app with no replica to the first that was ready; the count is that of cold starts.";
    let unit = &Unit::Seconds;
    let kind = MetricType::Histogram;
    let mut family = encoder.encode_descriptor("cold_start_duration", help, Some(unit), kind)?;
    for app in seen {
        if let Some(times) = app.view.record.cold_starts() {
            histogram(&mut family, &[("app", app.name())], &times)?;
        }
    }
    let help = "The same by phase: queue (until its start began: image, failed attempts), create (the container), start \
                (the runtime's call), application (until it answered), probe (until that was noticed); and response, \
                from there to the head of the first answer.";
    let mut family = encoder.encode_descriptor("cold_start_phase_duration", help, Some(unit), kind)?;
    for app in seen {
        for phase in Phase::ALL {
            if let Some(times) = app.view.record.cold_start_phase(phase) {
                histogram(&mut family, &[("app", app.name()), ("phase", phase.name())], &times)?;
            }
        }
    }
    Ok(())
}

fn wakes(encoder: &mut DescriptorEncoder, seen: &[Seen<'_>]) -> fmt::Result {
    let help =
        "Cold starts by what was left of the app: a frozen replica, a stopped one that was kept, nothing.";
    let mut family = encoder.encode_descriptor("wakes", help, None, MetricType::Counter)?;
    for app in seen.iter().filter(|app| app.view.record.cold_starts().is_some()) {
        for from in Tier::ALL {
            let count = app.view.record.wakes(from);
            counter(&mut family, &[("app", app.name()), ("from", from.name())], count)?;
        }
    }
    Ok(())
}

fn counter<const N: usize>(
    family: &mut MetricEncoder,
    labels: &[(&str, &str); N],
    count: u64,
) -> fmt::Result {
    family.encode_family(labels)?.encode_counter::<NoLabelSet, _, u64>(&count, None)
}

fn gauge<const N: usize>(family: &mut MetricEncoder, labels: &[(&str, &str); N], value: u64) -> fmt::Result {
    family.encode_family(labels)?.encode_gauge(&value)
}

fn histogram<const N: usize>(
    family: &mut MetricEncoder,
    labels: &[(&str, &str); N],
    times: &Times,
) -> fmt::Result {
    let bounds = BOUNDS.iter().map(std::time::Duration::as_secs_f64).chain([f64::INFINITY]);
    let buckets: Vec<(f64, u64)> = bounds.zip(times.buckets).collect();
    let (sum, count) = (times.sum.as_secs_f64(), times.count());
    family.encode_family(labels)?.encode_histogram::<NoLabelSet>(sum, count, &buckets, None)
}
