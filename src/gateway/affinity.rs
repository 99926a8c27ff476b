//! What ties a request to a replica, read off its head; and the cookie by which its client comes back to the same one.
//!
//! Which replica a tie leads to is decided in `app/balance.rs`. The cookie is the proxy's alone: the app never sees it,
//! and one that somebody has made up leads nowhere.

use std::net::IpAddr;

use http::header::{COOKIE, SET_COOKIE};
use http::{HeaderMap, HeaderValue, request};

use crate::app::Policy;
use crate::app::affinity::{Bound, Secret, Token, Wish, number};
use crate::app::replica::Replica;
use crate::config::spec::Affinity;

/// Before the app's name in the cookie's.
const COOKIE_PREFIX: &str = "pilotlight-";

/// What ties one request to a replica.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Tie {
    /// Nothing.
    None,
    /// What its client says falls to one.
    Value(u64),
    /// Its client brings back what it was given.
    Cookie {
        /// What it brings.
        token: Option<Token>,
        /// Where it is to bring it.
        path: Box<str>,
        /// Whether it is to bring it by TLS alone, by which it was given.
        secure: bool,
    },
}

impl Tie {
    /// What ties this request, whose route's path prefix is that long, and whose client has this address and has come by
    /// TLS or not. Takes the proxy's cookie off.
    #[must_use]
    pub fn of(
        head: &mut request::Parts,
        policy: &Policy,
        prefix: usize,
        client: IpAddr,
        secure: bool,
    ) -> Self {
        match &policy.spec.affinity {
            None => Self::None,
            Some(Affinity::Ip) => Self::Value(number(network(client))),
            Some(Affinity::Header(name)) => {
                head.headers.get(name).map_or(Self::None, |value| Self::Value(number(value.as_bytes())))
            }
            Some(Affinity::Cookie) => {
                let token = take_cookie(&mut head.headers, &policy.spec.name);
                let path = head.uri.path().get(..prefix).unwrap_or_default();
                // What would end the attribute makes the cookie one of the whole host.
                let path = if path.is_empty() || path.contains(';') { "/" } else { path };
                Self::Cookie { token, path: path.into(), secure }
            }
        }
    }

    /// The replica that it leads to.
    #[must_use]
    pub fn wish<'a>(&self, secret: &'a Secret) -> Wish<'a> {
        let bound = match self {
            Self::Value(value) => Bound::Value(*value),
            Self::Cookie { token: Some(token), .. } => Bound::Token(*token, secret),
            Self::None | Self::Cookie { token: None, .. } => Bound::Free,
        };
        Wish { bound, avoid: None }
    }

    /// Ties the client to the replica that has answered, where it was not yet.
    pub fn keep(&self, answer: &mut HeaderMap, app: &str, replica: &Replica, secret: &Secret) {
        let Self::Cookie { token, path, secure } = self else { return };
        let now = replica.token(secret, app);
        if *token == Some(now) {
            return;
        }
        let cookie = format!(
            "{COOKIE_PREFIX}{app}={now}; Path={path}; HttpOnly; SameSite=Lax{}",
            if *secure { "; Secure" } else { "" }
        );
        // A path that a request has had is a header's value as well.
        if let Ok(cookie) = HeaderValue::try_from(cookie) {
            answer.append(SET_COOKIE, cookie);
        }
    }
}

/// Who counts as one client: an address of IPv4, or a /64 of IPv6, since within that hosts change theirs as they like.
fn network(client: IpAddr) -> [u8; 8] {
    match client.to_canonical() {
        IpAddr::V4(address) => {
            let [a, b, c, d] = address.octets();
            [0, 0, 0, 0, a, b, c, d]
        }
        IpAddr::V6(address) => *address.octets().first_chunk().expect("16 bytes have 8"),
    }
}

