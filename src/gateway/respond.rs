//! The one table that turns an outcome into a response.

use std::time::Duration;

use bytes::Bytes;
use http::header::{ALLOW, CACHE_CONTROL, CONNECTION, CONTENT_LENGTH, CONTENT_TYPE, RETRY_AFTER};
use http::{HeaderName, HeaderValue, Method, Response, StatusCode};

use crate::app::clock::{self, Millis};
use crate::app::tally::Refusal;
use crate::app::{Denied, Trouble, TroubleKind};
use crate::config::spec::{HeaderChanges, UnknownHost};
use crate::gateway::body::Body;
use crate::gateway::rules;

/// Says why the proxy answered in the app's stead.
pub const REASON: HeaderName = HeaderName::from_static("x-pilotlight-reason");

/// To a client that awaits a word before it sends its body. What is said before there is an answer is written down here as
/// it goes out.
pub const CONTINUE: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";

/// To a client whose head did not come in time.
pub const LATE: &[u8] = b"HTTP/1.1 408 Request Timeout\r\nconnection: close\r\ncontent-type: text/plain; \
charset=utf-8\r\ncontent-length: 20\r\nx-pilotlight-reason: request-timeout\r\n\r\n408 request-timeout\n";

/// To a connection too many.
pub const FULL: &[u8] =
    b"HTTP/1.1 503 Service Unavailable\r\nconnection: close\r\ncontent-type: text/plain; \
charset=utf-8\r\ncontent-length: 21\r\nretry-after: 1\r\nx-pilotlight-reason: connections-full\r\n\r\n\
503 connections-full\n";

/// To a client that speaks HTTP where TLS is spoken.
pub const CLEAR_AT_TLS: &[u8] =
    b"HTTP/1.1 400 Bad Request\r\nconnection: close\r\ncontent-type: text/plain; \
charset=utf-8\r\ncontent-length: 55\r\nx-pilotlight-reason: bad-request: TLS is spoken here\r\n\r\n\
400 bad-request: TLS is spoken here, so write https://\n";

/// Why a request gets no answer of its app's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reject {
    /// The request is not one that may be passed on; the text says why.
    BadRequest(&'static str),
    /// CONNECT: this is no forward proxy.
    Connect,
    /// More headers than a request may have.
    HeaderTooLarge,
    /// A longer target than a request may have.
    UriTooLong,
    /// A larger body than the app takes.
    BodyTooLarge,
    /// The rest of the request did not come in time.
    BodyTimeout,
    /// The client asks more often than it may; in how long it may again.
    RateLimited(Duration),
    /// Nobody is served under this host and path.
    NoRoute,
    /// No route names this host. The policy may be to answer nothing at all.
    UnknownHost(UnknownHost),
    /// See [`Denied`].
    Denied(Denied),
    /// Nobody could be reached, or the connection ended before a byte of the answer.
    UpstreamConnect,
    /// The answer was no HTTP.
    UpstreamProtocol,
    /// No answer began in time.
    UpstreamTimeout,
    /// The client has left, or broken its request off; nobody reads the answer.
    ClientGone,
}

impl Reject {
    /// What it is counted as; nothing where nobody is there to be refused.
    #[must_use]
    pub fn refusal(&self) -> Option<Refusal> {
        Some(match self {
            Self::BadRequest(_) | Self::Connect => Refusal::BadRequest,
            Self::HeaderTooLarge => Refusal::HeaderTooLarge,
            Self::UriTooLong => Refusal::UriTooLong,
            Self::BodyTooLarge => Refusal::BodyTooLarge,
            Self::BodyTimeout => Refusal::RequestTimeout,
            Self::RateLimited(_) => Refusal::RateLimited,
            Self::NoRoute | Self::UnknownHost(_) => Refusal::NoRoute,
            Self::Denied(Denied::QueueFull) => Refusal::HoldFull,
            Self::Denied(Denied::TimedOut) => Refusal::HoldTimeout,
            Self::Denied(Denied::Trouble(trouble)) => match trouble.kind {
                TroubleKind::StartFailed => Refusal::StartFailed,
                TroubleKind::Runtime => Refusal::Runtime,
                TroubleKind::Upstream => Refusal::UpstreamDown,
                TroubleKind::ShuttingDown => Refusal::ShuttingDown,
            },
            Self::UpstreamConnect => Refusal::UpstreamConnect,
            Self::UpstreamProtocol => Refusal::UpstreamProtocol,
            Self::UpstreamTimeout => Refusal::UpstreamTimeout,
            Self::ClientGone => return None,
        })
    }

