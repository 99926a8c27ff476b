//! The way of a request: checked, routed, metered, claimed or held, forwarded, answered.

use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use http::header::{CONTENT_LENGTH, HOST};
use http::uri::PathAndQuery;
use http::{Request, Response, StatusCode, Uri, Version, request};
use hyper::body::Incoming;
use hyper::upgrade::OnUpgrade;
use tokio::time::Instant;

use crate::app::replica::Claim;
use crate::app::{App, Policy, clock};
use crate::config::spec::UnknownHost;
use crate::gateway::account::{Account, Accounted};
use crate::gateway::body::{Body, Progress, Upload};
use crate::gateway::client::Client;
use crate::gateway::pool::Lease;
use crate::gateway::respond::{self, Reject};
use crate::gateway::route::Target;
use crate::gateway::upstream::Exchange;
use crate::gateway::worker::{LocalRoutes, Worker};
use crate::gateway::{headers, redirect, request as checks, rules, upgrade};

/// The proxy's own health, on the public address: wakes nothing.
const HEALTH_PATH: &str = "/.pilotlight/health";

/// How often a request is tried in all. Each further attempt goes to another replica, or waits for one.
const ATTEMPTS: u32 = 4;

/// The client gets no answer: its connection is to be closed.
#[derive(Debug, thiserror::Error)]
#[error("closed without an answer: nobody has the host")]
pub struct HangUp;

