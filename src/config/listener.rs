//! Where clients connect, and what is expected of them there.

use std::collections::HashSet;
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use ipnet::IpNet;

use super::doctor::{DOCTOR_PATH, DOCTOR_TOKEN, DoctorPoint, doctor_point};
use super::issue::{ConfigIssue, Step};
use super::key::Entry::{Section as Sub, Value as Scalar};
use super::key::{Absent, Key, Many, Section, key, optional, required};
use super::keys::{Keys, Node};
use super::tls::{self, LISTENER_TLS, ListenerTls};
use super::values::{BOOLEAN, DURATION, LISTEN_ADDRESS, NETWORK, TrustedPeer, WHOLE_SECONDS_OR_OFF};

pub static LISTENERS: Section = Section {
    many: Many::List,
    absent: Absent::Required,
    example: "[{ address: 127.0.0.1:8080 }]",
    ..Section::new(
        "listeners",
        "0.1.0",
        "The addresses that clients connect to.",
        &[
            Scalar(&ADDRESS.row),
            Scalar(&HTTP2.row),
            Sub(&LISTENER_TLS),
            Scalar(&PROXY_PROTOCOL.row),
            Scalar(&HEADER_TIMEOUT.row),
            Scalar(&KEEPALIVE_TIMEOUT.row),
            Scalar(&TCP_KEEPALIVE.row),
            Scalar(&TRUSTED_PROXIES.row),
            Scalar(&DOCTOR_PATH.row),
            Scalar(&DOCTOR_TOKEN.row),
        ],
    )
};

pub static ADDRESS: Key<ListenAddress> = required(
    "address",
    "0.1.0",
    LISTEN_ADDRESS,
    "127.0.0.1:8080",
    "An IP address and port, or the path of a unix socket, such as `unix:/run/sidestream/http.sock`.",
);

pub static HTTP2: Key<bool> = key(
    "http2",
    "0.1.0",
    BOOLEAN,
    "true",
    "Whether HTTP/2 is spoken beside HTTP/1.1. With `tls`, ALPN chooses. Without it, clients need prior knowledge (h2c).",
);

pub static PROXY_PROTOCOL: Key<bool> = key(
    "proxy_protocol",
    "0.1.0",
    BOOLEAN,
    "false",
    "Whether each connection begins with a PROXY protocol header (version 1 or 2), which gives the client's address. Connections \
     without one are closed.",
);

pub static HEADER_TIMEOUT: Key<Duration> = key(
    "header_timeout",
    "0.1.0",
    DURATION,
    "10s",
    "The time for a TLS handshake, and for a whole request head. It bounds clients that send a head slowly.",
);

pub static KEEPALIVE_TIMEOUT: Key<Duration> = key(
    "keepalive_timeout",
    "0.1.0",
    DURATION,
    "75s",
    "How long an idle connection waits for its next request.",
);

pub static TCP_KEEPALIVE: Key<Option<Duration>> = key(
    "tcp_keepalive",
    "0.1.0",
    WHOLE_SECONDS_OR_OFF,
    "15s",
    "TCP keepalive. After this time of silence the kernel probes the peer. After three probes without an answer the connection \
     is closed.",
);

pub static TRUSTED_PROXIES: Key<TrustedPeer> = optional(
    "trusted_proxies",
    "0.1.0",
    NETWORK,
    "[10.0.0.0/8, unix]",
    "The peers whose `Forwarded` and `X-Forwarded-*` headers are believed. From all other peers these headers are dropped. \
     `unix` stands for the peers of a unix socket. Without this key no peer is trusted.",
)
.many(Many::List);

