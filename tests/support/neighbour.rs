//! A healthy app beside one that is in trouble: nothing of that trouble may reach it.

use super::http::Call;
use super::load::{self, Steady};
use super::proxy::Proxy;
use super::wait::wait_for_async;

/// Its entry under `apps:`.
pub(crate) const YAML: &str = "  calm: {image: '{app}', host: calm.example, autoscale: {min: 1, max: 1}}\n";

const HOST: &str = "calm.example";
const RATE: f64 = 20.0;

/// A steady trickle of requests to it.
pub(crate) struct Neighbour(Steady);

impl Neighbour {
    /// Waits until it is warm, and begins.
    pub(crate) async fn of(proxy: &Proxy) -> Self {
        let address = proxy.address();
        let call = move || Call::get(address, "/ping").host(HOST).send();
        wait_for_async("the neighbour is warm", || async { call().await.ok().filter(|it| it.status == 200) })
            .await;
        Self(load::steady(RATE, move |_| call()))
    }

    /// Ends it. Panics unless every request was answered, and none later than others.
    pub(crate) async fn assert_undisturbed(self) {
        let outcomes = self.0.end().await;
        assert!(outcomes.sent() > 0);
        outcomes.assert_undisturbed();
    }
}
