//! The head of an HTTP/1 request as its bytes have arrived: its parts, where it ends, and whether two parsers could read
//! it in two ways. Common parsers take more than they should (line ends without a CR, equal lengths twice), and of what is
//! in doubt nobody further on would learn.
//!
//! Knows nothing of connections and of what a request asks for: which host and path it names is `request.rs`' to say,
//! and which of its fields go any further that of `headers.rs`.

use memchr::{memchr, memchr_iter};

/// Longest `Content-Length`: any number of so many digits fits into 64 bits, signed or not.
const MAX_DIGITS: usize = 18;

/// Where a request line begins with no method.
const NO_METHOD: &str = "a malformed method";

/// What may stand in a method and in a field's name, RFC 9110 section 5.6.2.
const TOKEN: [bool; 256] = {
    let mut table = [false; 256];
    let mut byte = 0;
    while byte < 128_u8 {
        table[byte as usize] = byte.is_ascii_alphanumeric()
            || matches!(
                byte,
                b'!' | b'#'
                    | b'$'
                    | b'%'
                    | b'&'
                    | b'\''
                    | b'*'
                    | b'+'
                    | b'-'
                    | b'.'
                    | b'^'
                    | b'_'
                    | b'`'
                    | b'|'
                    | b'~'
            );
        byte += 1;
    }
    table
};

/// What follows a head, by its fields.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Body {
    /// Nothing: the next byte is another head's.
    None,
    /// So many bytes, at least one.
    Length(u64),
    /// Chunks.
    Chunked,
}

/// What a head says of its connection, and of what follows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Facts {
    /// What follows it.
    pub body: Body,
    /// The client awaits a word before it sends its body, RFC 9110 section 10.1.1.
    pub expects: bool,
    /// How it would be answered.
    pub wants: Wants,
}

/// How a client would be answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Wants {
    /// In HTTP/1.1, and else in 1.0.
    pub current: bool,
    /// It would go on, RFC 9112 section 9.3.
    pub keeps: bool,
    /// It takes trailers, RFC 9110 section 6.5.1.
    pub trailers: bool,
}

/// What a request line says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RequestLine<'a> {
    /// A token.
    pub method: &'a [u8],
    /// Visible text.
    pub target: &'a [u8],
    /// It is of HTTP/1.1, and else of 1.0.
    current: bool,
}

/// Where the head with which `bytes` begin ends: behind its blank line, if that is there. Empty lines before the
/// request line belong to it.
///
/// Finds an end of lines that end in LF alone too: [`read`] refuses such a head.
#[must_use]
pub fn end_of(bytes: &[u8]) -> Option<usize> {
    end_of_more(bytes, 0)
}

/// The same where it is known that no head ends in the first `seen` bytes.
#[must_use]
pub fn end_of_more(bytes: &[u8], seen: usize) -> Option<usize> {
    let first = bytes.iter().position(|byte| !matches!(byte, b'\r' | b'\n'))?;
    // A part of the blank line may be among what was seen.
    let start = first.max(seen.saturating_sub(2));
    let blank = |lf: usize| match bytes.get(start + lf + 1..)? {
        [b'\n', ..] => Some(start + lf + 2),
        [b'\r', b'\n', ..] => Some(start + lf + 3),
        _ => None,
    };
    memchr_iter(b'\n', &bytes[start..]).find_map(blank)
}

