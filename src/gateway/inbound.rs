//! What a client sends, followed from its first byte on beside the parser: where each head begins and ends, what was
//! found wrong with it, and where its body ends. The parser gives away neither, and without it a head that came in one
//! piece with the request before could not be told from that one's body.
//!
//! Reads no socket and answers nobody: the client's stream shows it each piece before the parser sees it, and the
//! request's handler asks for the verdict.

use crate::gateway::chunked::{Broken, Chunked};
use crate::gateway::raw_head::{self, Body};

/// Where the next byte belongs.
#[derive(Debug, Default)]
enum At {
    #[default]
    Head,
    /// To a body of which so much is to come.
    Length(u64),
    Chunked(Chunked),
    /// To nothing that is followed.
    Over,
    /// To what is no HTTP/1.
    Switched,
}

/// What a client has sent so far.
#[derive(Debug)]
pub struct Inbound {
    /// Longest head, and the parser's bound too.
    longest: usize,
    at: At,
    /// What has arrived of a head that is not whole yet.
    head: Vec<u8>,
    /// How many heads were sound.
    sound: u64,
    /// How many of them a handler has asked for.
    taken: u64,
    /// Why the head behind those is refused.
    refused: Option<&'static str>,
}

impl Inbound {
    /// A client that has sent nothing yet, whose heads may have `longest` bytes.
    #[must_use]
    pub fn new(longest: usize) -> Self {
        Self { longest, at: At::Head, head: Vec::new(), sound: 0, taken: 0, refused: None }
    }

    /// Whether a head has begun that is not whole yet.
    #[must_use]
    pub fn is_partial(&self) -> bool {
        // An empty line may come behind a body, and is none.
        self.head.iter().any(|byte| !matches!(byte, b'\r' | b'\n'))
    }

    /// Whether it has begun to say what it has not ended, as far as was read: more may be on its way.
    #[must_use]
    pub fn is_midway(&self) -> bool {
        match self.at {
            At::Head => self.is_partial(),
            At::Length(_) | At::Chunked(_) | At::Over => true,
            At::Switched => false,
        }
    }

    /// How many heads were sound so far.
    #[must_use]
    pub fn heads(&self) -> u64 {
        self.sound
    }

    /// Goes on with what has arrived.
    ///
    /// # Errors
    /// [`Broken`] where a body is not what it should be; the parser is not to see what is not sound.
    pub fn follow(&mut self, bytes: &[u8]) -> Result<(), Broken> {
        let mut seen = 0;
        while seen < bytes.len() {
            let rest = &bytes[seen..];
            match &mut self.at {
                At::Head => match self.follow_head(rest) {
                    Some(len) => seen += len,
                    None => return Ok(()),
                },
                At::Length(left) => {
                    let here = usize::try_from(*left).unwrap_or(usize::MAX).min(rest.len());
                    seen += here;
                    *left -= here as u64;
                    if *left == 0 {
                        self.at = At::Head;
                    }
                }
                At::Chunked(chunked) => match chunked.follow(rest) {
                    Ok(Some(len)) => {
                        seen += len;
                        self.at = At::Head;
                    }
                    Ok(None) => return Ok(()),
                    Err(broken) => {
                        self.at = At::Over;
                        return Err(Broken { sound: seen + broken.sound, ..broken });
                    }
                },
                At::Over | At::Switched => return Ok(()),
            }
        }
        Ok(())
    }

    /// Gives how much of these bytes belongs to the head, once that is whole and sound.
    fn follow_head(&mut self, bytes: &[u8]) -> Option<usize> {
        let before = self.head.len();
        // One that has come in one piece, as nearly all do, is looked at where it is; and where nothing seems to have
        // come along with it, its end is not looked for, since none that is sound has another within.
        let alone = (before == 0 && bytes.ends_with(b"\r\n\r\n")).then(|| raw_head::check(bytes));
        let (head, checked) = if let Some(Ok(body)) = alone {
            (bytes.len(), Ok(body))
        } else if before == 0
            && let Some(end) = raw_head::end_of(bytes)
        {
            (end, raw_head::check(&bytes[..end]))
        } else {
            self.head.extend_from_slice(bytes);
            let Some(end) = raw_head::end_of_more(&self.head, before) else {
                if self.head.len() > self.longest {
                    self.refuse("the head is too long");
                }
                return None;
            };
            let checked = raw_head::check(&self.head[..end]);
            self.head = Vec::new();
            (end - before, checked)
        };
        match checked {
            Ok(body) => {
                self.sound += 1;
                self.at = match body {
                    Body::None => At::Head,
                    Body::Length(length) => At::Length(length),
                    Body::Chunked => At::Chunked(Chunked::default()),
                };
                Some(head)
            }
            Err(why) => {
                self.refuse(why);
                None
            }
        }
    }

    /// Where such a head ends is in doubt, and what follows it means nothing.
    fn refuse(&mut self, why: &'static str) {
        self.refused = Some(why);
        self.at = At::Over;
        self.head = Vec::new();
    }

