//! What proxies before this one say of the client, where their word is taken: `X-Forwarded-For` and `Forwarded`
//! (RFC 7239), read from the end, since each proxy puts what it has seen behind what it was told.

use std::net::{IpAddr, Ipv6Addr};

use http::header::FORWARDED;
use http::{HeaderMap, HeaderName, HeaderValue};

use crate::config::spec::Peers;

static FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
static FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");

/// Hops that are looked at, from the last on. Who sends more has made them up.
const HOPS: usize = 32;

/// The client's address as trusted proxies tell it: the last one that is none of theirs. `peer` is the one that speaks to
/// us, and is trusted.
#[must_use]
pub fn client(headers: &HeaderMap, peer: IpAddr, trusted: &Peers) -> IpAddr {
    if headers.contains_key(&FORWARDED_FOR) {
        let hops = backwards(headers, &FORWARDED_FOR);
        return first_stranger(hops.map(|hop| address(hop.trim())), peer, trusted);
    }
    first_stranger(backwards(headers, &FORWARDED).map(forwarded_for), peer, trusted)
}

/// Whether the client has come to the first proxy by TLS, as that says.
#[must_use]
pub fn is_secure(headers: &HeaderMap) -> bool {
    let proto = headers.get(&FORWARDED_PROTO).and_then(|proto| proto.to_str().ok()).unwrap_or_default();
    proto.split(',').next().is_some_and(|first| first.trim().eq_ignore_ascii_case("https"))
}

/// The elements of a list in all its lines, the last first.
fn backwards<'a>(headers: &'a HeaderMap, name: &HeaderName) -> impl Iterator<Item = &'a str> {
    let lines: Vec<&HeaderValue> = headers.get_all(name).iter().collect();
    let texts = lines.into_iter().rev().map(|line| line.to_str().unwrap_or_default());
    texts.flat_map(|text| text.rsplit(',')).take(HOPS)
}

/// The last hop that is no trusted proxy; or the farthest of them, before one that does not say who it is.
fn first_stranger(hops: impl Iterator<Item = Option<IpAddr>>, peer: IpAddr, trusted: &Peers) -> IpAddr {
    let mut farthest = peer;
    for hop in hops {
        let Some(hop) = hop else { break };
        farthest = hop.to_canonical();
        if !trusted.has(farthest) {
            break;
        }
    }
    farthest
}

/// Who a hop of `Forwarded` was `for`.
fn forwarded_for(hop: &str) -> Option<IpAddr> {
    let pairs = hop.split(';').filter_map(|pair| pair.split_once('='));
    let mut named = pairs.filter(|(name, _)| name.trim().eq_ignore_ascii_case("for"));
    address(named.next()?.1.trim().trim_matches('"'))
}

/// `192.0.2.1`, `192.0.2.1:80`, `2001:db8::1`, `[2001:db8::1]`, `[2001:db8::1]:80`.
fn address(text: &str) -> Option<IpAddr> {
    if let Some(rest) = text.strip_prefix('[') {
        return rest.split_once(']')?.0.parse::<Ipv6Addr>().ok().map(IpAddr::V6);
    }
    if let Ok(address) = text.parse() {
        return Some(address);
    }
    let (address, port) = text.split_once(':')?;
    port.parse::<u16>().ok()?;
    address.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn trusted() -> Peers {
        Peers { networks: vec!["10.0.0.0/8".parse().unwrap()], local: false }
    }

    fn told(lines: &[(&'static str, &'static str)]) -> String {
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            headers.append(*name, HeaderValue::from_static(value));
        }
        client(&headers, IpAddr::from([10, 0, 0, 1]), &trusted()).to_string()
    }

    #[test]
    fn the_last_stranger_is_the_client() {
        assert_eq!(told(&[]), "10.0.0.1");
        assert_eq!(told(&[("x-forwarded-for", "192.0.2.1")]), "192.0.2.1");
        assert_eq!(told(&[("x-forwarded-for", "6.6.6.6, 192.0.2.1, 10.2.3.4")]), "192.0.2.1");
        assert_eq!(told(&[("x-forwarded-for", "6.6.6.6"), ("x-forwarded-for", "192.0.2.1:99")]), "192.0.2.1");
        assert_eq!(told(&[("x-forwarded-for", "10.0.0.7,10.0.0.8")]), "10.0.0.7", "all are ours");
        assert_eq!(told(&[("x-forwarded-for", "6.6.6.6, unknown, 10.0.0.8")]), "10.0.0.8");
        assert_eq!(told(&[("x-forwarded-for", "garbage")]), "10.0.0.1");
        assert_eq!(told(&[("x-forwarded-for", "[2001:db8::1]:99")]), "2001:db8::1");
        assert_eq!(told(&[("x-forwarded-for", "::ffff:192.0.2.1")]), "192.0.2.1");
    }

    #[test]
    fn forwarded_is_read_where_the_older_one_is_not_there() {
        assert_eq!(
            told(&[("forwarded", "for=6.6.6.6, for=192.0.2.1;proto=https, For=10.1.1.1")]),
            "192.0.2.1"
        );
        assert_eq!(told(&[("forwarded", "by=10.0.0.1;for=\"[2001:db8::1]:4711\"")]), "2001:db8::1");
        assert_eq!(told(&[("forwarded", "for=_hidden")]), "10.0.0.1");
        assert_eq!(told(&[("forwarded", "for=6.6.6.6"), ("x-forwarded-for", "192.0.2.1")]), "192.0.2.1");
    }

    #[test]
    fn no_more_hops_are_looked_at_than_there_can_be() {
        let many = ["6.6.6.6"].iter().chain([&"10.0.0.2"; 40]).copied().collect::<Vec<_>>().join(",");
        let headers = HeaderMap::from_iter([(FORWARDED_FOR.clone(), HeaderValue::try_from(many).unwrap())]);
        assert_eq!(client(&headers, IpAddr::from([10, 0, 0, 1]), &trusted()), IpAddr::from([10, 0, 0, 2]));
    }
}
