//! A WebSocket to the test app's echo.

use futures_util::{SinkExt, StreamExt};
use tokio::net::TcpStream;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;

use super::proxy::Proxy;

pub(crate) type WebSocket = WebSocketStream<TcpStream>;

/// One that has carried nothing yet.
pub(crate) async fn open(proxy: &Proxy) -> WebSocket {
    let stream = TcpStream::connect(proxy.address()).await.expect("a connection");
    let opened = tokio_tungstenite::client_async("ws://localhost/ws", stream).await;
    let (socket, response) = opened.expect("a WebSocket");
    assert_eq!(response.status(), 101);
    socket
}

/// Sends a message and panics unless it comes back.
pub(crate) async fn assert_echoes(socket: &mut WebSocket, message: Message) {
    socket.send(message.clone()).await.expect("it takes messages");
    assert_eq!(socket.next().await.expect("it is open").expect("it is sound"), message);
}
