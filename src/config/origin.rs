//! The URL of a server: its address and protocol.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;

use super::tree::Value;
use super::values::ValueShape::{AnyOf, Pattern};
use super::values::{self, Parsed, Problem, UNIX, ValueKind, port, text};

/// The URL of a server.
pub const URL_KIND: ValueKind<Origin> = ValueKind {
    name: "URL",
    shape: AnyOf(&[
        Pattern(concat!(
            "^(?:[Hh][Tt][Tt][Pp][Ss]?|h2s?)://(?:[A-Za-z0-9_.~-]+|\\[[0-9A-Fa-f]*:[0-9A-Fa-f:.]*\\])(?::(?!0+/?$)",
            port!(),
            ")?/?$",
        )),
        UNIX,
    ]),
    read: origin,
    show: |origin| text(&origin.to_string()),
};

/// A server and its protocol.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin {
    /// The protocol of the server.
    pub protocol: Protocol,
    /// Its address.
    pub address: Address,
}

/// The protocol of a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// HTTP/1.1, `http://` or `unix:`.
    Http1,
    /// HTTP/1.1 over TLS, `https://`.
    Http1Tls,
    /// HTTP/2 by prior knowledge, `h2://`.
    Http2,
    /// HTTP/2 over TLS, `h2s://`.
    Http2Tls,
}

/// The address of a server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Address {
    /// A host and a port.
    Tcp {
        /// A name in lower case or an IP address, IPv6 without its brackets.
        host: String,
        /// Not zero.
        port: u16,
    },
    /// The absolute path of a unix socket.
    Unix(PathBuf),
}

const SCHEMES: [(&str, Protocol); 4] = [
    ("http", Protocol::Http1),
    ("https", Protocol::Http1Tls),
    ("h2", Protocol::Http2),
    ("h2s", Protocol::Http2Tls),
];

impl Protocol {
    /// Whether it runs over TLS.
    pub fn is_tls(self) -> bool {
        matches!(self, Self::Http1Tls | Self::Http2Tls)
    }

    /// Whether it is HTTP/2.
    pub fn is_http2(self) -> bool {
        matches!(self, Self::Http2 | Self::Http2Tls)
    }

    fn scheme(self) -> &'static str {
        SCHEMES.iter().find(|(_, protocol)| *protocol == self).map_or("http", |(scheme, _)| scheme)
    }
}

impl Origin {
    /// The `Host` of requests whose client sent none.
    pub fn authority(&self) -> String {
        match &self.address {
            Address::Tcp { host, port } if host.contains(':') => format!("[{host}]:{port}"),
            Address::Tcp { host, port } => format!("{host}:{port}"),
            Address::Unix(_) => "localhost".to_owned(),
        }
    }

    /// The URL of one of the addresses of its host name.
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

    /// The IP address, if the host is one.
    pub fn literal_ip(&self) -> Option<IpAddr> {
        self.host().parse().ok()
    }

    /// Whether the host is a name that has to be looked up.
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

/// The host of a URL: a name, an IPv4 address, or an IPv6 address in brackets and without a zone.
///
/// It has many spellings (RFC 9110, 4.2.3; RFC 5952). With one of them a reload recognises the same server.
fn host(written: &str) -> Option<String> {
    if let Some(address) = written.strip_prefix('[') {
        return address.strip_suffix(']')?.parse::<Ipv6Addr>().ok().map(|address| address.to_string());
    }
    let is_part = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '_' | '~');
    (!written.is_empty() && written.chars().all(is_part)).then(|| written.to_ascii_lowercase())
}

fn origin(value: &Value) -> Parsed<Origin> {
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
    let host = host(authority.host()).ok_or_else(not_a_server)?;
    // The `http` crate ignores a port that does not fit 16 bits.
    let port = match authority.as_str().rsplit_once(':') {
        Some((_, port)) if !port.ends_with(']') => {
            // A number may also begin with a `+`.
            let digits = Some(port).filter(|port| port.bytes().all(|b| b.is_ascii_digit()));
            digits.and_then(|digits| digits.parse().ok()).ok_or_else(not_a_server)?
        }
        _ if protocol.is_tls() => 443,
        _ => 80,
    };
    if port == 0 {
        return Err(not_a_server());
    }
    Ok(Origin { protocol: *protocol, address: Address::Tcp { host, port } })
}
