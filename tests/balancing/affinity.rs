//! Clients that are bound to a replica: by a cookie, by their address, by what they say.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{Ipv4Addr, SocketAddr};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpSocket;

use crate::server::Server;
use crate::support::http::{Answer, Call, get};
use crate::support::proxy::Proxy;
use crate::support::wait::wait_for_async;
use crate::{proxy, up};

const NAMES: [&str; 3] = ["one", "two", "three"];

async fn servers(count: usize) -> Vec<Server> {
    let mut servers = Vec::new();
    for name in &NAMES[..count] {
        servers.push(Server::start(name).await);
    }
    servers
}

fn all(servers: &[Server]) -> Vec<&Server> {
    servers.iter().collect()
}

/// A request that brings these cookies.
async fn ask(proxy: &Proxy, path: &str, cookies: &str) -> Answer {
    Call::get(proxy.address(), path).header("cookie", cookies).send().await.expect("an answer")
}

/// Name and value of the cookie that an answer sets; the rest of it.
fn set_cookie(answer: &Answer) -> (&str, &str) {
    answer.header("set-cookie").split_once("; ").unwrap_or_else(|| panic!("no cookie: {:?}", answer.headers))
}

#[tokio::test]
async fn a_cookie_brings_a_client_back_and_stays_between_it_and_the_proxy() {
    let servers = servers(3).await;
    let proxy = proxy(&all(&servers), "affinity: cookie").await;
    let first = get(proxy.address(), "/").await;
    let (cookie, attributes) = set_cookie(&first);
    assert_eq!(attributes, "Path=/; HttpOnly; SameSite=Lax");
    let (name, value) = cookie.split_once('=').expect("a name and a value");
    assert_eq!(name, "pilotlight-app");
    assert!(value.len() == 16 && value.bytes().all(|byte| byte.is_ascii_hexdigit()), "{value}");
    for _ in 0..20 {
        let again = ask(&proxy, "/", &format!("theirs=1; {cookie}; more=2")).await;
        assert_eq!(again.header("set-cookie"), "", "it has it");
        assert_eq!(again.text().to_lowercase(), format!("{}\ncookie: theirs=1; more=2", first.text()));
    }
    assert_eq!(ask(&proxy, "/", cookie).await.text(), first.text(), "and no cookie at all");
    let mut others = BTreeSet::new();
    for _ in 0..60 {
        others.insert(get(proxy.address(), "/").await.text().to_owned());
    }
    assert_eq!(others.len(), 3, "who brings none goes anywhere");
}

#[tokio::test]
async fn a_cookie_is_for_the_route_alone() {
    let servers = servers(2).await;
    let proxy = proxy(&all(&servers), "affinity: cookie\npath: /shop\nstrip_prefix: true").await;
    let answer = get(proxy.address(), "/shop/cart").await;
    assert_eq!(set_cookie(&answer).1, "Path=/shop; HttpOnly; SameSite=Lax");
}

#[tokio::test]
async fn a_cookie_that_somebody_made_up_does_no_harm() {
    let servers = servers(2).await;
    let proxy = proxy(&all(&servers), "affinity: cookie").await;
    for made_up in ["0123456789abcdef", "", "../../etc/passwd", "\"", "0123456789abcdef0123456789abcdef"] {
        let answer = ask(&proxy, "/", &format!("pilotlight-app={made_up}")).await;
        assert_eq!(answer.status, 200);
        assert!(NAMES.contains(&answer.text()), "the app sees nothing of it: {}", answer.text());
        let (cookie, _) = set_cookie(&answer);
        assert_eq!(ask(&proxy, "/", cookie).await.text(), answer.text(), "it is given a good one");
    }
}

#[tokio::test]
async fn who_is_bound_to_one_that_is_gone_is_bound_anew() {
    let mut servers = servers(2).await;
    let proxy = proxy(&all(&servers), "affinity: cookie").await;
    let first = get(proxy.address(), "/").await;
    let (cookie, _) = set_cookie(&first);
    servers.retain(|server| server.name() != first.text());
    assert_eq!(servers.len(), 1);
    let next = ask(&proxy, "/", cookie).await;
    assert_eq!(next.status, 200);
    assert_ne!(next.text(), first.text());
    let (new, _) = set_cookie(&next);
    assert_ne!(new, cookie);
    assert_eq!(ask(&proxy, "/", new).await.text(), next.text());
}

