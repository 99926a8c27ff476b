//! Requests that two parsers could read in two ways, written byte by byte, and what reaches a replica of them: of those
//! that are refused nothing, of the others exactly one request.

#[path = "../support/mod.rs"]
mod support;

mod hygiene;
mod legal;
mod recorder;
mod table;

use std::time::Duration;

use recorder::Recorder;
use support::http::get;
use support::proxy::{Proxy, Setup};
use support::wait::wait_for_async;
use support::wire::Wire;
use table::{BODIES, CutOff, FIELDS, FRAMING, HOSTS_IN_DOUBT, REQUEST_LINES, Refused};

/// What follows each hostile request, and is to reach nobody.
const SMUGGLED: &[u8] = b"GET /smuggled HTTP/1.1\r\nHost: a.test\r\n\r\n";

const GOOD: &[u8] = b"GET /good HTTP/1.1\r\nHost: a.test\r\n\r\n";
const GOOD_CHUNKED: &[u8] =
    b"POST /good HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nwiki\r\n0\r\n\r\n";

/// Long enough for a connection to be closed that is to be.
const PATIENCE: Duration = Duration::from_secs(20);

/// A proxy of one worker, which is done with a request before it takes the next, in front of a recorder.
struct Stage {
    proxy: Proxy,
    recorder: Recorder,
}

impl Stage {
    async fn set() -> Self {
        let recorder = Recorder::start().await;
        let yaml = format!("workers: 1\nname: app\nupstream: http://{}\n", recorder.address());
        let proxy = Setup::process(&yaml).start().await;
        wait_for_async("the recorder is known", || async {
            (proxy.only_app().await["ready"] == 1).then_some(())
        })
        .await;
        Self { proxy, recorder }
    }

    /// What has reached the replica by now. A request of ours makes sure that nothing is still under way.
    async fn received(&self) -> Vec<Vec<u8>> {
        assert_eq!(get(self.proxy.address(), "/last").await.status, 200);
        let mut received = self.recorder.take();
        let last = received.iter().position(|bytes| bytes.starts_with(b"GET /last "));
        received.remove(last.expect("it was answered"));
        received
    }

    async fn wire(&self) -> Wire {
        Wire::open(self.proxy.address()).await
    }
}

/// The answers that came until the connection was closed: status and reason.
async fn answers(wire: &mut Wire, which: &str) -> Vec<(u16, String)> {
    let said = tokio::time::timeout(PATIENCE, wire.rest()).await;
    let said = said.unwrap_or_else(|_| panic!("{which}: the connection is not closed")).unwrap_or_default();
    let said = String::from_utf8(said).expect("the proxy writes text");
    let said = said.replace("HTTP/1.0 ", "HTTP/1.1 ");
    let replies = said.split("HTTP/1.1 ").skip(1);
    replies
        .map(|reply| {
            let reason = reply.lines().find_map(|line| line.strip_prefix("x-pilotlight-reason: "));
            let status = reply.split(' ').next().and_then(|code| code.parse().ok());
            (status.expect("a status line"), reason.unwrap_or_default().to_owned())
        })
        .collect()
}

/// How a hostile request is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    /// On a connection of its own.
    Alone,
    /// When a sound request on the same connection has been answered.
    Behind,
    /// In one piece with a sound request.
    Along,
    /// In one piece with a sound request whose body is in chunks.
    AlongChunks,
    /// In pieces of one to three bytes.
    InPieces,
}

const WAYS: [Way; 5] = [Way::Alone, Way::Behind, Way::Along, Way::AlongChunks, Way::InPieces];

impl Way {
    /// Sends it; gives how many sound requests went ahead of it that have not been answered yet.
    async fn send(self, wire: &mut Wire, bytes: &[u8]) -> usize {
        match self {
            Self::Alone => wire.send(bytes).await,
            Self::Behind => {
                wire.send(GOOD).await;
                assert_eq!(wire.reply().await.status(), 200);
                wire.send(bytes).await;
            }
            Self::Along | Self::AlongChunks => {
                let good = if self == Self::Along { GOOD } else { GOOD_CHUNKED };
                wire.send([good, bytes].concat()).await;
                return 1;
            }
            Self::InPieces => {
                let mut rest = bytes;
                for size in [1, 2, 1, 3].into_iter().cycle() {
                    let (piece, others) = rest.split_at(size.min(rest.len()));
                    // It may have been refused by now.
                    wire.try_send(piece).await;
                    // So that it is mostly read by itself. Nothing hangs on it, and nothing shows that it was read: how the
                    // pieces are cut makes no difference, which `inbound` is held to piece by piece.
                    tokio::time::sleep(Duration::from_micros(200)).await;
                    rest = others;
                    if rest.is_empty() {
                        break;
                    }
                }
            }
        }
        0
    }

