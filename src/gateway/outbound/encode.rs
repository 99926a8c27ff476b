//! The head of a request as its bytes go out. The headers are those that the replica is to get, with what frames the
//! body.

use http::header::{CONTENT_LENGTH, TRANSFER_ENCODING};
use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderValue, request};
use http_body::Body;

use crate::gateway::message::going::{Framing, announced, fields};
use crate::gateway::upload::Upload;

/// Writes the head, and says what follows it.
pub(super) fn head(head: &mut request::Parts, upload: &Upload, out: &mut Vec<u8>) -> Framing {
    let framing = framing(&mut head.headers, upload);
    let target = head.uri.path_and_query().map_or("/", PathAndQuery::as_str);
    for part in [head.method.as_str(), " ", target, " HTTP/1.1\r\n"] {
        out.extend_from_slice(part.as_bytes());
    }
    fields(&head.headers, &head.extensions, out, |name, _| {
        // One that has no body is not to say how that is framed.
        framing != Framing::Length(0) || *name != TRANSFER_ENCODING
    });
    out.extend_from_slice(b"\r\n");
    framing
}

/// By what the head says, or the body itself where that says nothing.
fn framing(headers: &mut HeaderMap, upload: &Upload) -> Framing {
    if upload.is_end_stream() {
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
}
