//! Where a server is and what is spoken to it: its URL.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

use super::tree::Value;
use super::values::{self, Problem};

/// A server and the protocol that it is spoken to in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin {
    pub protocol: Protocol,
    pub address: Address,
}

/// What is spoken to a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    Http1,
    Http1Tls,
    /// HTTP/2 by prior knowledge.
    Http2,
    Http2Tls,
}

/// Where a server is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Address {
    Tcp {
        /// A name in lower case or an IP address, IPv6 without its brackets.
        host: String,
        port: u16,
    },
    Unix(PathBuf),
}

const SCHEMES: [(&str, Protocol); 4] = [
    ("http", Protocol::Http1),
    ("https", Protocol::Http1Tls),
    ("h2", Protocol::Http2),
    ("h2s", Protocol::Http2Tls),
];

impl Protocol {
    pub fn is_tls(self) -> bool {
        matches!(self, Self::Http1Tls | Self::Http2Tls)
    }

    pub fn is_http2(self) -> bool {
        matches!(self, Self::Http2 | Self::Http2Tls)
    }

    fn scheme(self) -> &'static str {
        SCHEMES.iter().find(|(_, protocol)| *protocol == self).map_or("http", |(scheme, _)| scheme)
    }
}

impl Origin {
    /// What a request to it names as its host, where its client has named none.
    pub fn authority(&self) -> String {
        match &self.address {
            Address::Tcp { host, port } if host.contains(':') => format!("[{host}]:{port}"),
            Address::Tcp { host, port } => format!("{host}:{port}"),
            Address::Unix(_) => "localhost".to_owned(),
        }
    }

    /// The URL of one of the addresses of its name.
    pub fn at(&self, address: SocketAddr) -> String {
        format!("{}://{address}", self.protocol.scheme())
    }

    /// The host of its URL; empty for a unix socket.
    pub fn host(&self) -> &str {
        match &self.address {
            Address::Tcp { host, .. } => host,
            Address::Unix(_) => "",
        }
    }

    /// The address that its host is, where it is none that has to be looked up.
    pub fn literal_ip(&self) -> Option<IpAddr> {
        self.host().parse().ok()
    }

    /// Whether its host is a name, so that DNS says where it is.
    pub fn has_name(&self) -> bool {
        matches!(self.address, Address::Tcp { .. }) && self.literal_ip().is_none()
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.address {
            Address::Tcp { .. } => write!(f, "{}://{}", self.protocol.scheme(), self.authority()),
            Address::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

/// A host has many spellings (RFC 9110, 4.2.3; RFC 5952): with one of them a server is the same after a reload too.
fn one_spelling(host: &str) -> String {
    host.parse::<IpAddr>().map_or_else(|_| host.to_ascii_lowercase(), |address| address.to_string())
}

/// The URL of a server.
pub fn origin(value: &Value) -> Result<Origin, Problem> {
    let remedy = "write scheme, host and port, such as `http://127.0.0.1:8000`";
    let not_a_server =
        || Problem::new(format!("{} is not the URL of a server", values::quoted(value)), remedy);
    let text = value.as_str().ok_or_else(not_a_server)?;
    if let Some(path) = text.strip_prefix("unix:") {
        let address = Address::Unix(values::socket_path(value, path)?);
        return Ok(Origin { protocol: Protocol::Http1, address });
    }
    let uri: http::Uri = text.parse().map_err(|_| not_a_server())?;
    let (Some(_), Some(authority)) = (uri.scheme(), uri.authority()) else { return Err(not_a_server()) };
    let Some((_, protocol)) = SCHEMES.iter().find(|(scheme, _)| uri.scheme_str() == Some(scheme)) else {
        let remedy = "write `http://`, `https://`, `h2://` or `h2s://`, host and port, or `unix:/path`";
        return Err(Problem::new(
            format!("{} has a scheme that is not known here", values::quoted(value)),
            remedy,
        ));
    };
    if authority.as_str().contains('@') || uri.query().is_some() || !matches!(uri.path(), "" | "/") {
        let remedy = "leave out user, path and query: requests keep their own path";
        let problem = format!("{} is more than scheme, host and port", values::quoted(value));
        return Err(Problem::new(problem, remedy));
    }
    let host = one_spelling(authority.host().trim_start_matches('[').trim_end_matches(']'));
    // `http` takes a port that does not fit 16 bits for none at all.
    let port = match authority.as_str().rsplit_once(':') {
        Some((_, port)) if !port.ends_with(']') => port.parse().map_err(|_| not_a_server())?,
        _ if protocol.is_tls() => 443,
        _ => 80,
    };
    if host.is_empty() || port == 0 {
        return Err(not_a_server());
    }
    Ok(Origin { protocol: *protocol, address: Address::Tcp { host, port } })
}
