//! TLS of listeners and upstreams. Certificates and keys are read with the configuration, so that mistakes in them are
//! reported with it.

use std::path::PathBuf;
use std::sync::Arc;

use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use x509_parser::prelude::{FromDer, X509Certificate};

use super::key::Entry::Value as Scalar;
use super::key::{Key, Section, key, required};
use super::keys::Keys;
use super::pem_files::{
    AUTHORITIES_FILE, CERTIFICATE_FILE, CERTIFICATES_OR_NULL, Chain, KEY_FILE, PrivateKeyFile,
};
use super::tree::Value;
use super::values::ValueShape::{AnyOf, Null, Pattern};
use super::values::{self, BOOLEAN, Parsed, Problem, ValueKind, ipv4, shown_or_null, text};
use crate::net::pingora::{
    RootCertStore, ServerConfig, WebPkiClientVerifier, WrappedX509, install_default_crypto_provider, version,
};

pub static LISTENER_TLS: Section = Section {
    example: "{ certificate: /etc/sidestream/cert.pem, key: /etc/sidestream/key.pem }",
    ..Section::new(
        "tls",
        "0.1.0",
        "TLS 1.2 and 1.3 for clients. Without it the listener takes plaintext. SIGHUP reads the files again.",
        &[Scalar(&CERTIFICATE.row), Scalar(&KEY.row), Scalar(&CLIENT_CA.row)],
    )
};

pub static CERTIFICATE: Key<Chain> = required(
    "certificate",
    "0.1.0",
    CERTIFICATE_FILE,
    "/etc/sidestream/cert.pem",
    "A PEM file with the certificate and its chain.",
);

pub static KEY: Key<PrivateKeyFile> = required(
    "key",
    "0.1.0",
    KEY_FILE,
    "/etc/sidestream/key.pem",
    "A PEM file with the private key of the certificate.",
);

pub static CLIENT_CA: Key<Option<Chain>> = key(
    "client_ca",
    "0.1.0",
    CERTIFICATES_OR_NULL,
    "null",
    "A PEM file of authorities. Clients must then show a certificate of one of them.",
);

pub static UPSTREAM_TLS: Section = Section {
    example: "{ ca: /etc/sidestream/backend-ca.pem, server_name: llm.internal }",
    ..Section::new(
        "tls",
        "0.1.0",
        "TLS to `https://` and `h2s://` servers.",
        &[Scalar(&CA.row), Scalar(&SERVER_NAME.row), Scalar(&VERIFY.row)],
    )
};

pub static CA: Key<Option<Authorities>> = key(
    "ca",
    "0.1.0",
    AUTHORITIES_FILE,
    "null",
    "A PEM file of the authorities that sign the servers' certificates. `null` stands for those of the system.",
);

/// A host name, whose last label has more than digits, or an IP address.
const HOST: &str = concat!(
    "^(?:(?!(?:.*\\.)?[0-9]+\\.?$)[A-Za-z0-9_.-]+|",
    ipv4!(),
    "|[0-9A-Fa-f]*:[0-9A-Fa-f]*:[0-9A-Fa-f:.]*)$",
);

pub static SERVER_NAME: Key<Option<String>> = key(
    "server_name",
    "0.1.0",
    ValueKind {
        name: "host name or `null`",
        shape: AnyOf(&[Pattern(HOST), Null]),
        read: |value| values::unless_null(value, server_name),
        show: |name| shown_or_null(name.as_ref(), |name| text(name)),
    },
    "null",
    "The name in the servers' certificates. `null` stands for the host of the URL.",
)
.example("llm.internal");

pub static VERIFY: Key<bool> = key(
    "verify",
    "0.1.0",
    BOOLEAN,
    "true",
    "Whether certificates are verified. Without it anybody on the way can read and change the traffic.",
);

/// How a listener terminates TLS.
#[derive(Clone, Debug)]
pub struct ListenerTls {
    /// The PEM file of the certificate and its chain.
    pub certificate: PathBuf,
    /// The PEM file of the private key.
    pub key: PathBuf,
    /// The PEM file of the authorities that clients need a certificate of. `None` asks for no certificate.
    pub client_ca: Option<PathBuf>,
    /// All of it, ready for handshakes.
    pub config: Arc<ServerConfig>,
}

/// How the certificate of a backend is verified.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UpstreamTls {
    /// The authorities that sign it. `None` stands for those of the system.
    pub ca: Option<Authorities>,
    /// The name in it. `None` stands for the host of the URL.
    pub server_name: Option<String>,
    /// `false` accepts any certificate.
    pub verify: bool,
}