/// Takes the proxy's cookie off a request, and all of that name; gives what the first that is one says.
fn take_cookie(headers: &mut HeaderMap, app: &str) -> Option<Token> {
    let ours = |pair: &[u8]| {
        let pair = pair.trim_ascii().strip_prefix(COOKIE_PREFIX.as_bytes())?;
        pair.strip_prefix(app.as_bytes())?.strip_prefix(b"=").map(Token::parse)
    };
    let pairs = |byte: &u8| *byte == b';';
    let has_ours = |line: &HeaderValue| line.as_bytes().split(pairs).any(|pair| ours(pair).is_some());
    if !headers.get_all(COOKIE).iter().any(has_ours) {
        return None;
    }
    let lines: Vec<HeaderValue> = headers.get_all(COOKIE).iter().cloned().collect();
    headers.remove(COOKIE);
    let mut token = None;
    for line in lines {
        if !has_ours(&line) {
            headers.append(COOKIE, line);
            continue;
        }
        let mut rest: Vec<&[u8]> = Vec::new();
        for pair in line.as_bytes().split(pairs) {
            match ours(pair) {
                Some(found) => token = token.or(found),
                None => rest.push(pair.trim_ascii()),
            }
        }
        rest.retain(|pair| !pair.is_empty());
        let rest =
            HeaderValue::from_bytes(&rest.join(&b"; "[..])).expect("a part of a header's value is one");
        if !rest.is_empty() {
            headers.append(COOKIE, rest);
        }
    }
    token
}

#[cfg(test)]
mod tests {
    use super::*;

    fn taken(lines: &[&'static str]) -> (Option<String>, Vec<String>) {
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append(COOKIE, HeaderValue::from_static(line));
        }
        let token = take_cookie(&mut headers, "web").map(|token| token.to_string());
        let left = headers.get_all(COOKIE).iter().map(|line| line.to_str().unwrap().to_owned()).collect();
        (token, left)
    }

    #[test]
    fn our_cookie_is_read_and_taken_off_and_no_other() {
        let token = "0123456789abcdef";
        let some = Some(token.to_owned());
        assert_eq!(taken(&["pilotlight-web=0123456789abcdef"]), (some.clone(), vec![]));
        let among = "a=1; pilotlight-web=0123456789abcdef;b=\"2\"; c";
        assert_eq!(taken(&[among]), (some.clone(), vec!["a=1; b=\"2\"; c".to_owned()]));
        let (split, left) = taken(&["x=1;z=3", "pilotlight-web=0123456789abcdef", "y=2"]);
        assert_eq!((split, left), (some, vec!["x=1;z=3".to_owned(), "y=2".to_owned()]));
        let others = "pilotlight-web2=0123456789abcdef; xpilotlight-web=1;  a = b ;";
        assert_eq!(taken(&[others]), (None, vec![others.to_owned()]), "as it was, to the last space");
    }

    #[test]
    fn what_is_no_token_of_ours_is_taken_off_and_means_nothing() {
        for bad in ["", "1", "0123456789ABCDEF", "+123456789abcdef", "0123456789abcdef0", "0123456789abcde ;"]
        {
            let mut headers = HeaderMap::new();
            headers.append(COOKIE, HeaderValue::try_from(format!("pilotlight-web={bad}")).unwrap());
            assert_eq!(take_cookie(&mut headers, "web"), None, "{bad:?}");
            assert!(headers.is_empty(), "{bad:?}");
        }
        let twice =
            "pilotlight-web=nonsense; pilotlight-web=00000000000000ff; pilotlight-web=00000000000000aa";
        assert_eq!(taken(&[twice]), (Some("00000000000000ff".to_owned()), vec![]));
    }

    #[test]
    fn a_client_is_an_address_or_a_network_of_them() {
        let of = |text: &str| network(text.parse().unwrap());
        assert_ne!(of("10.0.0.1"), of("10.0.0.2"));
        assert_eq!(of("10.0.0.1"), of("::ffff:10.0.0.1"));
        assert_eq!(of("2001:db8::1"), of("2001:db8::ffff:1"));
        assert_ne!(of("2001:db8::1"), of("2001:db8:0:1::1"));
    }
}
