//! A new connection for each request, clear or with TLS; its time is from the first packet to the answer's last byte.

use std::io::Result;
use std::net::SocketAddr;
use std::sync::{Arc, LazyLock};
use std::time::Instant;

use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::exchange::{CLOSED, exchange};
use crate::tls;
use crate::told::Told;

static CONFIG: LazyLock<Arc<ClientConfig>> = LazyLock::new(|| Arc::new(tls::config()));

pub async fn clear(address: SocketAddr, end: Instant) -> Told {
    repeat(end, async || exchange(&mut connect(address).await?, CLOSED).await).await
}

pub async fn tls(address: SocketAddr, end: Instant) -> Told {
    let connector = TlsConnector::from(CONFIG.clone());
    let name = ServerName::try_from("localhost").expect("a name");
    repeat(end, async || {
        let stream = connect(address).await?;
        exchange(&mut connector.connect(name.clone(), stream).await?, CLOSED).await
    })
    .await
}

async fn connect(address: SocketAddr) -> Result<TcpStream> {
    let stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

async fn repeat(end: Instant, one: impl AsyncFn() -> Result<()>) -> Told {
    let mut told = Told::default();
    while Instant::now() < end {
        let began = Instant::now();
        match one().await {
            Ok(()) => told.took(began.elapsed()),
            Err(_) => told.failed(),
        }
    }
    told
}
