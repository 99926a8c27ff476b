//! The way of a request: checked, routed, metered, handed on to its app (see `dispatch`), answered.

use std::net::IpAddr;
use std::rc::Rc;
use std::sync::Arc;

use http::header::{CONTENT_LENGTH, HOST, STRICT_TRANSPORT_SECURITY, TRANSFER_ENCODING, UPGRADE};
use http::uri::PathAndQuery;
use http::{HeaderValue, Method, Response, StatusCode, Uri, Version, request};

use crate::app::{Policy, clock};
use crate::config::spec::{ClientsSpec, Protocol, UnknownHost};
use crate::gateway::account::{Account, Accounted};
use crate::gateway::affinity::Tie;
use crate::gateway::body::Body;
use crate::gateway::client::Client;
use crate::gateway::dispatch::{Order, Way};
use crate::gateway::headers::{Facts, Found};
use crate::gateway::respond::{self, Reject};
use crate::gateway::route::Target;
use crate::gateway::upload::{Incoming, Limits, Upload};
use crate::gateway::upstream::Speech;
use crate::gateway::worker::Worker;
use crate::gateway::{connect, forwarded, grpc, headers, redirect, request as checks, rules, upgrade};

/// The proxy's own health, on the public address: wakes nothing.
const HEALTH_PATH: &str = "/.pilotlight/health";

/// The client gets no answer: its connection is to be closed.
#[derive(Debug, thiserror::Error)]
#[error("closed without an answer: nobody has the host, or nobody would read it")]
pub struct HangUp;

/// Answers one request, whatever happens.
///
/// # Errors
/// Where the file says that this client gets no answer.
pub async fn answer(
    worker: Rc<Worker>,
    client: Arc<Client>,
    mut head: request::Parts,
    body: Incoming,
) -> Result<Response<Accounted>, HangUp> {
    let mut account = Account::open(client, Rc::clone(&worker.unrouted));
    let is_call = grpc::is_call(head.version, &head.headers);
    // From here on the head stays where it is: what is handed down by value stands once more at each level of what is
    // kept for a request that waits.
    if let Some(journal) = &worker.journal {
        account.log(journal, &head);
    }
    let mut response = match forward(&worker, &mut account, &mut head, body).await {
        Ok(response) => {
            account.answered(response.status());
            response
        }
        Err(Refused { reject, policy }) => {
            if let Some(why) = reject.refusal() {
                account.refused(why);
            }
            let response = match (reject, policy) {
                (Reject::UnknownHost(UnknownHost::Close) | Reject::ClientGone, _) => return Err(HangUp),
                (reject, None) => reject.response(),
                (reject, Some(policy)) => reject.response_among(&policy.spec.headers.response),
            };
            account.answered(response.status());
            if is_call { grpc::told(response) } else { response }
        }
    };
    if account.client().way().secure
        && let Some(hsts) = &worker.routes().table.edge().https.hsts
    {
        response.headers_mut().entry(STRICT_TRANSPORT_SECURITY).or_insert_with(|| hsts.clone());
    }
    Ok(response.map(|body| Accounted::new(body, account)))
}

/// A request that gets no answer of its app's, and the app's policy once it is known whose it is.
struct Refused {
    reject: Reject,
    policy: Option<Arc<Policy>>,
}

impl From<Reject> for Refused {
    fn from(reject: Reject) -> Self {
        Self { reject, policy: None }
    }
}

async fn forward(
    worker: &Rc<Worker>,
    account: &mut Account,
    head: &mut request::Parts,
    body: Incoming,
) -> Result<Response<Body>, Refused> {
    let routes = worker.routes();
    let edge = routes.table.edge();
    let origin = Origin::of(account.client(), head, &edge.clients);
    account.comes_from(origin.ip);
    let target = checks::check(head, &edge.clients)?;
    if target.path == HEALTH_PATH && head.method != Method::CONNECT {
        return Ok(respond::text_response(StatusCode::OK, "ok\n"));
    }
    let known = || routes.table.knows(target.host);
    if (target.path == "*" || checks::goes_no_further(head)) && known() {
        return Ok(respond::options(&head.method));
    }
    let found = routes.table.find(target.host, target.path);
    let found = found.ok_or_else(|| routes.table.miss(target.host))?;
    if let Some(port) = edge.https.redirect
        && !origin.secure
    {
        return Ok(redirect::to_https(target.host, port, &head.uri)?);
    }
    let entry = match found.target {
        Target::App(entry) => entry,
        Target::Redirect(index) => {
            return Ok(redirect::response(routes.table.redirect(index), &head.uri, found.prefix)?);
        }
    };
    let policy = &routes.table.entry(entry).policy;
    let refused = |reject| Refused { reject, policy: Some(Arc::clone(policy)) };
    if let Some(rate) = &policy.rate
        && let Err(wait) = rate.take(origin.ip)
    {
        // What is refused like this is to wake nobody, and to keep nobody awake.
        account.belongs_to(routes.unrecorded(entry), &policy.spec.name);
        return Err(refused(Reject::RateLimited(wait)));
    }
    account.belongs_to(routes.record(entry, clock::coarse()), &policy.spec.name);
    let way = Way { worker, routes: &routes, entry, account };
    pass_on(way, origin, policy, found.prefix, head, body).await.map_err(refused)
}

