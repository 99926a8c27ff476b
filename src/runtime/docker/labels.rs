//! How what is ours is marked and named on the engine. A container without this instance's label is never
//! stopped, removed or taken for a replica, whatever its name is.

use std::collections::HashMap;

use crate::runtime::{Identity, StartOrder};

/// One proxy's identity.
pub(super) const INSTANCE: &str = "pilotlight.instance";
/// The app's name.
pub(super) const APP: &str = "pilotlight.app";
/// The revision's hash.
pub(super) const REVISION: &str = "pilotlight.revision";
/// The replica's index.
pub(super) const REPLICA: &str = "pilotlight.replica";
/// Where the replica listens: the address of an adopted one must be known without its revision.
pub(super) const PORT: &str = "pilotlight.port";

/// On a sandbox: the name of the replica that it is for.
pub(super) const SANDBOX: &str = "pilotlight.sandbox";
/// The address of a replica in a sandbox, of which the engine's own account of it says nothing.
pub(super) const ADDRESS: &str = "pilotlight.address";

/// On an image of our making: for which proxy and app. A container inherits its image's labels, so these must be
/// none of the above, or whatever somebody runs from the image by hand would pass for a replica.
pub(super) const BUILT_BY: &str = "pilotlight.built-by";
/// See [`BUILT_BY`].
pub(super) const BUILT_FOR: &str = "pilotlight.built-for";

/// The tag of the image that is built for `app`.
#[must_use]
pub fn built_image(app: &str) -> String {
    format!("pilotlight/{app}:latest")
}

/// The labels of the replica that `order` asks for.
pub(super) fn of(identity: &Identity, order: &StartOrder) -> HashMap<String, String> {
    HashMap::from([
        (INSTANCE.to_owned(), identity.id.clone()),
        (APP.to_owned(), order.app.clone()),
        (REVISION.to_owned(), order.revision.hash.clone()),
        (REPLICA.to_owned(), order.index.to_string()),
        (PORT.to_owned(), order.revision.port.to_string()),
    ])
}

/// The labels of the sandbox of the replica that `order` asks for.
pub(super) fn of_sandbox(identity: &Identity, order: &StartOrder) -> HashMap<String, String> {
    HashMap::from([
        (INSTANCE.to_owned(), identity.id.clone()),
        (SANDBOX.to_owned(), name(identity, order)),
        (PORT.to_owned(), order.revision.port.to_string()),
    ])
}

/// Whether `labels` say that something is this instance's.
pub(super) fn are_ours(identity: &Identity, labels: Option<&HashMap<String, String>>) -> bool {
    labels.and_then(|labels| labels.get(INSTANCE)) == Some(&identity.id)
}

/// The filter that lists and watches what is this instance's.
pub(super) fn filter(identity: &Identity) -> HashMap<String, Vec<String>> {
    HashMap::from([("label".to_owned(), vec![format!("{INSTANCE}={}", identity.id)])])
}

/// The container's name: the same for the same order, so that a second start finds the first.
pub(super) fn name(identity: &Identity, order: &StartOrder) -> String {
    format!("pilotlight-{}-{}-{}-{}", identity.short(), order.app, order.revision.hash, order.index)
}

/// The name of that replica's sandbox.
pub(super) fn sandbox_name(identity: &Identity, order: &StartOrder) -> String {
    format!("{}-net", name(identity, order))
}

/// The name of the instance's own network.
pub(super) fn network(identity: &Identity) -> String {
    format!("pilotlight-{}", identity.short())
}

/// The name of an app's workspace, the same for as long as the instance lives.
pub(super) fn workspace(identity: &Identity, app: &str) -> String {
    format!("pilotlight-{}-{app}-workspace", identity.short())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_whole_identity_is_ours() {
        let identity = Identity { id: "0123456789ab".into(), key: [0; 32] };
        let ours = HashMap::from([(INSTANCE.to_owned(), "0123456789ab".to_owned())]);
        let other = HashMap::from([(INSTANCE.to_owned(), "0123456789ac".to_owned())]);
        assert!(are_ours(&identity, Some(&ours)));
        assert!(!are_ours(&identity, Some(&other)));
        assert!(!are_ours(&identity, Some(&HashMap::new())));
        assert!(!are_ours(&identity, None));
    }
}
