//! Headers on their way through: what belongs to one hop is taken off, what the app must know of the client is
//! put on.

use std::net::IpAddr;

use http::header::{
    CONNECTION, CONTENT_LENGTH, COOKIE, EXPECT, FORWARDED, HOST, PROXY_AUTHORIZATION, TE, TRANSFER_ENCODING,
    UPGRADE, VIA,
};
use http::uri::{Authority, Scheme};
use http::{HeaderMap, HeaderName, HeaderValue, Uri, Version, request};
use memchr::memchr;

use crate::gateway::respond::Reject;

static FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
static FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
static FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
/// Stands in what has come before a handshake was complete, and goes on as it is, whoever says so, RFC 8470 section 5.1.
static EARLY_DATA: HeaderName = HeaderName::from_static("early-data");
static KEEP_ALIVE: HeaderName = HeaderName::from_static("keep-alive");
static PROXY_CONNECTION: HeaderName = HeaderName::from_static("proxy-connection");

/// What concerns one hop alone, beside what frames the message.
static OF_ONE_HOP: [HeaderName; 7] = [
    HeaderName::from_static("http2-settings"),
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
    PROXY_AUTHORIZATION,
    EXPECT,
    TE,
    UPGRADE,
];

static OF_FRAMING: [HeaderName; 2] = [TRANSFER_ENCODING, CONTENT_LENGTH];

/// What a request wants its connection to become, where it asks for that.
#[must_use]
pub fn upgrade_of(headers: &HeaderMap) -> Option<HeaderValue> {
    if !tokens(headers).any(|token| token.eq_ignore_ascii_case("upgrade")) {
        return None;
    }
    // A tunnel of HTTP/2 would carry requests past the routes and bounds; without the word the app answers in
    // HTTP/1.1, as it may.
    let plain = |value: &&HeaderValue| !value.as_bytes().eq_ignore_ascii_case(b"h2c");
    headers.get(UPGRADE).filter(plain).cloned()
}

/// What a replica must be told of a request.
#[derive(Debug, Clone)]
pub struct Facts {
    /// Who has sent it to us.
    pub peer: IpAddr,
    /// The same as a header's value.
    pub address: HeaderValue,
    /// Whether what that says of others is true.
    pub trusted: bool,
    /// Whether it has come by TLS.
    pub secure: bool,
    /// In which HTTP it has come.
    pub version: Version,
    /// What it wants its connection to become.
    pub upgrade: Option<HeaderValue>,
}

/// Makes a client's headers those that its replica gets. `found`: what was there of them when they came.
pub fn prepare_request(headers: &mut HeaderMap, found: Found, facts: Facts) {
    let Facts { peer, address, trusted, secure, version, upgrade } = facts;
    if found.of_one_hop {
        let trailers = headers.get(TE).is_some_and(|te| {
            te.to_str().is_ok_and(|te| te.split(',').any(|t| t.trim().eq_ignore_ascii_case("trailers")))
        });
        drop_named(headers);
        for name in &OF_ONE_HOP {
            headers.remove(name);
        }
        if trailers {
            headers.insert(TE, HeaderValue::from_static("trailers"));
        }
    }
    if found.coding || found.length {
        plain_framing(headers);
    }
    if let Some(upgrade) = upgrade {
        headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
        headers.insert(UPGRADE, upgrade);
    }
    if version == Version::HTTP_2 {
        join_cookies(headers);
    }
    // Two of ours know each other by it, and a circle is seen in what it grows to, RFC 9110 section 7.6.3.
    headers.append(VIA, via(version));
    if found.hearsay {
        drop_hearsay(headers, trusted);
    }
    let proto = HeaderValue::from_static(if secure { "https" } else { "http" });
    if trusted {
        add_forwarded(headers, peer, &proto);
        append(headers, &FORWARDED_FOR, &address);
        headers.entry(&FORWARDED_PROTO).or_insert(proto);
        if headers.contains_key(&FORWARDED_HOST) {
            return;
        }
    } else {
        // Replaced, not appended.
        headers.insert(&FORWARDED_FOR, address);
        headers.insert(&FORWARDED_PROTO, proto);
    }
    match headers.get(HOST).cloned() {
        Some(host) => headers.insert(&FORWARDED_HOST, host),
        None => headers.remove(&FORWARDED_HOST),
    };
}

