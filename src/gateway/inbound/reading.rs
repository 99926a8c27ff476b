//! Requests read from bytes that are cut into pieces: what the fuzz target and the tests hold the reading against.

use bytes::BytesMut;
use http::{HeaderMap, Method, Uri};

use crate::gateway::inbound::head::{self, Bounds};
use crate::gateway::message::coming::{Framing, Taken};
use crate::gateway::raw_head::Body;

/// What an independent reading would have to come to as well.
const BOUNDS: Bounds = Bounds { bytes: 64 * 1024, fields: 100, keep_letters: false };

/// One request of those.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Reading {
    /// How it is asked.
    pub method: Method,
    /// For what.
    pub target: Uri,
    /// Its headers.
    pub headers: HeaderMap,
    /// Its body, as far as it goes.
    pub body: Vec<u8>,
    /// What came behind that.
    pub trailers: Option<HeaderMap>,
    /// Whether it has come to its end.
    pub ended: bool,
}

/// Reads these pieces of one connection: the requests, and whether something is wrong behind them.
#[must_use]
pub fn read<'a>(pieces: impl Iterator<Item = &'a [u8]>) -> (Vec<Reading>, bool) {
    let (mut readings, mut inbox, mut seen, mut framing) = (Vec::new(), BytesMut::new(), 0, Framing::Ended);
    for piece in pieces {
        inbox.extend_from_slice(piece);
        loop {
            if framing.is_ended() {
                if inbox.len() <= seen {
                    break;
                }
                let (parts, body) = match head::take(&mut inbox, &mut seen, &BOUNDS) {
                    Ok(Some(head)) => (head.parts, head.facts.body),
                    Ok(None) => break,
                    Err(_) => return (readings, true),
                };
                framing = match body {
                    Body::None => Framing::Ended,
                    Body::Length(length) => Framing::Length(length),
                    Body::Chunked => Framing::Chunked(Box::default()),
                };
                readings.push(Reading {
                    method: parts.method,
                    target: parts.uri,
                    headers: parts.headers,
                    ended: framing.is_ended(),
                    ..Reading::default()
                });
                continue;
            }
            let Some(reading) = readings.last_mut() else { break };
            match framing.take(&mut inbox) {
                Ok(Taken::Frame(frame)) => match frame.into_data() {
                    Ok(data) => reading.body.extend_from_slice(&data),
                    Err(frame) => reading.trailers = frame.into_trailers().ok(),
                },
                Ok(Taken::Nothing) => {}
                Ok(Taken::More) => break,
                Err(_) => return (readings, true),
            }
            reading.ended = framing.is_ended();
        }
    }
    (readings, false)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn however_it_is_cut_it_is_the_same() {
        const GET: &str = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";
        const LENGTH: &str = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 27\r\n\r\n";
        const CHUNKED: &str = "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";
        const TWICE: &str = "GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n";
        for (bytes, requests, ended, broken) in [
            (GET.to_owned(), 1, 1, false),
            (format!("{GET}\r\n{GET}{GET}"), 3, 3, false),
            (format!("{GET}{TWICE}{GET}"), 1, 1, true),
            (format!("{LENGTH}{GET}{TWICE}"), 1, 1, true),
            (format!("{LENGTH}{GET}{GET}{TWICE}"), 2, 2, true),
            (format!("{LENGTH}{TWICE:.26}"), 1, 0, false),
            (format!("{CHUNKED}1b;x\r\n{TWICE:.27}\r\n0\r\nA: b\r\n\r\n{GET}{TWICE}"), 2, 2, true),
            (format!("{GET}{CHUNKED}4\r\nwiki\r\n+4\r\nwiki\r\n0\r\n\r\n{GET}"), 2, 1, true),
            (format!("{GET}GET / HTTP/1.1\r\nHo"), 1, 1, false),
        ] {
            let whole = read(std::iter::once(bytes.as_bytes()));
            let found = (whole.0.len(), whole.0.iter().filter(|reading| reading.ended).count(), whole.1);
            assert_eq!(found, (requests, ended, broken), "{bytes:?}");
            for size in 1..bytes.len() {
                assert_eq!(read(bytes.as_bytes().chunks(size)), whole, "in pieces of {size}: {bytes:?}");
            }
        }
    }

    #[test]
    fn bodies_and_trailers_are_those_that_were_sent() {
        let bytes = "POST /a HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nwiki\r\n1;x\r\n!\r\n0\r\nA: b\r\n\r\n";
        let (readings, _) = read(std::iter::once(bytes.as_bytes()));
        assert_eq!(readings[0].body, b"wiki!");
        assert_eq!(readings[0].trailers.as_ref().unwrap()["a"], "b");
    }
}
