//! A reverse proxy in as few lines as Pingora takes: to one origin, with keep-alive, TLS and an access log.
//! `pingora-peer CLEAR TLS H2C ORIGIN CERT KEY LOG WORKERS`.

mod access_log;

use std::env;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use async_trait::async_trait;
use pingora_core::apps::HttpServerOptions;
use pingora_core::listeners::tls::TlsSettings;
use pingora_core::prelude::{HttpPeer, Result};
use pingora_core::protocols::ALPN;
use pingora_core::server::Server;
use pingora_core::server::configuration::ServerConf;
use pingora_proxy::{ProxyHttp, Session, http_proxy_service};

use crate::access_log::AccessLog;

struct Peer {
    origin: SocketAddr,
    log: Arc<AccessLog>,
}

#[async_trait]
impl ProxyHttp for Peer {
    type CTX = Instant;

    fn new_ctx(&self) -> Instant {
        Instant::now()
    }

    async fn upstream_peer(&self, session: &mut Session, _began: &mut Instant) -> Result<Box<HttpPeer>> {
        let mut peer = HttpPeer::new(self.origin, false, String::new());
        let kind = session.req_header().headers.get("content-type");
        if kind.is_some_and(|kind| kind.as_bytes().starts_with(b"application/grpc")) {
            peer.options.alpn = ALPN::H2;
        }
        Ok(Box::new(peer))
    }

    async fn logging(&self, session: &mut Session, _: Option<&pingora_core::Error>, began: &mut Instant) {
        self.log.line(session, began.elapsed());
    }
}

fn main() {
    let given: Vec<String> = env::args().skip(1).collect();
    let [clear, tls, h2c, origin, cert, key, log, workers] = given.as_slice() else {
        panic!("pingora-peer CLEAR TLS H2C ORIGIN CERT KEY LOG WORKERS");
    };
    let conf = ServerConf {
        threads: workers.parse().expect("a number of workers"),
        upstream_keepalive_pool_size: 1024,
        // It leaves at once when it is told to.
        grace_period_seconds: Some(0),
        graceful_shutdown_timeout_seconds: Some(0),
        ..ServerConf::default()
    };
    let mut server = Server::new_with_opt_and_conf(None, conf);
    server.bootstrap();
    let peer = Peer {
        origin: origin.parse().expect("an address of the origin"),
        log: Arc::new(AccessLog::to(log).expect("a file for the access log")),
    };
    let mut service = http_proxy_service(&server.configuration, peer);
    let mut options = HttpServerOptions::default();
    options.h2c = true;
    service.app_logic_mut().expect("a service has its proxy").server_options = Some(options);
    service.add_tcp(clear);
    service.add_tcp(h2c);
    let mut settings = TlsSettings::intermediate(cert, key).expect("a certificate and its key");
    settings.enable_h2();
    service.add_tls_with_settings(tls, None, settings);
    server.add_service(service);
    server.run_forever();
}