#[tokio::test]
async fn who_is_bound_to_one_that_is_full_does_not_wait() {
    let servers = servers(2).await;
    let proxy = proxy(&all(&servers), "affinity: cookie\nmax_concurrency: 1").await;
    let first = get(proxy.address(), "/").await;
    let (cookie, _) = set_cookie(&first);
    let slow = tokio::spawn(Call::get(proxy.address(), "/wait").header("cookie", cookie).send());
    wait_for_async("it is full", || async { (proxy.only_app().await["in_flight"] == 1).then_some(()) }).await;
    let meanwhile = ask(&proxy, "/", cookie).await;
    assert_ne!(meanwhile.text(), first.text());
    assert_ne!(set_cookie(&meanwhile).0, cookie);
    for server in &servers {
        server.go_on();
    }
    let slow = slow.await.unwrap().unwrap();
    assert_eq!((slow.text(), slow.header("set-cookie")), (first.text(), ""), "it was where it wanted to be");
}

/// The cookies outlast the proxy: its identity is the same, and so are the replicas' addresses.
#[tokio::test]
async fn a_cookie_outlasts_a_restart_of_the_proxy() {
    let servers = servers(3).await;
    let mut proxy = proxy(&all(&servers), "affinity: cookie").await;
    let first = get(proxy.address(), "/").await;
    let (cookie, _) = set_cookie(&first);
    proxy.stop().await;
    proxy.start().await;
    up(&proxy, 3).await;
    for _ in 0..10 {
        let again = ask(&proxy, "/", cookie).await;
        assert_eq!((again.text(), again.header("set-cookie")), (first.text(), ""));
    }
}

#[tokio::test]
async fn a_value_of_a_header_binds_who_says_it() {
    let servers = servers(3).await;
    let proxy = proxy(&all(&servers), "affinity: {header: X-User}").await;
    let mut places = BTreeMap::new();
    for round in 0..3 {
        for user in 0..30 {
            let call = Call::get(proxy.address(), "/").header("x-user", &format!("user-{user}"));
            let answer = call.send().await.unwrap();
            assert_eq!(answer.header("set-cookie"), "");
            let place = places.entry(user).or_insert_with(|| answer.text().to_owned());
            assert_eq!(place, answer.text(), "user {user}, round {round}");
        }
    }
    let used: BTreeSet<_> = places.values().collect();
    assert_eq!(used.len(), 3, "{places:?}");
    let mut without = BTreeSet::new();
    for _ in 0..60 {
        without.insert(get(proxy.address(), "/").await.text().to_owned());
    }
    assert_eq!(without.len(), 3, "who does not say it goes anywhere");
}

/// Which server answers a client at this address.
async fn from(client: Ipv4Addr, proxy: SocketAddr) -> String {
    let socket = TcpSocket::new_v4().expect("there are sockets");
    socket.bind((client, 0).into()).expect("all of 127.0.0.0/8 is ours");
    let mut stream = socket.connect(proxy).await.expect("it listens");
    stream.write_all(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").await.expect("it is sent");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.expect("it is answered");
    answer.rsplit("\r\n").next().expect("a body").to_owned()
}

#[tokio::test]
async fn an_address_binds_who_comes_from_it() {
    let servers = servers(3).await;
    let proxy = proxy(&all(&servers), "affinity: ip").await;
    let mut places = BTreeSet::new();
    for last in 1..=30 {
        let client = Ipv4Addr::new(127, 0, 0, last);
        let place = from(client, proxy.address()).await;
        for _ in 0..3 {
            assert_eq!(from(client, proxy.address()).await, place, "{client}");
        }
        places.insert(place);
    }
    assert_eq!(places.len(), 3, "{places:?}");
}

#[tokio::test]
async fn a_reload_changes_what_binds() {
    let servers = servers(3).await;
    let proxy = proxy(&all(&servers), "").await;
    assert_eq!(get(proxy.address(), "/").await.header("set-cookie"), "");
    proxy.reload(&crate::yaml(&all(&servers), "workers: 1\naffinity: cookie"));
    let bound = wait_for_async("it binds", || async {
        Some(get(proxy.address(), "/").await).filter(|answer| !answer.header("set-cookie").is_empty())
    })
    .await;
    let (cookie, _) = set_cookie(&bound);
    for _ in 0..10 {
        assert_eq!(ask(&proxy, "/", cookie).await.text(), bound.text());
    }
}
