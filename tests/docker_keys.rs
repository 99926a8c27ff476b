//! Keys of an app that shape its container: GPUs, a workspace that stays, further networks; and what a deploy leaves
//! of the image before.

mod support;

use support::docker::{need_app_image, replicas};
use support::http::get;
use support::proxy::Setup;

/// The engine of the tests has no GPU to give, and its own words for that help nobody.
#[tokio::test]
async fn an_engine_without_gpus_says_what_to_do() {
    need_app_image().await;
    let yaml = "name: web\nimage: {app}\ninstance: G3\nautoscale: {min: 0, max: 1}\n";
    let proxy = Setup::docker(yaml).start().await;
    let answer = get(proxy.address(), "/ping").await;
    assert_eq!(answer.status, 503);
    let reason = answer.reason();
    assert!(reason.starts_with("runtime: cannot start app web: "), "{reason}");
    assert!(
        reason.contains("install nvidia-container-toolkit") && reason.contains("use a C instance"),
        "{reason}"
    );
    assert!(replicas(&proxy.instance()).await.is_empty(), "nothing is left of the attempt");
}
