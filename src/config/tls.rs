//! `tls`: where it is spoken, and by which certificates. The files themselves are read when they are used, and whenever
//! they change.

use http::HeaderValue;

use super::diagnostic::Span;
use super::reader::Reader;
use super::schema::TlsFile;
use super::slot::{At, Slot};
use super::spec::{Certificates, HttpsSpec, ListenAddress, TlsSpec};
use super::value::Many;

/// The default of `tls.listen`, beside 8080.
const PORT: u16 = 8443;

/// The section as run, and what is said because of it; nothing where it is not there.
pub(crate) fn resolve(
    file: &Slot<TlsFile>,
    listen: &Slot<Many<ListenAddress>>,
    reader: &mut Reader,
) -> (Option<TlsSpec>, HttpsSpec) {
    let Some(At { key, value: file, .. }) = file.given() else { return (None, HttpsSpec::default()) };
    let addresses = addresses(file);
    let certificates = certificates(*key, file, reader);
    let clear = listen.get().is_some();
    if let Some(redirect) = file.redirect_http.given().filter(|at| at.value && !clear && !listen.is_bad()) {
        reader.mistake(
            redirect.key,
            "`redirect_http` without `listen`: nobody comes without TLS",
            "write where they come in, such as `listen: \":80\"`, or remove the key",
        );
    }
    let port = addresses.iter().find_map(ListenAddress::port).unwrap_or(443);
    let https = HttpsSpec {
        redirect: file.redirect_http.get().filter(|yes| **yes).map(|_| port),
        hsts: file.hsts.get().map(|time| {
            HeaderValue::try_from(format!("max-age={}", time.0.as_secs())).expect("a number is visible ASCII")
        }),
    };
    (certificates.map(|certificates| TlsSpec { listen: addresses, certificates }), https)
}

/// Where TLS is spoken, with the places where that is written.
pub(crate) fn written(file: &Slot<TlsFile>) -> Vec<(ListenAddress, Span)> {
    let listen = file.get().and_then(|file| file.listen.get());
    listen.map(|Many(addresses)| addresses.clone()).unwrap_or_default()
}

fn addresses(file: &TlsFile) -> Vec<ListenAddress> {
    match file.listen.get() {
        Some(Many(addresses)) => addresses.iter().map(|(address, _)| address.clone()).collect(),
        None => vec![ListenAddress::Tcp(([0, 0, 0, 0], PORT).into())],
    }
}

fn certificates(section: Span, file: &TlsFile, reader: &mut Reader) -> Option<Certificates> {
    let TlsFile { cert, key, folder, .. } = file;
    if cert.is_bad() || key.is_bad() || folder.is_bad() {
        return None;
    }
    match (cert.given(), key.given(), folder.given()) {
        (None, None, Some(folder)) => Some(Certificates::Folder(reader.resolve(&folder.value.0))),
        (Some(cert), Some(key), None) => Some(Certificates::Pair {
            cert: reader.resolve(&cert.value.0),
            key: reader.resolve(&key.value.0),
        }),
        (Some(one), _, Some(folder)) | (None, Some(one), Some(folder)) => {
            reader.conflict(
                one.key,
                "both a pair and a folder of certificates",
                (folder.key, "the folder"),
                "keep one of the two; the pair may lie in the folder",
            );
            None
        }
        (Some(alone), None, None) => {
            reader.mistake(alone.key, "`cert` without `key`", "write `key:`, the file with its private key");
            None
        }
        (None, Some(alone), None) => {
            reader.mistake(alone.key, "`key` without `cert`", "write `cert:`, the file with its certificate");
            None
        }
        (None, None, None) => {
            let help = "write `cert:` and `key:`, or `folder:` with pairs of `NAME.crt` and `NAME.key`";
            reader.mistake(section, "`tls` without certificates", help);
            None
        }
    }
}
