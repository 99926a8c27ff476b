//! `needs`: apps that are to be up before another starts, and for as long as it is.
//!
//! Owns what makes them wrong together: names that no app has, what is not ours to start, circles.

use std::collections::{BTreeSet, HashMap};

use super::diagnostic::Span;
use super::layout::AppEntry;
use super::reader::{Reader, short};
use super::schema::{AutoscaleFile, DockerFile};
use super::slot::Slot;
use super::spec::{AppSpec, Source};
use super::suggest::nearest;
use super::value::Word;

/// Docker's network of old, by both of its names, on which no container is found by a name.
const NAMELESS: [&str; 2] = ["bridge", "default"];

/// What one app says that it needs.
pub(crate) struct Written {
    names: Vec<(String, Span)>,
    /// Whether its own keys say so, not those for all apps.
    own: bool,
}

impl Written {
    pub(crate) fn of(entry: &AppEntry) -> Self {
        let names = entry.body.needs.get().map_or(&[][..], |needs| &needs.0);
        let own = entry.body.needs.key().is_some_and(|key| entry.says(key));
        Self { names: names.iter().map(|(Word(name), span)| (name.clone(), *span)).collect(), own }
    }
}

/// The names that stand in any of them.
pub(crate) fn all_names(written: &[Written]) -> BTreeSet<String> {
    written.iter().flat_map(|needs| &needs.names).map(|(name, _)| name.clone()).collect()
}

/// Enters in each app what it needs, and that it is needed; `written` is in the order of the apps.
pub(crate) fn resolve(apps: &mut [AppSpec], written: &[Written], reader: &mut Reader) {
    let places: HashMap<_, _> = apps.iter().enumerate().map(|(at, app)| (app.name.clone(), at)).collect();
    for (at, Written { names, own }) in written.iter().enumerate() {
        let mut needs = BTreeSet::new();
        for (name, span) in names {
            let Some(&needed) = places.get(name) else {
                unknown(name, *span, &places, reader);
                continue;
            };
            if needed == at {
                // What is said for all apps is not meant for the one that it names.
                if *own {
                    reader.mistake(*span, format!("`{name}` needs itself"), "take it out");
                }
                continue;
            }
            let found = &mut apps[needed];
            if matches!(found.workload.source, Source::Upstream(_)) {
                let message = format!("`{name}` is an upstream, which is not ours to start");
                reader.mistake(*span, message, "take it out: requests go to it whether it is up or not");
            }
            found.workload.named = true;
            needs.insert(name.clone());
        }
        apps[at].needs = needs.into_iter().collect();
    }
    if let Some(circle) = circle(apps, &places) {
        let [first, second, ..] = &circle[..] else { unreachable!("no app needs itself") };
        let place =
            places.get(first).and_then(|at| written[*at].names.iter().find(|(name, _)| name == second));
        let told: Vec<_> =
            circle.windows(2).map(|pair| format!("`{}` needs `{}`", pair[0], pair[1])).collect();
        if let Some((_, span)) = place {
            let message = format!("{}: none of them could start first", told.join(", "));
            reader.mistake(*span, message, "take one of these out");
        }
    }
}

/// Reports a reserve of an app that others need: its name leads to every container that runs, a paused one included.
pub(crate) fn check_reserve(autoscale: &Slot<AutoscaleFile>, reader: &mut Reader) {
    let reserve = autoscale.get().and_then(|autoscale| autoscale.warm_pool.given());
    if let Some(reserve) = reserve.filter(|reserve| reserve.value.u32() > 0) {
        reader.mistake(
            reserve.span,
            "`warm_pool` of an app that others need: its name would lead them to replicas that are paused",
            "write `warm_pool: 0` for this app",
        );
    }
}

/// Reports a network on which those that are needed would not be found.
pub(crate) fn check_network(docker: &Slot<DockerFile>, written: &[Written], reader: &mut Reader) {
    let network = docker.get().and_then(|docker| docker.network.given());
    let is_nameless = network.filter(|network| NAMELESS.contains(&network.value.0.as_str()));
    if let (Some(network), true) = (is_nameless, written.iter().any(|needs| !needs.names.is_empty())) {
        reader.mistake(
            network.span,
            "on Docker's default network no app is found by its name, as those in `needs` are to be",
            "leave `network` out, or make one (`docker network create NAME`) and write its name",
        );
    }
}

fn unknown(name: &str, span: Span, apps: &HashMap<String, usize>, reader: &mut Reader) {
    let help = match nearest(name, apps.keys().map(String::as_str)) {
        Some(near) => format!("did you mean `{near}`?"),
        None => "write the name of another app of this file".to_owned(),
    };
    reader.mistake(span, format!("there is no app `{}`", short(name)), help);
}

/// Apps of which each needs the next, and the last is the first; `None` where there are none.
fn circle(apps: &[AppSpec], places: &HashMap<String, usize>) -> Option<Vec<String>> {
    // Those whose needs could all be up are taken away, until none is left that can be.
    let mut missing: Vec<_> = apps.iter().map(|app| app.needs.len()).collect();
    let mut dependants = vec![Vec::new(); apps.len()];
    for (at, app) in apps.iter().enumerate() {
        for need in &app.needs {
            dependants[places[need]].push(at);
        }
    }
    let mut able: Vec<_> = (0..apps.len()).filter(|at| missing[*at] == 0).collect();
    while let Some(up) = able.pop() {
        for &at in &dependants[up] {
            missing[at] -= 1;
            if missing[at] == 0 {
                able.push(at);
            }
        }
    }
    let mut path = vec![(0..apps.len()).find(|at| missing[*at] > 0)?];
    loop {
        let last = path[path.len() - 1];
        let next = apps[last].needs.iter().map(|need| places[need]).find(|at| missing[*at] > 0)?;
        let seen = path.iter().position(|at| *at == next);
        path.push(next);
        if let Some(from) = seen {
            return Some(path[from..].iter().map(|at| apps[*at].name.clone()).collect());
        }
    }
}