    /// What comes from here on is no HTTP/1 any more.
    pub fn forget(&mut self) {
        self.at = At::Switched;
        self.head = Vec::new();
    }

    /// The verdict on the next head: each is asked for once, in the order of their arrival.
    ///
    /// # Errors
    /// Why it is refused.
    pub fn next_head(&mut self) -> Result<(), &'static str> {
        self.taken += 1;
        if self.taken <= self.sound {
            return Ok(());
        }
        // Without a reason the parser has found a head where none is: the two do not agree, which is reason enough.
        Err(self.refused.unwrap_or("it begins where no request does"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAX_HEAD: usize = 64 * 1024;
    const GET: &str = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";
    const LENGTH: &str = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 27\r\n\r\n";
    const CHUNKED: &str = "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";
    const TWICE: &str = "GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n";

    /// The verdicts on the first three heads, which are the same in pieces of whatever size.
    fn verdicts(bytes: &str) -> [Result<(), &'static str>; 3] {
        let in_pieces = |size: usize| {
            let mut inbound = Inbound::new(MAX_HEAD);
            bytes.as_bytes().chunks(size).for_each(|piece| inbound.follow(piece).unwrap());
            [inbound.next_head(), inbound.next_head(), inbound.next_head()]
        };
        let whole = in_pieces(bytes.len());
        for size in 1..bytes.len() {
            assert_eq!(in_pieces(size), whole, "in pieces of {size}: {bytes:?}");
        }
        whole
    }

    #[test]
    fn each_head_is_found_behind_the_body_before() {
        let none = Err("it begins where no request does");
        let twice = Err("more than one Host");
        for (bytes, expected) in [
            (GET.to_owned(), [Ok(()), none, none]),
            (format!("{GET}\r\n{GET}{GET}"), [Ok(()); 3]),
            (format!("{GET}{TWICE}{GET}"), [Ok(()), twice, twice]),
            (format!("{LENGTH}{GET}{TWICE}"), [Ok(()), twice, twice]),
            (format!("{LENGTH}{GET}{GET}{TWICE}"), [Ok(()), Ok(()), twice]),
            (
                format!("{CHUNKED}1b;x\r\n{TWICE:.27}\r\n0\r\nA: b\r\n\r\n{GET}{TWICE}"),
                [Ok(()), Ok(()), twice],
            ),
        ] {
            assert_eq!(verdicts(&bytes), expected, "{bytes:?}");
        }
    }

    #[test]
    fn a_body_that_is_wrong_ends_there() {
        let mut inbound = Inbound::new(MAX_HEAD);
        let sound = format!("{GET}{CHUNKED}4\r\nwiki\r\n");
        let broken = inbound.follow(format!("{sound}+4\r\nwiki\r\n0\r\n\r\n{GET}").as_bytes());
        assert_eq!(broken, Err(Broken { sound: sound.len(), why: "a malformed chunk size" }));
        assert_eq!([inbound.next_head(), inbound.next_head()], [Ok(()); 2]);
        assert_eq!(inbound.follow(GET.as_bytes()), Ok(()));
        assert!(inbound.next_head().is_err(), "nothing follows");
    }

    #[test]
    fn what_is_no_longer_http_is_not_looked_at() {
        let mut inbound = Inbound::new(MAX_HEAD);
        inbound.follow(GET.as_bytes()).unwrap();
        inbound.forget();
        inbound.follow(&vec![b'x'; 2 * MAX_HEAD]).unwrap();
        assert_eq!(inbound.head.capacity(), 0);
    }

    #[test]
    fn more_is_on_its_way_where_something_has_no_end() {
        let midway = |bytes: &str| {
            let mut inbound = Inbound::new(MAX_HEAD);
            let _broken = inbound.follow(bytes.as_bytes());
            inbound.is_midway()
        };
        let (length, chunk) = (format!("{LENGTH}{TWICE:.26}"), format!("{CHUNKED}4\r\nwi"));
        for amid in ["GET /", &length, &chunk, TWICE, &format!("{CHUNKED}+4\r\nwiki\r\n")] {
            assert!(midway(amid), "{amid:?}");
        }
        for ended in ["", GET, &format!("{GET}\r\n"), &format!("{LENGTH}{TWICE:.27}")] {
            assert!(!midway(ended), "{ended:?}");
        }
        let mut inbound = Inbound::new(MAX_HEAD);
        inbound.forget();
        assert!(!inbound.is_midway(), "what it has become is not for us to end");
    }

    #[test]
    fn a_head_without_an_end_is_not_kept() {
        let mut inbound = Inbound::new(MAX_HEAD);
        inbound.follow(&vec![b'x'; 2 * MAX_HEAD]).unwrap();
        assert_eq!((inbound.next_head(), inbound.head.capacity()), (Err("the head is too long"), 0));
    }
}
