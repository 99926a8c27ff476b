//! An app's workspace: a volume that all its replicas mount, and that outlives them, their revisions and the app.
//! It is never removed here: what is in it is the user's.

use std::collections::HashMap;

use bollard::models::{Mount, MountType, MountVolumeOptions};

use super::labels;
use crate::config::spec::WORKSPACE;
use crate::runtime::Identity;

/// The mount. The engine makes the volume, with its labels, where it is not there yet.
pub(super) fn mount(identity: &Identity, app: &str) -> Mount {
    let labels = HashMap::from([
        (labels::INSTANCE.to_owned(), identity.id.clone()),
        (labels::APP.to_owned(), app.to_owned()),
    ]);
    Mount {
        typ: Some(MountType::VOLUME),
        source: Some(labels::workspace(identity, app)),
        target: Some(WORKSPACE.to_owned()),
        volume_options: Some(MountVolumeOptions { labels: Some(labels), ..Default::default() }),
        ..Default::default()
    }
}
