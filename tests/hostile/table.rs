//! The requests: what hostile clients write, and odd ones that are in their right.

/// A request that is refused for its head, and what is answered.
pub(crate) struct Refused {
    pub(crate) name: &'static str,
    /// The status, and `x-pilotlight-reason`, which may be [`ANY`].
    pub(crate) answer: (u16, &'static str),
    pub(crate) bytes: &'static [u8],
}

/// Stands for whichever reason there is for that: some words follow.
const ANY: &str = "bad-request: ";

impl Refused {
    /// Whether this is what is to be answered.
    pub(crate) fn fits(&self, status: u16, reason: &str) -> bool {
        let fits = match self.answer.1 {
            ANY => reason.len() > ANY.len() && reason.starts_with(ANY),
            given => reason == given,
        };
        fits && status == self.answer.0
    }
}

const fn refused(name: &'static str, why: &'static str, bytes: &'static [u8]) -> Refused {
    Refused { name, answer: (400, why), bytes }
}

const fn unparsed(name: &'static str, bytes: &'static [u8]) -> Refused {
    refused(name, ANY, bytes)
}

/// A head whose last field is this one, with a body that looks like an empty one in chunks.
macro_rules! framed {
    ($fields:literal) => {
        concat!("POST /framed HTTP/1.1\r\nHost: a.test\r\n", $fields, "\r\n\r\n0\r\n\r\n").as_bytes()
    };
}

const BOTH: &str = "bad-request: Transfer-Encoding together with Content-Length";
const CODING: &str = "bad-request: a transfer coding other than chunked";
const LINES: &str = "bad-request: a line that does not end in CR and LF";
const HOST: &str = "bad-request: a malformed Host";
const HOSTS: &str = "bad-request: more than one Host";
const DISAGREE: &str = "bad-request: the target and Host name different hosts";
const NO_PATH: &str = "bad-request: the target is no path";
const TARGET: &str = "bad-request: a malformed target";

/// Where the body ends is in doubt.
pub(crate) const FRAMING: &[Refused] = &[
    refused("length, then chunked", BOTH, framed!("Content-Length: 5\r\nTransfer-Encoding: chunked")),
    refused("chunked, then length", BOTH, framed!("Transfer-Encoding: chunked\r\nContent-Length: 5")),
    refused("both in odd letters", BOTH, framed!("tRANSFER-eNCODING: cHUNKED\r\ncONTENT-lENGTH: 5")),
    refused("chunked, and no length", BOTH, framed!("Transfer-Encoding: chunked\r\nContent-Length: 0")),
    refused(
        "chunked, and nonsense",
        "bad-request: a malformed Content-Length",
        framed!("Transfer-Encoding: chunked\r\nContent-Length: x"),
    ),
    refused(
        "the same length twice",
        "bad-request: more than one Content-Length",
        framed!("Content-Length: 5\r\nContent-Length: 5"),
    ),
    refused(
        "the same length twice, apart",
        "bad-request: more than one Content-Length",
        framed!("Content-Length: 5\r\nX: y\r\ncontent-length: 5"),
    ),
    refused(
        "no length twice",
        "bad-request: more than one Content-Length",
        framed!("Content-Length: 0\r\nContent-Length: 0"),
    ),
    refused(
        "a length of nineteen digits",
        "bad-request: a malformed Content-Length",
        framed!("Content-Length: 0000000000000000005"),
    ),
    unparsed("two lengths", framed!("Content-Length: 5\r\nContent-Length: 6")),
    unparsed("a list of equal lengths", framed!("Content-Length: 5, 5")),
    unparsed("a list of lengths", framed!("Content-Length: 5,6")),
    unparsed("a length with a plus", framed!("Content-Length: +5")),
    unparsed("a negative length", framed!("Content-Length: -5")),
    unparsed("a length in hexadecimal", framed!("Content-Length: 0x5")),
    unparsed("two numbers", framed!("Content-Length: 5 5")),
    unparsed("an empty length", framed!("Content-Length: ")),
    unparsed("a length with a fraction", framed!("Content-Length: 5.0")),
    unparsed("a length with an underscore", framed!("Content-Length: 5_0")),
    unparsed("a length of more than 64 bits", framed!("Content-Length: 18446744073709551621")),
    unparsed("a length in other digits", framed!("Content-Length: \u{665}")),
    unparsed("a length and a form feed", framed!("Content-Length: 5\x0c")),
    unparsed("white space behind Content-Length", framed!("Content-Length : 5")),
    unparsed("a folded length", framed!("Content-Length:\r\n 5")),
    refused(
        "chunked twice",
        "bad-request: more than one Transfer-Encoding",
        framed!("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked"),
    ),
    refused(
        "two codings in two lines",
        CODING,
        framed!("Transfer-Encoding: gzip\r\nTransfer-Encoding: chunked"),
    ),
    refused("two codings", CODING, framed!("Transfer-Encoding: gzip, chunked")),
    refused("chunked twice in a line", CODING, framed!("Transfer-Encoding: chunked, chunked")),
    refused("a comma before chunked", CODING, framed!("Transfer-Encoding: , chunked")),
    unparsed("a comma behind chunked", framed!("Transfer-Encoding: chunked,")),
    unparsed("chunked, then identity", framed!("Transfer-Encoding: chunked, identity")),
    unparsed("identity", framed!("Transfer-Encoding: identity")),
    unparsed("xchunked", framed!("Transfer-Encoding: xchunked")),
    unparsed("chunked with a parameter", framed!("Transfer-Encoding: chunked;q=1")),
    unparsed("chunked in quotes", framed!("Transfer-Encoding: \"chunked\"")),
    unparsed("chunked and a vertical tab", framed!("Transfer-Encoding: chunked\x0b")),
    unparsed("a vertical tab and chunked", framed!("Transfer-Encoding:\x0bchunked")),
    unparsed("chunked and a form feed", framed!("Transfer-Encoding: chunked\x0c")),
    unparsed("chunked and a space of another alphabet", framed!("Transfer-Encoding: chunked\u{a0}")),
    unparsed("chunked and a NUL", framed!("Transfer-Encoding: chunked\0")),
    unparsed("an empty coding", framed!("Transfer-Encoding:")),
    unparsed("a folded coding", framed!("Transfer-Encoding:\r\n chunked")),
    unparsed("a coding in a folded line", framed!("X: y\r\n Transfer-Encoding: chunked")),
    unparsed("white space behind Transfer-Encoding", framed!("Transfer-Encoding : chunked")),
    unparsed("a tab behind Transfer-Encoding", framed!("Transfer-Encoding\t: chunked")),
    unparsed(
        "chunked in HTTP/1.0",
        b"POST /framed HTTP/1.0\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    ),
];

/// Lines that do not end as they should, or are not what they seem.
pub(crate) const FIELDS: &[Refused] = &[
    refused("a bare LF behind the request line", LINES, b"GET /lf HTTP/1.1\nHost: a.test\r\n\r\n"),
    refused("a bare LF behind a field", LINES, b"GET /lf HTTP/1.1\r\nHost: a.test\nX: y\r\n\r\n"),
    refused(
        "a bare LF that hides a length",
        LINES,
        b"POST /lf HTTP/1.1\r\nHost: a.test\r\nX: y\nContent-Length: 5\r\n\r\n12345",
    ),
    refused("a bare LF at the end", LINES, b"GET /lf HTTP/1.1\r\nHost: a.test\r\n\n"),
    refused("a bare LF before the end", LINES, b"GET /lf HTTP/1.1\r\nHost: a.test\n\r\n"),
    refused("nothing but bare LFs", LINES, b"GET /lf HTTP/1.1\nHost: a.test\n\n"),
    refused("a bare LF in front", LINES, b"\nGET /lf HTTP/1.1\r\nHost: a.test\r\n\r\n"),
    refused(
        "two empty lines in front",
        "bad-request: a malformed method",
        b"\r\n\r\nGET /lf HTTP/1.1\r\nHost: a.test\r\n\r\n",
    ),
    unparsed("a bare CR in a value", b"GET /cr HTTP/1.1\r\nHost: a.test\r\nX: y\rz\r\n\r\n"),
    unparsed("a bare CR behind a field", b"GET /cr HTTP/1.1\r\nHost: a.test\rX: y\r\n\r\n"),
    unparsed("a bare CR behind the request line", b"GET /cr HTTP/1.1\rHost: a.test\r\n\r\n"),
    unparsed("a bare CR in a name", b"GET /cr HTTP/1.1\r\nHost: a.test\r\nX\rY: z\r\n\r\n"),
    unparsed("a CR too many", b"GET /cr HTTP/1.1\r\nHost: a.test\r\r\n\r\n"),
    unparsed("a folded line", b"GET /fold HTTP/1.1\r\nHost: a.test\r\nX: y\r\n z\r\n\r\n"),
    unparsed("a line folded with a tab", b"GET /fold HTTP/1.1\r\nHost: a.test\r\nX: y\r\n\tz\r\n\r\n"),
    unparsed("a folded request line", b"GET /fold HTTP/1.1\r\n Host: a.test\r\nHost: a.test\r\n\r\n"),
    unparsed("a line of white space", b"GET /fold HTTP/1.1\r\nHost: a.test\r\n \r\nX: y\r\n\r\n"),
    unparsed("white space before a colon", b"GET /name HTTP/1.1\r\nHost : a.test\r\n\r\n"),
    unparsed("an empty name", b"GET /name HTTP/1.1\r\nHost: a.test\r\n: y\r\n\r\n"),
    unparsed("no colon", b"GET /name HTTP/1.1\r\nHost: a.test\r\nX\r\n\r\n"),
    unparsed("a name of two words", b"GET /name HTTP/1.1\r\nHost: a.test\r\nX Y: z\r\n\r\n"),
    unparsed("a name in brackets", b"GET /name HTTP/1.1\r\nHost: a.test\r\n(X): y\r\n\r\n"),
    unparsed("a name that is not ASCII", b"GET /name HTTP/1.1\r\nHost: a.test\r\nX\xe4: y\r\n\r\n"),
    unparsed("a NUL in a name", b"GET /name HTTP/1.1\r\nHost: a.test\r\nX\0: y\r\n\r\n"),
    unparsed("a NUL in a value", b"GET /value HTTP/1.1\r\nHost: a.test\r\nX: y\0\r\n\r\n"),
    unparsed("a vertical tab in a value", b"GET /value HTTP/1.1\r\nHost: a.test\r\nX: y\x0bz\r\n\r\n"),
    unparsed("an escape in a value", b"GET /value HTTP/1.1\r\nHost: a.test\r\nX: y\x1bz\r\n\r\n"),
    unparsed("a DEL in a value", b"GET /value HTTP/1.1\r\nHost: a.test\r\nX: y\x7fz\r\n\r\n"),
];

/// Request lines that are none, and targets that lead nowhere.
pub(crate) const REQUEST_LINES: &[Refused] = &[
    unparsed("HTTP/0.9", b"GET /line\r\n\r\n"),
    unparsed("HTTP/0.9 with a version", b"GET /line HTTP/0.9\r\nHost: a.test\r\n\r\n"),
    unparsed("HTTP/1.2", b"GET /line HTTP/1.2\r\nHost: a.test\r\n\r\n"),
    unparsed("HTTP/1.10", b"GET /line HTTP/1.10\r\nHost: a.test\r\n\r\n"),
    unparsed("HTTP/2.0", b"GET /line HTTP/2.0\r\nHost: a.test\r\n\r\n"),
    unparsed("HTTP/9.9", b"GET /line HTTP/9.9\r\nHost: a.test\r\n\r\n"),
    unparsed("a version in small letters", b"GET /line http/1.1\r\nHost: a.test\r\n\r\n"),
    unparsed("another protocol", b"GET /line RTSP/1.0\r\nHost: a.test\r\n\r\n"),
    unparsed("no target", b"GET HTTP/1.1\r\nHost: a.test\r\n\r\n"),
    unparsed("two spaces before the target", b"GET  /line HTTP/1.1\r\nHost: a.test\r\n\r\n"),
    unparsed("two spaces behind the target", b"GET /line  HTTP/1.1\r\nHost: a.test\r\n\r\n"),
    unparsed("a space behind the version", b"GET /line HTTP/1.1 \r\nHost: a.test\r\n\r\n"),
    unparsed("a space in front", b" GET /line HTTP/1.1\r\nHost: a.test\r\n\r\n"),
    unparsed("a tab before the target", b"GET\t/line HTTP/1.1\r\nHost: a.test\r\n\r\n"),
    unparsed("a tab behind the target", b"GET /line\tHTTP/1.1\r\nHost: a.test\r\n\r\n"),
    unparsed("a target of two words", b"GET /line two HTTP/1.1\r\nHost: a.test\r\n\r\n"),
    unparsed("a second version in the target", b"GET /line HTTP/1.1 HTTP/1.1\r\nHost: a.test\r\n\r\n"),
    unparsed("a method in brackets", b"(GET) /line HTTP/1.1\r\nHost: a.test\r\n\r\n"),
    unparsed("an empty method", b" /line HTTP/1.1\r\nHost: a.test\r\n\r\n"),
    unparsed("a control in the target", b"GET /li\x01ne HTTP/1.1\r\nHost: a.test\r\n\r\n"),
    unparsed("a NUL in the target", b"GET /li\0ne HTTP/1.1\r\nHost: a.test\r\n\r\n"),
    unparsed("a DEL in the target", b"GET /li\x7fne HTTP/1.1\r\nHost: a.test\r\n\r\n"),
    unparsed("a bare CR in the target", b"GET /li\rne HTTP/1.1\r\nHost: a.test\r\n\r\n"),
    unparsed("a target of one byte that is not ASCII", b"GET /\xe4 HTTP/1.1\r\nHost: a.test\r\n\r\n"),
    refused("a fragment", TARGET, b"GET /line#part HTTP/1.1\r\nHost: a.test\r\n\r\n"),
    refused("a fragment behind a query", TARGET, b"GET /line?x#/../y HTTP/1.1\r\nHost: a.test\r\n\r\n"),
    refused("the whole server, by GET", NO_PATH, b"GET * HTTP/1.1\r\nHost: a.test\r\n\r\n"),
    refused("an authority, by GET", DISAGREE, b"GET b.test:80 HTTP/1.1\r\nHost: a.test\r\n\r\n"),
    refused("the right authority, by GET", NO_PATH, b"GET a.test HTTP/1.1\r\nHost: a.test\r\n\r\n"),
    unparsed("a query alone", b"GET ?line HTTP/1.1\r\nHost: a.test\r\n\r\n"),
    Refused {
        name: "CONNECT",
        answer: (405, "bad-request: no forward proxy"),
        bytes: b"CONNECT a.test:443 HTTP/1.1\r\nHost: a.test:443\r\n\r\n",
    },
    unparsed("TLS", b"\x16\x03\x01\x00\x05\x01\x00\x01\x07\r\n\r\n"),
];

/// Whose the request is, is in doubt.
pub(crate) const HOSTS_IN_DOUBT: &[Refused] = &[
    refused("no Host", "bad-request: no Host", b"GET /host HTTP/1.1\r\nX: y\r\n\r\n"),
    refused("no field at all", "bad-request: no Host", b"GET /host HTTP/1.1\r\n\r\n"),
    refused(
        "no Host, but an absolute target",
        "bad-request: no Host",
        b"GET http://a.test/host HTTP/1.1\r\n\r\n",
    ),
    refused("Host twice", HOSTS, b"GET /host HTTP/1.1\r\nHost: a.test\r\nHost: a.test\r\n\r\n"),
    refused("two Hosts", HOSTS, b"GET /host HTTP/1.1\r\nHost: a.test\r\nX: y\r\nhost: b.test\r\n\r\n"),
    refused("an empty Host and another", HOSTS, b"GET /host HTTP/1.1\r\nHost:\r\nHost: a.test\r\n\r\n"),
    refused("two Hosts in HTTP/1.0", HOSTS, b"GET /host HTTP/1.0\r\nHost: a.test\r\nHost: b.test\r\n\r\n"),
    refused("a list of hosts", HOST, b"GET /host HTTP/1.1\r\nHost: a.test, b.test\r\n\r\n"),
    refused("a host and a path", HOST, b"GET /host HTTP/1.1\r\nHost: a.test/x\r\n\r\n"),
    refused("a host and a user", HOST, b"GET /host HTTP/1.1\r\nHost: u@a.test\r\n\r\n"),
    refused("a port in words", HOST, b"GET /host HTTP/1.1\r\nHost: a.test:port\r\n\r\n"),
    refused("a host of two words", HOST, b"GET /host HTTP/1.1\r\nHost: a.test b.test\r\n\r\n"),
    refused("half an address", HOST, b"GET /host HTTP/1.1\r\nHost: [::1\r\n\r\n"),
    refused("a host that is not ASCII", HOST, b"GET /host HTTP/1.1\r\nHost: \xc3\xa4.test\r\n\r\n"),
    refused("a target of another host", DISAGREE, b"GET http://b.test/host HTTP/1.1\r\nHost: a.test\r\n\r\n"),
    refused(
        "a target of another port",
        DISAGREE,
        b"GET http://a.test:81/host HTTP/1.1\r\nHost: a.test\r\n\r\n",
    ),
    refused("a target with a user", DISAGREE, b"GET http://u@a.test/host HTTP/1.1\r\nHost: a.test\r\n\r\n"),
    refused(
        "a target's host, and an empty one",
        DISAGREE,
        b"GET http://a.test/host HTTP/1.1\r\nHost:\r\n\r\n",
    ),
];

/// A body in chunks that is cut off: what comes behind `POST /body`, and the data of it that is sound.
pub(crate) struct CutOff {
    pub(crate) name: &'static str,
    pub(crate) body: &'static [u8],
    pub(crate) sound: &'static str,
}

const fn cut_off(name: &'static str, sound: &'static str, body: &'static [u8]) -> CutOff {
    CutOff { name, body, sound }
}

/// Each has a sound chunk in front, and what would be a body's end and a request behind it.
pub(crate) const BODIES: &[CutOff] = &[
    cut_off("a size with a plus", "ab", b"2\r\nab\r\n+4\r\nwiki\r\n"),
    cut_off("a negative size", "ab", b"2\r\nab\r\n-4\r\nwiki\r\n"),
    cut_off("a size with 0x", "ab", b"2\r\nab\r\n0x4\r\nwiki\r\n"),
    cut_off("a size with an underscore", "ab", b"2\r\nab\r\n0_4\r\nwiki\r\n"),
    cut_off("a size behind a space", "ab", b"2\r\nab\r\n 4\r\nwiki\r\n"),
    cut_off("a size behind a tab", "ab", b"2\r\nab\r\n\t4\r\nwiki\r\n"),
    cut_off("a space behind a size", "ab", b"2\r\nab\r\n4 \r\nwiki\r\n"),
    cut_off("two sizes", "ab", b"2\r\nab\r\n4 4\r\nwiki\r\n"),
    cut_off("a size in words", "ab", b"2\r\nab\r\nfour\r\nwiki\r\n"),
    cut_off("an empty size", "ab", b"2\r\nab\r\n\r\nwiki\r\n"),
    cut_off("a size of more than 64 bits", "ab", b"2\r\nab\r\n10000000000000004\r\nwiki\r\n"),
    cut_off("a size of more than 32 bits", "ab", b"2\r\nab\r\nffffffffffffffffffff\r\nwiki\r\n"),
    cut_off("a size of many zeros", "ab", b"2\r\nab\r\n00000000000000000000000004\r\nwiki\r\n"),
    cut_off("a bare LF behind a size", "ab", b"2\r\nab\r\n4\nwiki\r\n"),
    cut_off("a bare CR behind a size", "ab", b"2\r\nab\r\n4\rwiki\r\n"),
    cut_off("a CR too many behind a size", "ab", b"2\r\nab\r\n4\r\r\nwiki\r\n"),
    cut_off("a bare LF behind an extension", "ab", b"2\r\nab\r\n4;x\nwiki\r\n"),
    cut_off("a bare CR in an extension", "ab", b"2\r\nab\r\n4;x\ry\r\nwiki\r\n"),
    cut_off("a NUL in an extension", "ab", b"2\r\nab\r\n4;x\0\r\nwiki\r\n"),
    cut_off("an extension without a semicolon", "ab", b"2\r\nab\r\n4,x\r\nwiki\r\n"),
    cut_off(
        "an extension that is too long",
        "ab",
        concat!(
            "2\r\nab\r\n4;x=\"",
            "0123456789abcdef0123456789abcdef\
        0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef\
        0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef\
        0123456789abcdef0123456789abcdef",
            "\"\r\nwiki\r\n"
        )
        .as_bytes(),
    ),
    cut_off("no line's end behind a chunk", "abwiki", b"2\r\nab\r\n4\r\nwiki"),
    cut_off("a bare LF behind a chunk", "abwiki", b"2\r\nab\r\n4\r\nwiki\n"),
    cut_off("a bare CR behind a chunk", "abwiki", b"2\r\nab\r\n4\r\nwiki\r"),
    cut_off("a chunk longer than its size", "abwik", b"2\r\nab\r\n3\r\nwiki\r\n"),
    cut_off("a chunk shorter than its size", "abwiki\r", b"2\r\nab\r\n5\r\nwiki\r\n"),
    cut_off("a bare LF for the end", "ab", b"2\r\nab\r\n0\r\n\n"),
    cut_off("a bare LF behind the last size", "ab", b"2\r\nab\r\n0\n\r\n"),
    cut_off("a bare LF that ends the trailers", "ab", b"2\r\nab\r\n0\r\nA: b\n\r\n"),
    cut_off("a bare CR in a trailer", "ab", b"2\r\nab\r\n0\r\nA: b\rc\r\n\r\n"),
    cut_off("a folded trailer", "ab", b"2\r\nab\r\n0\r\nA: b\r\n c\r\n\r\n"),
    cut_off("a trailer without a colon", "ab", b"2\r\nab\r\n0\r\nAb\r\n\r\n"),
    cut_off("white space before a trailer's colon", "ab", b"2\r\nab\r\n0\r\nA : b\r\n\r\n"),
    cut_off(
        "a request in the trailers' place",
        "ab",
        b"2\r\nab\r\n0\r\nGET /smuggled HTTP/1.1\r\nHost: a.test\r\n\r\n",
    ),
];
