//! The way of a request: checked, routed, metered, claimed or held, forwarded, answered.

use std::net::IpAddr;
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use http::header::{CONTENT_LENGTH, HOST, STRICT_TRANSPORT_SECURITY, TRANSFER_ENCODING, UPGRADE};
use http::uri::PathAndQuery;
use http::{HeaderValue, Method, Response, StatusCode, Uri, Version, request};
use tokio::time::Instant;

use crate::app::affinity::Wish;
use crate::app::replica::Claim;
use crate::app::scout::Offer;
use crate::app::tally::Again;
use crate::app::{App, Policy, Ticket, clock};
use crate::config::spec::{ClientsSpec, Probe, Protocol, UnknownHost};
use crate::gateway::account::{Account, Accounted, Held};
use crate::gateway::affinity::Tie;
use crate::gateway::body::{Answer, Body};
use crate::gateway::client::Client;
use crate::gateway::headers::{Facts, Found};
use crate::gateway::pool::Lease;
use crate::gateway::respond::{self, Reject};
use crate::gateway::route::{Entry, Target};
use crate::gateway::upload::{Incoming, Limits, Progress, Upload};
use crate::gateway::upstream::{Exchange, Failed, Parcel, Speech};
use crate::gateway::worker::{LocalRoutes, Worker};
use crate::gateway::{connect, forwarded, grpc, headers, redirect, request as checks, rules, upgrade};

/// The proxy's own health, on the public address: wakes nothing.
const HEALTH_PATH: &str = "/.pilotlight/health";

/// How often a request is tried in all. Each further attempt goes to another replica, or waits for one.
const ATTEMPTS: u32 = 4;

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
    let way = Way { worker, routes: &routes, entry, account, origin };
    pass_on(way, policy, found.prefix, head, body).await.map_err(refused)
}

