//! A request to the test app that goes on until it is told to end: what it keeps up can be looked at meanwhile, however
//! long that takes.

use std::net::SocketAddr;

use super::wire::Wire;

/// One that is under way: the app's answer has begun, and ends with the request's body.
pub(crate) struct Lasting(Wire);

impl Lasting {
    /// Begins one, and waits until the app has it.
    pub(crate) async fn begin(address: SocketAddr) -> Self {
        let ask = "POST /echo HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nopen\r\n";
        let mut wire = Wire::sent(address, ask).await;
        let head = wire.head().await;
        assert!(head.starts_with("HTTP/1.1 200 "), "{head}");
        assert_eq!(wire.chunk().await.expect("it comes back at once"), b"open");
        Self(wire)
    }

    /// Ends it. Panics unless its answer comes to its end.
    pub(crate) async fn end(mut self) {
        self.0.send("0\r\n\r\n").await;
        assert_eq!(self.0.chunk().await, None);
    }
}
