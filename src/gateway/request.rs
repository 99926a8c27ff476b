//! Whether a request may be passed on at all, and which host and path it names. Refuses what is sound as far as its bytes
//! go, and what another server further on might take for somebody else's.

use http::header::{CONTENT_LENGTH, HOST, TRANSFER_ENCODING};
use http::request::Parts;
use http::uri::{Authority, PathAndQuery};
use http::{HeaderName, HeaderValue, Method, Version};
use hyper::ext::Protocol;
use memchr::memchr;

use crate::config::spec::ClientsSpec;
use crate::gateway::respond::Reject;

/// What a request names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target<'a> {
    /// As the client wrote it, with a port; empty where an HTTP/1.0 client said nothing.
    pub host: &'a str,
    /// Begins with `/`; or `*` of OPTIONS.
    pub path: &'a str,
}

/// Checks a request of a client that may have so much.
///
/// # Errors
/// [`Reject`] with the reason.
pub fn check<'a>(head: &'a Parts, spec: &ClientsSpec) -> Result<Target<'a>, Reject> {
    if head.method == Method::CONNECT && head.extensions.get::<Protocol>().is_none() {
        return Err(Reject::Connect);
    }
    if head.headers.len() > spec.headers {
        return Err(Reject::HeaderTooLarge);
    }
    let host = host_of(head)?;
    // Those of HTTP/1 are checked as they are read.
    if head.version == Version::HTTP_2 {
        let mut codings = head.headers.get_all(TRANSFER_ENCODING).iter();
        if !codings.all(|coding| coding.as_bytes().eq_ignore_ascii_case(b"chunked")) {
            return Err(Reject::BadRequest("a transfer coding other than chunked"));
        }
        if !is_one_length(head) {
            return Err(Reject::BadRequest("a malformed Content-Length"));
        }
    }
    let path = head.uri.path();
    if head.uri.path_and_query().map_or(path, PathAndQuery::as_str).len() > spec.uri_bytes {
        return Err(Reject::UriTooLong);
    }
    let whole_server = path == "*" && head.method == Method::OPTIONS;
    if !path.starts_with('/') && !whole_server {
        return Err(Reject::BadRequest("the target is no path"));
    }
    Ok(Target { host, path })
}

/// Whether a length is said once at most, in digits that everybody reads alike. HTTP/2 frames the body by itself, and
/// its parser is content with less.
fn is_one_length(head: &Parts) -> bool {
    let mut lines = head.headers.get_all(CONTENT_LENGTH).iter().map(HeaderValue::as_bytes);
    let sound = lines
        .next()
        .is_none_or(|length| (1..=18).contains(&length.len()) && length.iter().all(u8::is_ascii_digit));
    sound && lines.next().is_none()
}

static MAX_FORWARDS: HeaderName = HeaderName::from_static("max-forwards");

/// Whether this is for whom it has come to, RFC 9110 section 7.6.2.
#[must_use]
pub fn goes_no_further(head: &Parts) -> bool {
    hops_left(head) == Some(0)
}

/// One hop fewer is left, where they are counted.
pub fn count_down(head: &mut Parts) {
    if let Some(left) = hops_left(head) {
        head.headers.insert(&MAX_FORWARDS, HeaderValue::from(left.saturating_sub(1)));
    }
}

fn hops_left(head: &Parts) -> Option<u64> {
    if head.method != Method::OPTIONS && head.method != Method::TRACE {
        return None;
    }
    head.headers.get(&MAX_FORWARDS)?.to_str().ok()?.parse().ok()
}

/// HTTP/2 says it in the target, and need not say it again.
fn host_of(head: &Parts) -> Result<&str, Reject> {
    let mut lines = head.headers.get_all(HOST).iter();
    let named = head.uri.authority().map(Authority::as_str);
    let host = match (lines.next(), lines.next()) {
        (None, _) if head.version == Version::HTTP_10 => "",
        (None, _) if head.version == Version::HTTP_2 => named.ok_or(Reject::BadRequest("no Host"))?,
        (None, _) => return Err(Reject::BadRequest("no Host")),
        (Some(_), Some(_)) => return Err(Reject::BadRequest("more than one Host")),
        (Some(host), None) => host.to_str().map_err(|_| Reject::BadRequest("a malformed Host"))?,
    };
    if !host.is_empty() && !is_host(host) {
        return Err(Reject::BadRequest("a malformed Host"));
    }
    match named {
        Some(named) if !named.eq_ignore_ascii_case(host) => {
            Err(Reject::BadRequest("the target and Host name different hosts"))
        }
        _ => Ok(host),
    }
}

/// A name or an address, and perhaps a port.
fn is_host(host: &str) -> bool {
    let (name, port) = match host.strip_prefix('[') {
        Some(rest) => match rest.split_once(']') {
            Some((address, "")) => return address.parse::<std::net::Ipv6Addr>().is_ok(),
            Some((address, port)) if address.parse::<std::net::Ipv6Addr>().is_ok() => {
                ("ipv6", port.strip_prefix(':'))
            }
            _ => return false,
        },
        None => match memchr(b':', host.as_bytes()) {
            Some(colon) => (&host[..colon], Some(&host[colon + 1..])),
            None => (host, Some("")),
        },
    };
    let in_name = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_');
    let named = !name.is_empty() && name.len() <= 255 && name.bytes().all(in_name);
    named && port.is_some_and(|port| port.len() <= 5 && port.bytes().all(|byte| byte.is_ascii_digit()))
}

#[cfg(test)]
mod tests {
    use http::Request;

    use super::*;

    fn rejected(request: http::request::Builder) -> Option<&'static str> {
        match check(&request.body(()).unwrap().into_parts().0, &ClientsSpec::default()) {
            Err(Reject::BadRequest(why)) => Some(why),
            Err(other) => panic!("{other:?}"),
            Ok(_) => None,
        }
    }

    #[test]
    fn hosts() {
        let with = |host: &str| Request::get("/").header("host", host);
        for good in ["a", "a.example:80", "127.0.0.1:8080", "[::1]:80", "[::1]", "a_b.example."] {
            assert_eq!(rejected(with(good)), None, "{good}");
        }
        for bad in ["a b", "a/b", "a@b", "a:b", "[::1", "[::1]x", "[zz]", ":80", "a:808080", "a,b"] {
            assert_eq!(rejected(with(bad)), Some("a malformed Host"), "{bad}");
        }
        assert_eq!(rejected(Request::get("/")), Some("no Host"));
        assert_eq!(rejected(Request::get("/").version(Version::HTTP_10)), None);
        assert_eq!(rejected(with("a").header("host", "a")), Some("more than one Host"));
        let absolute = Request::get("http://a.example/").header("host", "b.example");
        assert_eq!(rejected(absolute), Some("the target and Host name different hosts"));
        assert_eq!(rejected(Request::get("http://A.example/").header("host", "a.example")), None);
    }

    #[test]
    fn targets_without_a_path() {
        let connect = Request::connect("a.example:443").header("host", "a.example:443").body(()).unwrap();
        assert_eq!(check(&connect.into_parts().0, &ClientsSpec::default()), Err(Reject::Connect));
        let star = |method: &str| Request::builder().method(method).uri("*").header("host", "a");
        assert_eq!(rejected(star("OPTIONS")), None);
        assert_eq!(rejected(star("GET")), Some("the target is no path"));
    }
}