/// Hands a request on to its app, and the answer back.
async fn pass_on(
    way: Way<'_>,
    policy: &Policy,
    prefix: usize,
    head: &mut request::Parts,
    body: Incoming,
) -> Result<Response<Body>, Reject> {
    let Way { worker, account, origin, .. } = way;
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

/// What servers say, and proxies in front of them, while an app is on its way up.
fn is_not_ready(status: StatusCode) -> bool {
    matches!(status.as_u16(), 502..=504)
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

/// One request between its route and its answer.
struct Way<'a> {
    worker: &'a Rc<Worker>,
    routes: &'a LocalRoutes,
    entry: usize,
    account: &'a Account,
    origin: Origin,
}

/// How a request is sent.
#[derive(Clone, Copy)]
struct Order {
    /// For its answer to begin.
    time: Duration,
    speech: Speech,
}

impl<'a> Way<'a> {
    /// Claims and sends, again where that is safe.
    async fn send(
        &self,
        head: &mut request::Parts,
        upload: Upload,
        progress: Option<Arc<Progress>>,
        Order { time, speech }: Order,
        tie: &Tie,
    ) -> Result<(Response<Answer>, Lease), Reject> {
        let entry: &Entry = self.routes.table.entry(self.entry);
        let spec = &entry.policy.spec;
        let deadline = self.account.started() + time;
        // Sending twice is the same as sending once, RFC 9110 section 9.2.2. Not to more than two replicas: it may be
        // this very request that ends them. One that is ending may take it more than once.
        let replay = progress.is_none() && head.method.is_idempotent();
        // What a replica of HTTP/2 has refused it has not begun with, whatever it is.
        let keep_head = replay || (speech.http2 && progress.is_none());
        let mut parcel = Parcel { head, upload, keep: keep_head, sent: false };
        let goes_ahead = replay && spec.health.probe == Probe::Request;
        let (mut waiting, mut went_ahead, mut granted, mut first_hit) = (None, false, None, None);
        let mut attempt = 1;
        let mut wish = tie.wish(&self.worker.secret);
        loop {
            let may_go_ahead = goes_ahead && !went_ahead;
            let (claim, offer) = match granted.take() {
                Some(claim) => (claim, None),
                None => self.claim(entry, &wish, deadline, may_go_ahead, &mut waiting).await?,
            };
            went_ahead |= offer.is_some();
            let replica = claim.replica().key;
            let exchange = Exchange {
                pool: Rc::clone(&self.worker.pool),
                claim,
                progress: progress.clone(),
                deadline,
                timeout: time,
                speech,
                keep_alive: spec.keep_alive,
                fresh: attempt > 1,
            };
            parcel.sent = false;
            let ended = if offer.is_some() {
                // In a box: it is rare, and would make each connection's task larger by itself.
                let exchange = exchange.run(&mut parcel);
                Box::pin(ahead(&entry.app, replica, exchange, &mut waiting)).await?
            } else {
                Ahead::Ready(exchange.run(&mut parcel).await)
            };
            let Failed { reject, untouched } = match ended {
                // Who went ahead has found nobody ready, and waits on in its place.
                Ahead::Ended(Ok((response, _))) if is_not_ready(response.status()) => continue,
                Ahead::Ended(Err(Failed { reject: Reject::UpstreamConnect, .. })) => {
                    // It may be this that has ended it.
                    if parcel.sent {
                        first_hit = Some(replica);
                    }
                    continue;
                }
                Ahead::Overtaken(claim) => {
                    if parcel.sent {
                        first_hit = Some(replica);
                    }
                    granted = Some(claim);
                    continue;
                }
                Ahead::Ended(Ok(answered)) | Ahead::Ready(Ok(answered)) => {
                    drop(waiting.take());
                    if let Some(offer) = offer {
                        offer.pass().await;
                    }
                    return Ok(answered);
                }
                Ahead::Ended(Err(failed)) | Ahead::Ready(Err(failed)) => failed,
            };
            if attempt == ATTEMPTS {
                return Err(reject);
            }
            // What no replica has had is no more work for the app than it was, however often it is tried.
            let again = if !parcel.sent || (untouched && keep_head) {
                Again::Unsent
            } else if !replay
                || reject != Reject::UpstreamConnect
                || *first_hit.get_or_insert(replica) != replica
            {
                return Err(reject);
            } else if self.routes.may_repeat(self.entry, clock::coarse()) {
                Again::Repeated
            } else {
                Again::Refused
            };
            self.account.again(again);
            if again == Again::Refused {
                return Err(reject);
            }
            wish = Wish { avoid: Some(replica), ..Wish::default() };
            attempt += 1;
            tracing::debug!(app = entry.app.name, attempt, "sending a request again");
        }
    }

    /// A claim at once, or after its turn in the hold queue. Where it `goes_ahead` perhaps before: then on a replica of which
    /// it is not known whether it is ready, and its place in the queue is kept.
    async fn claim(
        &self,
        Entry { app, policy }: &'a Entry,
        wish: &Wish<'_>,
        deadline: Instant,
        goes_ahead: bool,
        waiting: &mut Option<Waiting<'a>>,
    ) -> Result<(Claim, Option<Arc<Offer>>), Reject> {
        if waiting.is_none() {
            if let Some(claim) = app.claim_as(wish) {
                return Ok((claim, None));
            }
            let (hold, now) = (policy.spec.hold, Instant::now());
            let until = (now + hold.timeout).min(deadline);
            let ticket = app.queue(hold.max).map_err(Reject::Denied)?;
            *waiting = Some(Waiting { ticket, until, _held: self.account.hold(now) });
        }
        let Some(Waiting { ticket, until, .. }) = waiting else { unreachable!("it has a ticket") };
        let time = until.saturating_duration_since(Instant::now()).max(Duration::from_millis(1));
        // Its connection's task watches only a client of whom there is nothing left to read.
        let claim = tokio::select! {
            biased;
            claim = app.wait(ticket, time) => claim.map_err(Reject::Denied),
            (claim, offer) = app.go_ahead(), if goes_ahead => return Ok((claim, Some(offer))),
            () = self.account.client().gone() => Err(Reject::ClientGone),
        };
        *waiting = None;
        Ok((claim?, None))
    }
}

/// What becomes of an exchange that goes ahead of the queue.
enum Ahead<T> {
    /// It has come to its end, and nobody knows yet whether the replica is ready.
    Ended(T),
    /// The same of one with a replica that is known to be.
    Ready(T),
    /// Its turn has come on another replica.
    Overtaken(Claim),
}

/// Runs an exchange with the replica of that key while its request still waits. Where its turn comes on that very replica,
/// this is known to be ready, and the exchange one like any other.
async fn ahead<T>(
    app: &App,
    replica: u64,
    exchange: impl Future<Output = T>,
    waiting: &mut Option<Waiting<'_>>,
) -> Result<Ahead<T>, Reject> {
    let mut exchange = pin!(exchange);
    if let Some(line) = waiting {
        let time = line.until.saturating_duration_since(Instant::now());
        let turn = tokio::select! {
            biased;
            ended = &mut exchange => return Ok(Ahead::Ended(ended)),
            turn = app.wait(&mut line.ticket, time) => turn,
        };
        *waiting = None;
        let claim = turn.map_err(Reject::Denied)?;
        if claim.replica().key != replica {
            return Ok(Ahead::Overtaken(claim));
        }
        // One place is enough for it.
        drop(claim);
    }
    Ok(Ahead::Ready(exchange.await))
}

/// A request in the hold queue.
struct Waiting<'a> {
    ticket: Ticket<'a>,
    /// How long it may wait.
    until: Instant,
    _held: Held<'a>,
}
