//! The fields of a message and its body as their bytes go out.

use std::io::Write;

use bytes::Bytes;
use http::header::{
    AUTHORIZATION, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, HOST,
    SET_COOKIE, TE, TRAILER, TRANSFER_ENCODING,
};
use http::{Extensions, HeaderMap, HeaderName, HeaderValue};

use crate::gateway::message::letters::Letters;

/// How a body is framed.
#[derive(Debug, PartialEq, Eq)]
pub enum Framing {
    /// So many bytes are still to come.
    Length(u64),
    /// Chunks. The trailers among these names may follow: those that the head has announced.
    Chunked(Vec<HeaderName>),
    /// By the end of the connection.
    Close,
}

/// The body is not what the head says.
#[derive(Debug, thiserror::Error)]
#[error("the body is not as long as its head says")]
pub struct OtherLength;

/// What is no trailer, whoever announces it: it says how a message is read, routed or kept, RFC 9110 section 6.5.1.
static NO_TRAILERS: [HeaderName; 12] = [
    AUTHORIZATION,
    CACHE_CONTROL,
    CONTENT_ENCODING,
    CONTENT_LENGTH,
    CONTENT_RANGE,
    CONTENT_TYPE,
    HOST,
    HeaderName::from_static("max-forwards"),
    SET_COOKIE,
    TE,
    TRAILER,
    TRANSFER_ENCODING,
];

/// The names of the trailers that a head announces.
#[must_use]
pub fn announced(headers: &HeaderMap) -> Vec<HeaderName> {
    let lines = headers.get_all(TRAILER).iter().filter_map(|line| line.to_str().ok());
    let names = lines.flat_map(|line| line.split(',')).filter_map(|name| name.trim().parse().ok());
    names.filter(|name| !NO_TRAILERS.contains(name)).collect()
}

/// Writes the fields that are to go out, in the letters that are told with them.
pub fn fields(
    headers: &HeaderMap,
    extensions: &Extensions,
    out: &mut Vec<u8>,
    mut goes: impl FnMut(&HeaderName, &HeaderValue) -> bool,
) {
    if let Some(letters) = extensions.get::<Letters>() {
        letters.each(headers, |name, written, value| {
            if goes(name, value) {
                field(written, value.as_bytes(), out);
            }
        });
    } else {
        for (name, value) in headers {
            if goes(name, value) {
                field(name.as_str().as_bytes(), value.as_bytes(), out);
            }
        }
    }
}

/// Writes one field.
pub fn field(name: &[u8], value: &[u8], out: &mut Vec<u8>) {
    out.reserve(name.len() + value.len() + 4);
    for part in [name, b": ", value, b"\r\n"] {
        out.extend_from_slice(part);
    }
}

impl Framing {
    /// A piece of the body begins: writes what goes before it.
    ///
    /// # Errors
    /// [`OtherLength`].
    pub fn before(&mut self, piece: &Bytes, out: &mut Vec<u8>) -> Result<(), OtherLength> {
        match self {
            Self::Length(left) => *left = left.checked_sub(piece.len() as u64).ok_or(OtherLength)?,
            Self::Chunked(_) => write!(out, "{:X}\r\n", piece.len()).expect("there is always room"),
            Self::Close => {}
        }
        Ok(())
    }

    /// A piece of the body has ended: what goes behind it.
    #[must_use]
    pub fn behind(&self) -> &'static [u8] {
        match self {
            Self::Length(_) | Self::Close => b"",
            Self::Chunked(_) => b"\r\n",
        }
    }

    /// The body has ended, perhaps with trailers: writes what goes behind it.
    ///
    /// # Errors
    /// [`OtherLength`].
    pub fn end(&self, trailers: Option<&HeaderMap>, out: &mut Vec<u8>) -> Result<(), OtherLength> {
        match self {
            Self::Length(0) | Self::Close => {}
            Self::Length(_) => return Err(OtherLength),
            Self::Chunked(announced) => {
                out.extend_from_slice(b"0\r\n");
                for (name, value) in
                    trailers.into_iter().flatten().filter(|(name, _)| announced.contains(name))
                {
                    field(name.as_str().as_bytes(), value.as_bytes(), out);
                }
                out.extend_from_slice(b"\r\n");
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
        let headers =
            HeaderMap::from_iter([(TRAILER, HeaderValue::from_static("x-sum, X-Other, Set-Cookie"))]);
        let (mut framing, mut out) = (Framing::Chunked(announced(&headers)), Vec::new());
        framing.before(&Bytes::from(vec![b'a'; 26]), &mut out).unwrap();
        assert_eq!((&out[..], framing.behind()), (&b"1A\r\n"[..], &b"\r\n"[..]));
        out.clear();
        let trailers: HeaderMap = ["x-sum", "x-unknown", "x-other", "set-cookie"]
            .map(|name| (HeaderName::from_static(name), HeaderValue::from_static("1")))
            .into_iter()
            .collect();
        framing.end(Some(&trailers), &mut out).unwrap();
        assert_eq!(String::from_utf8(out).unwrap(), "0\r\nx-sum: 1\r\nx-other: 1\r\n\r\n");
    }
}
