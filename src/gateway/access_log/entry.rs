//! What the log says of one request. Put into words in two parts: what it asks for while its head is still there, and
//! what has become of it at its end.

use std::borrow::Cow;
use std::cell::Cell;
use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use http::header::{HOST, REFERER, USER_AGENT};
use http::{HeaderMap, HeaderName, StatusCode, Uri, Version, request};
use serde::Serialize;

use crate::config::spec::AccessFormat;
use crate::gateway::access_log::stamp::Stamp;

/// Bytes of a header; what is beyond is left out.
const MOST: usize = 1024;

/// Written where the client left before an answer had begun, as nginx has made it known.
const CLIENT_GONE: u16 = 499;

/// Written where the connection was closed without an answer, as nginx has made it known.
const NO_ANSWER: u16 = 444;

/// One request.
#[derive(Debug)]
pub struct Entry {
    /// What it asks for, and whose it is.
    text: Vec<u8>,
    /// Where in it status and size have their place: `combined` has them in the middle.
    split: usize,
    client: IpAddr,
    has_app: bool,
    /// Bytes of the answer's body.
    bytes: u64,
    held: Cell<Duration>,
    /// Why the app has not answered, or not to the end.
    why: &'static str,
}

/// What a request asks for.
#[derive(Debug, Serialize)]
struct Asked<'a> {
    method: &'a str,
    target: Cow<'a, str>,
    protocol: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    host: Option<Cow<'a, str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    referer: Option<Cow<'a, str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    user_agent: Option<Cow<'a, str>>,
}

impl Entry {
    /// One that says nothing yet.
    pub(super) fn blank() -> Self {
        Self {
            text: Vec::new(),
            split: 0,
            client: IpAddr::V4(Ipv4Addr::UNSPECIFIED),
            has_app: false,
            bytes: 0,
            held: Cell::default(),
            why: "",
        }
    }

    /// What it has room for, in bytes.
    pub(super) fn capacity(&self) -> usize {
        self.text.capacity()
    }

    /// Starts anew with this request of this client.
    pub(super) fn begin(&mut self, format: AccessFormat, client: IpAddr, head: &request::Parts) {
        self.reset(client);
        let (text, method, target) = (&mut self.text, head.method.as_str(), target(&head.uri));
        match format {
            AccessFormat::Combined => {
                // A method is a token, which needs no escaping.
                for part in ["\"", method, " "] {
                    text.extend_from_slice(part.as_bytes());
                }
                escape(text, target.as_bytes());
                for part in [" ", protocol(head.version), "\""] {
                    text.extend_from_slice(part.as_bytes());
                }
                self.split = text.len();
                for name in [&REFERER, &USER_AGENT] {
                    quote(text, field(&head.headers, name));
                }
                quote(text, host(head));
            }
            AccessFormat::Json => {
                let lossy = String::from_utf8_lossy;
                let asked = Asked {
                    method,
                    target,
                    protocol: protocol(head.version),
                    host: host(head).map(lossy),
                    referer: field(&head.headers, &REFERER).map(lossy),
                    user_agent: field(&head.headers, &USER_AGENT).map(lossy),
                };
                serde_json::to_writer(&mut *text, &asked).expect("text can be written into memory");
                // More follows in this object.
                text.pop();
                self.split = text.len();
            }
        }
    }

    /// Starts anew with a request of this client that could not be read.
    pub(super) fn begin_unread(&mut self, format: AccessFormat, client: IpAddr) {
        self.reset(client);
        match format {
            AccessFormat::Combined => {
                self.text.extend_from_slice(b"\"-\"");
                self.split = self.text.len();
                self.text.extend_from_slice(b" \"-\" \"-\" \"-\"");
            }
            AccessFormat::Json => self.text.push(b'{'),
        }
    }

    fn reset(&mut self, client: IpAddr) {
        self.text.clear();
        let text = std::mem::take(&mut self.text);
        *self = Self { text, client, ..Self::blank() };
    }