/// Answers one request, whatever happens.
///
/// # Errors
/// Where the file says that this client gets no answer.
pub async fn answer(
    worker: Rc<Worker>,
    client: Arc<Client>,
    request: Request<Incoming>,
) -> Result<Response<Accounted>, HangUp> {
    let mut account = Account::open(Rc::clone(&worker.unrouted));
    // From here on the head stays where it is: what is handed down by value stands once more at each level of what is
    // kept for a request that waits.
    let (mut head, body) = request.into_parts();
    let response = match forward(&worker, &client, &mut account, &mut head, body).await {
        Ok(response) => {
            account.answered(response.status());
            response
        }
        Err(Refused { reject, policy }) => {
            let refusal = reject.refusal();
            if let Some(why) = refusal {
                account.refused(why);
            }
            let response = match (reject, policy) {
                (Reject::UnknownHost(UnknownHost::Close), _) => return Err(HangUp),
                (reject, None) => reject.response(),
                (reject, Some(policy)) => reject.response_among(&policy.spec.headers.response),
            };
            // Who has left is told in vain.
            if refusal.is_some() {
                account.answered(response.status());
            }
            response
        }
    };
    if response.status() == StatusCode::SWITCHING_PROTOCOLS {
        client.forget_heads();
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
    client: &Arc<Client>,
    account: &mut Account,
    head: &mut request::Parts,
    body: Incoming,
) -> Result<Response<Body>, Refused> {
    client.next_head().map_err(Reject::BadRequest)?;
    let target = checks::check(head)?;
    if target.path == HEALTH_PATH {
        return Ok(respond::text_response(StatusCode::OK, "ok\n"));
    }
    let routes = worker.routes();
    if target.path == "*" && routes.table.knows(target.host) {
        let mut response = respond::text_response(StatusCode::NO_CONTENT, "");
        response.headers_mut().remove(CONTENT_LENGTH);
        return Ok(response);
    }
    let found = routes.table.find(target.host, target.path);
    let found = found.ok_or_else(|| routes.table.miss(target.host))?;
    let entry = match found.target {
        Target::App(entry) => entry,
        Target::Redirect(index) => {
            return Ok(redirect::response(routes.table.redirect(index), &head.uri, found.prefix)?);
        }
    };
    account.belongs_to(routes.record(entry, clock::coarse().0));
    let policy = &routes.table.entry(entry).policy;
    let way = Way { worker, client, routes: &routes, entry, account };
    let refused = |reject| Refused { reject, policy: Some(Arc::clone(policy)) };
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
    let Way { worker, client, .. } = way;
    let upgrading = headers::upgrade_of(&head.headers);
    let on_upgrade = upgrading.as_ref().and_then(|_| head.extensions.remove::<OnUpgrade>());
    prepare_head(head, policy, prefix)?;
    if !head.headers.contains_key(HOST) {
        // An HTTP/1.0 client need not say; the replica is spoken to in a version that must.
        head.headers.insert(HOST, client.reached());
    }
    headers::prepare_request(&mut head.headers, client.ip(), upgrading);
    rules::apply(&policy.spec.headers.request, &mut head.headers);
    let (upload, progress) = Upload::new(body);
    let (response, lease) = way.send(head, upload, progress).await?;

    let (mut head, incoming) = response.into_parts();
    let switching = head.status == StatusCode::SWITCHING_PROTOCOLS;
    headers::prepare_response(&mut head.headers, switching);
    rules::apply(&policy.spec.headers.response, &mut head.headers);
    // The client's version is the parser's to know; told of an older one here, it would close the connection of a
    // client that has asked to keep it.
    head.version = Version::HTTP_11;
    if !switching {
        return Ok(Response::from_parts(head, Body::upstream(incoming, lease)));
    }
    // A switch that nobody asked for would leave the client waiting for an answer that never comes.
    let on_upgrade = on_upgrade.ok_or(Reject::UpstreamProtocol)?;
    let mut response = Response::from_parts(head, incoming);
    upgrade::join(worker, on_upgrade, hyper::upgrade::on(&mut response), lease.into_claim());
    let (head, _) = response.into_parts();
    Ok(Response::from_parts(head, Body::Whole(None)))
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

/// What stands in the place of a head that is gone.
fn nothing() -> request::Parts {
    Request::new(()).into_parts().0
}

/// One request between its route and its answer.
struct Way<'a> {
    worker: &'a Rc<Worker>,
    client: &'a Client,
    routes: &'a LocalRoutes,
    entry: usize,
    account: &'a Account,
}

impl Way<'_> {
    /// Claims and sends, again where that is safe.
    async fn send(
        &self,
        head: &mut request::Parts,
        mut upload: Upload,
        progress: Option<Arc<Progress>>,
    ) -> Result<(Response<Incoming>, Lease), Reject> {
        let entry = self.routes.table.entry(self.entry);
        let spec = &entry.policy.spec;
        let deadline = self.account.started() + spec.timeout;
        // Sending twice is the same as sending once, RFC 9110 section 9.2.2. Not to more than two replicas: it may be
        // this very request that ends them. One that is ending may take it more than once.
        let replay = progress.is_none() && head.method.is_idempotent();
        let mut first_hit = None;
        let mut request = None;
        let mut attempt = 1;
        loop {
            let claim = self.claim(&entry.app, &entry.policy, deadline).await?;
            let replica = claim.replica().key;
            let exchange = Exchange {
                pool: Rc::clone(&self.worker.pool),
                claim,
                progress: progress.clone(),
                deadline,
                timeout: spec.timeout,
                keep_alive: spec.keep_alive,
                fresh: attempt > 1,
            };
            if request.is_none() {
                // Not before it is needed: who waits has one head, not two.
                let head = if replay { head.clone() } else { std::mem::replace(head, nothing()) };
                request = Some(Request::from_parts(head, std::mem::replace(&mut upload, Upload::none())));
            }
            let reject = match exchange.run(&mut request).await {
                Ok(answered) => return Ok(answered),
                Err(reject) => reject,
            };
            let unsent = request.is_some();
            let again = unsent
                || (replay
                    && reject == Reject::UpstreamConnect
                    && *first_hit.get_or_insert(replica) == replica);
            if !again || attempt == ATTEMPTS {
                return Err(reject);
            }
            attempt += 1;
            tracing::debug!(app = entry.app.name, attempt, "sending a request again");
        }
    }

    /// A claim at once, or after its turn in the hold queue.
    async fn claim(&self, app: &Arc<App>, policy: &Policy, deadline: Instant) -> Result<Claim, Reject> {
        if let Some(claim) = app.claim() {
            return Ok(claim);
        }
        let (hold, now) = (policy.spec.hold, Instant::now());
        let time = hold.timeout.min(deadline.saturating_duration_since(now));
        let time = time.max(Duration::from_millis(1));
        let ticket = app.queue(hold.max).map_err(Reject::Denied)?;
        let _held = self.account.hold(now);
        // The parser watches only a client of whom there is nothing left to read.
        tokio::select! {
            claim = app.wait(ticket, time) => claim.map_err(Reject::Denied),
            () = self.client.gone() => Err(Reject::ClientGone),
        }
    }
}
