//! An authority of a test's own, its certificates, and clients that trust it.

use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

/// An authority.
pub(crate) struct Authority {
    issuer: Issuer<'static, KeyPair>,
    root: CertificateDer<'static>,
}

impl Authority {
    /// A new one.
    pub(crate) fn new() -> Self {
        let key = KeyPair::generate().expect("keys can be made");
        let mut params = CertificateParams::new(Vec::new()).expect("no names are names");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let root = params.self_signed(&key).expect("it signs itself").der().clone();
        Self { issuer: Issuer::new(params, key), root }
    }

    /// Writes a certificate for these names and its key to `folder/stem.crt` and `.key`.
    pub(crate) fn issue(&self, folder: &Path, stem: &str, names: &[&str]) {
        let key = KeyPair::generate().expect("keys can be made");
        let names: Vec<_> = names.iter().map(|name| (*name).to_owned()).collect();
        let params = CertificateParams::new(names).expect("names of tests are names");
        let certificate = params.signed_by(&key, &self.issuer).expect("it signs");
        fs::write(folder.join(format!("{stem}.key")), key.serialize_pem())
            .expect("the folder can be written");
        fs::write(folder.join(format!("{stem}.crt")), certificate.pem()).expect("and again");
    }

    /// What a client that trusts it is set up with.
    pub(crate) fn client(
        &self,
        alpn: &[&str],
        versions: &[&'static rustls::SupportedProtocolVersion],
    ) -> Arc<ClientConfig> {
        let mut roots = RootCertStore::empty();
        roots.add(self.root.clone()).expect("it is a certificate");
        let config = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()));
        let config = config.with_protocol_versions(versions).expect("versions that rustls has");
        let mut config = config.with_root_certificates(roots).with_no_client_auth();
        config.alpn_protocols = alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
        Arc::new(config)
    }

    /// A connection of a client that trusts it.
    ///
    /// # Errors
    /// Where the other side has no certificate for `name`.
    pub(crate) async fn connect(
        &self,
        address: SocketAddr,
        name: &str,
        alpn: &[&str],
    ) -> std::io::Result<TlsStream<TcpStream>> {
        connect(self.client(alpn, rustls::ALL_VERSIONS), address, name).await
    }
}

/// A connection of a client that is set up like this.
pub(crate) async fn connect(
    config: Arc<ClientConfig>,
    address: SocketAddr,
    name: &str,
) -> std::io::Result<TlsStream<TcpStream>> {
    let stream = TcpStream::connect(address).await?;
    let name = ServerName::try_from(name.to_owned()).expect("a name of a test");
    TlsConnector::from(config).connect(name, stream).await
}

/// The certificate that the other side has shown.
pub(crate) fn shown(stream: &TlsStream<TcpStream>) -> Vec<u8> {
    stream.get_ref().1.peer_certificates().expect("a handshake shows one")[0].to_vec()
}
