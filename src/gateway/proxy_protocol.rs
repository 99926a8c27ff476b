//! The header that a proxy before this one puts before all else, to say whom it speaks for: PROXY protocol versions 1
//! and 2, as `proxy-protocol.txt` of `HAProxy` defines them. Only who is listed as one that sends it is asked for it.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use crate::gateway::line::LineStream;

/// How version 2 begins, section 2.2.
const SIGNATURE: &[u8; 12] = b"\r\n\r\n\0\r\nQUIT\n";

/// Longest header of version 1, its line end included, section 2.1.
const LONGEST_LINE: usize = 107;

/// Bytes of addresses and additions that are read of version 2. More than that is no proxy's.
const LONGEST_BLOCK: usize = 4096;

/// What the header says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Header {
    /// Somebody else's connection.
    Relayed {
        /// Whose.
        source: SocketAddr,
        /// What it has reached.
        destination: SocketAddr,
    },
    /// The proxy's own connection, such as a health check, or one whose ends it does not know.
    Own,
}

/// Reads the header and passes over it.
///
/// # Errors
/// Where there is none.
pub async fn read(stream: &mut LineStream) -> io::Result<Header> {
    let (header, length) = stream.look(parse).await?.map_err(|why| {
        tracing::debug!(why, "no PROXY header where one is due");
        io::Error::new(io::ErrorKind::InvalidData, why)
    })?;
    stream.skip(length);
    Ok(header)
}

/// The header with which `bytes` begin and its length; `None` while more of it is to come.
#[must_use]
pub fn parse(bytes: &[u8]) -> Option<Result<(Header, usize), &'static str>> {
    let signed = bytes.len().min(SIGNATURE.len());
    if bytes[..signed] == SIGNATURE[..signed] {
        return if bytes.len() < 16 { None } else { block(bytes) };
    }
    let named = bytes.len().min(6);
    if bytes[..named] != b"PROXY "[..named] {
        return Some(Err("neither of the two versions"));
    }
    match bytes.iter().take(LONGEST_LINE).position(|byte| *byte == b'\n') {
        Some(end) => Some(line(&bytes[..end]).map(|header| (header, end + 1))),
        None if bytes.len() < LONGEST_LINE => None,
        None => Some(Err("a line without an end")),
    }
}

/// Version 1: `PROXY TCP4 192.0.2.1 198.51.100.2 51234 443` and a line end, of which `line` lacks the last byte.
fn line(line: &[u8]) -> Result<Header, &'static str> {
    const WRONG: &str = "a malformed line";
    let line = line.strip_suffix(b"\r").and_then(|line| std::str::from_utf8(line).ok()).ok_or(WRONG)?;
    let mut words = line.split(' ').skip(1);
    let family = words.next().ok_or(WRONG)?;
    if family == "UNKNOWN" {
        return Ok(Header::Own);
    }
    let (Some(source), Some(destination), Some(from), Some(to), None) =
        (words.next(), words.next(), words.next(), words.next(), words.next())
    else {
        return Err(WRONG);
    };
    let address = |text: &str| -> Result<IpAddr, &'static str> {
        match family {
            "TCP4" => text.parse::<Ipv4Addr>().map(IpAddr::V4).map_err(|_| WRONG),
            "TCP6" => text.parse::<Ipv6Addr>().map(IpAddr::V6).map_err(|_| WRONG),
            _ => Err(WRONG),
        }
    };
    let port = |text: &str| {
        let plain = text.bytes().all(|byte| byte.is_ascii_digit()) && (text == "0" || !text.starts_with('0'));
        text.parse::<u16>().ok().filter(|_| plain).ok_or(WRONG)
    };
    Ok(Header::Relayed {
        source: SocketAddr::new(address(source)?, port(from)?),
        destination: SocketAddr::new(address(destination)?, port(to)?),
    })
}

/// Version 2, of which 16 bytes at least are there, section 2.2.
fn block(bytes: &[u8]) -> Option<Result<(Header, usize), &'static str>> {
    let (version, command, family) = (bytes[12] >> 4, bytes[12] & 15, bytes[13]);
    let length = usize::from(u16::from_be_bytes([bytes[14], bytes[15]]));
    if version != 2 || command > 1 {
        return Some(Err("a version or command that nobody has"));
    }
    if length > LONGEST_BLOCK {
        return Some(Err("a block that is too long"));
    }
    let block = bytes.get(16..16 + length)?;
    let header = match (command, family) {
        // LOCAL, whatever else it says.
        (0, _) => Ok(Header::Own),
        (_, 0x11) => addresses::<4>(block),
        (_, 0x21) => addresses::<16>(block),
        // Unix sockets, datagrams, and what was not specified.
        _ => Ok(Header::Own),
    };
    Some(header.map(|header| (header, 16 + length)))
}