/// HTTP/2 names the host in the target alone, RFC 9113 section 8.3.1.
///
/// # Errors
/// Where the host that the file sets is none.
pub fn move_host(head: &mut request::Parts) -> Result<(), Reject> {
    const NO_HOST: Reject = Reject::BadRequest("a malformed Host");
    let host = head.headers.remove(HOST).unwrap_or(HeaderValue::from_static(""));
    let mut parts = std::mem::take(&mut head.uri).into_parts();
    parts.scheme = Some(Scheme::HTTP);
    // A client of HTTP/1.0 that has come by a Unix socket has named none, and has reached none.
    let named = if host.is_empty() { b"localhost" } else { host.as_bytes() };
    parts.authority = Some(Authority::try_from(named).map_err(|_| NO_HOST)?);
    head.uri = Uri::from_parts(parts).map_err(|_| NO_HOST)?;
    head.version = Version::HTTP_2;
    Ok(())
}

/// Cookies come one by one in HTTP/2 and in one line in HTTP/1.1, RFC 9113 section 8.2.3.
fn join_cookies(headers: &mut HeaderMap) {
    let mut lines = headers.get_all(COOKIE).iter();
    let (Some(first), Some(second)) = (lines.next(), lines.next()) else { return };
    let mut joined = [first.as_bytes(), b"; ", second.as_bytes()].concat();
    for line in lines {
        joined.extend_from_slice(b"; ");
        joined.extend_from_slice(line.as_bytes());
    }
    let joined = HeaderValue::from_bytes(&joined).expect("values between which a `; ` stands are one");
    headers.insert(COOKIE, joined);
}

fn via(version: Version) -> HeaderValue {
    HeaderValue::from_static(match version {
        Version::HTTP_10 => "1.0 pilotlight",
        Version::HTTP_2 => "2.0 pilotlight",
        _ => "1.1 pilotlight",
    })
}

/// Puts an element behind those of a list, in one line.
fn append(headers: &mut HeaderMap, name: &HeaderName, element: &HeaderValue) {
    let mut list = Vec::new();
    for line in headers.get_all(name) {
        list.extend_from_slice(line.as_bytes());
        list.extend_from_slice(b", ");
    }
    list.extend_from_slice(element.as_bytes());
    let list = HeaderValue::from_bytes(&list).expect("values between which a comma stands are one");
    headers.insert(name, list);
}

/// Says the same in the words of RFC 7239, where the proxy before this one does.
fn add_forwarded(headers: &mut HeaderMap, peer: IpAddr, proto: &HeaderValue) {
    if !headers.contains_key(FORWARDED) {
        return;
    }
    let proto = proto.to_str().unwrap_or_default();
    let element = match peer.to_canonical() {
        IpAddr::V4(ip) => format!("for={ip};proto={proto}"),
        IpAddr::V6(ip) => format!("for=\"[{ip}]\";proto={proto}"),
    };
    append(headers, &FORWARDED, &HeaderValue::try_from(element).expect("an address is visible ASCII"));
}

/// Has the fields that frame a request in the one form that everybody reads alike: a coding in small letters, a length
/// without zeros in front. What else they might be has been refused by now.
fn plain_framing(headers: &mut HeaderMap) {
    if headers.get(TRANSFER_ENCODING).is_some_and(|coding| coding != "chunked") {
        headers.insert(TRANSFER_ENCODING, HeaderValue::from_static("chunked"));
    }
    let padded = |length: &&HeaderValue| length.len() > 1 && length.as_bytes()[0] == b'0';
    let length = headers
        .get(CONTENT_LENGTH)
        .filter(padded)
        .and_then(|length| length.to_str().ok()?.parse::<u64>().ok());
    if let Some(length) = length {
        headers.insert(CONTENT_LENGTH, HeaderValue::from(length));
    }
}

/// Makes the trailers of a client's request those that its replica gets: an app may read them like headers.
pub fn prepare_trailers(trailers: &mut HeaderMap) {
    drop_named(trailers);
    for name in OF_ONE_HOP.iter().chain(&OF_FRAMING).chain([&HOST]) {
        trailers.remove(name);
    }
    drop_hearsay(trailers, false);
}