    /// Who has sent it, as far as those are believed through whom it has come.
    pub fn comes_from(&mut self, client: IpAddr) {
        self.client = client;
    }

    /// Whose it is, is known now: an app's name needs no escaping.
    pub fn belongs_to(&mut self, format: AccessFormat, app: &str) {
        self.has_app = true;
        let (before, after) = match format {
            AccessFormat::Combined => (" ", ""),
            AccessFormat::Json if self.text.ends_with(b"{") => ("\"app\":\"", "\""),
            AccessFormat::Json => (",\"app\":\"", "\""),
        };
        for part in [before, app, after] {
            self.text.extend_from_slice(part.as_bytes());
        }
    }

    /// It has waited for so long.
    pub fn held(&self, time: Duration) {
        self.held.set(self.held.get() + time);
    }

    /// So much of its answer's body is handed out.
    pub fn handed_out(&mut self, bytes: usize) {
        self.bytes += bytes as u64;
    }

    /// Why its app has not answered, or not to the end.
    pub fn because(&mut self, why: &'static str) {
        self.why = why;
    }

    /// Appends its line.
    pub(super) fn finish(
        &self,
        format: AccessFormat,
        stamp: &mut Stamp,
        status: Option<StatusCode>,
        took: Duration,
        line: &mut Vec<u8>,
    ) {
        let without_answer = if self.why.is_empty() { CLIENT_GONE } else { NO_ANSWER };
        let status = status.map_or(without_answer, |status| status.as_u16());
        let (asked, more) = self.text.split_at(self.split);
        match format {
            AccessFormat::Combined => {
                address(line, self.client);
                line.extend_from_slice(b" - - [");
                stamp.write(line);
                line.extend_from_slice(b"] ");
                line.extend_from_slice(asked);
                number(line, " ", status.into());
                number(line, " ", self.bytes);
                line.extend_from_slice(more);
                if !self.has_app {
                    line.extend_from_slice(b" -");
                }
                seconds(line, " ", took);
                seconds(line, " ", self.held.get());
                line.push(b' ');
                let why = if self.why.is_empty() { "-" } else { self.why };
                line.extend_from_slice(why.as_bytes());
            }
            AccessFormat::Json => {
                line.extend_from_slice(b"{\"time\":\"");
                stamp.write(line);
                line.extend_from_slice(b"\",\"client\":\"");
                address(line, self.client);
                line.push(b'"');
                if self.text.len() > 1 {
                    line.push(b',');
                    line.extend_from_slice(&self.text[1..]);
                }
                number(line, ",\"status\":", status.into());
                number(line, ",\"bytes\":", self.bytes);
                seconds(line, ",\"seconds\":", took);
                seconds(line, ",\"held\":", self.held.get());
                if !self.why.is_empty() {
                    line.extend_from_slice(b",\"why\":\"");
                    line.extend_from_slice(self.why.as_bytes());
                    line.push(b'"');
                }
                line.push(b'}');
            }
        }
        line.push(b'\n');
    }
}

/// What stands in the request's line, whose host has a field of its own.
fn target(uri: &Uri) -> Cow<'_, str> {
    match uri.path_and_query() {
        Some(path) => Cow::Borrowed(path.as_str()),
        None => Cow::Owned(uri.to_string()),
    }
}

fn protocol(version: Version) -> &'static str {
    match version {
        Version::HTTP_10 => "HTTP/1.0",
        Version::HTTP_2 => "HTTP/2.0",
        _ => "HTTP/1.1",
    }
}

fn host(head: &request::Parts) -> Option<&[u8]> {
    // Who the client is to be for its host is not for the log.
    let named = || head.uri.authority()?.as_str().rsplit('@').next().map(str::as_bytes);
    field(&head.headers, &HOST).or_else(named)
}

fn field<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a [u8]> {
    let value = headers.get(name)?.as_bytes();
    Some(&value[..value.len().min(MOST)])
}

fn quote(text: &mut Vec<u8>, value: Option<&[u8]>) {
    text.extend_from_slice(b" \"");
    escape(text, value.unwrap_or(b"-"));
    text.push(b'"');
}