/// Two addresses of N bytes and two ports; what follows are additions, and none of ours.
fn addresses<const N: usize>(block: &[u8]) -> Result<Header, &'static str>
where
    IpAddr: From<[u8; N]>,
{
    const SHORT: &str = "a block that is too short";
    let (source, rest) = block.split_first_chunk::<N>().ok_or(SHORT)?;
    let (destination, rest) = rest.split_first_chunk::<N>().ok_or(SHORT)?;
    let (from, rest) = rest.split_first_chunk::<2>().ok_or(SHORT)?;
    let (to, _) = rest.split_first_chunk::<2>().ok_or(SHORT)?;
    Ok(Header::Relayed {
        source: SocketAddr::new(IpAddr::from(*source), u16::from_be_bytes(*from)),
        destination: SocketAddr::new(IpAddr::from(*destination), u16::from_be_bytes(*to)),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn relayed(source: &str, destination: &str) -> Header {
        Header::Relayed { source: source.parse().unwrap(), destination: destination.parse().unwrap() }
    }

    #[test]
    fn the_line() {
        let good = b"PROXY TCP4 192.0.2.1 198.51.100.2 51234 443\r\nGET";
        let expected = (relayed("192.0.2.1:51234", "198.51.100.2:443"), good.len() - 3);
        assert_eq!(parse(good), Some(Ok(expected)));
        for end in 0..good.len() - 3 {
            assert_eq!(parse(&good[..end]), None, "{end}");
        }
        let six = b"PROXY TCP6 2001:db8::1 ::1 1 2\r\n";
        assert_eq!(parse(six), Some(Ok((relayed("[2001:db8::1]:1", "[::1]:2"), six.len()))));
        assert_eq!(parse(b"PROXY UNKNOWN whatever\r\n"), Some(Ok((Header::Own, 24))));
        for bad in [
            &b"GET / HTTP/1.1\r\n"[..],
            b"PROXY TCP4 192.0.2.1 198.51.100.2 51234 443\n",
            b"PROXY TCP4 192.0.2.1 198.51.100.2 51234\r\n",
            b"PROXY TCP4 192.0.2.1 198.51.100.2 51234 443 1\r\n",
            b"PROXY TCP4  192.0.2.1 198.51.100.2 51234 443\r\n",
            b"PROXY TCP4 ::1 ::1 51234 443\r\n",
            b"PROXY TCP6 1.2.3.4 ::1 51234 443\r\n",
            b"PROXY TCP4 192.0.2.1 198.51.100.2 65536 443\r\n",
            b"PROXY TCP4 192.0.2.1 198.51.100.2 +1 443\r\n",
            b"PROXY TCP4 192.0.2.1 198.51.100.2 01 443\r\n",
            b"PROXY UDP4 192.0.2.1 198.51.100.2 1 443\r\n",
            &[b"PROXY TCP4 ", &[b'1'; 200][..]].concat(),
        ] {
            assert!(matches!(parse(bad), Some(Err(_))), "{}", String::from_utf8_lossy(bad));
        }
    }

    fn block(command: u8, family: u8, body: &[u8]) -> Vec<u8> {
        let length = u16::try_from(body.len()).unwrap().to_be_bytes();
        [&SIGNATURE[..], &[command, family], &length, body].concat()
    }

    #[test]
    fn the_block() {
        let four = [192, 0, 2, 1, 198, 51, 100, 2, 200, 34, 1, 187];
        let good = [block(0x21, 0x11, &four), b"GET".to_vec()].concat();
        let expected = (relayed("192.0.2.1:51234", "198.51.100.2:443"), 28);
        assert_eq!(parse(&good), Some(Ok(expected)));
        for end in 0..28 {
            assert_eq!(parse(&good[..end]), None, "{end}");
        }
        let with_additions = block(0x21, 0x11, &[&four[..], &[4, 0, 1, 7]].concat());
        assert_eq!(parse(&with_additions), Some(Ok((expected.0, 32))));
        let mut six = [0; 36];
        (six[15], six[31], six[33], six[35]) = (1, 2, 3, 4);
        assert_eq!(parse(&block(0x21, 0x21, &six)), Some(Ok((relayed("[::1]:3", "[::2]:4"), 52))));
        assert_eq!(parse(&block(0x20, 0, &[])), Some(Ok((Header::Own, 16))), "a health check");
        assert_eq!(parse(&block(0x21, 0x31, &[0; 216])), Some(Ok((Header::Own, 232))), "a Unix socket");
        for bad in [block(0x11, 0x11, &four), block(0x22, 0x11, &four), block(0x21, 0x11, &four[..11])] {
            assert!(matches!(parse(&bad), Some(Err(_))), "{bad:?}");
        }
        assert!(matches!(parse(&block(0x21, 0x11, &[0; 5000])), Some(Err(_))));
    }
}
