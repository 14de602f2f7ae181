//! A certificate for the proxies, and a client that trusts it.

use std::path::PathBuf;
use std::sync::Arc;

use pingora::tls::{ClientConfig, RootCertStore, TlsConnector};
use rcgen::{CertificateParams, KeyPair};
use rustls_pki_types::CertificateDer;
use tempfile::TempDir;

pub struct Certificate {
    folder: TempDir,
    der: CertificateDer<'static>,
}

impl Certificate {
    pub fn new() -> Self {
        pingora::tls::install_default_crypto_provider();
        let key = KeyPair::generate().expect("a key");
        let params = CertificateParams::new(vec!["localhost".to_owned()]).expect("parameters");
        let certificate = params.self_signed(&key).expect("a certificate");
        let folder = TempDir::new().expect("a folder");
        let this = Self { folder, der: certificate.der().clone() };
        let (certificate, key) = (certificate.pem(), key.serialize_pem());
        let write = |path: PathBuf, text: &str| std::fs::write(path, text).expect("a file");
        write(this.chain(), &certificate);
        write(this.key(), &key);
        write(this.both(), &format!("{certificate}{key}"));
        this
    }

    pub fn chain(&self) -> PathBuf {
        self.folder.path().join("cert.pem")
    }

    pub fn key(&self) -> PathBuf {
        self.folder.path().join("key.pem")
    }

    /// Certificate and key in one file, for HAProxy.
    pub fn both(&self) -> PathBuf {
        self.folder.path().join("both.pem")
    }

    /// A TLS client that offers HTTP/2 only.
    pub fn connector(&self) -> TlsConnector {
        let mut roots = RootCertStore::empty();
        roots.add(self.der.clone()).expect("a certificate");
        let mut config = ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
        config.alpn_protocols = vec![b"h2".to_vec()];
        TlsConnector::from(Arc::new(config))
    }
}
