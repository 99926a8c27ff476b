//! What a test tells a replica that runs: by a file, which is there or not.

use std::path::Path;
use std::time::Duration;

use tokio::time::sleep;

/// Between two looks.
const LOOK: Duration = Duration::from_millis(5);

/// Resolves once the file is there.
pub(crate) async fn by(file: &Path) {
    while !file.exists() {
        sleep(LOOK).await;
    }
}