/// Reads a head, from its first byte to the blank line that ends it; each field goes to `field`. One empty line before the
/// request line is allowed, as some clients send one behind a body, RFC 9112 section 2.2.
///
/// # Errors
/// Why it is refused, in words for the client.
pub fn read<'a>(
    head: &'a [u8],
    mut field: impl FnMut(&'a [u8], &'a [u8]) -> Result<(), &'static str>,
) -> Result<(RequestLine<'a>, Facts), &'static str> {
    let head = head.strip_prefix(b"\r\n").unwrap_or(head);
    check_bytes(head)?;
    // From here on every CR and every LF is half of a line's end.
    let (line, mut rest) = request_line(head)?;
    let mut seen = Seen::default();
    loop {
        let name = rest.iter().position(|byte| !TOKEN[usize::from(*byte)]).ok_or("the head has no end")?;
        if rest[name] != b':' {
            return if rest == b"\r\n" {
                Ok((line, seen.verdict(line.current)?))
            } else {
                Err(no_name(rest, name))
            };
        }
        let value = &rest[name + 1..];
        let end = memchr(b'\r', value).ok_or("the head has no end")?;
        let (name, value) = (&rest[..name], trimmed(&value[..end]));
        rest = &rest[name.len() + 1 + end + 2..];
        seen.field(name, value)?;
        field(name, value)?;
    }
}

/// Checks a head of which more is to come.
///
/// # Errors
/// Why it is refused, whatever follows.
pub fn check_begun(head: &[u8]) -> Result<(), &'static str> {
    let head = head.strip_prefix(b"\r\n").unwrap_or(head);
    // Of the last line the end may be a half.
    let lines = memchr::memrchr(b'\n', head).map_or(0, |lf| lf + 1);
    check_bytes(&head[..lines])?;
    let line = &head[lines..];
    let text = line.strip_suffix(b"\r").unwrap_or(line);
    check_text(text)?;
    match lines {
        0 => {
            let method = text.iter().position(|byte| !TOKEN[usize::from(*byte)]);
            if method.is_some_and(|end| end == 0 || text[end] != b' ') { Err(NO_METHOD) } else { Ok(()) }
        }
        _ => request_line(head).map(|_| ()),
    }
}

/// Checks one field of a trailer, without its line's end.
///
/// # Errors
/// Why it is refused.
pub fn check_field(line: &[u8]) -> Result<(), &'static str> {
    check_text(line)?;
    match line.iter().position(|byte| !TOKEN[usize::from(*byte)]) {
        Some(0) if line[0] == b':' => Err("an empty header name"),
        Some(end) if line[end] == b':' => Ok(()),
        Some(end) => Err(no_name(line, end)),
        None => Err("a line without a colon"),
    }
}

/// Looks for a control character in a line.
///
/// # Errors
/// There is one.
pub fn check_text(line: &[u8]) -> Result<(), &'static str> {
    let found = line.iter().any(|byte| byte.is_ascii_control() && *byte != b'\t');
    if found { Err("a control character") } else { Ok(()) }
}

/// Whether anything is true. Without an early way out, the compiler compares sixteen bytes at once.
fn any(found: impl Iterator<Item = bool>) -> bool {
    found.fold(0, |any, found| any | u8::from(found)) != 0
}

/// Looks for bytes that stand nowhere in a head.
fn check_bytes(head: &[u8]) -> Result<(), &'static str> {
    let control = |byte: u8| byte < b' ' && !matches!(byte, b'\t' | b'\r' | b'\n') || byte == 0x7f;
    if any(head.iter().map(|byte| control(*byte))) {
        return Err("a control character");
    }
    let pairs = head.iter().zip(head.get(1..).unwrap_or_default());
    let half = any(pairs.map(|(one, next)| (*one == b'\r') != (*next == b'\n')));
    if half || head.first() == Some(&b'\n') || head.last() == Some(&b'\r') {
        return Err("a line that does not end in CR and LF");
    }
    Ok(())
}

/// What its line says, and what follows that.
fn request_line(head: &[u8]) -> Result<(RequestLine<'_>, &[u8]), &'static str> {
    let end = memchr(b'\r', head).ok_or("the head has no end")?;
    let (line, rest) = (&head[..end], &head[end + 2..]);
    let method = line.iter().position(|byte| !TOKEN[usize::from(*byte)]).unwrap_or(line.len());
    if method == 0 || line.get(method).is_some_and(|byte| *byte != b' ') {
        return Err(NO_METHOD);
    }
    let (method, line) = (&line[..method], line.get(method + 1..).unwrap_or_default());
    let Some(target) = memchr(b' ', line) else { return Err("a request line without a version") };
    let current = match &line[target + 1..] {
        b"HTTP/1.1" => true,
        b"HTTP/1.0" => false,
        _ => return Err("a malformed request line, or a version other than 1.0 and 1.1"),
    };
    let target = &line[..target];
    // A fragment is the client's own affair; some drop it, and others route by it.
    // Text beyond ASCII stands in the targets of clients that do not escape it, and nobody reads it in two ways.
    let foreign = |byte: &u8| matches!(*byte, 0..=b' ' | 0x7f | b'#');
    let is_text = target.is_ascii() || std::str::from_utf8(target).is_ok();
    if target.is_empty() || !is_text || any(target.iter().map(foreign)) {
        return Err("a malformed target");
    }
    Ok((RequestLine { method, target, current }, rest))
}

/// Why what stands where a field's name is awaited is none.
fn no_name(line: &[u8], end: usize) -> &'static str {
    match (line[end], end) {
        (b' ' | b'\t', 0) => "a folded line",
        (b' ' | b'\t', _) => "white space before a colon",
        (b'\r', 0) => "something behind the head's end",
        (b'\r', _) => "a line without a colon",
        _ => "a malformed header name",
    }
}