/// Makes a replica's headers those that its client gets. A switch of protocols keeps its `Upgrade`.
pub fn prepare_response(headers: &mut HeaderMap, switching: bool) {
    let found = Found::among(headers, true);
    if !found.of_one_hop && !found.coding {
        return;
    }
    let upgrade = if switching { headers.remove(UPGRADE) } else { None };
    drop_named(headers);
    if headers.contains_key(TRANSFER_ENCODING) {
        // The coding is what frames the body, RFC 9112 section 6.3; a length beside it is wrong.
        headers.remove(CONTENT_LENGTH);
    }
    for name in [&TRANSFER_ENCODING, &KEEP_ALIVE, &PROXY_CONNECTION, &UPGRADE] {
        headers.remove(name);
    }
    if let Some(upgrade) = upgrade {
        headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
        headers.insert(UPGRADE, upgrade);
    }
}

/// What there is among headers that does not go on as it is. Most messages have none of it, and each header is then looked
/// at once.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "which of several kinds there are")]
pub struct Found {
    /// What concerns one hop alone, and what names it.
    pub of_one_hop: bool,
    /// What says that the message is framed by a coding.
    coding: bool,
    /// What says how long it is.
    length: bool,
    /// What a client says of itself.
    hearsay: bool,
}

impl Found {
    /// Looks at each. `trusted`: what is said of others is true.
    #[must_use]
    pub fn among(headers: &HeaderMap, trusted: bool) -> Self {
        let mut found = Self::default();
        for name in headers.keys().map(HeaderName::as_str) {
            match name.as_bytes() {
                // By length first: nearly all fall through that.
                b"te"
                | b"expect"
                | b"upgrade"
                | b"connection"
                | b"keep-alive"
                | b"http2-settings"
                | b"proxy-connection"
                | b"proxy-authorization" => found.of_one_hop = true,
                b"transfer-encoding" => found.coding = true,
                b"content-length" => found.length = true,
                _ => found.hearsay |= is_hearsay(name, trusted),
            }
        }
        found
    }
}

/// Takes off what a client says of itself, and what an app could take for that or for the message's frame. Of a proxy
/// whose word is taken the first stays.
fn drop_hearsay(headers: &mut HeaderMap, trusted: bool) {
    let hearsay = |name: &&HeaderName| is_hearsay(name.as_str(), trusted);
    if headers.keys().any(|name| hearsay(&name)) {
        let names: Vec<HeaderName> = headers.keys().filter(hearsay).cloned().collect();
        for name in names {
            headers.remove(name);
        }
    }
}

/// CGI and WSGI make an underscore of `-`, and so take `x_real_ip` for `x-real-ip`.
fn is_hearsay(name: &str, trusted: bool) -> bool {
    let says_who = |name: &str| name.starts_with("x-forwarded-") || matches!(name, "forwarded" | "x-real-ip");
    if memchr(b'_', name.as_bytes()).is_none() {
        return !trusted && says_who(name);
    }
    let name = name.replace('_', "-");
    says_who(&name) || OF_ONE_HOP.iter().chain(&OF_FRAMING).any(|other| other.as_str() == name)
}

/// Takes off `Connection` and the headers that it names.
fn drop_named(headers: &mut HeaderMap) {
    let Some(first) = headers.get(CONNECTION) else { return };
    let common = [&b"keep-alive"[..], b"close", b"upgrade", b"Upgrade", b"Keep-Alive"];
    if !common.contains(&first.as_bytes()) || headers.get_all(CONNECTION).iter().nth(1).is_some() {
        let named: Vec<HeaderName> = tokens(headers).filter_map(|token| token.parse().ok()).collect();
        for name in named {
            // These say how the message is framed, where it goes, and that it may be a replay: no client may have them
            // taken off.
            if name != HOST && name != EARLY_DATA && !OF_FRAMING.contains(&name) {
                headers.remove(name);
            }
        }
    }
    headers.remove(CONNECTION);
}

