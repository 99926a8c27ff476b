//! The chunks of a body, followed as they arrive. What others could read otherwise is refused: of a client that would be
//! a way past them.
//!
//! Keeps no data: of a body that is under way there is a line at most, and its trailers.

use http::{HeaderMap, HeaderName, HeaderValue};
use memchr::memchr;

use crate::gateway::raw_head;

/// Most of a line with a chunk's size and extensions. The longest in use are signatures, of less than a hundred bytes.
const MAX_LINE: usize = 256;

/// Most of a size's digits: with so many it cannot overflow.
const MAX_DIGITS: usize = 15;

/// Most bytes of a body's trailers.
const MAX_TRAILERS: usize = 16 * 1024;

/// Most of them.
const MAX_FIELDS: usize = 100;

/// Where in a body the next byte belongs.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
enum At {
    /// To a line that says how long a chunk is.
    #[default]
    Size,
    /// To a chunk: so many bytes of data are to come.
    Data(u64),
    /// To the CR behind the data.
    Cr,
    /// To the LF behind that.
    Lf,
    /// To a trailer, or to the empty line that ends the body.
    Trailer,
}

/// A body in chunks.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Chunked {
    at: At,
    /// What has arrived of a line that is not whole yet.
    line: Vec<u8>,
    /// How long the trailers are so far.
    trailers: usize,
    /// The trailers themselves.
    fields: HeaderMap,
    /// Sizes may be padded.
    padded: bool,
}

/// What the next bytes are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// So many belong to the frame.
    Frame(usize),
    /// So many are data.
    Data(usize),
    /// So many belong to the frame, and the body has ended.
    End(usize),
}

impl Chunked {
    /// A replica's, which may pad its sizes as some servers do: its chunks are not passed on as they are.
    #[must_use]
    pub fn of_replica() -> Self {
        Self { padded: true, ..Self::default() }
    }

    /// The trailers, where there are any, once the body has ended.
    #[must_use]
    pub fn take_trailers(&mut self) -> Option<HeaderMap> {
        Some(std::mem::take(&mut self.fields)).filter(|fields| !fields.is_empty())
    }

    /// Goes on with the first of some bytes, of which there is at least one.
    ///
    /// # Errors
    /// What is wrong with them; there is nothing more to follow then.
    pub fn step(&mut self, bytes: &[u8]) -> Result<Step, &'static str> {
        match self.at {
            At::Data(left) => {
                let here = bytes.len().min(usize::try_from(left).unwrap_or(usize::MAX));
                let left = left - here as u64;
                self.at = if left == 0 { At::Cr } else { At::Data(left) };
                Ok(Step::Data(here))
            }
            At::Cr | At::Lf => {
                let (awaited, then) = if self.at == At::Cr { (b'\r', At::Lf) } else { (b'\n', At::Size) };
                if bytes[0] != awaited {
                    return Err("a chunk that does not end where its size says");
                }
                self.at = then;
                Ok(Step::Frame(1))
            }
            At::Size | At::Trailer => {
                let end = memchr(b'\n', bytes).map_or(bytes.len(), |lf| lf + 1);
                let (limit, why) = match self.at {
                    At::Size => (MAX_LINE, "a chunk's extensions are too long"),
                    _ => (MAX_TRAILERS - self.trailers, "the trailers are too long"),
                };
                if self.line.len() + end > limit {
                    return Err(why);
                }
                self.line.extend_from_slice(&bytes[..end]);
                if self.line.ends_with(b"\n") && self.line_ended()? {
                    return Ok(Step::End(end));
                }
                Ok(Step::Frame(end))
            }
        }
    }

    /// A line is whole. Says whether it was the body's last.
    fn line_ended(&mut self) -> Result<bool, &'static str> {
        let line = self.line.strip_suffix(b"\r\n").ok_or("a chunk's line that does not end in CR and LF")?;
        if self.at == At::Size {
            let size = size(line, self.padded)?;
            self.at = if size == 0 { At::Trailer } else { At::Data(size) };
        } else if line.is_empty() {
            return Ok(true);
        } else {
            raw_head::check_field(line)?;
            if self.fields.len() == MAX_FIELDS {
                return Err("too many trailers");
            }
            let (name, value) = field(line)?;
            self.fields.append(name, value);
            self.trailers += self.line.len();
        }
        self.line.clear();
        Ok(false)
    }
}