    /// The row: status, reason, and seconds to wait before trying again.
    #[must_use]
    pub fn row(&self) -> (StatusCode, String, Option<u64>) {
        let name = self.refusal().map_or("client-gone", Refusal::name);
        let plain = |status, retry| (status, name.to_owned(), retry);
        match self {
            Self::BadRequest(why) => (StatusCode::BAD_REQUEST, format!("{name}: {why}"), None),
            Self::Connect => (StatusCode::METHOD_NOT_ALLOWED, format!("{name}: no forward proxy"), None),
            Self::HeaderTooLarge => plain(StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE, None),
            Self::UriTooLong => plain(StatusCode::URI_TOO_LONG, None),
            Self::BodyTooLarge => plain(StatusCode::PAYLOAD_TOO_LARGE, None),
            Self::BodyTimeout => plain(StatusCode::REQUEST_TIMEOUT, None),
            Self::RateLimited(wait) => {
                plain(StatusCode::TOO_MANY_REQUESTS, Some(clock::millis(*wait).div_ceil(1000).max(1)))
            }
            // Who is hung up on sees nothing of it.
            Self::NoRoute | Self::UnknownHost(UnknownHost::Close) => plain(StatusCode::NOT_FOUND, None),
            Self::UnknownHost(UnknownHost::Status(status)) => plain(*status, None),
            Self::Denied(Denied::QueueFull) => plain(StatusCode::SERVICE_UNAVAILABLE, Some(1)),
            Self::Denied(Denied::TimedOut) => plain(StatusCode::GATEWAY_TIMEOUT, Some(5)),
            Self::Denied(Denied::Trouble(trouble)) => row_of(name, trouble),
            Self::UpstreamConnect | Self::UpstreamProtocol => plain(StatusCode::BAD_GATEWAY, None),
            Self::UpstreamTimeout => plain(StatusCode::GATEWAY_TIMEOUT, None),
            Self::ClientGone => plain(StatusCode::BAD_REQUEST, None),
        }
    }

    /// Whether where such a request ends is in doubt, and so what follows it; or it is not worth waiting for.
    fn ends_connection(&self) -> bool {
        matches!(
            self,
            Self::BadRequest(_)
                | Self::Connect
                | Self::HeaderTooLarge
                | Self::UriTooLong
                | Self::BodyTooLarge
                | Self::BodyTimeout
        )
    }

    /// The response where no app is concerned.
    #[must_use]
    pub fn response(&self) -> Response<Body> {
        self.response_among(&HeaderChanges::default())
    }

    /// The response with what the app adds to each of its own. What the proxy says itself stands as it is, and
    /// nobody is to keep it, whatever the app's own responses may be kept for.
    #[must_use]
    pub fn response_among(&self, changes: &HeaderChanges) -> Response<Body> {
        let (status, reason, retry_after) = self.row();
        let reason = for_visitors(&reason);
        let text = format!("{} {reason}\n", status.as_u16());
        let mut response = text_response(status, text);
        let headers = response.headers_mut();
        let own = std::mem::take(headers);
        rules::apply(changes, headers);
        headers.extend(own);
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        headers.insert(REASON, header_text(&reason));
        if let Some(seconds) = retry_after {
            headers.insert(RETRY_AFTER, HeaderValue::from(seconds));
        }
        if self.ends_connection() {
            headers.insert(CONNECTION, HeaderValue::from_static("close"));
        }
        if matches!(self, Self::Connect) {
            headers.insert(ALLOW, HeaderValue::from_static("GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS"));
        }
        response
    }
}

