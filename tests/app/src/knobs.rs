//! What the environment asks of the app. Reads it once, at the start; nobody else does.

use std::env;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

/// As many as the tests ever have waiting at once, and then some.
const BACKLOG: u32 = 4096;

/// What the environment asks for.
#[derive(Debug, Clone)]
pub(crate) struct Knobs {
    /// Where it listens.
    pub(crate) place: Place,
    /// `START_DELAY_MS`: before listening.
    pub(crate) start_delay: Duration,
    /// `START_WHEN`: listens only once this file is there, too.
    pub(crate) start_when: Option<PathBuf>,
    /// `EXIT_AFTER_MS`: ends with code 3 so long after its start.
    pub(crate) exit_after: Option<Duration>,
    /// `EXIT_AT_ONCE`: ends with this code before doing anything.
    pub(crate) exit_at_once: Option<u8>,
    /// `NEVER_LISTEN`: runs, and opens no socket.
    pub(crate) never_listen: bool,
    /// `IGNORE_TERM`: writes SIGTERM down and goes on.
    pub(crate) ignore_term: bool,
    /// `SINGLE`: one connection at a time; the others wait in the backlog.
    pub(crate) single: bool,
    /// `BACKLOG`: how many connections may wait to be accepted; the kernel lets one more in.
    pub(crate) backlog: u32,
    /// `KEEP_ALIVE_MS`: closes a connection that has been idle for so long since its last request.
    pub(crate) keep_alive: Option<Duration>,
    /// `READY_AFTER_MS`: `/healthz` answers 503 until so long after the start.
    pub(crate) ready_after: Duration,
    /// `READY_WHEN`: and until this file is there.
    pub(crate) ready_when: Option<PathBuf>,
    /// What is spoken on a connection.
    pub(crate) manner: Manner,
    /// `REPORT`: a file, or a folder in which to make one.
    pub(crate) report: Option<PathBuf>,
}

/// Where the app listens.
#[derive(Debug, Clone)]
pub(crate) enum Place {
    /// `LISTEN_PORT`, else `PORT`, else 8080. The first is for tests of a wrong port;
    /// 0 lets the system choose, and the journal says what it chose.
    Port(u16),
    /// `SOCKET`, unless there is a `LISTEN_PORT`.
    Socket(PathBuf),
}

/// What is spoken on a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Manner {
    /// HTTP/1.1.
    Http,
    /// `NEVER_ANSWER`: takes the connection and says nothing.
    Silent,
    /// `MODE=garbage`: bytes that are no HTTP.
    Garbage,
    /// `MODE=two-lengths`: each answer has a length beside its chunks.
    TwoLengths,
    /// `MODE=h2c`: HTTP/2 alone, as gRPC servers do.
    H2c,
}

impl Knobs {
    /// Reads the environment. A value that makes no sense ends the process: a test would otherwise test nothing.
    pub(crate) fn from_env() -> Self {
        let manner = match (flag("NEVER_ANSWER"), text("MODE").as_deref()) {
            (true, _) => Manner::Silent,
            (false, Some("garbage")) => Manner::Garbage,
            (false, Some("two-lengths")) => Manner::TwoLengths,
            (false, Some("h2c")) => Manner::H2c,
            (false, None | Some("http")) => Manner::Http,
            (false, Some(other)) => panic!("MODE={other}: not http, garbage, two-lengths or h2c"),
        };
        Self {
            place: match (number("LISTEN_PORT"), text("SOCKET")) {
                (None, Some(path)) => Place::Socket(path.into()),
                (port, _) => Place::Port(port.or_else(|| number("PORT")).unwrap_or(8080)),
            },
            start_delay: millis("START_DELAY_MS").unwrap_or_default(),
            start_when: text("START_WHEN").map(PathBuf::from),
            exit_after: millis("EXIT_AFTER_MS"),
            exit_at_once: number("EXIT_AT_ONCE"),
            never_listen: flag("NEVER_LISTEN"),
            ignore_term: flag("IGNORE_TERM"),
            single: flag("SINGLE"),
            backlog: number("BACKLOG").unwrap_or(BACKLOG),
            keep_alive: millis("KEEP_ALIVE_MS"),
            ready_after: millis("READY_AFTER_MS").unwrap_or_default(),
            ready_when: text("READY_WHEN").map(PathBuf::from),
            manner,
            report: text("REPORT").map(PathBuf::from),
        }
    }
}

fn text(name: &str) -> Option<String> {
    env::var(name).ok().filter(|value| !value.is_empty())
}

fn flag(name: &str) -> bool {
    text(name).is_some_and(|value| value != "0")
}

fn number<T: FromStr>(name: &str) -> Option<T> {
    text(name).map(|value| value.parse().unwrap_or_else(|_| panic!("{name}={value}: not such a number")))
}

fn millis(name: &str) -> Option<Duration> {
    number(name).map(Duration::from_millis)
}
