//! Certificates and keys: read from their files once, with the configuration, so that what is wrong with them is said then.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls_pki_types::pem::{self, PemObject};
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use x509_parser::prelude::{FromDer, X509Certificate};

use super::issue::ConfigIssue;
use super::keys::Node;
use super::tree::Value;
use super::values::{self, Problem};
use crate::net::pingora::{
    RootCertStore, ServerConfig, WebPkiClientVerifier, WrappedX509, install_default_crypto_provider, version,
};

/// How a listener terminates TLS.
#[derive(Clone, Debug)]
pub struct ListenerTls {
    pub certificate: PathBuf,
    pub key: PathBuf,
    /// Clients must show a certificate of one of these authorities.
    pub client_ca: Option<PathBuf>,
    /// All of it, ready for handshakes.
    pub config: Arc<ServerConfig>,
}

/// How a backend is verified.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UpstreamTls {
    /// The authorities that its certificate may come from; `None`: those of the system.
    pub ca: Option<Authorities>,
    /// The name in its certificate, where that is not the host of its URL.
    pub server_name: Option<String>,
    pub verify: bool,
}

impl Default for UpstreamTls {
    fn default() -> Self {
        Self { ca: None, server_name: None, verify: true }
    }
}

/// A PEM file of certificates, and what was in it.
#[derive(Clone, Debug)]
pub struct Authorities {
    pub path: PathBuf,
    certificates: Vec<CertificateDer<'static>>,
    /// The same, as pingora takes them.
    pub wrapped: Arc<[WrappedX509]>,
}

impl PartialEq for Authorities {
    fn eq(&self, other: &Self) -> bool {
        self.path == other.path && self.certificates == other.certificates
    }
}

impl Eq for Authorities {}

/// Reads the `tls` section of a listener.
pub fn listener(node: Node, http2: bool) -> Option<ListenerTls> {
    if node.value.is_null() {
        return None;
    }
    let path = node.path.clone();
    let mut keys = node.keys();
    let certificate = keys.required("certificate", "the path of a PEM file", certificate_file);
    let key = keys.required("key", "the path of a PEM file", key_file);
    let client_ca = keys.get("client_ca", None, |value| match value {
        Value::Null => Ok(None),
        value => certificate_file(value).map(Some),
    });
    keys.check_unknown();
    let ((certificate, chain), (key, private_key)) = (certificate?, key?);
    let (client_ca, authorities) = client_ca.map_or((None, None), |(path, list)| (Some(path), Some(list)));
    match server_config(chain, private_key, authorities, http2) {
        Ok(config) => Some(ListenerTls { certificate, key, client_ca, config: Arc::new(config) }),
        Err(Problem { problem, remedy }) => {
            keys.mistakes.push(ConfigIssue::new(path, problem, remedy));
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
pub fn upstream(node: Node) -> UpstreamTls {
    let mut keys = node.keys();
    let tls = UpstreamTls {
        ca: keys.get(
            "ca",
            None,
            |value| if value.is_null() { Ok(None) } else { authorities(value).map(Some) },
        ),
        server_name: keys.get("server_name", None, |value| match value {
            Value::Null => Ok(None),
            value => server_name(value).map(Some),
        }),
        verify: keys.get("verify", true, values::boolean),
    };
    keys.finish();
    tls
}

fn authorities(value: &Value) -> Result<Authorities, Problem> {
    let (path, certificates) = certificate_file(value)?;
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
        // pingora's own way to make one of these panics where the certificate cannot be parsed.
        let parsed = WrappedX509::try_new(certificate.to_vec(), |der| {
            X509Certificate::from_der(der).map(|(_, certificate)| certificate)
        });
        wrapped.push(parsed.map_err(|error| unfit(error.to_string()))?);
    }
    Ok(Authorities { path, certificates, wrapped: wrapped.into() })
}

fn server_name(value: &Value) -> Result<String, Problem> {
    let name = value.as_str().unwrap_or_default();
    match rustls_pki_types::ServerName::try_from(name) {
        Ok(_) => Ok(name.to_owned()),
        Err(_) => {
            let problem = format!("{} is not a server name", values::quoted(value));
            Err(Problem::new(
                problem,
                "write the host name in the backend's certificate, such as `llm.internal`",
            ))
        }
    }
}

/// Reads a PEM file with at least one certificate.
fn certificate_file(value: &Value) -> Result<(PathBuf, Vec<CertificateDer<'static>>), Problem> {
    pem_file(value, "certificate", |path| {
        let certificates = CertificateDer::pem_file_iter(path)?.collect::<Result<Vec<_>, _>>()?;
        if certificates.is_empty() { Err(pem::Error::NoItemsFound) } else { Ok(certificates) }
    })
}

/// Reads a PEM file with a private key.
fn key_file(value: &Value) -> Result<(PathBuf, PrivateKeyDer<'static>), Problem> {
    pem_file(value, "private key", |path| PrivateKeyDer::from_pem_file(path))
}

fn pem_file<T>(
    value: &Value,
    what: &str,
    read: impl FnOnce(&Path) -> Result<T, pem::Error>,
) -> Result<(PathBuf, T), Problem> {
    let remedy = format!("give the path of a PEM file that holds a {what} and that this user may read");
    let Some(path) = value.as_str() else {
        return Err(Problem::new(format!("{} is not a path", values::quoted(value)), remedy));
    };
    let read = read(Path::new(path)).map_err(|error| {
        let reason = match error {
            pem::Error::Io(error) => error.to_string(),
            pem::Error::NoItemsFound => format!("there is no {what} in it"),
            error => format!("{error:?}"),
        };
        Problem::new(format!("cannot read the {what} {}: {reason}", values::quoted(value)), remedy)
    })?;
    Ok((path.into(), read))
}
