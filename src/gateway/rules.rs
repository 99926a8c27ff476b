//! The changes that an app's `headers` key makes on the way. Which headers may be changed at all is the
//! configuration's business: what arrives here is made as it is.

use http::HeaderMap;

use crate::config::spec::HeaderChanges;

/// Takes off, sets, adds, in this order. Without changes it costs three looks at empty lists.
pub fn apply(changes: &HeaderChanges, headers: &mut HeaderMap) {
    for name in &changes.remove {
        headers.remove(name);
    }
    for (name, value) in &changes.set {
        headers.insert(name, value.clone());
    }
    for (name, value) in &changes.add {
        headers.append(name, value.clone());
    }
}
