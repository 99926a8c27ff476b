//! An answer read from bytes that are cut into pieces: what the fuzz target and the tests hold the reading against.

use bytes::BytesMut;
use http::{HeaderMap, Method, StatusCode};

use crate::gateway::message::coming::Taken;
use crate::gateway::outbound::decode::{self, Asked};

/// What was made of some bytes.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Reading {
    /// Of the answer, once its head is whole.
    pub status: Option<StatusCode>,
    /// Its headers.
    pub headers: HeaderMap,
    /// Its body, as far as it goes.
    pub body: Vec<u8>,
    /// What came behind that.
    pub trailers: Option<HeaderMap>,
    /// Whether it has come to its end; the connection ends with the bytes.
    pub ended: bool,
    /// Whether something is wrong with them.
    pub broken: bool,
    /// What belongs to nothing any more.
    pub rest: usize,
}

/// Reads these pieces of one answer.
#[must_use]
pub fn read<'a>(pieces: impl Iterator<Item = &'a [u8]>) -> Reading {
    let (mut reading, mut inbox, mut framing) = (Reading::default(), BytesMut::new(), None);
    for piece in pieces {
        inbox.extend_from_slice(piece);
        if framing.is_none() {
            let asked = Asked { method: &Method::GET, keep_letters: false };
            match decode::head(&mut inbox, &asked) {
                Ok(None) => continue,
                Ok(Some(head)) => {
                    reading.status = Some(head.parts.status);
                    reading.headers = head.parts.headers;
                    framing = Some(head.framing);
                }
                Err(_) => return Reading { broken: true, ..reading },
            }
        }
        let Some(framing) = &mut framing else { continue };
        loop {
            match framing.take(&mut inbox) {
                Ok(Taken::Frame(frame)) => match frame.into_data() {
                    Ok(data) => reading.body.extend_from_slice(&data),
                    Err(frame) => reading.trailers = frame.into_trailers().ok(),
                },
                Ok(Taken::More | Taken::Nothing) => break,
                Err(_) => return Reading { broken: true, ..reading },
            }
        }
    }
    reading.rest = inbox.len();
    reading.ended = framing.is_some_and(|mut framing| framing.connection_ended().is_ok());
    reading
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn however_it_is_cut_it_is_the_same_answer() {
        for (bytes, body, ended) in [
            ("HTTP/1.1 103 A\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nwikimore", "wiki", true),
            (
                "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4;a\r\nwiki\r\n0\r\nA: b\r\n\r\n",
                "wiki",
                true,
            ),
            ("HTTP/1.1 200 OK\r\n\r\nwiki", "wiki", true),
            ("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nwiki", "wiki", false),
            ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nwiki!", "wiki", false),
        ] {
            let whole = read(std::iter::once(bytes.as_bytes()));
            assert_eq!((whole.body.as_slice(), whole.ended), (body.as_bytes(), ended), "{bytes:?}");
            for size in 1..bytes.len() {
                assert_eq!(read(bytes.as_bytes().chunks(size)), whole, "{bytes:?} in pieces of {size}");
            }
        }
    }
}
