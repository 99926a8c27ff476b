//! From a socket that was just accepted to a client whose requests can be read: what a proxy before this one says of it,
//! TLS, and which HTTP it speaks. Parses nothing of a request.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::AsyncWriteExt;
use tokio_rustls::TlsAcceptor;

use crate::config::spec::ClientsSpec;
use crate::gateway::client::{Client, Way};
use crate::gateway::line::{Line, LineStream};
use crate::gateway::proxy_protocol::{self, Header};
use crate::gateway::respond;
use crate::gateway::socket::Socket;
use crate::gateway::transport::Transport;

/// What a client of HTTP/2 sends first, RFC 9113 section 3.4.
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// The name of HTTP/2 in a TLS handshake, RFC 9113 section 3.1.
pub const H2: &[u8] = b"h2";

/// The name of HTTP/1.1 in a TLS handshake, RFC 7301 section 6.
pub const HTTP_11: &[u8] = b"http/1.1";

/// The first byte of a TLS handshake, RFC 8446 section 5.1.
const HANDSHAKE: u8 = 22;

/// Why there is nobody to be served.
#[derive(Debug, thiserror::Error)]
pub enum Absent {
    /// It has said nothing in time.
    #[error("it has said nothing")]
    Silent,
    /// It has not come to the end of what goes before a request in time.
    #[error("it was too slow with its handshake")]
    Late,
    /// It has left, or said something that is none.
    #[error(transparent)]
    Broken(#[from] io::Error),
}

/// Makes a client of a connection. `tls` is for those that come in by it.
///
/// # Errors
/// Where there is nobody to be served.
pub async fn arrive(
    socket: Socket,
    peer: Option<SocketAddr>,
    tls: Option<&TlsAcceptor>,
    spec: &ClientsSpec,
) -> Result<(Arc<Client>, Transport), Absent> {
    let (mut peer, mut reached) = (peer, None);
    let line = Line::new(socket);
    let mut stream = LineStream::new(Arc::clone(&line), spec.write_timeout);
    if spec.proxy_protocol.contains(peer) {
        let header = within(spec.header_timeout, Absent::Late, proxy_protocol::read(&mut stream)).await?;
        if let Header::Relayed { source, destination } = header {
            (peer, reached) = (Some(source), Some(destination));
        }
    }
    let (transport, way) = match tls {
        None => {
            let multiplexed = within(spec.idle_timeout, Absent::Silent, stream.look(is_preface)).await?;
            (Transport::Clear(stream), Way { secure: false, multiplexed })
        }
        Some(tls) => {
            let stream = within(spec.header_timeout, Absent::Late, secure(stream, tls)).await?;
            let multiplexed = stream.get_ref().1.alpn_protocol() == Some(H2);
            (Transport::Tls(Box::new(stream)), Way { secure: true, multiplexed })
        }
    };
    let trusted = spec.trusted_proxies.contains(peer);
    Ok((Client::new(line, peer, reached, way, trusted), transport))
}

async fn within<T>(
    time: Duration,
    otherwise: Absent,
    work: impl Future<Output = io::Result<T>>,
) -> Result<T, Absent> {
    match tokio::time::timeout(time, work).await {
        Ok(done) => Ok(done?),
        Err(_elapsed) => Err(otherwise),
    }
}

/// Whether these are the first bytes of HTTP/2, as soon as that can be told.
fn is_preface(seen: &[u8]) -> Option<bool> {
    let length = seen.len().min(PREFACE.len());
    if seen[..length] != PREFACE[..length] {
        return Some(false);
    }
    (length == PREFACE.len()).then_some(true)
}

async fn secure(
    mut stream: LineStream,
    tls: &TlsAcceptor,
) -> io::Result<tokio_rustls::server::TlsStream<LineStream>> {
    let first = stream.look(|seen| seen.first().copied()).await?;
    if first != HANDSHAKE {
        stream.write_all(respond::CLEAR_AT_TLS).await?;
        return Err(io::Error::new(io::ErrorKind::InvalidData, "no TLS where TLS is spoken"));
    }
    tls.accept(stream).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn http2_is_known_by_its_first_bytes_alone() {
        assert_eq!(is_preface(b""), None);
        assert_eq!(is_preface(b"P"), None);
        assert_eq!(is_preface(b"POST"), Some(false));
        assert_eq!(is_preface(&PREFACE[..23]), None);
        assert_eq!(is_preface(PREFACE), Some(true));
        assert_eq!(is_preface(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\nmore"), Some(true));
        assert_eq!(is_preface(b"PRI * HTTP/2.0\r\n\r\nXX"), Some(false));
    }
}
