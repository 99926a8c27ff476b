//! Upstreams that are down, and that come back.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use crate::support::http::{Call, get};
use crate::support::load;
use crate::support::wait::{wait_for_async, wait_until};
use crate::{again, proxy, servers, up};

/// A server that says of itself how it is, under `/up`, and with which `Host` it was asked there.
struct Moody {
    address: SocketAddr,
    well: Arc<AtomicBool>,
    serving: JoinHandle<()>,
}

impl Moody {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("some port is free");
        let address = listener.local_addr().expect("it is bound");
        let well = Arc::new(AtomicBool::new(true));
        let is_well = Arc::clone(&well);
        let serving = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let is_well = Arc::clone(&is_well);
                let service = service_fn(move |request: Request<Incoming>| {
                    // A check that names the wrong host is one of another site.
                    let asked =
                        request.headers().get("host").is_some_and(|host| *host == *address.to_string());
                    let good = request.uri().path() != "/up" || (asked && is_well.load(Ordering::SeqCst));
                    let mut response = Response::new(Full::new(Bytes::from_static(b"moody")));
                    *response.status_mut() = if good { 200 } else { 503 }.try_into().expect("a status");
                    async move { Ok::<_, std::convert::Infallible>(response) }
                });
                tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), service));
            }
        });
        Self { address, well, serving }
    }
}

impl Drop for Moody {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

#[tokio::test]
async fn one_that_dies_costs_no_request_and_comes_back() {
    let (mut servers, addresses) = servers(2).await;
    let proxy = proxy(&addresses, "").await;
    up(&proxy, 2).await;
    drop(servers.remove(0));
    let address = proxy.address();
    load::at_once(40, |_| Call::get(address, "/id").send()).await.assert_all_ok();
    up(&proxy, 1).await;
    let reason = proxy.only_app().await["reason"].as_str().unwrap().to_owned();
    assert!(reason.starts_with(&format!("1 of 2 up; {} is down: ", addresses[0])), "{reason}");
    let back = again(addresses[0]).await;
    up(&proxy, 2).await;
    wait_for_async("it has requests again", || async {
        get(address, "/id").await;
        (back.report().count("start") > 0).then_some(())
    })
    .await;
}

#[tokio::test]
async fn one_that_is_unhealthy_is_taken_out_and_comes_back() {
    let (servers, mut addresses) = servers(1).await;
    let moody = Moody::start().await;
    addresses.push(moody.address);
    let keys = "health: {path: /up, interval: 100ms}\nhost: a.test";
    // The test app has no such page: it is never well.
    let proxy = proxy(&addresses, keys).await;
    up(&proxy, 1).await;
    let ask = || async { Call::get(proxy.address(), "/id").host("a.test").send().await.unwrap() };
    for _ in 0..20 {
        assert_eq!(ask().await.text(), "moody", "the other one is not healthy");
    }
    assert_eq!(servers[0].report().events("start").iter().filter(|it| it["path"] == "/id").count(), 0);
    moody.well.store(false, Ordering::SeqCst);
    up(&proxy, 0).await;
    let waiting = tokio::spawn(Call::get(proxy.address(), "/id").host("a.test").send());
    wait_for_async("it is held", || async { (proxy.only_app().await["held"] == 1).then_some(()) }).await;
    moody.well.store(true, Ordering::SeqCst);
    assert_eq!(waiting.await.unwrap().unwrap().text(), "moody");
}

#[tokio::test]
async fn who_comes_while_all_are_down_waits_for_one_to_come_back() {
    let (mut servers, addresses) = servers(1).await;
    let proxy = proxy(&addresses, "hold: {timeout: 60s}").await;
    up(&proxy, 1).await;
    drop(servers.remove(0));
    let address = proxy.address();
    let waiting = tokio::spawn(load::at_once(10, move |_| Call::post(address, "/echo", "x").send()));
    wait_for_async("they are held", || async { (proxy.only_app().await["held"] == 10).then_some(()) }).await;
    let _back = again(addresses[0]).await;
    waiting.await.unwrap().assert_all_ok();
}

#[tokio::test]
async fn an_outage_that_lasts_is_refused() {
    let (mut servers, addresses) = servers(1).await;
    let proxy = proxy(&addresses, "hold: {timeout: 300ms}").await;
    up(&proxy, 1).await;
    drop(servers.remove(0));
    for call in [Call::get(proxy.address(), "/id"), Call::post(proxy.address(), "/echo", "x")] {
        let answer = call.send().await.unwrap();
        assert_eq!((answer.status, answer.reason()), (503, "upstream-down"));
        let seconds: u64 = answer.header("retry-after").parse().expect("a number of seconds");
        assert!((1..=3).contains(&seconds), "{seconds}");
        let all = format!("{:?}{}", answer.headers, answer.text());
        assert!(
            !all.contains(&addresses[0].to_string()),
            "where it is looked for is nobody's business: {all}"
        );
    }
    let app = proxy.only_app().await;
    assert_eq!((&app["desired"], &app["ready"]), (&1.into(), &0.into()));
    let reason = app["reason"].as_str().unwrap();
    assert!(reason.contains(&addresses[0].to_string()), "an operator reads it: {reason}");
    let _back = again(addresses[0]).await;
    wait_for_async("it serves", || async { (get(proxy.address(), "/id").await.status == 200).then_some(()) })
        .await;
}

#[tokio::test]
async fn a_name_that_nobody_knows_is_said() {
    use crate::support::proxy::Setup;
    let config = "name: app\nupstream: http://nobody.invalid\nhold: {timeout: 200ms}\n";
    let proxy = Setup::process(config).start().await;
    let answer = get(proxy.address(), "/").await;
    assert_eq!((answer.status, answer.reason()), (503, "upstream-down"));
    wait_until("the log says so", || proxy.log().contains("cannot resolve nobody.invalid")).await;
    wait_for_async("and the admin API", || async {
        proxy.only_app().await["reason"].as_str()?.contains("cannot resolve nobody.invalid").then_some(())
    })
    .await;
}
