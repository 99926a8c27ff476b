//! A request as its bytes go out. The headers are those that the replica is to get, with what frames the body.

use bytes::Bytes;
use http::header::{CONTENT_LENGTH, TRAILER, TRANSFER_ENCODING};
use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderName, HeaderValue, request};
use http_body::Body;

use crate::gateway::upload::Upload;

/// How a body is framed.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Framing {
    /// So many bytes are still to come.
    Length(u64),
    /// Chunks. The trailers among these names may follow: those that the head has announced.
    Chunked(Vec<HeaderName>),
}

/// The body is not what the head says.
#[derive(Debug, thiserror::Error)]
#[error("the body is not as long as its head says")]
pub(super) struct OtherLength;

/// Writes the head, and says what follows it.
pub(super) fn head(head: &mut request::Parts, upload: &Upload, out: &mut Vec<u8>) -> Framing {
    let framing = framing(&mut head.headers, upload);
    let target = head.uri.path_and_query().map_or("/", PathAndQuery::as_str);
    for part in [head.method.as_str(), " ", target, " HTTP/1.1\r\n"] {
        out.extend_from_slice(part.as_bytes());
    }
    fields(head.headers.iter(), out);
    out.extend_from_slice(b"\r\n");
    framing
}

/// By what the head says, or the body itself where that says nothing.
fn framing(headers: &mut HeaderMap, upload: &Upload) -> Framing {
    if upload.is_end_stream() {
        headers.remove(TRANSFER_ENCODING);
        return Framing::Length(0);
    }
    if headers.contains_key(TRANSFER_ENCODING) {
        headers.remove(CONTENT_LENGTH);
        return Framing::Chunked(announced(headers));
    }
    let written = headers.get(CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse().ok());
    if let Some(length) = written.or(upload.size_hint().exact()) {
        if written.is_none() {
            headers.insert(CONTENT_LENGTH, HeaderValue::from(length));
        }
        return Framing::Length(length);
    }
    headers.insert(TRANSFER_ENCODING, HeaderValue::from_static("chunked"));
    Framing::Chunked(announced(headers))
}

fn announced(headers: &HeaderMap) -> Vec<HeaderName> {
    let lines = headers.get_all(TRAILER).iter().filter_map(|line| line.to_str().ok());
    lines.flat_map(|line| line.split(',')).filter_map(|name| name.trim().parse().ok()).collect()
}

fn fields<'a>(fields: impl Iterator<Item = (&'a HeaderName, &'a HeaderValue)>, out: &mut Vec<u8>) {
    for (name, value) in fields {
        for part in [name.as_str().as_bytes(), b": ", value.as_bytes(), b"\r\n"] {
            out.extend_from_slice(part);
        }
    }
}

impl Framing {
    /// A piece of the body begins: writes what goes before it.
    ///
    /// # Errors
    /// [`OtherLength`].
    pub(super) fn before(&mut self, piece: &Bytes, out: &mut Vec<u8>) -> Result<(), OtherLength> {
        match self {
            Self::Length(left) => *left = left.checked_sub(piece.len() as u64).ok_or(OtherLength)?,
            Self::Chunked(_) => out.extend_from_slice(format!("{:X}\r\n", piece.len()).as_bytes()),
        }
        Ok(())
    }

    /// A piece of the body has ended: what goes behind it.
    pub(super) fn behind(&self) -> &'static [u8] {
        match self {
            Self::Length(_) => b"",
            Self::Chunked(_) => b"\r\n",
        }
    }

    /// The body has ended, perhaps with trailers: writes what goes behind it.
    ///
    /// # Errors
    /// [`OtherLength`].
    pub(super) fn end(&self, trailers: Option<&HeaderMap>, out: &mut Vec<u8>) -> Result<(), OtherLength> {
        match self {
            Self::Length(0) => {}
            Self::Length(_) => return Err(OtherLength),
            Self::Chunked(announced) => {
                out.extend_from_slice(b"0\r\n");
                let sent = trailers.into_iter().flatten().filter(|(name, _)| announced.contains(name));
                fields(sent, out);
                out.extend_from_slice(b"\r\n");
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use http::Request;

    use super::*;

    fn written(headers: &[(&'static str, &'static str)]) -> (Framing, String) {
        let mut parts = Request::post("/a?b").body(()).unwrap().into_parts().0;
        for (name, value) in headers {
            parts.headers.append(*name, HeaderValue::from_static(value));
        }
        let mut out = Vec::new();
        let framing = head(&mut parts, &Upload::none(), &mut out);
        (framing, String::from_utf8(out).unwrap())
    }

    #[test]
    fn a_request_without_a_body() {
        let plain = "POST /a?b HTTP/1.1\r\nhost: h\r\naccept: a\r\naccept: b\r\n\r\n";
        let headers = [("host", "h"), ("accept", "a"), ("accept", "b")];
        assert_eq!(written(&headers), (Framing::Length(0), plain.to_owned()));
        let coded = [&headers[..], &[("transfer-encoding", "chunked")]].concat();
        assert_eq!(written(&coded), (Framing::Length(0), plain.to_owned()));
        let (framing, text) = written(&[("content-length", "0")]);
        assert_eq!((framing, text.ends_with("content-length: 0\r\n\r\n")), (Framing::Length(0), true));
    }

    #[test]
    fn a_body_is_as_long_as_was_said() {
        let (mut framing, mut out) = (Framing::Length(5), Vec::new());
        framing.before(&Bytes::from_static(b"abc"), &mut out).unwrap();
        assert!(framing.end(None, &mut out).is_err(), "two are missing");
        assert!(framing.before(&Bytes::from_static(b"def"), &mut out).is_err(), "one too many");
        framing.before(&Bytes::from_static(b"de"), &mut out).unwrap();
        framing.end(None, &mut out).unwrap();
        assert_eq!((out, framing.behind()), (Vec::new(), &b""[..]));
    }

    #[test]
    fn chunks_and_the_trailers_that_were_announced() {
        let headers = HeaderMap::from_iter([(TRAILER, HeaderValue::from_static("x-sum, X-Other"))]);
        let (mut framing, mut out) = (Framing::Chunked(announced(&headers)), Vec::new());
        framing.before(&Bytes::from(vec![b'a'; 26]), &mut out).unwrap();
        assert_eq!((&out[..], framing.behind()), (&b"1A\r\n"[..], &b"\r\n"[..]));
        out.clear();
        let trailers: HeaderMap = ["x-sum", "x-unknown", "x-other"]
            .map(|name| (HeaderName::from_static(name), HeaderValue::from_static("1")))
            .into_iter()
            .collect();
        framing.end(Some(&trailers), &mut out).unwrap();
        assert_eq!(String::from_utf8(out).unwrap(), "0\r\nx-sum: 1\r\nx-other: 1\r\n\r\n");
    }
}