/// Hands a request on to its app, and the answer back.
async fn pass_on(
    way: Way<'_>,
    origin: Origin,
    policy: &Policy,
    prefix: usize,
    head: &mut request::Parts,
    body: Incoming,
) -> Result<Response<Body>, Reject> {
    let Way { worker, account, .. } = way;
    let (client, spec) = (account.client(), &policy.spec);
    let is_call = grpc::is_call(head.version, &head.headers);
    let limits = Limits { most: spec.max_body, patience: (!is_call).then_some(spec.body_timeout) };
    let connecting = head.method == Method::CONNECT;
    let found = Found::among(&head.headers, client.is_trusted());
    let upgrade = if connecting {
        Some(connect::ask(head)?)
    } else if found.of_one_hop {
        headers::upgrade_of(&head.headers)
    } else {
        None
    };
    let client_switches = upgrade.as_ref().and_then(|_| body.switching(head));
    let upgrade = upgrade.filter(|_| client_switches.is_some());
    let (upload, progress) = Upload::new(body, limits)?;
    let (http2, guessed) = match spec.protocol {
        Protocol::Http1 => (false, false),
        Protocol::H2c => (upgrade.is_none(), upgrade.is_some()),
        Protocol::Auto => (is_call, is_call),
    };
    let facts = Facts {
        peer: client.ip(),
        address: client.address().clone(),
        trusted: client.is_trusted(),
        secure: client.way().secure,
        version: head.version,
        upgrade,
    };
    // A request of HTTP/1.1 has one.
    if head.version != Version::HTTP_11 && !head.headers.contains_key(HOST) {
        head.headers.insert(HOST, named_host(head, client));
    }
    let tie = Tie::of(head, policy, prefix, origin.ip, origin.secure);
    prepare_head(head, policy, prefix)?;
    checks::count_down(head);
    headers::prepare_request(&mut head.headers, found, facts);
    rules::apply(&spec.headers.request, &mut head.headers);
    if http2 {
        headers::move_host(head)?;
    }
    let patience = if is_call { grpc::timeout(&head.headers) } else { None };
    if !http2 && progress.is_some() && !head.headers.contains_key(CONTENT_LENGTH) {
        // The body says nothing of its length.
        head.headers.insert(TRANSFER_ENCODING, HeaderValue::from_static("chunked"));
    }
    let order = Order {
        time: patience.map_or(spec.timeout, |time| time.min(spec.timeout)),
        speech: Speech { http2, guessed },
    };
    let (response, lease) = way.send(head, upload, progress, order, &tie).await?;

    let (mut head, answer) = response.into_parts();
    let switching = head.status == StatusCode::SWITCHING_PROTOCOLS;
    // What was asked for may have been a list.
    let speaks_websocket = switching && head.headers.get(UPGRADE).is_some_and(is_websocket);
    headers::prepare_response(&mut head.headers, switching);
    if account.has_waited()
        && let Some(waking) = lease.waited_for().answered_who_waited(account.started())
        && spec.server_timing
    {
        head.headers.append("server-timing", waking.server_timing());
    }
    rules::apply(&spec.headers.response, &mut head.headers);
    tie.keep(&mut head.headers, &spec.name, lease.replica(), &worker.secret);
    // In which one the client is answered is for its connection to say.
    head.version = Version::HTTP_11;
    if connecting && !switching && head.status.is_success() {
        // To who has asked in HTTP/2 it would say that there is a WebSocket.
        return Err(Reject::UpstreamProtocol);
    }
    if !switching {
        return Ok(Response::from_parts(head, Body::upstream(answer, lease)));
    }
    // A switch that nobody asked for would leave the client waiting for an answer that never comes.
    let client_switches = client_switches.ok_or(Reject::UpstreamProtocol)?;
    let (claim, replica) = lease.switch();
    let sides = (client_switches, replica.ok_or(Reject::UpstreamProtocol)?);
    upgrade::join(worker, client, sides, claim, speaks_websocket.then_some(spec.websocket));
    if connecting {
        connect::answer(&mut head);
    }
    Ok(Response::from_parts(head, Body::Whole(None)))
}

fn is_websocket(upgrade: &HeaderValue) -> bool {
    upgrade.as_bytes().eq_ignore_ascii_case(b"websocket")
}

/// Where a request comes from, as far as those are believed through whom it has come.
#[derive(Clone, Copy)]
struct Origin {
    /// Its client.
    ip: IpAddr,
    /// Whether that has come by TLS.
    secure: bool,
}

impl Origin {
    fn of(client: &Client, head: &request::Parts, spec: &ClientsSpec) -> Self {
        let (peer, secure) = (client.ip(), client.way().secure);
        if !client.is_trusted() {
            return Self { ip: peer, secure };
        }
        let ip = forwarded::client(&head.headers, peer, &spec.trusted_proxies);
        Self { ip, secure: secure || forwarded::is_secure(&head.headers) }
    }
}

/// What a request is for that has no `Host`: HTTP/2 says it in the target, an HTTP/1.0 client need not say it at all,
/// and the replica is spoken to in a version that must.
fn named_host(head: &request::Parts, client: &Client) -> HeaderValue {
    let named = head.uri.authority().and_then(|named| HeaderValue::from_str(named.as_str()).ok());
    named.unwrap_or_else(|| client.reached())
}

/// The request line as the replica gets it: a path alone, without its route's prefix where that is asked for.
fn prepare_head(head: &mut request::Parts, policy: &Policy, prefix: usize) -> Result<(), Reject> {
    head.version = Version::HTTP_11;
    let strip = policy.spec.strip_prefix && prefix > 0;
    if !strip && head.uri.scheme().is_none() {
        return Ok(());
    }
    let path = head.uri.path_and_query().map_or("/", PathAndQuery::as_str);
    let rest = if strip { &path[prefix..] } else { path };
    let uri = if rest.starts_with('/') { rest.parse::<Uri>() } else { format!("/{rest}").parse::<Uri>() };
    head.uri = uri.map_err(|_| Reject::BadRequest("the target is no path"))?;
    Ok(())
}
