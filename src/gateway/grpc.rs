//! gRPC: how a call is known, and how it is told what the proxy has to say. The calls themselves are streams like all
//! others.

use std::time::Duration;

use http::header::{CACHE_CONTROL, CONTENT_LENGTH, CONTENT_TYPE};
use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode, Version};

use crate::gateway::body::Body;
use crate::gateway::respond::REASON;

static STATUS: HeaderName = HeaderName::from_static("grpc-status");
static MESSAGE: HeaderName = HeaderName::from_static("grpc-message");
static TIMEOUT: HeaderName = HeaderName::from_static("grpc-timeout");

/// Whether this is a call: HTTP/2 and `application/grpc`, or that with the form of its messages behind a `+` or a `;`.
/// `application/grpc-web` is not: it goes by any HTTP.
#[must_use]
pub fn is_call(version: Version, headers: &HeaderMap) -> bool {
    if version != Version::HTTP_2 {
        return false;
    }
    let kind = headers.get(CONTENT_TYPE).map(HeaderValue::as_bytes).unwrap_or_default();
    let rest = kind.strip_prefix(b"application/grpc");
    rest.is_some_and(|rest| matches!(rest.first(), None | Some(b'+' | b';')))
}

/// How long the caller waits, gRPC over HTTP/2, "Timeout": at most eight digits and a unit.
#[must_use]
pub fn timeout(headers: &HeaderMap) -> Option<Duration> {
    let text = headers.get(&TIMEOUT)?.to_str().ok()?;
    let (digits, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    let plain = !digits.is_empty() && digits.len() <= 8 && digits.bytes().all(|byte| byte.is_ascii_digit());
    let count: u64 = digits.parse().ok().filter(|_| plain)?;
    match unit {
        "H" => Some(Duration::from_hours(count)),
        "M" => Some(Duration::from_mins(count)),
        "S" => Some(Duration::from_secs(count)),
        "m" => Some(Duration::from_millis(count)),
        "u" => Some(Duration::from_micros(count)),
        "n" => Some(Duration::from_nanos(count)),
        _ => None,
    }
}

/// The proxy's own response as one to a call: a status of gRPC without messages, in the one block of headers.
#[must_use]
pub fn told(response: Response<Body>) -> Response<Body> {
    let (status, mut headers) = (response.status(), response.into_parts().0.headers);
    let reason = headers.get(&REASON).cloned().unwrap_or(HeaderValue::from_static(""));
    headers.remove(CONTENT_LENGTH);
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(&STATUS, HeaderValue::from(code(status)));
    headers.insert(&MESSAGE, escaped(&reason));
    let mut response = Response::new(Body::Whole(None));
    *response.headers_mut() = headers;
    response
}

/// What gRPC calls a status of the outcome table.
fn code(status: StatusCode) -> u16 {
    match status.as_u16() {
        // INTERNAL: no gRPC library sends such a request.
        400..=403 | 405..=407 => 13,
        // UNIMPLEMENTED: nobody here has the service.
        404 => 12,
        // CANCELLED: the caller's own messages have stopped.
        408 => 1,
        // RESOURCE_EXHAUSTED.
        413 | 414 | 429 | 431 => 8,
        // DEADLINE_EXCEEDED.
        504 => 4,
        // UNAVAILABLE: it may be tried again.
        _ => 14,
    }
}

/// A reason is visible ASCII and spaces; of these `%` alone is written in another way.
fn escaped(reason: &HeaderValue) -> HeaderValue {
    let text = reason.to_str().unwrap_or_default().replace('%', "%25");
    HeaderValue::try_from(text).unwrap_or(HeaderValue::from_static(""))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gateway::respond::Reject;

    fn with(name: &'static str, value: &'static str) -> HeaderMap {
        HeaderMap::from_iter([(HeaderName::from_static(name), HeaderValue::from_static(value))])
    }

    #[test]
    fn calls_are_known_by_their_content_type() {
        for call in ["application/grpc", "application/grpc+proto", "application/grpc;v=1"] {
            assert!(is_call(Version::HTTP_2, &with("content-type", call)), "{call}");
            assert!(!is_call(Version::HTTP_11, &with("content-type", call)), "{call}");
        }
        for other in ["application/grpc-web", "application/grpc-web+proto", "application/json", ""] {
            assert!(!is_call(Version::HTTP_2, &with("content-type", other)), "{other}");
        }
        assert!(!is_call(Version::HTTP_2, &HeaderMap::new()));
    }

    #[test]
    fn deadlines() {
        let read = |text| timeout(&with("grpc-timeout", text));
        assert_eq!(read("100m"), Some(Duration::from_millis(100)));
        assert_eq!(read("2S"), Some(Duration::from_secs(2)));
        assert_eq!(read("99999999H"), Some(Duration::from_hours(99_999_999)));
        for wrong in ["", "S", "1", "1s", "-1S", "+1S", "123456789S", "1 S"] {
            assert_eq!(read(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn what_the_proxy_says_is_a_status_of_grpc() {
        let response = told(Reject::NoRoute.response());
        assert_eq!(response.status(), 200);
        assert_eq!(response.headers()["grpc-status"], "12");
        assert_eq!(response.headers()["grpc-message"], "no-route");
        assert_eq!(response.headers()["content-type"], "application/grpc");
        assert!(!response.headers().contains_key("content-length"));
        let code_of = |reject: Reject| told(reject.response()).headers()["grpc-status"].clone();
        assert_eq!(code_of(Reject::UpstreamConnect), "14");
        assert_eq!(code_of(Reject::UpstreamTimeout), "4");
        assert_eq!(code_of(Reject::BadRequest("100 %")), "13");
        assert_eq!(escaped(&HeaderValue::from_static("100 %")), "100 %25");
    }
}
