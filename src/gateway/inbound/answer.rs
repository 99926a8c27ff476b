//! The head of an answer as its bytes go out, and what is said in it of the connection.

use bytes::Bytes;
use http::header::{CONNECTION, CONTENT_LENGTH, DATE, HeaderName, TRANSFER_ENCODING};
use http::{Method, StatusCode, request, response};
use http_body::Body;
use hyper::ext::ReasonPhrase;

use crate::gateway::inbound::date;
use crate::gateway::message::going::{self, Framing};
use crate::gateway::message::sending::Sending;
use crate::gateway::raw_head::{Facts, Wants};

/// What was asked, as far as it says how the answer is written.
#[derive(Debug, Clone, Copy)]
pub(super) struct Asked {
    /// The answer has no body, whatever it says.
    head_alone: bool,
    /// See [`Facts`].
    wants: Wants,
}

impl Asked {
    pub(super) fn of(head: &request::Parts, facts: &Facts) -> Self {
        Self { head_alone: head.method == Method::HEAD, wants: facts.wants }
    }

    /// What could not be read.
    pub(super) const UNREAD: Self =
        Self { head_alone: false, wants: Wants { current: true, keeps: false, trailers: false } };
}

/// An answer that is ready to go.
pub(super) struct Answer<B: Body> {
    pub(super) sending: Sending<B>,
    /// No further request is taken after it.
    pub(super) last: bool,
}

/// Writes the head of an answer with this body. `last`: no further request is to be taken, whatever the client would.
pub(super) fn begin<B: Body<Data = Bytes> + Unpin>(
    parts: &response::Parts,
    body: B,
    asked: Asked,
    last: bool,
    out: &mut Vec<u8>,
) -> Answer<B> {
    status_line(parts, asked.wants.current, out);
    if parts.status == StatusCode::SWITCHING_PROTOCOLS {
        going::fields(&parts.headers, &parts.extensions, out, |_, _| true);
        out.extend_from_slice(b"\r\n");
        return Answer { sending: Sending::head_alone(body), last: false };
    }
    let mut said = Said { no_length: parts.status == StatusCode::NO_CONTENT, ..Said::default() };
    going::fields(&parts.headers, &parts.extensions, out, |name, value| said.goes(name, value.as_bytes()));
    let mut last = last || said.close || !asked.wants.keeps;
    let head_alone = asked.head_alone || said.no_length || parts.status == StatusCode::NOT_MODIFIED;
    let framing = if head_alone {
        None
    } else if let Some(length) = said.length {
        Some(Framing::Length(length))
    } else if let Some(length) = body.size_hint().exact() {
        length_field(length, out);
        Some(Framing::Length(length))
    } else if asked.wants.current {
        out.extend_from_slice(b"transfer-encoding: chunked\r\n");
        let announced = if asked.wants.trailers { going::announced(&parts.headers) } else { Vec::new() };
        Some(Framing::Chunked(announced))
    } else {
        last = true;
        Some(Framing::Close)
    };
    if last && !said.close {
        out.extend_from_slice(b"connection: close\r\n");
    } else if !last && !asked.wants.current {
        out.extend_from_slice(b"connection: keep-alive\r\n");
    }
    if !said.date {
        date::write(out);
    }
    out.extend_from_slice(b"\r\n");
    let sending = match framing {
        Some(framing) => Sending::new(body, framing).to_the_last(),
        None => Sending::head_alone(body),
    };
    Answer { sending, last }
}

fn status_line(parts: &response::Parts, current: bool, out: &mut Vec<u8>) {
    let reason = parts.extensions.get::<ReasonPhrase>().map(ReasonPhrase::as_bytes);
    let reason = reason.or_else(|| parts.status.canonical_reason().map(str::as_bytes)).unwrap_or_default();
    let version: &[u8] = if current { b"HTTP/1.1 " } else { b"HTTP/1.0 " };
    for part in [version, parts.status.as_str().as_bytes(), b" ", reason, b"\r\n"] {
        out.extend_from_slice(part);
    }
}

fn length_field(length: u64, out: &mut Vec<u8>) {
    let mut digits = itoa::Buffer::new();
    going::field(CONTENT_LENGTH.as_str().as_bytes(), digits.format(length).as_bytes(), out);
}

/// What the fields of an answer have said so far.
#[derive(Debug, Default)]
struct Said {
    /// None may be said.
    no_length: bool,
    length: Option<u64>,
    close: bool,
    date: bool,
}