/// The fields that say whose the request is, where its body ends, and what is to become of its connection.
#[derive(Debug, Default)]
#[expect(clippy::struct_excessive_bools, reason = "which of several fields a head has")]
struct Seen {
    host: bool,
    length: Option<u64>,
    chunked: bool,
    expects: bool,
    close: bool,
    keep_alive: bool,
    trailers: bool,
}

impl Seen {
    fn field(&mut self, name: &[u8], value: &[u8]) -> Result<(), &'static str> {
        let is = |other: &[u8]| name.eq_ignore_ascii_case(other);
        let only = |seen: bool, why| if seen { Err(why) } else { Ok(()) };
        // A length tells nearly every other field from these.
        match name.len() {
            0 => return Err("an empty header name"),
            2 if is(b"te") => self.trailers |= names(value, b"trailers"),
            4 if is(b"host") => {
                only(self.host, "more than one Host")?;
                self.host = true;
            }
            6 if is(b"expect") => self.expects |= value.eq_ignore_ascii_case(b"100-continue"),
            10 if is(b"connection") => {
                self.close |= names(value, b"close");
                self.keep_alive |= names(value, b"keep-alive");
            }
            14 if is(b"content-length") => {
                only(self.length.is_some(), "more than one Content-Length")?;
                self.length = Some(length(value).ok_or("a malformed Content-Length")?);
            }
            17 if is(b"transfer-encoding") => {
                only(self.chunked, "more than one Transfer-Encoding")?;
                if !value.eq_ignore_ascii_case(b"chunked") {
                    return Err("a transfer coding other than chunked");
                }
                self.chunked = true;
            }
            _ => {}
        }
        Ok(())
    }

    fn verdict(&self, current: bool) -> Result<Facts, &'static str> {
        if current && !self.host {
            return Err("no Host");
        }
        let body = match (self.chunked, self.length) {
            (true, Some(_)) => return Err("Transfer-Encoding together with Content-Length"),
            (true, None) if !current => return Err("Transfer-Encoding in HTTP/1.0"),
            (true, None) => Body::Chunked,
            (false, None | Some(0)) => Body::None,
            (false, Some(length)) => Body::Length(length),
        };
        let keeps = !self.close && (current || self.keep_alive);
        let expects = self.expects && current && body != Body::None;
        Ok(Facts { body, expects, wants: Wants { current, keeps, trailers: self.trailers } })
    }
}

/// Whether a list names this, in whichever letters.
fn names(list: &[u8], wanted: &[u8]) -> bool {
    list.split(|byte| *byte == b',').any(|element| trimmed(element).eq_ignore_ascii_case(wanted))
}

fn length(digits: &[u8]) -> Option<u64> {
    let fits = (1..=MAX_DIGITS).contains(&digits.len()) && digits.iter().all(u8::is_ascii_digit);
    fits.then(|| digits.iter().fold(0, |number, digit| number * 10 + u64::from(digit - b'0')))
}

