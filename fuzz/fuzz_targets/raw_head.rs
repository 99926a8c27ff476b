//! The reading of a raw head takes exactly what a plain reading of RFC 9112 takes, and makes the same of it; so does a
//! common parser.

#![no_main]

use libfuzzer_sys::fuzz_target;
use pilotlight::gateway::raw_head::{self, Body};

/// More than any input has.
const FIELDS: usize = 4096;

fuzz_target!(|bytes: &[u8]| {
    let mut fields = vec![httparse::EMPTY_HEADER; FIELDS];
    let mut parsed = httparse::Request::new(&mut fields);
    let parser = parsed.parse(bytes);
    let end = raw_head::end_of(bytes);
    if let Ok(httparse::Status::Complete(len)) = parser {
        assert_eq!(end, Some(len), "the parser finds another end");
    }
    let Some(end) = end else { return };
    let head = &bytes[..end];
    let mut ours = Vec::new();
    let taken = raw_head::read(head, |name, value| {
        ours.push((name, value));
        Ok(())
    });
    let expected = read(head);
    let body = taken.as_ref().ok().map(|(_, facts)| facts.body);
    assert_eq!(body, expected.as_ref().map(|plain| plain.body), "{}", head.escape_ascii());
    for end in (0..head.len()).step_by(1 + head.len() / 64) {
        // What is sound is not refused before its end.
        assert!(taken.is_err() || raw_head::check_begun(&head[..end]).is_ok(), "{}", head.escape_ascii());
    }
    let (Ok((line, _)), Some(plain)) = (taken, expected) else { return };
    assert_eq!((line.method, line.target, ours), (plain.method, plain.target, plain.fields.clone()));
    assert_eq!(parser, Ok(httparse::Status::Complete(end)));
    assert_eq!(parsed.method.map(str::as_bytes), Some(plain.method));
    assert_eq!(parsed.path.map(str::as_bytes), Some(plain.target));
    assert_eq!(parsed.version, Some(plain.minor));
    let found: Vec<_> = parsed.headers.iter().map(|field| (field.name.as_bytes(), field.value)).collect();
    assert_eq!(found, plain.fields);
});

/// A head as it is read one line after the other.
struct Plain<'a> {
    method: &'a [u8],
    target: &'a [u8],
    minor: u8,
    fields: Vec<(&'a [u8], &'a [u8])>,
    body: Body,
}

fn read(head: &[u8]) -> Option<Plain<'_>> {
    let head = head.strip_prefix(b"\r\n").unwrap_or(head);
    let mut lines = Vec::new();
    let mut rest = head.strip_suffix(b"\r\n\r\n")?;
    while let Some(at) = rest.windows(2).position(|two| two == b"\r\n") {
        lines.push(&rest[..at]);
        rest = &rest[at + 2..];
    }
    lines.push(rest);
    let (first, others) = lines.split_first()?;
    let words: Vec<&[u8]> = first.split(|byte| *byte == b' ').collect();
    let [method, target, version] = words[..] else { return None };
    let minor = match version {
        b"HTTP/1.0" => 0,
        b"HTTP/1.1" => 1,
        _ => return None,
    };
    // Visible ASCII, and whatever text is beyond ASCII.
    let text = std::str::from_utf8(target).ok()?;
    let visible = text.chars().all(|c| !c.is_ascii() || (c.is_ascii_graphic() && c != '#'));
    if !is_token(method) || target.is_empty() || !visible {
        return None;
    }
    let fields = others.iter().map(|line| field(line)).collect::<Option<Vec<_>>>()?;
    let body = body(&fields, minor)?;
    Some(Plain { method, target, minor, fields, body })
}

fn field(line: &[u8]) -> Option<(&[u8], &[u8])> {
    let colon = line.iter().position(|byte| *byte == b':')?;
    let (name, value) = (&line[..colon], &line[colon + 1..]);
    let allowed = |byte: &u8| matches!(byte, b'\t' | b' '..=b'~' | 0x80..);
    (is_token(name) && value.iter().all(allowed)).then(|| (name, value.trim_ascii()))
}

fn is_token(name: &[u8]) -> bool {
    let fits = |byte: &u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(byte);
    !name.is_empty() && name.iter().all(fits)
}

fn body(fields: &[(&[u8], &[u8])], minor: u8) -> Option<Body> {
    let all = |name: &str| -> Vec<&[u8]> {
        let named = fields.iter().filter(|(found, _)| found.eq_ignore_ascii_case(name.as_bytes()));
        named.map(|(_, value)| *value).collect()
    };
    if all("host").len() > 1 || (minor == 1 && all("host").is_empty()) {
        return None;
    }
    match (&all("transfer-encoding")[..], &all("content-length")[..]) {
        ([], []) => Some(Body::None),
        ([coding], []) if minor == 1 && coding.eq_ignore_ascii_case(b"chunked") => Some(Body::Chunked),
        ([], [length]) if length.len() <= 18 && length.iter().all(u8::is_ascii_digit) => {
            let length = std::str::from_utf8(length).ok()?.parse().ok()?;
            Some(if length == 0 { Body::None } else { Body::Length(length) })
        }
        _ => None,
    }
}