impl Said {
    /// Whether this one goes out as it is.
    fn goes(&mut self, name: &HeaderName, value: &[u8]) -> bool {
        if *name == CONTENT_LENGTH {
            // It may be said twice, or in a list. Once is enough.
            let said = std::str::from_utf8(value).ok().and_then(|text| text.parse().ok());
            if self.no_length || self.length.is_some() || said.is_none() {
                return false;
            }
            self.length = said;
        } else if *name == TRANSFER_ENCODING {
            return false;
        } else if *name == CONNECTION {
            self.close |= value.eq_ignore_ascii_case(b"close");
        } else if *name == DATE {
            self.date = true;
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use http::{HeaderValue, Response};
    use http_body_util::{Either, Full, StreamBody};
    use hyper::body::Frame;

    use super::*;

    type Stream = StreamBody<futures_util::stream::Empty<Result<Frame<Bytes>, std::convert::Infallible>>>;

    const WANTS: Wants = Wants { current: true, trailers: true, keeps: true };
    const ASKED: Asked = Asked { head_alone: false, wants: WANTS };

    /// The head without its first and last line, and without the date; how its body goes; and whether it is the last.
    fn written(
        status: u16,
        fields: &[(&'static str, &'static str)],
        body: Option<&'static str>,
        asked: Asked,
    ) -> (String, bool) {
        let mut parts = Response::new(()).into_parts().0;
        parts.status = StatusCode::from_u16(status).unwrap();
        for (name, value) in fields {
            parts.headers.append(*name, HeaderValue::from_static(value));
        }
        let body: Either<Full<Bytes>, Stream> = match body {
            Some(text) => Either::Left(Full::from(text)),
            None => Either::Right(StreamBody::new(futures_util::stream::empty())),
        };
        let mut out = Vec::new();
        let answer = begin(&parts, body, asked, false, &mut out);
        let text = String::from_utf8(out).unwrap();
        let (first, rest) = text.split_once("\r\n").unwrap();
        assert!(first.starts_with(if asked.wants.current { "HTTP/1.1 " } else { "HTTP/1.0 " }), "{first}");
        let lines = rest.strip_suffix("\r\n").unwrap().split_inclusive("\r\n");
        (lines.filter(|line| !line.starts_with("date: ")).collect(), answer.last)
    }

    #[test]
    fn how_a_body_goes() {
        let head = Asked { head_alone: true, ..ASKED };
        let old = Asked { wants: Wants { current: false, ..WANTS }, ..ASKED };
        let length = ("content-length", "3");
        for (status, fields, body, asked, expected, last) in [
            (200, &[length][..], Some("abc"), ASKED, "content-length: 3\r\n", false),
            (200, &[], Some("abc"), ASKED, "content-length: 3\r\n", false),
            (200, &[], Some(""), ASKED, "content-length: 0\r\n", false),
            (200, &[length, length], Some("abc"), ASKED, "content-length: 3\r\n", false),
            (200, &[("content-length", "3, 3")], Some("abc"), ASKED, "content-length: 3\r\n", false),
            (200, &[], None, ASKED, "transfer-encoding: chunked\r\n", false),
            (200, &[("transfer-encoding", "gzip")], None, ASKED, "transfer-encoding: chunked\r\n", false),
            (200, &[length], Some(""), head, "content-length: 3\r\n", false),
            (200, &[], None, head, "", false),
            (304, &[length], Some(""), ASKED, "content-length: 3\r\n", false),
            (204, &[length], Some(""), ASKED, "", false),
            (200, &[], None, old, "connection: close\r\n", true),
            (200, &[length], Some("abc"), old, "content-length: 3\r\nconnection: keep-alive\r\n", false),
            (101, &[("upgrade", "x")], Some(""), ASKED, "upgrade: x\r\n", false),
        ] {
            assert_eq!(
                written(status, fields, body, asked),
                (expected.to_owned(), last),
                "{status} {fields:?} {body:?}"
            );
        }
    }

    #[test]
    fn who_would_not_go_on_is_told_so_once() {
        let leaves = Asked { wants: Wants { keeps: false, ..WANTS }, ..ASKED };
        let close = ("connection: close\r\ncontent-length: 0\r\n".to_owned(), true);
        assert_eq!(written(200, &[("connection", "close")], Some(""), leaves), close);
        assert_eq!(written(200, &[("connection", "close")], Some(""), ASKED), close);
        let close = ("content-length: 0\r\nconnection: close\r\n".to_owned(), true);
        assert_eq!(written(200, &[], Some(""), leaves), close);
    }

    #[test]
    fn an_answer_that_has_a_date_keeps_it() {
        let date = "Thu, 01 Jan 1970 00:00:00 GMT";
        let mut response = Response::new(Full::<Bytes>::default());
        response.headers_mut().insert(DATE, HeaderValue::from_static(date));
        let (parts, body) = response.into_parts();
        let mut out = Vec::new();
        begin(&parts, body, ASKED, false, &mut out);
        let text = String::from_utf8(out).unwrap();
        assert_eq!(text, format!("HTTP/1.1 200 OK\r\ndate: {date}\r\ncontent-length: 0\r\n\r\n"));
    }
}