fn row_of(name: &str, trouble: &Trouble) -> (StatusCode, String, Option<u64>) {
    let reason = match trouble.kind {
        TroubleKind::StartFailed | TroubleKind::Runtime => format!("{name}: {}", trouble.why),
        // Where an upstream is looked for is the operator's business alone.
        TroubleKind::Upstream | TroubleKind::ShuttingDown => name.to_owned(),
    };
    (StatusCode::SERVICE_UNAVAILABLE, reason, Some(seconds_until(trouble.retry_at, clock::coarse())))
}

/// Whole seconds, at least one: a client that comes a moment too early is refused again.
fn seconds_until(at: Millis, now: Millis) -> u64 {
    clock::millis(at.since(now)).div_ceil(1000).max(1)
}

/// A short plain text.
pub fn text_response(status: StatusCode, text: impl Into<Bytes>) -> Response<Body> {
    let text = text.into();
    let length = HeaderValue::from(text.len());
    let mut response = Response::new(Body::whole(text));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    response.headers_mut().insert(CONTENT_LENGTH, length);
    response
}

/// What the proxy says where a request goes no further than to itself.
#[must_use]
pub fn options(method: &Method) -> Response<Body> {
    if *method != Method::OPTIONS {
        let mut response = text_response(StatusCode::METHOD_NOT_ALLOWED, "405 this far and no further\n");
        response.headers_mut().insert(ALLOW, HeaderValue::from_static("OPTIONS"));
        return response;
    }
    let mut response = text_response(StatusCode::NO_CONTENT, "");
    response.headers_mut().remove(CONTENT_LENGTH);
    response
}

/// Most of a reason that a visitor is shown.
const MAX_REASON: usize = 300;

/// What of a reason anybody may see: its first line, in visible ASCII as a header needs it. What follows is the output of
/// a build or of an app, and for the operator alone, who finds it in the log and in the admin API.
fn for_visitors(reason: &str) -> String {
    let fit = |c: char| if c.is_ascii_graphic() { c } else { ' ' };
    let line: String = reason.lines().take(1).flat_map(str::chars).take(MAX_REASON).map(fit).collect();
    line.trim_end().to_owned()
}

fn header_text(visible: &str) -> HeaderValue {
    HeaderValue::from_str(visible).expect("visible ASCII is a header value")
}

#[cfg(test)]
mod tests {
    use super::*;
    use http_body_util::BodyExt;
    use std::sync::Arc;

    fn start_failed(why: &str) -> Response<Body> {
        let why = why.to_owned();
        let trouble =
            Trouble { kind: TroubleKind::StartFailed, why, refuse: true, retry_at: clock::coarse() };
        Reject::Denied(Denied::Trouble(Arc::new(trouble))).response()
    }

    async fn text(response: Response<Body>) -> String {
        let body = response.into_body().collect().await.unwrap().to_bytes();
        String::from_utf8(body.to_vec()).unwrap()
    }

    #[tokio::test]
    async fn visitors_are_told_a_reasons_first_line() {
        let response = start_failed("exited ✗ with code 1:\n  Traceback in /home/me/secret.py");
        assert_eq!(response.status(), 503);
        assert_eq!(response.headers()[RETRY_AFTER], "1");
        assert_eq!(response.headers()[REASON], "start-failed: exited   with code 1:");
        let length = response.headers()[CONTENT_LENGTH].clone();
        let body = text(response).await;
        assert_eq!(body, "503 start-failed: exited   with code 1:\n");
        assert_eq!(length, body.len().to_string());
    }

    #[tokio::test]
    async fn visitors_are_told_no_more_than_a_header_holds() {
        let response = start_failed(&"x".repeat(5000));
        assert_eq!(response.headers()[REASON].len(), MAX_REASON);
        assert_eq!(text(response).await.len(), "503 \n".len() + MAX_REASON);
    }

    #[test]
    fn a_moment_is_rounded_up_to_a_second() {
        assert_eq!(seconds_until(Millis(4001), Millis(1000)), 4);
        assert_eq!(seconds_until(Millis(1), Millis(1000)), 1);
    }
}
