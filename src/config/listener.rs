//! Where clients connect, and what is expected of them there.

use std::collections::HashSet;
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use ipnet::IpNet;

use super::doctor::{DoctorPoint, doctor_point};
use super::issue::{ConfigIssue, Step};
use super::keys::{Keys, Node};
use super::tls::{self, ListenerTls};
use super::tree::Value;
use super::values::{self, Problem};

/// The default of `tcp_keepalive`, on either side.
pub const DEFAULT_TCP_KEEPALIVE: Duration = Duration::from_secs(15);

/// An address that clients connect to.
#[derive(Clone, Debug)]
pub struct Listener {
    pub address: ListenAddress,
    /// HTTP/2 is spoken: by ALPN with TLS, by prior knowledge without.
    pub http2: bool,
    pub tls: Option<ListenerTls>,
    /// Every connection begins with a header of the PROXY protocol, version 1 or 2, which names the client.
    pub proxy_protocol: bool,
    /// From the first byte of a request (or the connection's start) to the end of its head, and for a TLS handshake.
    pub header_timeout: Duration,
    /// How long an idle connection waits for its next request.
    pub keepalive_timeout: Duration,
    /// After this long of silence a client's host is probed, and is given up after the third probe without an answer; `None`: never.
    /// Means nothing on a unix socket.
    pub tcp_keepalive: Option<Duration>,
    /// Who may say whom it forwards for.
    pub trusted_proxies: TrustedProxies,
    /// Where a probe origin answers.
    pub doctor: Option<DoctorPoint>,
}

/// What is listened on.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum ListenAddress {
    Tcp(SocketAddr),
    Unix(PathBuf),
}

impl ListenAddress {
    /// Whether the kernel chooses the port, so that two of them are not the same.
    fn is_any(&self) -> bool {
        matches!(self, Self::Tcp(address) if address.port() == 0)
    }
}

impl fmt::Display for ListenAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => write!(f, "{address}"),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

/// The peers whose `X-Forwarded-*` fields are believed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TrustedProxies {
    pub networks: Vec<IpNet>,
    /// Whoever may connect to a unix socket.
    pub unix: bool,
}

impl TrustedProxies {
    /// Whether a peer is one of them; `None`: it is connected to a unix socket.
    pub fn contains(&self, peer: Option<IpAddr>) -> bool {
        match peer {
            Some(address) => self.networks.iter().any(|network| network.contains(&address.to_canonical())),
            None => self.unix,
        }
    }
}

/// Reads the `listeners` section.
pub fn listeners(root: &mut Keys) -> Vec<Listener> {
    let Some(listeners) = root.list("listeners", listener) else {
        root.missing("listeners", "add `listeners:` with at least one `- address: 127.0.0.1:8080`");
        return Vec::new();
    };
    let mut seen = HashSet::new();
    for (index, listener) in listeners.iter().enumerate() {
        if !listener.address.is_any() && !seen.insert(&listener.address) {
            let path = root.child("listeners").chain([Step::Index(index), Step::Key("address".into())]);
            let problem = format!("`{}` is listened on twice", listener.address);
            let mistake =
                ConfigIssue::new(path.collect(), problem, "give every listener an address of its own");
            root.mistakes.push(mistake);
        }
    }
    listeners
}

fn listener(node: Node) -> Option<Listener> {
    let mut keys = node.keys();
    let address = keys.required("address", "such as `address: 127.0.0.1:8080`", listen_address);
    let http2 = keys.get("http2", true, values::boolean);
    let tls = keys.section("tls", |node| tls::listener(node, http2)).flatten();
    let proxy_protocol = keys.get("proxy_protocol", false, values::boolean);
    let header_timeout = keys.get("header_timeout", Duration::from_secs(10), values::duration);
    let keepalive_timeout = keys.get("keepalive_timeout", Duration::from_secs(75), values::duration);
    let tcp_keepalive = keys.get("tcp_keepalive", Some(DEFAULT_TCP_KEEPALIVE), values::tcp_keepalive);
    let trusted_proxies = trusted_proxies(&mut keys);
    let doctor = doctor_point(&mut keys);
    keys.finish();
    Some(Listener {
        address: address?,
        http2,
        tls,
        proxy_protocol,
        header_timeout,
        keepalive_timeout,
        tcp_keepalive,
        trusted_proxies,
        doctor,
    })
}

fn listen_address(value: &Value) -> Result<ListenAddress, Problem> {
    match value.as_str().and_then(|text| text.strip_prefix("unix:")) {
        Some(path) => values::socket_path(value, path).map(ListenAddress::Unix),
        None => values::address(value).map(ListenAddress::Tcp),
    }
}

fn trusted_proxies(keys: &mut Keys) -> TrustedProxies {
    let mut trusted = TrustedProxies::default();
    keys.list("trusted_proxies", |node| {
        node.read(|value| {
            let text = value.as_str().unwrap_or_default();
            if text == "unix" {
                trusted.unix = true;
                return Ok(());
            }
            let network = text.parse::<IpNet>().or_else(|_| text.parse::<IpAddr>().map(IpNet::from));
            trusted.networks.push(network.map_err(|_| {
                let problem = format!("{} is not an address or a network", values::quoted(value));
                Problem::new(problem, "write `10.1.2.3`, `10.0.0.0/8` or `unix`")
            })?);
            Ok(())
        })
    });
    trusted
}
