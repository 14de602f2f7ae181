//! Backends, and how they are reached.

use std::fmt;
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use serde_yaml::Value;

use super::keys::{Keys, Node};
use super::mistake::Mistake;
use super::tls::{self, UpstreamTls};
use super::values::{self, Problem};

/// A backend and how to reach it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Upstream {
    pub name: String,
    pub server: Origin,
    pub connect_timeout: Duration,
    /// How long an idle upstream connection is kept; `None` keeps none.
    pub keepalive_idle: Option<Duration>,
    pub tls: UpstreamTls,
}

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
        /// A name or an IP address, IPv6 without its brackets.
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

    /// The host of its URL; empty for a unix socket.
    pub fn host(&self) -> &str {
        match &self.address {
            Address::Tcp { host, .. } => host,
            Address::Unix(_) => "",
        }
    }

    /// Whether its host is a name that is to be looked up.
    pub fn literal_ip(&self) -> Option<IpAddr> {
        self.host().parse().ok()
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

/// Reads the `upstreams` section.
pub fn upstreams(root: &mut Keys) -> Vec<Arc<Upstream>> {
    let remedy = "add `upstreams:` with a name and its `servers: [http://127.0.0.1:8000]`";
    let Some(node) = root.take("upstreams") else {
        root.missing("upstreams", remedy);
        return Vec::new();
    };
    let mut names = node.keys();
    let upstreams: Vec<_> = names
        .names()
        .into_iter()
        .filter_map(|name| names.section(&name, |node| upstream(&name, node)).flatten())
        .map(Arc::new)
        .collect();
    if names.is_empty() {
        names.report("there is no upstream", remedy);
    }
    upstreams
}

fn upstream(name: &str, node: Node) -> Option<Upstream> {
    let mut keys = node.keys();
    let servers = keys.list("servers", |node| node.read(origin));
    let server = one_server(&mut keys, servers);
    keys.get("balance", (), |v| values::word(v, &[("least_streams", ())], &["round_robin"]));
    let connect_timeout = keys.get("connect_timeout", Duration::from_secs(5), values::duration);
    let keepalive_idle = keys.get("keepalive_idle", Some(Duration::from_secs(4)), values::duration_or_off);
    keys.not_yet("max_streams", &["null", "off"], "leave it out: streams are not limited");
    keys.not_yet("queue", &["off", "{size: 0, timeout: 30s}"], "leave it out: requests are never queued");
    keys.not_yet("health", &["null", "off"], "leave it out: servers are not checked");
    let tls = keys.section("tls", tls::upstream).unwrap_or_default();
    let server = server?;
    if tls != UpstreamTls::default() && !server.protocol.is_tls() {
        let path = keys.child("tls").collect();
        let problem = format!("`{server}` is not spoken to over TLS");
        keys.mistakes.push(Mistake::new(
            path,
            problem,
            "write an `https://` or `h2s://` server, or leave this out",
        ));
    }
    keys.finish();
    Some(Upstream { name: name.to_owned(), server, connect_timeout, keepalive_idle, tls })
}

fn one_server(keys: &mut Keys, servers: Option<Vec<Origin>>) -> Option<Origin> {
    let mut servers = servers.or_else(|| {
        keys.missing("servers", "add `servers: [http://127.0.0.1:8000]`");
        None
    })?;
    if servers.len() > 1 {
        let path = keys.child("servers").collect();
        let remedy = "name one server and put a load balancer behind it";
        keys.mistakes.push(Mistake::new(path, "more than one server is not supported yet", remedy));
    }
    servers.pop()
}

/// The URL of a server.
fn origin(value: &Value) -> Result<Origin, Problem> {
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
        return Err(Problem::new(format!("`{text}` has a scheme that is not known here"), remedy));
    };
    if authority.as_str().contains('@') || uri.query().is_some() || !matches!(uri.path(), "" | "/") {
        let remedy = "leave out user, path and query: requests keep their own path";
        return Err(Problem::new(format!("`{text}` is more than scheme, host and port"), remedy));
    }
    let host = authority.host().trim_start_matches('[').trim_end_matches(']').to_owned();
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
