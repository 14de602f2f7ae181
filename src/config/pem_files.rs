//! Keys that name a PEM file: its path, and what it holds.

use std::path::{Path, PathBuf};

use rustls_pki_types::pem::{self, PemObject};
use rustls_pki_types::{CertificateDer, PrivateKeyDer};

use super::tls::Authorities;
use super::tree::Value;
use super::values::ValueShape::{self, AnyOf, Null, Text};
use super::values::{Parsed, Problem, ValueKind, quoted, shown_or_null, text, unless_null};

/// The certificates of a file: at least one.
pub type Chain = (PathBuf, Vec<CertificateDer<'static>>);

/// The private key of a file.
pub type PrivateKeyFile = (PathBuf, PrivateKeyDer<'static>);

const PATH: ValueShape = Text(".");

pub const CERTIFICATE_FILE: ValueKind<Chain> =
    ValueKind { name: "PEM file", shape: PATH, read: certificates, show: |(path, _)| show(path) };

pub const KEY_FILE: ValueKind<PrivateKeyFile> = ValueKind {
    name: "PEM file",
    shape: PATH,
    read: |value| pem_file(value, "private key", |path| PrivateKeyDer::from_pem_file(path)),
    show: |(path, _)| show(path),
};

pub const CERTIFICATES_OR_NULL: ValueKind<Option<Chain>> = ValueKind {
    name: "PEM file or `null`",
    shape: AnyOf(&[PATH, Null]),
    read: |value| unless_null(value, certificates),
    show: |chain| shown_or_null(chain.as_ref(), |(path, _)| show(path)),
};

pub const AUTHORITIES_FILE: ValueKind<Option<Authorities>> = ValueKind {
    name: "PEM file or `null`",
    shape: AnyOf(&[PATH, Null]),
    read: |value| unless_null(value, |value| Authorities::new(certificates(value)?)),
    show: |authorities| shown_or_null(authorities.as_ref(), |authorities| show(&authorities.path)),
};

fn show(path: &Path) -> String {
    text(&path.display().to_string())
}

fn certificates(value: &Value) -> Parsed<Chain> {
    pem_file(value, "certificate", |path| {
        let certificates = CertificateDer::pem_file_iter(path)?.collect::<Result<Vec<_>, _>>()?;
        if certificates.is_empty() { Err(pem::Error::NoItemsFound) } else { Ok(certificates) }
    })
}

fn pem_file<T>(
    value: &Value,
    what: &str,
    read: impl FnOnce(&Path) -> Result<T, pem::Error>,
) -> Parsed<(PathBuf, T)> {
    let remedy = format!("give the path of a PEM file that holds a {what} and that this user may read");
    let Some(path) = value.as_str() else {
        return Err(Problem::not(value, "a path", &remedy));
    };
    let read = read(Path::new(path)).map_err(|error| {
        let reason = match error {
            pem::Error::Io(error) => error.to_string(),
            pem::Error::NoItemsFound => format!("there is no {what} in it"),
            error => format!("{error:?}"),
        };
        Problem::new(format!("cannot read the {what} {}: {reason}", quoted(value)), remedy)
    })?;
    Ok((path.into(), read))
}
