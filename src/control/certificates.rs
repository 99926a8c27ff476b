//! The certificates of TLS: read from their files, read again whenever those change, and chosen by the name that a
//! client asks for. A file that cannot be used leaves what was there in its place.
//!
//! The data plane asks [`Store`] alone, which never reads a file: the seam for certificates that come from elsewhere.

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use rustls::ServerConfig;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use tokio_rustls::TlsAcceptor;
use webpki::EndEntityCert;

use crate::config::spec::Certificates;
use crate::gateway::arrive::{H2, HTTP_11};

/// How often the files are looked at. Who renews them writes two files one after the other, or links to them.
const LOOK: Duration = Duration::from_secs(5);

/// Why certificates cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum CertificateError {
    /// A file or folder cannot be read.
    #[error("cannot read {}: {error}", path.display())]
    Unreadable {
        /// Which.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// A file holds something else.
    #[error("{}: {why}", path.display())]
    Unusable {
        /// Which.
        path: PathBuf,
        /// What is wrong, and what to do.
        why: String,
    },
    /// A folder has no pair.
    #[error("{}: no certificate in it: put `NAME.crt` (or `NAME.pem`) and `NAME.key` there", .0.display())]
    Empty(PathBuf),
}

/// The certificates of the moment.
#[derive(Debug)]
pub struct Store(ArcSwap<Chosen>);

/// Certificates by the names that they are for.
#[derive(Debug)]
struct Chosen {
    exact: HashMap<String, Arc<CertifiedKey>>,
    /// By what follows `*.`.
    wildcard: HashMap<String, Arc<CertifiedKey>>,
    /// For clients that ask for no name, or for one that none is for.
    first: Arc<CertifiedKey>,
    /// Of the files, taken before they were read: what changes meanwhile is seen the next time.
    print: blake3::Hash,
}

impl ResolvesServerCert for Store {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let chosen = self.0.load();
        let named = hello.server_name().and_then(|name| chosen.named(name));
        Some(Arc::clone(named.unwrap_or(&chosen.first)))
    }
}

impl Chosen {
    fn named(&self, name: &str) -> Option<&Arc<CertifiedKey>> {
        let name = name.to_ascii_lowercase();
        let parent = name.split_once('.').map(|(_, parent)| parent);
        self.exact.get(&name).or_else(|| self.wildcard.get(parent?))
    }
}

/// Reads the certificates.
///
/// # Errors
/// See [`CertificateError`].
pub fn load(certificates: &Certificates) -> Result<Arc<Store>, CertificateError> {
    Ok(Arc::new(Store(ArcSwap::from_pointee(read(certificates)?))))
}

/// What speaks TLS by these certificates: TLS 1.2 and 1.3, HTTP/2 and 1.1, sessions resumed by tickets.
///
/// # Errors
/// Where the system gives no random bytes.
pub fn acceptor(store: Arc<Store>) -> io::Result<TlsAcceptor> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let config = ServerConfig::builder_with_provider(provider);
    let config = config.with_safe_default_protocol_versions().map_err(io::Error::other)?;
    let mut config = config.with_no_client_auth().with_cert_resolver(store);
    config.alpn_protocols = vec![H2.to_vec(), HTTP_11.to_vec()];
    config.ticketer = aws_lc_rs::Ticketer::new().map_err(io::Error::other)?;
    Ok(TlsAcceptor::from(Arc::new(config)))
}

/// Takes what the files hold whenever it is something else than before. Never ends.
pub async fn watch(store: Arc<Store>, certificates: Certificates) {
    let mut reported = None;
    loop {
        tokio::time::sleep(LOOK).await;
        let files = certificates.clone();
        let looked = tokio::task::spawn_blocking(move || (print(&files), read(&files))).await;
        let Ok((print, read)) = looked else { continue };
        if store.0.load().print == print {
            continue;
        }
        match read {
            Ok(chosen) => {
                store.0.store(Arc::new(chosen));
                tracing::info!("the certificates have changed: they are used from now on");
            }
            Err(error) if reported.replace(print) != Some(print) => {
                tracing::error!(%error, "the certificates have changed, and are not used");
            }
            Err(_reported) => {}
        }
    }
}

/// What tells one state of the files from another.
fn print(certificates: &Certificates) -> blake3::Hash {
    let mut hasher = blake3::Hasher::new();
    for path in files(certificates).unwrap_or_default() {
        hasher.update(path.as_os_str().as_encoded_bytes());
        let bytes = fs::read(&path).unwrap_or_default();
        hasher.update(&bytes.len().to_le_bytes());
        hasher.update(&bytes);
    }
    hasher.finalize()
}

fn files(certificates: &Certificates) -> Result<Vec<PathBuf>, CertificateError> {
    Ok(pairs(certificates)?.into_iter().flat_map(|(cert, key)| [cert, key]).collect())
}

/// Certificates with their keys; of a folder in the order of their names.
fn pairs(certificates: &Certificates) -> Result<Vec<(PathBuf, PathBuf)>, CertificateError> {
    let folder = match certificates {
        Certificates::Pair { cert, key } => return Ok(vec![(cert.clone(), key.clone())]),
        Certificates::Folder(folder) => folder,
    };
    let failed = |error| CertificateError::Unreadable { path: folder.clone(), error };
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(folder).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        if path.extension().is_some_and(|kind| kind == "crt" || kind == "pem") {
            found.insert(path.clone(), path.with_extension("key"));
        }
    }
    if found.is_empty() {
        return Err(CertificateError::Empty(folder.clone()));
    }
    Ok(found.into_iter().collect())
}

fn read(certificates: &Certificates) -> Result<Chosen, CertificateError> {
    let print = print(certificates);
    let mut first = None;
    let (mut exact, mut wildcard) = (HashMap::new(), HashMap::new());
    for (cert, key) in pairs(certificates)? {
        let pair = Arc::new(pair(&cert, &key)?);
        let leaf = pair.cert.first().and_then(|leaf| EndEntityCert::try_from(leaf).ok());
        for name in leaf.iter().flat_map(|leaf| leaf.valid_dns_names()).map(str::to_ascii_lowercase) {
            let (of, name) = match name.strip_prefix("*.") {
                Some(parent) => (&mut wildcard, parent.to_owned()),
                None => (&mut exact, name),
            };
            of.entry(name).or_insert_with(|| Arc::clone(&pair));
        }
        first.get_or_insert(pair);
    }
    let first = first.expect("there is a pair, or an error");
    Ok(Chosen { exact, wildcard, first, print })
}

fn pair(cert: &Path, key: &Path) -> Result<CertifiedKey, CertificateError> {
    let read = |path: &Path| {
        fs::read(path).map_err(|error| CertificateError::Unreadable { path: path.to_owned(), error })
    };
    let wrong =
        |path: &Path, why: &str| CertificateError::Unusable { path: path.to_owned(), why: why.to_owned() };
    let bytes = read(cert)?;
    let chain: Vec<_> = CertificateDer::pem_slice_iter(&bytes)
        .collect::<Result<_, _>>()
        .map_err(|error| wrong(cert, &format!("not PEM: {error}")))?;
    if chain.is_empty() {
        return Err(wrong(cert, "no certificate in it: it begins with `-----BEGIN CERTIFICATE-----`"));
    }
    let private = PrivateKeyDer::from_pem_slice(&read(key)?)
        .map_err(|_| wrong(key, "no private key in it: it begins with `-----BEGIN PRIVATE KEY-----`"))?;
    CertifiedKey::from_der(chain, private, &aws_lc_rs::default_provider())
        .map_err(|error| wrong(key, &format!("not the key of {}: {error}", cert.display())))
}