/// What could end the field or the line, or is no ASCII, as `\xHH`.
fn escape(text: &mut Vec<u8>, value: &[u8]) {
    let plain = |byte: u8| matches!(byte, b' '..=b'~') && byte != b'"' && byte != b'\\';
    // Without an early way out, the compiler compares sixteen bytes at once.
    if value.iter().fold(0, |odd, byte| odd | u8::from(!plain(*byte))) == 0 {
        return text.extend_from_slice(value);
    }
    for &byte in value {
        if plain(byte) {
            text.push(byte);
        } else {
            let digit = |of: u8| b"0123456789ABCDEF"[usize::from(of)];
            text.extend_from_slice(&[b'\\', b'x', digit(byte >> 4), digit(byte & 15)]);
        }
    }
}

fn address(line: &mut Vec<u8>, client: IpAddr) {
    match client {
        IpAddr::V4(client) => {
            let mut before = "";
            for part in client.octets() {
                number(line, before, part.into());
                before = ".";
            }
        }
        IpAddr::V6(client) => line.extend_from_slice(client.to_string().as_bytes()),
    }
}

fn number(line: &mut Vec<u8>, before: &str, number: u64) {
    line.extend_from_slice(before.as_bytes());
    line.extend_from_slice(itoa::Buffer::new().format(number).as_bytes());
}

/// Seconds with six decimals.
fn seconds(line: &mut Vec<u8>, before: &str, time: Duration) {
    number(line, before, time.as_secs());
    let mut digits = *b".000000";
    let mut micros = time.subsec_micros();
    for digit in digits[1..].iter_mut().rev() {
        *digit = b'0' + u8::try_from(micros % 10).expect("one digit");
        micros /= 10;
    }
    line.extend_from_slice(&digits);
}

#[cfg(test)]
mod tests {
    use http::{Request, request};

    use super::*;

    const FORMATS: [AccessFormat; 2] = [AccessFormat::Combined, AccessFormat::Json];

    fn head(request: request::Builder) -> request::Parts {
        request.body(()).unwrap().into_parts().0
    }

    /// The line of what `fill` makes, without its time.
    fn line(format: AccessFormat, status: Option<u16>, fill: impl FnOnce(&mut Entry)) -> String {
        let mut entry = Entry::blank();
        fill(&mut entry);
        let status = status.map(|status| StatusCode::from_u16(status).unwrap());
        let took = Duration::from_micros(3_000_742);
        let mut line = Vec::new();
        entry.finish(format, &mut Stamp::new(format), status, took, &mut line);
        let line = String::from_utf8(line).unwrap();
        let (start, end) = match format {
            AccessFormat::Combined => ("[", "]"),
            AccessFormat::Json => ("\"time\":\"", "\""),
        };
        let at = line.find(start).unwrap() + start.len();
        let rest = &line[at..];
        format!("{}TIME{}", &line[..at], &rest[rest.find(end).unwrap()..])
    }

    #[test]
    fn all_that_is_known() {
        let head = head(
            Request::get("/a?b=c")
                .header("host", "a.test:80")
                .header("user-agent", "curl/8")
                .header("referer", "http://b.test/"),
        );
        let whole = |format| {
            line(format, Some(200), |entry| {
                entry.begin(format, [10, 0, 0, 1].into(), &head);
                entry.comes_from([192, 0, 2, 255].into());
                entry.belongs_to(format, "shop");
                entry.held(Duration::from_millis(1500));
                entry.handed_out(10);
                entry.handed_out(3);
                entry.because("client");
            })
        };
        assert_eq!(
            FORMATS.map(whole),
            [
                "192.0.2.255 - - [TIME] \"GET /a?b=c HTTP/1.1\" 200 13 \"http://b.test/\" \"curl/8\" \"a.test:80\" \
                 shop 3.000742 1.500000 client\n",
                "{\"time\":\"TIME\",\"client\":\"192.0.2.255\",\"method\":\"GET\",\"target\":\"/a?b=c\",\
                 \"protocol\":\"HTTP/1.1\",\"host\":\"a.test:80\",\"referer\":\"http://b.test/\",\
                 \"user_agent\":\"curl/8\",\"app\":\"shop\",\"status\":200,\"bytes\":13,\"seconds\":3.000742,\
                 \"held\":1.500000,\"why\":\"client\"}\n",
            ]
        );
    }

