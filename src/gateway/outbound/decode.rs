//! The head of an answer, made of its bytes.

use std::mem::MaybeUninit;

use bytes::BytesMut;
use http::header::{CONNECTION, CONTENT_LENGTH, TRANSFER_ENCODING};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Response, StatusCode, Version, response};
use httparse::{Header, ParserConfig, Status};
use hyper::ext::ReasonPhrase;

use crate::gateway::chunked::Chunked;
use crate::gateway::message::coming::Framing;
use crate::gateway::message::letters::Letters;
use crate::gateway::message::spare;

/// Fields that an answer may have.
const FIELDS: usize = 100;

/// Bytes that a head may have.
pub(super) const MOST: usize = 64 * 1024;

/// An answer's head.
#[derive(Debug)]
pub(super) struct Head {
    pub(super) parts: response::Parts,
    pub(super) framing: Framing,
    /// The replica will take a further request on this connection.
    pub(super) keeps: bool,
}

/// What was asked, as far as it says how the answer is read.
#[derive(Debug, Clone, Copy)]
pub(super) struct Asked<'a> {
    pub(super) method: &'a Method,
    /// Who has asked minds the case of names.
    pub(super) keep_letters: bool,
}

/// Takes the head of an answer off the bytes. What only informs, 1xx, is passed over; `None`: there is none yet.
///
/// # Errors
/// What is wrong with it.
pub(super) fn head(bytes: &mut BytesMut, asked: &Asked<'_>) -> Result<Option<Head>, &'static str> {
    while !bytes.is_empty() {
        let Some((parts, said)) = parse(bytes, asked)? else { return Ok(None) };
        match parts.status.as_u16() {
            // What follows is no HTTP, whoever has asked for it.
            101 => return Ok(Some(Head { parts, framing: Framing::Ended, keeps: false })),
            100..=199 => {}
            _ => {
                let (framing, keeps) = (framing(&parts, said, asked.method)?, keeps(&parts, said));
                return Ok(Some(Head { parts, framing, keeps }));
            }
        }
    }
    Ok(None)
}

/// Which of the headers there are that say something of what follows.
#[derive(Debug, Default, Clone, Copy)]
struct Said {
    coding: bool,
    length: bool,
    connection: bool,
}

impl Said {
    fn note(&mut self, name: &HeaderName) {
        self.coding |= *name == TRANSFER_ENCODING;
        self.length |= *name == CONTENT_LENGTH;
        self.connection |= *name == CONNECTION;
    }
}

fn parse(bytes: &mut BytesMut, asked: &Asked<'_>) -> Result<Option<(response::Parts, Said)>, &'static str> {
    let mut fields = [const { MaybeUninit::<Header<'_>>::uninit() }; FIELDS];
    let mut parsed = httparse::Response::new(&mut []);
    let status = ParserConfig::default().parse_response_with_uninit_headers(&mut parsed, bytes, &mut fields);
    let length = match status {
        Ok(Status::Complete(length)) if length <= MOST => length,
        Ok(Status::Partial) if bytes.len() < MOST => return Ok(None),
        Ok(_) | Err(httparse::Error::TooManyHeaders) => return Err("the head is too long"),
        Err(_) => return Err("the head is malformed"),
    };
    let mut parts = Response::new(()).into_parts().0;
    parts.status = StatusCode::from_u16(parsed.code.expect("it is whole")).map_err(|_| "no such status")?;
    parts.version = if parsed.version == Some(1) { Version::HTTP_11 } else { Version::HTTP_10 };
    let reason = parsed.reason.filter(|reason| Some(*reason) != parts.status.canonical_reason());
    if let Some(reason) = reason.and_then(|reason| ReasonPhrase::try_from(reason.as_bytes()).ok()) {
        parts.extensions.insert(reason);
    }
    // Where each field lies: when the head is taken off the bytes, what was found in them is gone.
    let start = bytes.as_ptr().addr();
    let within = |part: &[u8]| {
        let at = part.as_ptr().addr() - start;
        [at, at + part.len()].map(|at| u16::try_from(at).expect("a head is no longer than that"))
    };
    let mut places = [[[0; 2]; 2]; FIELDS];
    let count = parsed.headers.len();
    for (place, field) in places.iter_mut().zip(&*parsed.headers) {
        *place = [within(field.name.as_bytes()), within(field.value)];
    }
    let head = bytes.split_to(length).freeze();
    parts.headers = spare::map();
    parts.headers.reserve(count);
    let (mut letters, mut said) = (asked.keep_letters.then(Letters::default), Said::default());
    for place in &places[..count] {
        let [written, value] = place.map(|[start, end]| usize::from(start)..usize::from(end));
        let name =
            HeaderName::from_bytes(&head[written.clone()]).map_err(|_| "a header's name is too long")?;
        if let Some(letters) = &mut letters {
            letters.append(name.clone(), head.slice(written));
        }
        let value = HeaderValue::from_maybe_shared(head.slice(value)).map_err(|_| "a control character")?;
        said.note(&name);
        parts.headers.append(name, value);
    }
    if let Some(letters) = letters {
        parts.extensions.insert(letters);
    }
    Ok(Some((parts, said)))
}

/// What follows, RFC 9112 section 6.3.
fn framing(parts: &response::Parts, said: Said, method: &Method) -> Result<Framing, &'static str> {
    let headers = &parts.headers;
    if *method == Method::HEAD || matches!(parts.status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED) {
        return Ok(Framing::Ended);
    }
    if said.coding
        && let Some(last) = headers.get_all(TRANSFER_ENCODING).iter().next_back()
    {
        if parts.version == Version::HTTP_10 {
            return Err("a transfer coding in HTTP/1.0");
        }
        let last = last.to_str().ok().and_then(|last| last.rsplit(',').next());
        let chunked = last.is_some_and(|coding| coding.trim().eq_ignore_ascii_case("chunked"));
        return Ok(if chunked { Framing::Chunked(Box::new(Chunked::of_replica())) } else { Framing::Close });
    }
    if !said.length {
        return Ok(Framing::Close);
    }
    Ok(match length(headers)? {
        Some(0) => Framing::Ended,
        Some(length) => Framing::Length(length),
        None => Framing::Close,
    })
}

/// The length, which may be said more than once, but in one way only.
fn length(headers: &HeaderMap) -> Result<Option<u64>, &'static str> {
    const MALFORMED: &str = "a malformed Content-Length";
    let mut length = None;
    for line in headers.get_all(CONTENT_LENGTH) {
        for said in line.to_str().map_err(|_| MALFORMED)?.split(',').map(str::trim) {
            // A number may have a sign for who reads numbers.
            let digits = !said.is_empty() && said.bytes().all(|byte| byte.is_ascii_digit());
            let said = said.parse().ok().filter(|_| digits).ok_or(MALFORMED)?;
            if length.is_some_and(|length| length != said) {
                return Err(MALFORMED);
            }
            length = Some(said);
        }
    }
    Ok(length)
}

/// Whether the connection is kept, RFC 9112 section 9.3.
fn keeps(parts: &response::Parts, said: Said) -> bool {
    // Where an answer with both framings ends is in doubt, and so is what follows it, section 6.3.
    if said.coding && said.length {
        return false;
    }
    if !said.connection {
        return parts.version == Version::HTTP_11;
    }
    let lines = parts.headers.get_all(CONNECTION).iter().filter_map(|line| line.to_str().ok());
    let mut options = lines.flat_map(|line| line.split(',')).map(str::trim);
    if parts.version == Version::HTTP_11 {
        return !options.any(|option| option.eq_ignore_ascii_case("close"));
    }
    let mut kept = false;
    for option in options {
        if option.eq_ignore_ascii_case("close") {
            return false;
        }
        kept |= option.eq_ignore_ascii_case("keep-alive");
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(bytes: &str, method: &Method) -> (Result<Option<Head>, &'static str>, BytesMut) {
        let mut bytes = BytesMut::from(bytes);
        (head(&mut bytes, &Asked { method, keep_letters: false }), bytes)
    }

    fn get(bytes: &str) -> Result<Option<Head>, &'static str> {
        read(bytes, &Method::GET).0
    }

    #[test]
    fn heads() {
        let (head, rest) =
            read("HTTP/1.1 404 Nothing Here\r\nA: 1\r\nB:  x y \r\na: 2\r\n\r\nbody", &Method::GET);
        let Head { parts, .. } = head.unwrap().unwrap();
        assert_eq!((parts.status, parts.version), (StatusCode::NOT_FOUND, Version::HTTP_11));
        let fields: Vec<_> =
            parts.headers.iter().map(|(name, value)| (name.as_str(), value.as_bytes())).collect();
        assert_eq!(fields, [("a", &b"1"[..]), ("a", b"2"), ("b", b"x y")]);
        let reason = parts.extensions.get::<ReasonPhrase>().map(ReasonPhrase::as_bytes);
        assert_eq!((reason, &rest[..]), (Some(&b"Nothing Here"[..]), &b"body"[..]));
        let usual = get("HTTP/1.1 200 OK\r\n\r\n").unwrap().unwrap().parts;
        assert!(usual.extensions.get::<ReasonPhrase>().is_none());
    }

    #[test]
    fn what_is_not_whole_is_waited_for() {
        let whole = "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n";
        for end in 0..whole.len() {
            let (head, rest) = read(&whole[..end], &Method::GET);
            assert!(matches!(head, Ok(None)), "{end}");
            assert_eq!(rest.len(), end, "nothing is taken");
        }
        assert!(get(whole).unwrap().is_some());
    }

    #[test]
    fn what_only_informs_is_passed_over() {
        let informs = "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n";
        assert!(matches!(read(informs, &Method::GET), (Ok(None), rest) if rest.is_empty()));
        let head = get(&format!("{informs}HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")).unwrap().unwrap();
        assert_eq!((head.parts.status, head.parts.headers.contains_key("link")), (StatusCode::OK, false));
        let switch = get("HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\nmore").unwrap().unwrap();
        assert!(!switch.keeps && switch.framing.is_ended());
    }

    #[test]
    fn where_bodies_end() {
        let framing = |status: u16, fields: &str, method: Method| {
            let (head, _) = read(&format!("HTTP/1.1 {status} X\r\n{fields}\r\n"), &method);
            head.map(|head| head.unwrap().framing)
        };
        let chunked = || Framing::Chunked(Box::new(Chunked::of_replica()));
        for (status, fields, expected) in [
            (200, "Content-Length: 12\r\n", Framing::Length(12)),
            (200, "Content-Length: 12, 12\r\nContent-Length: 12\r\n", Framing::Length(12)),
            (200, "Content-Length: 0\r\n", Framing::Ended),
            (200, "", Framing::Close),
            (200, "Transfer-Encoding: chunked\r\n", chunked()),
            (200, "Transfer-Encoding: gzip, CHUNKED\r\nContent-Length: 12\r\n", chunked()),
            (200, "Transfer-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n", chunked()),
            (200, "Transfer-Encoding: chunked, gzip\r\n", Framing::Close),
            (204, "Content-Length: 12\r\n", Framing::Ended),
            (304, "Content-Length: 12\r\n", Framing::Ended),
        ] {
            assert_eq!(framing(status, fields, Method::GET), Ok(expected), "{status} {fields:?}");
            assert_eq!(framing(status, fields, Method::HEAD), Ok(Framing::Ended), "{status} {fields:?}");
        }
        for length in ["", "+1", "-1", "0x1", "1 1", "1, 2", "99999999999999999999", "a"] {
            let fields = format!("Content-Length: {length}\r\n");
            assert_eq!(framing(200, &fields, Method::GET), Err("a malformed Content-Length"), "{length:?}");
        }
        assert!(get("HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n").is_err());
    }

    #[test]
    fn who_keeps_a_connection() {
        for (version, options, expected) in [
            ("1.1", "", true),
            ("1.1", "Connection: keep-alive\r\n", true),
            ("1.1", "Connection: x, Close\r\n", false),
            ("1.1", "Connection: keep-alive\r\nConnection: close\r\n", false),
            ("1.0", "", false),
            ("1.0", "Connection: Keep-Alive\r\n", true),
            ("1.0", "Connection: keep-alive, close\r\n", false),
        ] {
            let head = get(&format!("HTTP/{version} 200 OK\r\n{options}\r\n")).unwrap().unwrap();
            assert_eq!(head.keeps, expected, "{version} {options:?}");
        }
    }

    #[test]
    fn what_is_no_head() {
        let many = format!("HTTP/1.1 200 OK\r\n{}\r\n", "A: b\r\n".repeat(FIELDS + 1));
        let long = format!("HTTP/1.1 200 OK\r\nA: {}", "b".repeat(MOST));
        let whole = format!("{long}\r\n\r\n");
        for bad in [
            "garbage\r\n\r\n",
            "HTTP/2 200 OK\r\n\r\n",
            "HTTP/1.1 200 OK\r\nA b\r\n\r\n",
            &many,
            &long,
            &whole,
        ] {
            assert!(get(bad).is_err(), "{bad:.80}");
        }
        let most = format!("HTTP/1.1 200 OK\r\n{}\r\n", "A: b\r\n".repeat(FIELDS));
        assert_eq!(get(&most).unwrap().unwrap().parts.headers.len(), FIELDS);
    }
}