/// Without white space behind it, and without zeros before it but the last.
fn unpadded(line: &[u8]) -> &[u8] {
    let line = line.trim_ascii_end();
    let zeros = line.iter().take_while(|byte| **byte == b'0').count();
    let digits = line[zeros..].iter().take_while(|byte| byte.is_ascii_hexdigit()).count();
    &line[if digits > 0 { zeros } else { zeros.saturating_sub(1) }..]
}

/// A trailer whose line has been checked.
fn field(line: &[u8]) -> Result<(HeaderName, HeaderValue), &'static str> {
    let colon = memchr(b':', line).expect("it was found when the line was checked");
    let name = HeaderName::from_bytes(&line[..colon]).map_err(|_| "a trailer's name is too long")?;
    let value = HeaderValue::from_bytes(line[colon + 1..].trim_ascii()).map_err(|_| "a control character")?;
    Ok((name, value))
}

/// The size that a line says; extensions, RFC 9112 section 7.1.1, are nobody's business here.
fn size(line: &[u8], padded: bool) -> Result<u64, &'static str> {
    let line = if padded { unpadded(line) } else { line };
    let len = line.iter().position(|byte| !byte.is_ascii_hexdigit()).unwrap_or(line.len());
    let (digits, extensions) = line.split_at(len);
    if !(1..=MAX_DIGITS).contains(&len) {
        return Err("a malformed chunk size");
    }
    if !extensions.is_empty() {
        if !extensions.trim_ascii_start().starts_with(b";") {
            return Err("a malformed chunk size");
        }
        raw_head::check_text(extensions)?;
    }
    let value = |digit: u8| u64::from(char::from(digit).to_digit(16).unwrap_or_default());
    Ok(digits.iter().fold(0, |number, digit| number * 16 + value(*digit)))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How much of the bytes there is up to the body's end, or nothing where that is still to come.
    fn follow(chunked: &mut Chunked, bytes: &[u8]) -> Result<Option<usize>, &'static str> {
        let mut seen = 0;
        while seen < bytes.len() {
            match chunked.step(&bytes[seen..])? {
                Step::Frame(count) | Step::Data(count) => seen += count,
                Step::End(count) => return Ok(Some(seen + count)),
            }
        }
        Ok(None)
    }

    /// Follows the bytes in one piece, and in all pairs of pieces and one by one, which is all the same.
    fn followed(bytes: &[u8]) -> Result<Option<usize>, &'static str> {
        let whole = follow(&mut Chunked::default(), bytes);
        for cut in 1..bytes.len() {
            let mut chunked = Chunked::default();
            let pieces = match follow(&mut chunked, &bytes[..cut]) {
                Ok(None) => follow(&mut chunked, &bytes[cut..]).map(|end| end.map(|end| cut + end)),
                early => early,
            };
            assert_eq!(pieces, whole, "{} at {cut}", bytes.escape_ascii());
        }
        let mut chunked = Chunked::default();
        let one_by_one = bytes.chunks(1).zip(1..).find_map(|(byte, at)| match follow(&mut chunked, byte) {
            Ok(end) => end.map(|_| Ok(at)),
            Err(why) => Some(Err(why)),
        });
        assert_eq!(one_by_one.transpose(), whole, "{}", bytes.escape_ascii());
        whole
    }

    #[test]
    fn where_a_body_ends() {
        let extension = format!("4;{}\r\nwiki\r\n0\r\n\r\n", "x".repeat(MAX_LINE - 4));
        for (bytes, behind) in [
            ("0\r\n\r\n", 0),
            ("0\r\n\r\nGET / HTTP/1.1\r\n", 16),
            ("4\r\nwiki\r\n00\r\n\r\n", 0),
            ("00000000000000a\r\n0\r\n\r\n\r\n\r\n!\r\n0\r\n\r\n", 0),
            ("4;a=b;c=\"d;\t\"\r\nwiki\r\n1 \t;\u{e4}\r\n!\r\n0;x\r\n\r\n", 0),
            ("0\r\nA: b\r\nC:\r\n\r\n\r\n", 2),
            (&extension, 0),
        ] {
            assert_eq!(followed(bytes.as_bytes()), Ok(Some(bytes.len() - behind)), "{bytes:?}");
        }
        for unfinished in ["", "f", "fffffffffffffff\r\nabc", "4\r\nwiki\r\n0\r\n", "0\r\nA: b\r\n"] {
            assert_eq!(followed(unfinished.as_bytes()), Ok(None), "{unfinished:?}");
        }
    }

    #[test]
    fn what_others_could_read_otherwise() {
        let size = "a malformed chunk size";
        for bad in [
            "",
            " 4",
            "\t4",
            "+4",
            "-4",
            "0x4",
            "4_0",
            "g",
            "4 ",
            "4\t",
            "4 4",
            "4,",
            "4\u{b}",
            ";4",
            "\"4\"",
            "0000000000000004",
            "10000000000000000",
        ] {
            assert_eq!(followed(format!("{bad}\r\nwiki\r\n0\r\n\r\n").as_bytes()), Err(size), "{bad:?}");
        }
        let (crlf, control) = ("a chunk's line that does not end in CR and LF", "a control character");
        let ends = "a chunk that does not end where its size says";
        let long = format!("4;{}", "x".repeat(MAX_LINE));
        let trailers = format!("0\r\nA: {}\r\n", "b".repeat(MAX_TRAILERS));
        let many = format!("0\r\n{}", "A: b\r\n".repeat(MAX_FIELDS + 1));
        for (bytes, why) in [
            ("4\nwiki\r\n0\r\n\r\n", crlf),
            ("4;a\nwiki\r\n0\r\n\r\n", crlf),
            ("4;a\rb\r\nwiki\r\n0\r\n\r\n", control),
            ("4;a\0\r\nwiki\r\n0\r\n\r\n", control),
            ("4\r\r\nwiki\r\n0\r\n\r\n", size),
            ("4\r\nwiki0\r\n\r\n", ends),
            ("4\r\nwiki\n0\r\n\r\n", ends),
            ("4\r\nwiki\rx0\r\n\r\n", ends),
            ("3\r\nwiki\r\n0\r\n\r\n", ends),
            ("0\r\n\n", crlf),
            ("0\r\nA: b\n\r\n", crlf),
            ("0\r\nA: b\rc\r\n\r\n", control),
            ("0\r\nA : b\r\n\r\n", "white space before a colon"),
            ("0\r\n b\r\n\r\n", "a folded line"),
            ("0\r\nA\r\n\r\n", "a line without a colon"),
            ("0\r\n: b\r\n\r\n", "an empty header name"),
            (&long, "a chunk's extensions are too long"),
            (&trailers, "the trailers are too long"),
            (&many, "too many trailers"),
        ] {
            assert_eq!(follow(&mut Chunked::default(), bytes.as_bytes()), Err(why), "{bytes:?}");
        }
    }

    #[test]
    fn a_replica_may_pad_its_sizes() {
        for padded in ["4 ", "4\t ", "00000000000000000004", "0004;a=b ", "4 ;a"] {
            let bytes = format!("{padded}\r\nwiki\r\n000000000000000000\r\n\r\n");
            let followed = follow(&mut Chunked::of_replica(), bytes.as_bytes());
            assert_eq!(followed, Ok(Some(bytes.len())), "{padded:?}");
        }
        for bad in ["", " ", " 4", "4 4", "x", "10000000000000000"] {
            let bytes = format!("{bad}\r\nwiki\r\n0\r\n\r\n");
            assert!(follow(&mut Chunked::of_replica(), bytes.as_bytes()).is_err(), "{bad:?}");
        }
    }
}