/// An address that clients connect to, and what is expected of them there.
#[derive(Clone, Debug)]
pub struct Listener {
    /// An IP address and port, or a unix socket.
    pub address: ListenAddress,
    /// Whether HTTP/2 is spoken: by ALPN with TLS, by prior knowledge without.
    pub http2: bool,
    /// `None` is plaintext.
    pub tls: Option<ListenerTls>,
    /// Whether each connection begins with a header of the PROXY protocol, version 1 or 2, which gives the client's address.
    pub proxy_protocol: bool,
    /// The time for a TLS handshake, and from the first byte of a request (or the start of the connection) to the end of its head.
    pub header_timeout: Duration,
    /// How long an idle connection waits for its next request.
    pub keepalive_timeout: Duration,
    /// Silence after which the kernel probes the client's host. The connection is closed after three probes without an answer.
    /// `None` never probes. Whole seconds; without effect on a unix socket.
    pub tcp_keepalive: Option<Duration>,
    /// The peers whose `Forwarded` and `X-Forwarded-*` headers are believed.
    pub trusted_proxies: TrustedProxies,
    /// Where a probe origin answers.
    pub doctor: Option<DoctorPoint>,
}

/// The address of a listening socket.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum ListenAddress {
    /// An IP address and a port; port 0 lets the kernel choose.
    Tcp(SocketAddr),
    /// The absolute path of a unix socket.
    Unix(PathBuf),
}

impl ListenAddress {
    /// Whether the kernel chooses the port. Two such addresses do not collide.
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

/// The peers whose `Forwarded` and `X-Forwarded-*` headers are believed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TrustedProxies {
    /// Peers with an address in one of these.
    pub networks: Vec<IpNet>,
    /// The peers of a unix socket.
    pub unix: bool,
}

impl FromIterator<TrustedPeer> for TrustedProxies {
    fn from_iter<I: IntoIterator<Item = TrustedPeer>>(peers: I) -> Self {
        peers.into_iter().fold(Self::default(), |mut trusted, peer| {
            match peer {
                TrustedPeer::Network(network) => trusted.networks.push(network),
                TrustedPeer::Unix => trusted.unix = true,
            }
            trusted
        })
    }
}

impl TrustedProxies {
    /// Whether a peer is one of them. `None` is the peer of a unix socket.
    pub fn contains(&self, peer: Option<IpAddr>) -> bool {
        match peer {
            Some(address) => self.networks.iter().any(|network| network.contains(&address.to_canonical())),
            None => self.unix,
        }
    }
}

/// Reads the `listeners` section.
pub fn listeners(root: &mut Keys) -> Vec<Listener> {
    let Some(listeners) = root.sections(&LISTENERS, listener) else {
        root.missing(LISTENERS.name, "add `listeners:` with at least one `- address: 127.0.0.1:8080`");
        return Vec::new();
    };
    let mut seen = HashSet::new();
    for (index, listener) in listeners.iter().enumerate() {
        if !listener.address.is_any() && !seen.insert(&listener.address) {
            let problem = format!("`{}` is listened on twice", listener.address);
            report_address(root, index, &problem, "give each listener another address");
        }
    }
    listeners
}

/// Reports a mistake in the address of a listener.
pub fn report_address(root: &mut Keys, listener: usize, problem: &str, remedy: &str) {
    let address = [Step::Index(listener), Step::Key(ADDRESS.row.name.to_owned())];
    let path = root.child(LISTENERS.name).chain(address).collect();
    root.mistakes.push(ConfigIssue::new(path, problem, remedy));
}

fn listener(node: Node) -> Option<Listener> {
    let mut keys = node.keys(&LISTENERS);
    let address = keys.required(&ADDRESS);
    let http2 = keys.get(&HTTP2);
    let tls = keys.section(&LISTENER_TLS, |keys| tls::listener(keys, http2)).keys().flatten();
    let proxy_protocol = keys.get(&PROXY_PROTOCOL);
    let header_timeout = keys.get(&HEADER_TIMEOUT);
    let keepalive_timeout = keys.get(&KEEPALIVE_TIMEOUT);
    let tcp_keepalive = keys.get(&TCP_KEEPALIVE);
    let trusted_proxies = keys.list(&TRUSTED_PROXIES).unwrap_or_default().into_iter().collect();
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
