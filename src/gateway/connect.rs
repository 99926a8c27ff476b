//! Extended CONNECT (RFC 8441): how a client of HTTP/2 asks for a WebSocket. The replica is asked in HTTP/1.1, with an
//! `Upgrade`; from then on it is bytes both ways.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use http::header::{CONNECTION, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY, UPGRADE};
use http::{HeaderValue, Method, StatusCode, request, response};
use hyper::ext::Protocol;

use crate::gateway::respond::Reject;

/// Makes the request one for an upgrade, and says to what.
///
/// # Errors
/// Where there is no upgrade to what is asked for.
pub fn ask(head: &mut request::Parts) -> Result<HeaderValue, Reject> {
    let protocol = head.extensions.remove::<Protocol>();
    if protocol.is_none_or(|protocol| !protocol.as_str().eq_ignore_ascii_case("websocket")) {
        return Err(Reject::BadRequest("a :protocol other than websocket"));
    }
    head.method = Method::GET;
    // Not a secret: it shows that the answer is to this very request, RFC 6455 section 1.3.
    let nonce: [u8; 16] = std::array::from_fn(|_| fastrand::u8(..));
    head.headers.insert(SEC_WEBSOCKET_KEY, base64(&nonce));
    Ok(HeaderValue::from_static("websocket"))
}

fn base64(bytes: &[u8]) -> HeaderValue {
    HeaderValue::try_from(BASE64_STANDARD.encode(bytes)).expect("base64 is visible ASCII")
}

/// Makes the replica's switch the answer that HTTP/2 has for it.
pub fn answer(head: &mut response::Parts) {
    head.status = StatusCode::OK;
    for name in [SEC_WEBSOCKET_ACCEPT, UPGRADE, CONNECTION] {
        head.headers.remove(name);
    }
}
