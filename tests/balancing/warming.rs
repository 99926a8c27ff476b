//! Replicas that become ready together, and one that is left alone: `slow_start` takes nothing from either. How a
//! newcomer warms up beside older ones is seen on virtual time, in `src/app/tests/balance.rs` and
//! `src/control/supervisor/tests.rs`.

use crate::proxy;
use crate::server::Server;
use crate::support::http::get;
use crate::support::proxy::Proxy;

/// Of three hundred requests, one after the other, how many go to this server.
async fn share(proxy: &Proxy, server: &Server) -> usize {
    let before = server.requests();
    for _ in 0..300 {
        assert_eq!(get(proxy.address(), "/").await.status, 200);
    }
    server.requests() - before
}

#[tokio::test]
async fn those_that_come_together_share_and_who_is_alone_has_all() {
    let (one, other) = (Server::start("one").await, Server::start("other").await);
    let proxy = proxy(&[&one, &other], "slow_start: 1h").await;
    let half = share(&proxy, &one).await;
    assert!((90..210).contains(&half), "{half}");
    drop(other);
    assert_eq!(share(&proxy, &one).await, 300);
}
