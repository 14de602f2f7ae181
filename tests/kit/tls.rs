//! Certificates for tests, and clients and servers that use them.

use std::path::PathBuf;
use std::sync::Arc;

use pingora::tls::{
    CertificateDer, ClientConfig, ClientTlsStream, PrivateKeyDer, RootCertStore, ServerConfig, ServerName,
    ServerTlsStream, TlsAcceptor, TlsConnector,
};
use rcgen::{CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair};
use tempfile::TempDir;
use tokio::net::TcpStream;

use super::socket::Io;

impl<T: Io> Io for ServerTlsStream<T> {
    fn tcp(&self) -> Option<&TcpStream> {
        self.get_ref().0.tcp()
    }
}

impl<T: Io> Io for ClientTlsStream<T> {
    fn tcp(&self) -> Option<&TcpStream> {
        self.get_ref().0.tcp()
    }
}

/// A certificate authority with a certificate for `localhost` and 127.0.0.1.
pub struct Authority {
    folder: TempDir,
    issuer: CertifiedIssuer<'static, KeyPair>,
}

/// A certificate and its key, as PEM.
pub struct Identity {
    pub certificate: String,
    pub key: String,
}

impl Authority {
    pub fn new() -> Self {
        pingora::tls::install_default_crypto_provider();
        let mut params = CertificateParams::new(Vec::new()).expect("parameters");
        params.is_ca = IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().expect("a key"));
        let authority =
            Self { folder: TempDir::new().expect("a folder"), issuer: issuer.expect("a certificate") };
        authority.write("ca.pem", &authority.issuer.pem());
        authority.install(&authority.identity("localhost"));
        authority
    }

    /// Issues a certificate for this name and 127.0.0.1.
    pub fn identity(&self, name: &str) -> Identity {
        let key = KeyPair::generate().expect("a key");
        let names = vec![name.to_owned(), "127.0.0.1".to_owned()];
        let mut params = CertificateParams::new(names).expect("parameters");
        // With the same name as the authority, OpenSSL would take it for self-signed.
        params.distinguished_name.push(DnType::CommonName, name);
        params.extended_key_usages =
            vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        let certificate = params.signed_by(&key, &self.issuer).expect("a certificate");
        Identity { certificate: certificate.pem(), key: key.serialize_pem() }
    }

    /// Writes this certificate and key to the files that the listener uses.
    pub fn install(&self, identity: &Identity) {
        self.write("cert.pem", &identity.certificate);
        self.write("key.pem", &identity.key);
    }

    pub fn write(&self, name: &str, content: &str) {
        std::fs::write(self.path(name), content).expect("a file");
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// The `tls` section of a listener.
    pub fn listener(&self) -> String {
        format!(
            "tls: {{ certificate: {}, key: {} }}",
            self.path("cert.pem").display(),
            self.path("key.pem").display()
        )
    }

    /// Performs a handshake as a server that speaks this protocol.
    pub async fn accept(&self, io: impl Io + 'static, alpn: &str) -> std::io::Result<Box<dyn Io>> {
        let identity = self.identity("localhost");
        let (chain, key) = (chain(&identity), key(&identity));
        let config = ServerConfig::builder().with_no_client_auth().with_single_cert(chain, key);
        let mut config = config.expect("a certificate");
        config.alpn_protocols = vec![alpn.as_bytes().to_vec()];
        Ok(Box::new(TlsAcceptor::from(Arc::new(config)).accept(io).await?))
    }

    /// Performs a handshake as a client that offers these protocols. Also returns the server's certificate.
    pub async fn connect(
        &self,
        io: impl Io + 'static,
        alpn: &[&str],
        client: Option<&Identity>,
    ) -> std::io::Result<(Box<dyn Io>, Vec<u8>)> {
        let mut roots = RootCertStore::empty();
        roots.add(self.issuer.der().clone()).expect("an authority");
        let config = ClientConfig::builder().with_root_certificates(roots);
        let mut config = match client {
            Some(client) => config.with_client_auth_cert(chain(client), key(client)).expect("a certificate"),
            None => config.with_no_client_auth(),
        };
        config.alpn_protocols = alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
        let name = ServerName::try_from("localhost").expect("a name");
        let tls = TlsConnector::from(Arc::new(config)).connect(name, io).await?;
        let certificate = tls.get_ref().1.peer_certificates().expect("a certificate")[0].to_vec();
        Ok((Box::new(tls), certificate))
    }
}

fn chain(identity: &Identity) -> Vec<CertificateDer<'static>> {
    use rustls_pki_types::pem::PemObject;
    vec![CertificateDer::from_pem_slice(identity.certificate.as_bytes()).expect("a certificate")]
}

fn key(identity: &Identity) -> PrivateKeyDer<'static> {
    use rustls_pki_types::pem::PemObject;
    PrivateKeyDer::from_pem_slice(identity.key.as_bytes()).expect("a key")
}
