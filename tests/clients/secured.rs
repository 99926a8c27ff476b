//! A proxy that speaks TLS, with a certificate that lives as long as its test.

use std::net::SocketAddr;
use std::path::Path;

use tempfile::TempDir;

use crate::Proxy;
use crate::program::{python, run};

pub(crate) struct Secured {
    pub(crate) proxy: Proxy,
    /// The file with the authority that clients are to trust.
    pub(crate) authority: String,
    _folder: TempDir,
}

impl Secured {
    /// One app at zero, which is this command.
    pub(crate) async fn start(command: &[String], keys: &str) -> Self {
        let folder = TempDir::new().expect("a folder can be made");
        let at = |name: &str| Path::new(folder.path()).join(name).display().to_string();
        run(&python("certificate.py", &[&folder.path().display().to_string()])).await;
        let [cert, key] = [at("certificate.pem"), at("key.pem")];
        let tls = format!("tls: {{listen: '127.0.0.1:0', cert: {cert}, key: {key}}}");
        let proxy = crate::proxy(command, &format!("{tls}\n{keys}")).await;
        Self { proxy, authority: at("authority.pem"), _folder: folder }
    }

    /// Where it speaks TLS: behind the addresses without it.
    pub(crate) fn address(&self) -> SocketAddr {
        *self.proxy.addresses().last().expect("it listens")
    }
}