    /// How many sound requests it sends first.
    fn ahead(self) -> usize {
        usize::from(matches!(self, Self::Behind | Self::Along | Self::AlongChunks))
    }
}

async fn all_are_refused(rows: &[Refused]) {
    let stage = Stage::set().await;
    for way in WAYS {
        for row in rows {
            let which = format!("{}, {way:?}", row.name);
            let mut wire = stage.wire().await;
            let first = way.send(&mut wire, &[row.bytes, SMUGGLED].concat()).await;
            let mut said = answers(&mut wire, &which).await;
            let received = stage.received().await;
            let good = received.iter().all(|bytes| contains_good(bytes));
            assert!(good && received.len() == way.ahead(), "{which}: {}", shown(&received));
            // The parser refuses at the first byte that is wrong; what was sent then resets the connection.
            if way == Way::InPieces && said.is_empty() {
                continue;
            }
            assert!(said.drain(..first.min(said.len())).all(|(status, _)| status == 200), "{which}");
            let fits = matches!(&said[..], [(status, reason)] if row.fits(*status, reason));
            assert!(fits, "{which}: {said:?}, and not {:?}", row.answer);
        }
    }
}

fn contains_good(bytes: &[u8]) -> bool {
    let once = bytes.windows(9).filter(|window| window == b" HTTP/1.1").count() == 1;
    once && (bytes.starts_with(b"GET /good ") || bytes.starts_with(b"POST /good "))
}

fn shown(received: &[Vec<u8>]) -> String {
    let lines: Vec<_> = received.iter().map(|bytes| format!("\n    {}", bytes.escape_ascii())).collect();
    lines.concat()
}

#[tokio::test]
async fn where_a_body_ends_is_in_doubt() {
    all_are_refused(FRAMING).await;
}

#[tokio::test]
async fn where_a_line_ends_is_in_doubt() {
    all_are_refused(FIELDS).await;
}

#[tokio::test]
async fn request_lines_that_are_none() {
    all_are_refused(REQUEST_LINES).await;
}

#[tokio::test]
async fn whose_a_request_is_is_in_doubt() {
    all_are_refused(HOSTS_IN_DOUBT).await;
}

/// The replica gets one request that breaks off, and the client no further answer.
#[tokio::test]
async fn bodies_that_are_none_are_cut_off() {
    let stage = Stage::set().await;
    let mut reached = 0;
    for way in WAYS {
        for row in BODIES {
            let which = format!("{}, {way:?}", row.name);
            let head = b"POST /body HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\n";
            let bytes = [head, row.body, b"0\r\n\r\n", SMUGGLED].concat();
            let mut wire = stage.wire().await;
            let first = way.send(&mut wire, &bytes).await;
            let mut said = answers(&mut wire, &which).await;
            let received = stage.received().await;
            let mut bodies: Vec<_> = received.iter().filter(|bytes| !contains_good(bytes)).collect();
            assert_eq!(received.len() - bodies.len(), way.ahead(), "{which}: {}", shown(&received));
            if let Some(body) = bodies.pop() {
                assert_cut_off(&which, row, body);
                reached += 1;
            }
            assert!(bodies.is_empty(), "{which}: {}", shown(&received));
            said.drain(..first.min(said.len()));
            assert!(said.is_empty() || said.len() == 1 && said[0].0 == 400, "{which}: {said:?}");
        }
    }
    assert!(reached > BODIES.len(), "{reached}");
}

/// A request of which the data that is sound may have come, and no end.
fn assert_cut_off(which: &str, row: &CutOff, received: &[u8]) {
    let text = String::from_utf8_lossy(received).into_owned();
    let (head, mut rest) = text.split_once("\r\n\r\n").unwrap_or((&text, ""));
    assert!(head.starts_with("POST /body HTTP/1.1\r\n"), "{which}: {text:?}");
    let mut data = String::new();
    while let Some((size, more)) = rest.split_once("\r\n") {
        let size = usize::from_str_radix(size, 16).expect("the proxy's own size");
        assert_ne!(size, 0, "{which}: it has an end: {text:?}");
        let (chunk, more) = more.split_at(size.min(more.len()));
        data += chunk;
        rest = more.strip_prefix("\r\n").unwrap_or("");
    }
    assert!(row.sound.starts_with(&data), "{which}: {text:?}");
}