fn tokens(headers: &HeaderMap) -> impl Iterator<Item = &str> {
    let lines = headers.get_all(CONNECTION).iter().filter_map(|value| value.to_str().ok());
    lines.flat_map(|line| line.split(',')).map(str::trim).filter(|token| !token.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        let mut map = HeaderMap::new();
        for (name, value) in pairs {
            map.append(*name, HeaderValue::from_static(value));
        }
        map
    }

    fn facts(upgrade: Option<HeaderValue>) -> Facts {
        let (peer, version) = ([127, 0, 0, 1].into(), Version::HTTP_11);
        let address = HeaderValue::from_static("127.0.0.1");
        Facts { peer, address, trusted: false, secure: false, version, upgrade }
    }

    #[test]
    fn a_proxy_whose_word_is_taken_is_added_to() {
        let mut map = headers(&[
            ("host", "a.example"),
            ("x-forwarded-for", "192.0.2.1"),
            ("x-forwarded-for", "10.0.0.2"),
            ("x-forwarded-proto", "https"),
            ("x-forwarded-host", "b.example"),
            ("x_forwarded_for", "6.6.6.6"),
            ("forwarded", "for=192.0.2.1;proto=https"),
            ("via", "1.1 other"),
        ]);
        let (peer, version) = ("2001:db8::1".parse().unwrap(), Version::HTTP_2);
        let address = HeaderValue::from_static("2001:db8::1");
        let found = Found::among(&map, true);
        prepare_request(
            &mut map,
            found,
            Facts { peer, address, trusted: true, secure: false, version, upgrade: None },
        );
        let expected = headers(&[
            ("host", "a.example"),
            ("x-forwarded-for", "192.0.2.1, 10.0.0.2, 2001:db8::1"),
            ("x-forwarded-proto", "https"),
            ("x-forwarded-host", "b.example"),
            ("forwarded", "for=192.0.2.1;proto=https, for=\"[2001:db8::1]\";proto=http"),
            ("via", "1.1 other"),
            ("via", "2.0 pilotlight"),
        ]);
        assert_eq!(map, expected);
    }

    #[test]
    fn what_is_looked_for_at_once_is_what_is_looked_for_one_by_one() {
        let among = |name: &HeaderName| {
            Found::among(&HeaderMap::from_iter([(name.clone(), HeaderValue::from_static("1"))]), false)
        };
        for name in OF_ONE_HOP.iter().chain([&CONNECTION]) {
            assert_eq!(among(name), Found { of_one_hop: true, ..Found::default() }, "{name}");
        }
        assert_eq!(among(&TRANSFER_ENCODING), Found { coding: true, ..Found::default() });
        assert_eq!(among(&CONTENT_LENGTH), Found { length: true, ..Found::default() });
        for name in
            ["x-forwarded-for", "forwarded", "x-real-ip", "x_real_ip", "content_length", "proxy_connection"]
        {
            let name = HeaderName::from_static(name);
            assert_eq!(among(&name), Found { hearsay: true, ..Found::default() }, "{name}");
        }
        for name in ["x-forwarded", "accept", "host", "x_other", "trailer"] {
            assert_eq!(among(&HeaderName::from_static(name)), Found::default(), "{name}");
        }
    }

    #[test]
    fn cookies_become_one_line() {
        let mut map = headers(&[("cookie", "a=1"), ("cookie", "b=2"), ("cookie", "c=3")]);
        join_cookies(&mut map);
        assert_eq!(map, headers(&[("cookie", "a=1; b=2; c=3")]));
    }

    #[test]
    fn what_belongs_to_one_hop_is_taken_off() {
        let mut map = headers(&[
            ("host", "a.example"),
            ("connection", "keep-alive, X-Secret, Host"),
            ("x-secret", "1"),
            ("keep-alive", "timeout=5"),
            ("te", "gzip, trailers"),
            ("expect", "100-continue"),
            ("x-forwarded-for", "6.6.6.6"),
            ("x-kept", "1"),
        ]);
        let found = Found::among(&map, false);
        prepare_request(&mut map, found, facts(None));
        let expected = headers(&[
            ("host", "a.example"),
            ("te", "trailers"),
            ("x-kept", "1"),
            ("via", "1.1 pilotlight"),
            ("x-forwarded-for", "127.0.0.1"),
            ("x-forwarded-proto", "http"),
            ("x-forwarded-host", "a.example"),
        ]);
        assert_eq!(map, expected);
    }

    #[test]
    fn an_upgrade_is_passed_on_only_where_connection_names_it() {
        let asked = headers(&[("connection", "Keep-Alive, Upgrade"), ("upgrade", "websocket")]);
        assert_eq!(upgrade_of(&asked).expect("asked for"), "websocket");
        assert_eq!(upgrade_of(&headers(&[("upgrade", "websocket")])), None);
        assert_eq!(upgrade_of(&headers(&[("connection", "upgrade"), ("upgrade", "h2c")])), None);
        let mut map = asked.clone();
        prepare_request(&mut map, Found::among(&asked, false), facts(upgrade_of(&asked)));
        assert_eq!(
            (&map["connection"], &map["upgrade"]),
            (&"upgrade".parse().unwrap(), &"websocket".parse().unwrap())
        );
    }
}
