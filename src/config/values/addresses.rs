//! Addresses of this host, unix sockets and networks.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

use ipnet::IpNet;

use super::ValueShape::{AnyOf, Off, Pattern, Text, Words};
use super::{Parsed, Problem, ValueKind, ValueShape, is_off, or_off, shown_or_off, text};
use crate::config::listener::ListenAddress;
use crate::config::tree::Value;

/// Four numbers up to 255, as a pattern. Patterns of IPv6 addresses are rough; the reader is exact.
macro_rules! ipv4 {
    () => {
        "(?:(?:25[0-5]|2[0-4][0-9]|1[0-9]{2}|[1-9]?[0-9])\\.){3}(?:25[0-5]|2[0-4][0-9]|1[0-9]{2}|[1-9]?[0-9])"
    };
}

/// A number up to 65535, as a pattern.
macro_rules! port {
    () => {
        "0*(?:6553[0-5]|655[0-2][0-9]|65[0-4][0-9]{2}|6[0-4][0-9]{3}|[1-5][0-9]{4}|[0-9]{1,4})"
    };
}

pub(in crate::config) use {ipv4, port};

const NETWORK_PATTERN: &str = concat!(
    "^(?:",
    ipv4!(),
    "(?:/(?:3[0-2]|[0-2]?[0-9]))?|",
    "[0-9A-Fa-f]*:[0-9A-Fa-f]*:[0-9A-Fa-f:.]*(?:/(?:12[0-8]|1[01][0-9]|0?[0-9]{1,2}))?)$",
);

const TCP: &str = concat!("^(?:", ipv4!(), "|\\[[0-9A-Fa-f:.]+(?:%[0-9]+)?\\]):", port!(), "$");

/// `unix:` and the absolute path of a socket (see [`socket_path`]).
pub const UNIX: ValueShape = Text("^unix:/.{0,106}$");

/// An IP address and a port, or a unix socket.
pub const LISTEN_ADDRESS: ValueKind<ListenAddress> = ValueKind {
    name: "`IP:PORT` or `unix:/PATH`",
    shape: AnyOf(&[Pattern(TCP), UNIX]),
    read: listen_address,
    show: |address| text(&address.to_string()),
};

/// An IP address and a port, or `off`.
pub const ADMIN_ADDRESS: ValueKind<Option<SocketAddr>> = ValueKind {
    name: "`IP:PORT` or `off`",
    shape: AnyOf(&[Pattern(TCP), Off]),
    read: admin_address,
    show: |address| shown_or_off(address.as_ref(), |address| text(&address.to_string())),
};

/// A network or a single address, or the peers of unix sockets.
pub const NETWORK: ValueKind<TrustedPeer> = ValueKind {
    name: "network, IP address or `unix`",
    shape: AnyOf(&[Words(|| vec!["unix"]), Pattern(NETWORK_PATTERN)]),
    read: network,
    show: |peer| match peer {
        TrustedPeer::Network(network) => text(&network.to_string()),
        TrustedPeer::Unix => "unix".to_owned(),
    },
};

/// An item of `trusted_proxies`.
pub enum TrustedPeer {
    Network(IpNet),
    Unix,
}

fn listen_address(value: &Value) -> Parsed<ListenAddress> {
    match value.as_str().and_then(|text| text.strip_prefix("unix:")) {
        Some(path) => socket_path(value, path).map(ListenAddress::Unix),
        None => address(value).map(ListenAddress::Tcp),
    }
}

fn admin_address(value: &Value) -> Parsed<Option<SocketAddr>> {
    if is_off(value) {
        return Ok(None);
    }
    address(value).map(Some).map_err(|problem| or_off(value, problem))
}

fn address(value: &Value) -> Parsed<SocketAddr> {
    value.as_str().unwrap_or_default().parse().map_err(|_| {
        let remedy = "write an IP address and a port, such as `127.0.0.1:8080` or `[::]:8080`";
        Problem::not(value, "an address to listen on", remedy)
    })
}

/// The absolute path of a unix socket, short enough for one (unix(7): 108 bytes with the final NUL).
pub fn socket_path(value: &Value, path: &str) -> Parsed<PathBuf> {
    if path.starts_with('/') && path.len() < 108 && !path.contains('\0') {
        return Ok(path.into());
    }
    let remedy = "write an absolute path of less than 108 bytes, such as `unix:/run/sidestream/http.sock`";
    Err(Problem::not(value, "the path of a unix socket", remedy))
}

fn network(value: &Value) -> Parsed<TrustedPeer> {
    let text = value.as_str().unwrap_or_default();
    if text == "unix" {
        return Ok(TrustedPeer::Unix);
    }
    let network = text.parse::<IpNet>().or_else(|_| text.parse::<IpAddr>().map(IpNet::from));
    network.map(TrustedPeer::Network).map_err(|_| {
        Problem::not(value, "an address or a network", "write `10.1.2.3`, `10.0.0.0/8` or `unix`")
    })
}