    #[test]
    fn what_is_not_known_is_left_out() {
        let head = head(Request::options("*").version(Version::HTTP_10));
        let bare =
            |format| line(format, None, |entry| entry.begin(format, "2001:db8::1".parse().unwrap(), &head));
        assert_eq!(
            FORMATS.map(bare),
            [
                "2001:db8::1 - - [TIME] \"OPTIONS * HTTP/1.0\" 499 0 \"-\" \"-\" \"-\" - 3.000742 0.000000 -\n",
                "{\"time\":\"TIME\",\"client\":\"2001:db8::1\",\"method\":\"OPTIONS\",\"target\":\"*\",\
                 \"protocol\":\"HTTP/1.0\",\"status\":499,\"bytes\":0,\"seconds\":3.000742,\"held\":0.000000}\n",
            ]
        );
        let unread = |format| {
            line(format, Some(431), |entry| {
                entry.begin_unread(format, [127, 0, 0, 1].into());
                entry.because("header-too-large");
            })
        };
        assert_eq!(
            FORMATS.map(unread),
            [
                "127.0.0.1 - - [TIME] \"-\" 431 0 \"-\" \"-\" \"-\" - 3.000742 0.000000 header-too-large\n",
                "{\"time\":\"TIME\",\"client\":\"127.0.0.1\",\"status\":431,\"bytes\":0,\"seconds\":3.000742,\
                 \"held\":0.000000,\"why\":\"header-too-large\"}\n",
            ]
        );
        let hung_up = line(AccessFormat::Combined, None, |entry| {
            entry.begin(AccessFormat::Combined, [127, 0, 0, 1].into(), &head);
            entry.because("no-route");
        });
        assert!(hung_up.contains(" 444 "), "{hung_up}");
    }

    #[test]
    fn nothing_that_a_client_says_ends_a_field_or_a_line() {
        let mut head = head(Request::get("/\"\\").header("host", "h"));
        let agent = http::HeaderValue::from_bytes(b"a\"b\\c\td\xff").unwrap();
        head.headers.insert(USER_AGENT, agent);
        head.headers.insert(REFERER, "r".repeat(2 * MOST).parse().unwrap());
        let written =
            |format| line(format, Some(200), |entry| entry.begin(format, [127, 0, 0, 1].into(), &head));
        let [combined, json] = FORMATS.map(written);
        assert!(combined.contains(r#""GET /\x22\x5C HTTP/1.1" "#), "{combined}");
        assert!(combined.contains(r#""a\x22b\x5Cc\x09d\xFF""#), "{combined}");
        let read: serde_json::Value = serde_json::from_str(&json).unwrap();
        assert_eq!((&read["target"], &read["user_agent"]), (&"/\"\\".into(), &"a\"b\\c\td\u{fffd}".into()));
        assert_eq!(read["referer"].as_str().map(str::len), Some(MOST));
        assert!([combined, json].iter().all(|line| line.matches('\n').count() == 1));
    }

    #[test]
    fn an_entry_is_used_again_without_a_trace() {
        let (first, second) = (head(Request::get("/long?first")), head(Request::get("/2")));
        for format in FORMATS {
            let fresh = line(format, None, |entry| entry.begin(format, [10, 0, 0, 2].into(), &second));
            let used = line(format, None, |entry| {
                entry.begin(format, [10, 0, 0, 1].into(), &first);
                entry.belongs_to(format, "shop");
                entry.held(Duration::from_secs(1));
                entry.handed_out(1);
                entry.because("client");
                entry.begin(format, [10, 0, 0, 2].into(), &second);
            });
            assert_eq!(used, fresh);
        }
    }
}
