//! Whether a request may be passed on at all, and which host and path it names. Refuses what the HTTP parser
//! lets through and another parser further on might read otherwise.

use http::header::{HOST, TRANSFER_ENCODING};
use http::request::Parts;
use http::{Method, Version};

use crate::gateway::respond::Reject;

/// What a request names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target<'a> {
    /// As the client wrote it, with a port; empty where an HTTP/1.0 client said nothing.
    pub host: &'a str,
    /// Begins with `/`; or `*` of OPTIONS.
    pub path: &'a str,
}

/// Checks a request. `has_length` tells of a `Content-Length` that the parser has dropped.
///
/// # Errors
/// [`Reject`] with the reason.
pub fn check(head: &Parts, has_length: impl FnOnce() -> bool) -> Result<Target<'_>, Reject> {
    if head.method == Method::CONNECT {
        return Err(Reject::Connect);
    }
    let host = host_of(head)?;
    if let Some(coding) = head.headers.get(TRANSFER_ENCODING) {
        if !coding.as_bytes().eq_ignore_ascii_case(b"chunked")
            || head.headers.get_all(TRANSFER_ENCODING).iter().nth(1).is_some()
        {
            return Err(Reject::BadRequest("a transfer coding other than chunked"));
        }
        if has_length() {
            return Err(Reject::BadRequest("Transfer-Encoding together with Content-Length"));
        }
    }
    let path = head.uri.path();
    let whole_server = path == "*" && head.method == Method::OPTIONS;
    if !path.starts_with('/') && !whole_server {
        return Err(Reject::BadRequest("the target is no path"));
    }
    Ok(Target { host, path })
}

fn host_of(head: &Parts) -> Result<&str, Reject> {
    let mut lines = head.headers.get_all(HOST).iter();
    let host = match (lines.next(), lines.next()) {
        (None, _) if head.version == Version::HTTP_10 => "",
        (None, _) => return Err(Reject::BadRequest("no Host")),
        (Some(_), Some(_)) => return Err(Reject::BadRequest("more than one Host")),
        (Some(host), None) => host.to_str().map_err(|_| Reject::BadRequest("a malformed Host"))?,
    };
    if !host.is_empty() && !is_host(host) {
        return Err(Reject::BadRequest("a malformed Host"));
    }
    match head.uri.authority() {
        Some(named) if !named.as_str().eq_ignore_ascii_case(host) => {
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
        None => match host.split_once(':') {
            Some((name, port)) => (name, Some(port)),
            None => (host, Some("")),
        },
    };
    let in_name = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_');
    let named = !name.is_empty() && name.len() <= 255 && name.bytes().all(in_name);
    named && port.is_some_and(|port| port.len() <= 5 && port.bytes().all(|byte| byte.is_ascii_digit()))
}

/// Whether the head with which `received` begins has a `Content-Length` line. The parser drops the line where there
/// is a `Transfer-Encoding` too, so this looks at the bytes themselves.
///
/// A pipelined head may have come along with the request before it, and is then not there to be looked at: the
/// answer is no. That is safe: the parser goes by the coding alone and closes the connection behind such a
/// request, RFC 9112 section 6.1.
#[must_use]
pub fn has_length(received: &[u8], method: &str) -> bool {
    let start = received.iter().position(|byte| !matches!(byte, b'\r' | b'\n')).unwrap_or_default();
    let mut lines = received[start..].split(|byte| *byte == b'\n');
    let first = lines.next().and_then(|line| line.strip_prefix(method.as_bytes()));
    let mut fields = lines.take_while(|line| !line.is_empty() && *line != b"\r");
    first.is_some_and(|rest| rest.starts_with(b" "))
        && fields.any(|line| line.len() > 14 && line[..14].eq_ignore_ascii_case(b"content-length"))
}

#[cfg(test)]
mod tests {
    use http::Request;

    use super::*;

    fn rejected(request: http::request::Builder) -> Option<&'static str> {
        match check(&request.body(()).unwrap().into_parts().0, || false) {
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
        assert_eq!(check(&connect.into_parts().0, || false), Err(Reject::Connect));
        let star = |method: &str| Request::builder().method(method).uri("*").header("host", "a");
        assert_eq!(rejected(star("OPTIONS")), None);
        assert_eq!(rejected(star("GET")), Some("the target is no path"));
    }

    #[test]
    fn a_length_beside_chunked_is_seen_in_the_bytes() {
        let head = b"POST /a HTTP/1.1\r\nHost: a\r\ncontent-LENGTH: 3\r\nTransfer-Encoding: chunked\r\n\r\n";
        assert!(has_length(head, "POST"));
        let without =
            b"POST /a HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nContent-Length: 3\r\n";
        assert!(!has_length(without, "POST"));
        let alike = [&head[..], b"24\r\n", without].concat();
        assert!(has_length(&alike, "POST"), "a body that looks like a head hides nothing");
        assert!(has_length(&[b"\r\n", &head[..]].concat(), "POST"));
        assert!(!has_length(b"of an earlier body\r\nContent-Length: 3\r\n\r\n", "POST"));
        assert!(!has_length(b"", "POST"));
    }
}
