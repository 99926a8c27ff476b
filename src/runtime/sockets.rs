//! Where processes listen, as the kernel's tables in `/proc` say. Reads only; blocking.
//!
//! It knows nothing of replicas: whose namespace or process it looks at is its caller's to say, and to prove.

use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::Path;

/// A socket's state in the kernel's tables.
const LISTENING: &str = "0A";

/// A TCP socket that takes connections.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Listening {
    /// Where.
    pub(super) address: SocketAddr,
    /// The socket itself, as `/proc/<pid>/fd` names it.
    pub(super) inode: u64,
}

/// All of one network namespace, whose `net` folder this is; `None` where it cannot be read.
pub(super) fn listening(net: &Path) -> Option<Vec<Listening>> {
    let mut found = parse(&fs::read_to_string(net.join("tcp")).ok()?);
    // A kernel without IPv6 has no such table.
    found.extend(parse(&fs::read_to_string(net.join("tcp6")).unwrap_or_default()));
    Some(found)
}

fn parse(table: &str) -> Vec<Listening> {
    let row = |line: &str| {
        let fields: Vec<_> = line.split_whitespace().collect();
        let (local, state, inode) = (fields.get(1)?, fields.get(3)?, fields.get(9)?);
        let address = (*state == LISTENING).then(|| address(local)).flatten()?;
        Some(Listening { address, inode: inode.parse().ok()? })
    };
    table.lines().filter_map(row).collect()
}

/// `0100007F:1F90`: the address in words of the machine's own byte order.
fn address(text: &str) -> Option<SocketAddr> {
    let (host, port) = text.split_once(':')?;
    let word = |at: usize| Some(u32::from_str_radix(host.get(at..at + 8)?, 16).ok()?.to_ne_bytes());
    let ip = match host.len() {
        8 => IpAddr::from(Ipv4Addr::from(word(0)?)),
        32 => {
            let words = [word(0)?, word(8)?, word(16)?, word(24)?];
            IpAddr::from(Ipv6Addr::from(<[u8; 16]>::try_from(words.concat()).ok()?)).to_canonical()
        }
        _ => return None,
    };
    Some(SocketAddr::new(ip, u16::from_str_radix(port, 16).ok()?))
}

/// Whether `ip` is an address of that network namespace's own. `None` where it cannot be read.
pub(super) fn has_address(net: &Path, ip: Ipv4Addr) -> Option<bool> {
    Some(is_local(&fs::read_to_string(net.join("fib_trie")).ok()?, ip))
}

/// What the routing table calls local stands there as `|-- ADDRESS` and, in the line below, `/32 host LOCAL`.
fn is_local(fib_trie: &str, ip: Ipv4Addr) -> bool {
    let leaf = format!("|-- {ip}");
    let lines: Vec<_> = fib_trie.lines().map(str::trim).collect();
    lines.windows(2).any(|pair| pair[0] == leaf && pair[1] == "/32 host LOCAL")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_listens_is_found() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let client = std::net::TcpStream::connect(address).unwrap();
        let found = listening(Path::new("/proc/self/net")).unwrap();
        let has = |sought| found.iter().any(|it| it.address == sought);
        assert!(has(address));
        assert!(!has(client.local_addr().unwrap()));
        assert_eq!(listening(Path::new("/proc/none/net")), None);
    }

    #[test]
    fn addresses_of_both_families() {
        // As a machine writes them whose lowest byte comes first.
        if cfg!(target_endian = "little") {
            let read = |text| address(text).map(|address| address.to_string());
            assert_eq!(read("0100007F:1F90").as_deref(), Some("127.0.0.1:8080"));
            assert_eq!(read("00000000000000000000000000000000:0050").as_deref(), Some("[::]:80"));
            assert_eq!(read("00000000000000000000000001000000:0050").as_deref(), Some("[::1]:80"));
            assert_eq!(read("0000000000000000FFFF00000100007F:0050").as_deref(), Some("127.0.0.1:80"));
        }
        for text in ["", "0100007F", "01:1F90", "0100007F:", "ä100007F:1F90"] {
            assert_eq!(address(text), None, "{text}");
        }
    }

    #[test]
    fn an_address_on_the_way_is_not_an_address_of_ones_own() {
        let table = "Local:\n  +-- 172.17.0.0/30 2 0 2\n     |-- 172.17.0.0\n        /16 link UNICAST\n     |-- 172.17.0.2\n        /32 host LOCAL\n";
        assert!(is_local(table, Ipv4Addr::new(172, 17, 0, 2)));
        assert!(!is_local(table, Ipv4Addr::new(172, 17, 0, 0)));
        assert!(!is_local(table, Ipv4Addr::new(172, 17, 0, 20)));
        assert_eq!(has_address(Path::new("/proc/self/net"), Ipv4Addr::LOCALHOST), Some(true));
    }
}
