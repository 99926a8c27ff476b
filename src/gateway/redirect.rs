//! The answer to a request for something that has moved.

use http::header::LOCATION;
use http::{HeaderValue, Response, StatusCode, Uri};

use crate::config::spec::RedirectSpec;
use crate::gateway::body::Body;
use crate::gateway::respond::{self, Reject};

/// Sends the client on. What follows the first `prefix` bytes of the path goes along as it came, query included. It
/// can name no other host: it begins with `/`, `?` or nothing, and stands behind a whole origin.
///
/// # Errors
/// Where the path has a byte that no header can hold.
pub fn response(rule: &RedirectSpec, uri: &Uri, prefix: usize) -> Result<Response<Body>, Reject> {
    let whole = uri.path_and_query().map_or("/", |path| path.as_str());
    let rest = &whole[prefix..];
    let root = if rule.path.is_empty() && !rest.starts_with('/') { "/" } else { "" };
    moved([&rule.origin, &rule.path, root, rest].concat(), rule.status)
}

/// Sends the client to the same place by TLS, on this port.
///
/// # Errors
/// Where there is no such place: an HTTP/1.0 client did not say which host it means, or the path has a byte that no
/// header can hold.
pub fn to_https(host: &str, port: u16, uri: &Uri) -> Result<Response<Body>, Reject> {
    let name = match host.rfind(':') {
        // Within brackets it is not the port's.
        Some(colon) if !host[colon..].contains(']') => &host[..colon],
        _ => host,
    };
    if name.is_empty() {
        return Err(Reject::BadRequest("no Host"));
    }
    let path = uri.path_and_query().map_or("/", |path| path.as_str());
    let root = if path.starts_with('/') { "" } else { "/" };
    let port = if port == 443 { String::new() } else { format!(":{port}") };
    moved(format!("https://{name}{port}{root}{path}"), StatusCode::PERMANENT_REDIRECT)
}

fn moved(location: String, status: StatusCode) -> Result<Response<Body>, Reject> {
    let location =
        HeaderValue::try_from(location).map_err(|_| Reject::BadRequest("the target is no path"))?;
    let mut response = respond::text_response(status, format!("{status}\n"));
    response.headers_mut().insert(LOCATION, location);
    response.headers_mut().insert(respond::REASON, HeaderValue::from_static("redirect"));
    Ok(response)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::spec::{HostPattern, RouteSpec};

    fn location(path: &str, uri: &str, prefix: usize) -> String {
        let from = RouteSpec { host: HostPattern::Any, path: "/".to_owned() };
        let (origin, path) = ("https://a.example".to_owned(), path.to_owned());
        let rule = RedirectSpec { from, origin, path, status: StatusCode::PERMANENT_REDIRECT };
        let response = response(&rule, &uri.parse().unwrap(), prefix).unwrap();
        response.headers()[LOCATION].to_str().unwrap().to_owned()
    }

    #[test]
    fn what_follows_is_kept_and_the_host_stays() {
        assert_eq!(location("", "/", 0), "https://a.example/");
        assert_eq!(location("", "/x/y?q=%20&r=/", 0), "https://a.example/x/y?q=%20&r=/");
        assert_eq!(location("", "//evil.example/x", 0), "https://a.example//evil.example/x");
        assert_eq!(location("", "/@evil.example", 0), "https://a.example/@evil.example");
        assert_eq!(location("", "http://b.example?q=1", 0), "https://a.example/?q=1");
        assert_eq!(location("", "/old", 4), "https://a.example/");
        assert_eq!(location("", "/old?q", 4), "https://a.example/?q");
        assert_eq!(location("/new", "/old", 4), "https://a.example/new");
        assert_eq!(location("/new", "/old/x?q", 4), "https://a.example/new/x?q");
    }

    #[test]
    fn to_the_same_place_by_tls() {
        let to = |host, port, uri: &str| {
            let response = to_https(host, port, &uri.parse().unwrap())?;
            Ok::<_, Reject>(response.headers()[LOCATION].to_str().unwrap().to_owned())
        };
        assert_eq!(to("a.example", 443, "/x?q=1").unwrap(), "https://a.example/x?q=1");
        assert_eq!(to("a.example:80", 8443, "/").unwrap(), "https://a.example:8443/");
        assert_eq!(to("[::1]:80", 443, "/").unwrap(), "https://[::1]/");
        assert_eq!(to("[::1]", 443, "http://b?q").unwrap(), "https://[::1]/?q");
        assert!(to("", 443, "/").is_err());
    }
}