/// Without the white space that may surround a value; the line's other white space is none for everybody.
fn trimmed(mut value: &[u8]) -> &[u8] {
    while let [b' ' | b'\t', rest @ ..] = value {
        value = rest;
    }
    while let [rest @ .., b' ' | b'\t'] = value {
        value = rest;
    }
    value
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(head: &[u8]) -> Result<Body, &'static str> {
        read(head, |_, _| Ok(())).map(|(_, facts)| facts.body)
    }

    /// A sound head with this in the place of its last fields.
    fn with(fields: &str) -> Vec<u8> {
        format!("POST /a HTTP/1.1\r\nHost: a.test\r\n{fields}\r\n\r\n").into_bytes()
    }

    fn refused(head: impl AsRef<[u8]>) -> &'static str {
        let head = head.as_ref();
        check(head).expect_err(&head.escape_ascii().to_string())
    }

    #[test]
    fn what_is_legal_passes() {
        for head in [
            &b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"[..],
            b"\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n",
            b"GET / HTTP/1.0\r\n\r\n",
            b"GET / HTTP/1.0\r\nHost: a\r\nContent-Length: 0\r\n\r\n",
            b"OPTIONS * HTTP/1.1\r\nhost:a\r\n\r\n",
            b"get http://a/?x=[]{}|'\"\\^%00 HTTP/1.1\r\nHOST:\t a \t\r\n\r\n",
            b"X-!#$%&'*+.^_`|~09 /../a//b;c?d?e HTTP/1.1\r\nHost:\r\nX:\r\nx: a\tb \xff\x80: c\r\n\r\n",
        ] {
            assert_eq!(check(head), Ok(Body::None), "{}", head.escape_ascii());
            assert_eq!(end_of(head), Some(head.len()), "{}", head.escape_ascii());
        }
        for (fields, body) in [
            ("content-LENGTH:\t007 ", Body::Length(7)),
            ("Content-Length: 000", Body::None),
            ("Content-Length: 123456789012345678", Body::Length(123_456_789_012_345_678)),
            ("transfer-encoding:CHUNKED\t", Body::Chunked),
        ] {
            assert_eq!(check(&with(fields)), Ok(body), "{fields:?}");
        }
    }

    #[test]
    fn where_the_body_ends_is_said_once() {
        for (fields, why) in [
            (
                "Content-Length: 1\r\nTransfer-Encoding: chunked",
                "Transfer-Encoding together with Content-Length",
            ),
            (
                "Transfer-Encoding: chunked\r\nContent-Length: 1",
                "Transfer-Encoding together with Content-Length",
            ),
            ("Content-Length: 1\r\nContent-Length: 1", "more than one Content-Length"),
            ("Transfer-Encoding: chunked\r\ntransfer-encoding: chunked", "more than one Transfer-Encoding"),
        ] {
            assert_eq!(refused(with(fields)), why, "{fields:?}");
        }
        for length in
            ["", "1, 1", "1,1", "+1", "-1", "0x1", "1 1", "1_0", "1.0", "1234567890123456789", "\u{661}"]
        {
            assert_eq!(
                refused(with(&format!("Content-Length: {length}"))),
                "a malformed Content-Length",
                "{length}"
            );
        }
        for coding in [
            "",
            "identity",
            "gzip, chunked",
            "chunked, identity",
            "chunked,",
            ",chunked",
            "\"chunked\"",
            "xchunked",
            "chunked;q=1",
            "chunked chunked",
            "chun ked",
            "chunked\u{a0}",
        ] {
            let head = with(&format!("Transfer-Encoding: {coding}"));
            assert_eq!(refused(head), "a transfer coding other than chunked", "{coding}");
        }
        let older = b"POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n";
        assert_eq!(refused(older), "Transfer-Encoding in HTTP/1.0");
    }

    #[test]
    fn hosts() {
        assert_eq!(refused("GET / HTTP/1.1\r\n\r\n"), "no Host");
        assert_eq!(refused("GET / HTTP/1.1\r\nHosts: a\r\n\r\n"), "no Host");
        assert_eq!(refused(with("host: a.test")), "more than one Host");
        assert_eq!(refused("GET / HTTP/1.0\r\nHost: a\r\nHost: a\r\n\r\n"), "more than one Host");
    }

    #[test]
    fn lines() {
        let crlf = "a line that does not end in CR and LF";
        for (head, why) in [
            ("GET / HTTP/1.1\nHost: a\r\n\r\n", crlf),
            ("GET / HTTP/1.1\r\nHost: a\nX: a\r\n\r\n", crlf),
            ("GET / HTTP/1.1\r\nHost: a\r\n\n", crlf),
            ("GET / HTTP/1.1\r\nHost: a\r\n\r", crlf),
            ("GET / HTTP/1.1\r\nHost: a\rX: a\r\n\r\n", crlf),
            ("GET / HTTP/1.1\r\nHost: a\r\r\n\r\n", crlf),
            ("\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", crlf),
            ("\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", "a malformed method"),
            ("GET / HTTP/1.1\r\n X: a\r\nHost: a\r\n\r\n", "a folded line"),
            ("GET / HTTP/1.1\r\nHost: a\r\n\tb\r\n\r\n", "a folded line"),
            ("GET / HTTP/1.1\r\nHost : a\r\n\r\n", "white space before a colon"),
            ("GET / HTTP/1.1\r\nHost\t: a\r\n\r\n", "white space before a colon"),
            ("GET / HTTP/1.1\r\nHost: a\r\n: b\r\n\r\n", "an empty header name"),
            ("GET / HTTP/1.1\r\nHost: a\r\nX\r\n\r\n", "a line without a colon"),
            ("GET / HTTP/1.1\r\nHost: a\r\nX(: b\r\n\r\n", "a malformed header name"),
            ("GET / HTTP/1.1\r\nHost: a\r\n\u{e4}: b\r\n\r\n", "a malformed header name"),
            ("GET / HTTP/1.1\r\nHost: a\r\n\r\nX: b\r\n\r\n", "something behind the head's end"),
            ("GET / HTTP/1.1\r\nHost: a\r\n", "the head has no end"),
            ("GET / HTTP/1.1\r\nHost: a", "the head has no end"),
            ("GET / HTTP/1.1\r\n", "the head has no end"),
            ("\r\n", "the head has no end"),
            ("", "the head has no end"),
        ] {
            assert_eq!(refused(head), why, "{head:?}");
        }
    }

    #[test]
    fn controls() {
        let sound = b"GET /ab HTTP/1.1\r\nHost: a\r\nX-Yy: b c\r\n\r\n";
        for at in [0, 1, 3, 6, 8, 12, 20, 24, 28, 29, 33] {
            for control in (0..b' ').chain([0x7f]) {
                let mut head = sound.to_vec();
                head.insert(at, control);
                if control == b'\t' && [24, 33].contains(&at) {
                    assert_eq!(check(&head), Ok(Body::None), "white space in a value");
                } else {
                    refused(&head);
                }
            }
        }
    }

    #[test]
    fn request_lines() {
        let version = "a malformed request line, or a version other than 1.0 and 1.1";
        for (line, why) in [
            ("GET /", "a request line without a version"),
            ("GET", "a request line without a version"),
            ("GET  / HTTP/1.1", version),
            ("GET /  HTTP/1.1", version),
            ("GET / HTTP/1.1 ", version),
            ("GET /a b HTTP/1.1", version),
            ("GET / HTTP/0.9", version),
            ("GET / HTTP/2.0", version),
            ("GET / HTTP/1.2", version),
            ("GET / HTTP/1.10", version),
            ("GET / HTTP/01.1", version),
            ("GET / http/1.1", version),
            ("GET / HTTP/1.1\t", version),
            ("GET /a\tb HTTP/1.1", "a malformed target"),
            ("GET\t/ HTTP/1.1", "a malformed method"),
            (" GET / HTTP/1.1", "a malformed method"),
            ("G(T / HTTP/1.1", "a malformed method"),
            ("GET /a#b HTTP/1.1", "a malformed target"),
            ("GET  HTTP/1.1", "a malformed target"),
        ] {
            assert_eq!(refused(format!("{line}\r\nHost: a\r\n\r\n")), why, "{line:?}");
        }
    }

    #[test]
    fn a_target_is_text() {
        let head = |target: &[u8]| [b"GET /", target, b" HTTP/1.1\r\nHost: a\r\n\r\n"].concat();
        assert_eq!(check(&head("\u{e4}".as_bytes())), Ok(Body::None));
        assert_eq!(check(&head(b"\xe4")), Err("a malformed target"));
        assert_eq!(check(&head(b"+\xff/a")), Err("a malformed target"));
    }

    #[test]
    fn where_a_head_ends() {
        for (bytes, end) in [
            ("GET / HTTP/1.1\r\nHost: a\r\n\r\nGET", Some(27)),
            ("GET / HTTP/1.1\r\n\r\n\r\n", Some(18)),
            ("\r\n\n\r\nGET / HTTP/1.1\r\n\r\n", Some(23)),
            ("GET / HTTP/1.1\nHost: a\n\nGET", Some(24)),
            ("GET / HTTP/1.1\nHost: a\n\r\nGET", Some(25)),
            ("GET / HTTP/1.1\r\nHost: a\r\n\r", None),
            ("GET / HTTP/1.1\r\nHost: a\r\n", None),
            ("\r\n\r\n", None),
            ("", None),
        ] {
            let bytes = bytes.as_bytes();
            assert_eq!(end_of(bytes), end, "{}", bytes.escape_ascii());
            let in_pieces =
                (0..=bytes.len()).find_map(|len| end_of_more(&bytes[..len], len.saturating_sub(1)));
            assert_eq!(in_pieces, end.map(|end| end.min(bytes.len())), "{}", bytes.escape_ascii());
        }
    }
}
