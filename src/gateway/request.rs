//! Whether a request may be passed on at all, and which host and path it names. What its bytes were like is no longer
//! to be seen here: that `raw_head.rs` has looked at.

use http::header::HOST;
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

/// Checks a request.
///
/// # Errors
/// [`Reject`] with the reason.
pub fn check(head: &Parts) -> Result<Target<'_>, Reject> {
    if head.method == Method::CONNECT {
        return Err(Reject::Connect);
    }
    let host = host_of(head)?;
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

#[cfg(test)]
mod tests {
    use http::Request;

    use super::*;

    fn rejected(request: http::request::Builder) -> Option<&'static str> {
        match check(&request.body(()).unwrap().into_parts().0) {
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
        assert_eq!(check(&connect.into_parts().0), Err(Reject::Connect));
        let star = |method: &str| Request::builder().method(method).uri("*").header("host", "a");
        assert_eq!(rejected(star("OPTIONS")), None);
        assert_eq!(rejected(star("GET")), Some("the target is no path"));
    }
}