impl Default for UpstreamTls {
    fn default() -> Self {
        Keys::defaults(&UPSTREAM_TLS, upstream)
    }
}

/// The certificates of a PEM file.
#[derive(Clone, Debug)]
pub struct Authorities {
    /// The file.
    pub path: PathBuf,
    certificates: Vec<CertificateDer<'static>>,
    /// The certificates as pingora takes them.
    pub wrapped: Arc<[WrappedX509]>,
}

impl PartialEq for Authorities {
    fn eq(&self, other: &Self) -> bool {
        self.path == other.path && self.certificates == other.certificates
    }
}

impl Eq for Authorities {}

/// Reads the `tls` section of a listener.
pub fn listener(mut keys: Keys, http2: bool) -> Option<ListenerTls> {
    let certificate = keys.required(&CERTIFICATE);
    let key = keys.required(&KEY);
    let client_ca = keys.get(&CLIENT_CA);
    keys.check_unknown();
    let ((certificate, chain), (key, private_key)) = (certificate?, key?);
    let (client_ca, authorities) = client_ca.unzip();
    match server_config(chain, private_key, authorities, http2) {
        Ok(config) => Some(ListenerTls { certificate, key, client_ca, config: Arc::new(config) }),
        Err(Problem { problem, remedy }) => {
            keys.report(&problem, &remedy);
            None
        }
    }
}

fn server_config(
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
    client_ca: Option<Vec<CertificateDer<'static>>>,
    http2: bool,
) -> Result<ServerConfig, Problem> {
    install_default_crypto_provider();
    let builder = ServerConfig::builder_with_protocol_versions(&[&version::TLS12, &version::TLS13]);
    let builder = match client_ca {
        None => builder.with_no_client_auth(),
        Some(authorities) => {
            let roots = Arc::new(roots(authorities)?);
            let verifier = WebPkiClientVerifier::builder(roots).build().map_err(|error| {
                let problem = format!("clients cannot be verified by `client_ca`: {error}");
                Problem::new(problem, "give a PEM file of the authorities that sign clients' certificates")
            })?;
            builder.with_client_cert_verifier(verifier)
        }
    };
    let mut config = builder.with_single_cert(chain, key).map_err(|error| {
        let problem = format!("`certificate` and `key` cannot be used together: {error}");
        Problem::new(problem, "give the certificate (with its chain) and the private key that belongs to it")
    })?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    if http2 {
        config.alpn_protocols.insert(0, b"h2".to_vec());
    }
    Ok(config)
}

fn roots(authorities: Vec<CertificateDer<'static>>) -> Result<RootCertStore, Problem> {
    let mut roots = RootCertStore::empty();
    for authority in authorities {
        roots.add(authority).map_err(|error| {
            let problem = format!("a certificate of `client_ca` cannot be an authority: {error}");
            Problem::new(problem, "give a PEM file of the authorities that sign clients' certificates")
        })?;
    }
    Ok(roots)
}

/// Reads the `tls` section of an upstream.
pub fn upstream(mut keys: Keys) -> UpstreamTls {
    let tls =
        UpstreamTls { ca: keys.get(&CA), server_name: keys.get(&SERVER_NAME), verify: keys.get(&VERIFY) };
    keys.finish();
    tls
}

impl Authorities {
    /// Checks that each certificate of a file can be an authority.
    pub(super) fn new((path, certificates): Chain) -> Parsed<Self> {
        let is_authority = |certificate: &CertificateDer| {
            RootCertStore::empty().add(certificate.clone().into_owned()).map_err(|error| error.to_string())
        };
        let unfit = |reason: String| {
            let problem = format!("a certificate in `{}` cannot be an authority: {reason}", path.display());
            Problem::new(problem, "give a PEM file of the authorities that sign the backend's certificate")
        };
        let mut wrapped = Vec::new();
        for certificate in &certificates {
            is_authority(certificate).map_err(unfit)?;
            // pingora's constructor panics where the certificate cannot be parsed.
            let parsed = WrappedX509::try_new(certificate.to_vec(), |der| {
                X509Certificate::from_der(der).map(|(_, certificate)| certificate)
            });
            wrapped.push(parsed.map_err(|error| unfit(error.to_string()))?);
        }
        Ok(Self { path, certificates, wrapped: wrapped.into() })
    }
}

fn server_name(value: &Value) -> Parsed<String> {
    let name = value.as_str().unwrap_or_default();
    match rustls_pki_types::ServerName::try_from(name) {
        Ok(_) => Ok(name.to_owned()),
        Err(_) => {
            let remedy = "write the host name in the backend's certificate, such as `llm.internal`";
            Err(Problem::not(value, "a server name", remedy))
        }
    }
}
