//! How many may wait, and for how long.

use crate::support::http::{Call, get};
use crate::support::wait::wait_for_async;
use crate::{held, proxy};

#[tokio::test]
async fn a_full_queue_refuses_at_once() {
    let proxy = proxy(&[("START_WHEN", "{report}/go")], "hold: {max: 3}").await;
    let address = proxy.address();
    let waiting: Vec<_> = (0..3).map(|_| tokio::spawn(Call::get(address, "/id").send())).collect();
    held(&proxy, 3).await;
    for call in [Call::get(address, "/id"), Call::post(address, "/echo", "x")] {
        let refused = call.send().await.unwrap();
        let said = (refused.status, refused.reason(), refused.header("retry-after"));
        assert_eq!(said, (503, "hold-full", "1"));
    }
    proxy.tell("go");
    for waiter in waiting {
        assert_eq!(waiter.await.unwrap().unwrap().status, 200, "those that wait are served");
    }
    assert_eq!(proxy.report().count("start"), 3);
}

#[tokio::test]
async fn nobody_waits_where_none_may() {
    let proxy = proxy(&[], "hold: {max: 0}").await;
    // Whoever comes and goes before it is known what runs wakes nobody.
    wait_for_async("the proxy is ready", || async {
        (get(proxy.admin(), "/readyz").await.status == 200).then_some(())
    })
    .await;
    let refused = get(proxy.address(), "/id").await;
    assert_eq!((refused.status, refused.reason()), (503, "hold-full"));
    // It is a wake all the same, and who comes later is served.
    proxy.ready(1).await;
    assert_eq!(get(proxy.address(), "/id").await.status, 200);
    assert_eq!(proxy.report().count("start"), 1);
}

#[tokio::test]
async fn waiting_too_long_is_hold_timeout() {
    let proxy = proxy(&[("START_DELAY_MS", "60000")], "hold: {timeout: 300ms}").await;
    let address = proxy.address();
    for call in [Call::get(address, "/id"), Call::post(address, "/echo", "x")] {
        let late = call.send().await.unwrap();
        let said = (late.status, late.reason(), late.header("retry-after"));
        assert_eq!(said, (504, "hold-timeout", "5"));
    }
    held(&proxy, 0).await;
}

#[tokio::test]
async fn time_held_is_part_of_the_timeout() {
    let proxy = proxy(&[("START_DELAY_MS", "60000")], "timeout: 300ms").await;
    let late = get(proxy.address(), "/id").await;
    assert_eq!((late.status, late.reason()), (504, "hold-timeout"));
}
