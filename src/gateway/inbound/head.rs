//! The head of a request, made of its bytes.

use bytes::BytesMut;
use http::{HeaderName, HeaderValue, Method, Request, Uri, Version, request};

use crate::config::spec::ClientsSpec;
use crate::gateway::message::letters::Letters;
use crate::gateway::message::spare;
use crate::gateway::raw_head::{self, Facts};
use crate::gateway::respond::Reject;

/// Bytes of the longest target for which there is a type.
const MAX_TARGET: usize = u16::MAX as usize - 1;

/// What a head may have, and what is to be kept of it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bounds {
    /// Bytes.
    pub(super) bytes: usize,
    pub(super) fields: usize,
    /// Somebody minds the case of names.
    pub(super) keep_letters: bool,
}

impl Bounds {
    pub(super) fn of(spec: &ClientsSpec) -> Self {
        Self { bytes: spec.header_bytes, fields: spec.headers, keep_letters: spec.preserve_header_case }
    }
}

/// A request's head.
#[derive(Debug)]
pub(super) struct Head {
    pub(super) parts: request::Parts,
    pub(super) facts: Facts,
}

/// Takes a head off the bytes, of which `seen` were looked at in vain. `None`: it has not come to its end yet.
///
/// # Errors
/// Why it is refused. Nothing that follows it means anything then.
pub(super) fn take(bytes: &mut BytesMut, seen: &mut usize, bounds: &Bounds) -> Result<Option<Head>, Reject> {
    let end = raw_head::end_of_more(bytes, *seen);
    if end.unwrap_or(bytes.len()) > bounds.bytes {
        return Err(Reject::HeaderTooLarge);
    }
    let Some(end) = end else {
        // Who speaks something else may wait for a word as long as we do.
        raw_head::check_begun(bytes).map_err(Reject::BadRequest)?;
        *seen = bytes.len();
        return Ok(None);
    };
    *seen = 0;
    let mut parts = Request::new(()).into_parts().0;
    let head = bytes.split_to(end).freeze();
    let mut headers = spare::map();
    let mut letters = bounds.keep_letters.then(Letters::default);
    let (mut count, mut too_many) = (0, false);
    let read = raw_head::read(&head, |written, value| {
        count += 1;
        if count > bounds.fields {
            too_many = true;
            return Err("too many headers");
        }
        let name = HeaderName::from_bytes(written).map_err(|_| "a header's name is too long")?;
        let value =
            HeaderValue::from_maybe_shared(head.slice_ref(value)).map_err(|_| "a control character")?;
        if let Some(letters) = &mut letters {
            letters.append(name.clone(), head.slice_ref(written));
        }
        headers.append(name, value);
        Ok(())
    });
    let (line, facts) = match read {
        Ok(read) => read,
        Err(_) if too_many => return Err(Reject::HeaderTooLarge),
        Err(why) => return Err(Reject::BadRequest(why)),
    };
    parts.headers = headers;
    if let Some(letters) = letters {
        parts.extensions.insert(letters);
    }
    if line.target.len() > MAX_TARGET {
        return Err(Reject::UriTooLong);
    }
    parts.method = Method::from_bytes(line.method).map_err(|_| Reject::BadRequest("a malformed method"))?;
    parts.uri = Uri::from_maybe_shared(head.slice_ref(line.target))
        .map_err(|_| Reject::BadRequest("a malformed target"))?;
    parts.version = if facts.wants.current { Version::HTTP_11 } else { Version::HTTP_10 };
    Ok(Some(Head { parts, facts }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gateway::raw_head::Body;

    const BOUNDS: Bounds = Bounds { bytes: 1000, fields: 10, keep_letters: false };

    fn took(bytes: &str) -> (Result<Option<Head>, Reject>, BytesMut) {
        let mut bytes = BytesMut::from(bytes);
        (take(&mut bytes, &mut 0, &BOUNDS), bytes)
    }

    #[test]
    fn a_head_is_taken_off_what_follows_it() {
        let (head, rest) =
            took("\r\nPOST /a?b HTTP/1.1\r\nHost: h\r\nA:  x y \r\na: 2\r\nContent-Length: 4\r\n\r\nwiki");
        let Head { parts, facts } = head.unwrap().unwrap();
        assert_eq!((parts.method.as_str(), parts.uri.to_string().as_str()), ("POST", "/a?b"));
        let fields: Vec<_> =
            parts.headers.iter().map(|(name, value)| (name.as_str(), value.as_bytes())).collect();
        assert_eq!(fields, [("host", &b"h"[..]), ("a", b"x y"), ("a", b"2"), ("content-length", b"4")]);
        assert_eq!((facts.body, &rest[..]), (Body::Length(4), &b"wiki"[..]));
        assert_eq!(parts.version, Version::HTTP_11);
    }

    #[test]
    fn what_is_not_whole_is_waited_for() {
        let whole = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";
        let (mut bytes, mut seen) = (BytesMut::new(), 0);
        for byte in whole.bytes().take(whole.len() - 1) {
            bytes.extend_from_slice(&[byte]);
            assert!(matches!(take(&mut bytes, &mut seen, &BOUNDS), Ok(None)));
        }
        bytes.extend_from_slice(b"\n");
        assert!(matches!(take(&mut bytes, &mut seen, &BOUNDS), Ok(Some(_))));
        assert_eq!((seen, bytes.len()), (0, 0));
    }

    #[test]
    fn what_is_none_is_refused_before_its_end() {
        for (begun, why) in [
            ("\x16\x03\x01", "a control character"),
            (" GET", "a malformed method"),
            ("GET\t", "a malformed method"),
            ("GET / HTTP/1.1\nHost", "a line that does not end in CR and LF"),
            ("GET / SIP/2.0\r\n", "a malformed request line, or a version other than 1.0 and 1.1"),
        ] {
            assert_eq!(took(begun).0.unwrap_err(), Reject::BadRequest(why), "{begun:?}");
        }
        for begun in
            ["", "\r", "\r\n", "G", "GET ", "GET / HTTP/1.1\r", "GET / HTTP/1.1\r\nHo", "A / HTTP/1.0\r\n\r"]
        {
            assert!(matches!(took(begun).0, Ok(None)), "{begun:?}");
        }
    }

    #[test]
    fn what_is_too_much() {
        let many = format!("GET / HTTP/1.1\r\nHost: a\r\n{}\r\n", "A: b\r\n".repeat(10));
        let (long, target) = ("x".repeat(1000), "x".repeat(MAX_TARGET));
        for (head, reject) in [
            (many, Reject::HeaderTooLarge),
            (format!("GET / HTTP/1.1\r\nA: {long}"), Reject::HeaderTooLarge),
            (format!("GET / HTTP/1.1\r\nHost: {long}\r\n\r\n"), Reject::HeaderTooLarge),
        ] {
            assert_eq!(took(&head).0.unwrap_err(), reject, "{head:.60}");
        }
        let bounds = Bounds { bytes: 2 * MAX_TARGET, ..BOUNDS };
        let mut bytes = BytesMut::from(&*format!("GET /{target} HTTP/1.1\r\nHost: a\r\n\r\n"));
        let refused = take(&mut bytes, &mut 0, &bounds);
        assert_eq!(refused.unwrap_err(), Reject::UriTooLong);
    }

    #[test]
    fn what_becomes_of_the_connection() {
        for (version, fields, keeps, expects, trailers) in [
            ("1.1", "", true, false, false),
            ("1.1", "Connection: x, Close\r\n", false, false, false),
            ("1.1", "Connection: keep-alive\r\nConnection: close\r\n", false, false, false),
            ("1.0", "", false, false, false),
            ("1.0", "Connection: Keep-Alive\r\n", true, false, false),
            ("1.0", "Connection: keep-alive, close\r\n", false, false, false),
            ("1.1", "Expect: 100-Continue\r\nContent-Length: 1\r\n", true, true, false),
            ("1.1", "Expect: 100-continue\r\n", true, false, false),
            (
                "1.0",
                "Connection: keep-alive\r\nExpect: 100-continue\r\nContent-Length: 1\r\n",
                true,
                false,
                false,
            ),
            ("1.1", "TE: gzip, trailers\r\n", true, false, true),
        ] {
            let facts =
                took(&format!("GET / HTTP/{version}\r\nHost: a\r\n{fields}\r\n")).0.unwrap().unwrap().facts;
            assert_eq!(
                (facts.wants.keeps, facts.expects, facts.wants.trailers),
                (keeps, expects, trailers),
                "{version} {fields:?}"
            );
        }
    }
}
