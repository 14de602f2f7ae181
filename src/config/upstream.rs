//! Backends: how each group of servers is reached.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use super::group::{
    Balance, FailoverPolicy, HashPolicy, HealthPolicy, OutlierPolicy, QueuePolicy, ServerConfig,
};
use super::group_keys;
use super::issue::ConfigIssue;
use super::keys::{Keys, Node};
use super::listener::DEFAULT_TCP_KEEPALIVE;
use super::servers::servers;
use super::tls::{self, UpstreamTls};
use super::tree::Value;
use super::values::{self, Problem};

/// Servers that do the same, and how to reach them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UpstreamConfig {
    pub name: String,
    /// At least one.
    pub servers: Vec<ServerConfig>,
    pub balance: Balance,
    pub hash: HashPolicy,
    pub queue: QueuePolicy,
    pub health: Option<HealthPolicy>,
    pub outlier_detection: Option<OutlierPolicy>,
    pub failover: FailoverPolicy,
    /// How long a server that joins or returns takes to get its whole share.
    pub slow_start: Option<Duration>,
    pub host: HostHeader,
    /// Whether requests carry `Via` (RFC 9110, 7.6.3). nginx stops compressing when it sees one (`gzip_proxied off` is its default).
    pub via: bool,
    /// For all addresses of a server together.
    pub connect_timeout: Duration,
    /// How long an idle upstream connection is kept; `None` keeps none.
    pub keepalive_idle: Option<Duration>,
    /// After this long of silence a server's host is probed, and is given up after the third probe without an answer; `None`: never.
    /// Means nothing on a unix socket.
    pub tcp_keepalive: Option<Duration>,
    /// After this long a connection of HTTP/2 is asked with a PING whether the server is there, and again and again; without an answer
    /// within 5 s it is closed. `None`: never, because a server whose event loop is busy does not answer, though it is there.
    pub http2_ping: Option<Duration>,
    pub tls: UpstreamTls,
}

/// What servers are told as the host that is asked for (`Host`, or `:authority` in HTTP/2).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HostHeader {
    /// What the client has named.
    Client,
    /// Host and port of the server's URL.
    Upstream,
    /// Always this: a host, with or without a port.
    Name(String),
}

impl fmt::Display for HostHeader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Client => "client",
            Self::Upstream => "upstream",
            Self::Name(name) => name,
        })
    }
}

/// The `upstreams` section.
#[derive(Default)]
pub struct Upstreams {
    /// In the order of the file.
    pub upstreams: Vec<Arc<UpstreamConfig>>,
    /// Those in which there are mistakes.
    pub unusable: Vec<String>,
}

/// Reads the `upstreams` section.
pub fn upstreams(root: &mut Keys) -> Upstreams {
    let remedy = "add `upstreams:` with a name and its `servers: [http://127.0.0.1:8000]`";
    let mut read = Upstreams::default();
    let Some(node) = root.take("upstreams") else {
        root.missing("upstreams", remedy);
        return read;
    };
    let is_unusable = *node.value == Value::Unusable;
    let mut names = node.keys();
    for name in names.names() {
        match names.section(&name, |node| upstream(&name, node)).flatten() {
            Some(upstream) => read.upstreams.push(Arc::new(upstream)),
            None => read.unusable.push(name),
        }
    }
    if names.is_empty() && !is_unusable {
        names.report("there is no upstream", remedy);
    }
    read
}

fn upstream(name: &str, node: Node) -> Option<UpstreamConfig> {
    if *node.value == Value::Unusable {
        return None;
    }
    let mut keys = node.keys();
    let servers = servers(&mut keys);
    let (balance, hash) = group_keys::balance(&mut keys);
    let queue = keys.section("queue", |node| group_keys::queue(node, servers.as_deref()));
    let health = keys.section("health", group_keys::health).flatten();
    let outlier_detection = keys.section("outlier_detection", group_keys::outlier_detection);
    let failover = keys.section("failover", group_keys::failover).unwrap_or_default();
    let slow_start = keys.get("slow_start", None, values::duration_or_off);
    let host = keys.get("host", HostHeader::Client, host_header);
    let via = keys.get("via", false, values::boolean);
    let connect_timeout = keys.get("connect_timeout", Duration::from_secs(5), values::duration);
    let keepalive_idle =
        keys.get("keepalive_idle", Some(Duration::from_millis(1500)), values::duration_or_off);
    let tcp_keepalive = keys.get("tcp_keepalive", Some(DEFAULT_TCP_KEEPALIVE), values::tcp_keepalive);
    let http2_ping = keys.get("http2_ping", None, values::duration_or_off);
    let tls = keys.section("tls", tls::upstream).unwrap_or_default();
    let is_plaintext = |servers: &Vec<ServerConfig>| servers.iter().all(|s| !s.origin.protocol.is_tls());
    if tls != UpstreamTls::default() && servers.as_ref().is_some_and(is_plaintext) {
        let path = keys.child("tls").collect();
        let remedy = "write an `https://` or `h2s://` server, or leave this out";
        keys.mistakes.push(ConfigIssue::new(path, "no server is spoken to over TLS", remedy));
    }
    keys.finish();
    Some(UpstreamConfig {
        name: name.to_owned(),
        servers: servers?,
        balance,
        hash,
        queue: queue.unwrap_or_default(),
        health,
        outlier_detection: outlier_detection.unwrap_or_else(|| Some(OutlierPolicy::default())),
        failover,
        slow_start,
        host,
        via,
        connect_timeout,
        keepalive_idle,
        tcp_keepalive,
        http2_ping,
        tls,
    })
}

/// Reads `host`.
fn host_header(value: &Value) -> Result<HostHeader, Problem> {
    let text = value.as_str().unwrap_or_default();
    match text.to_ascii_lowercase().as_str() {
        word @ ("client" | "upstream") if word != text => {
            let problem = format!("{} is not a word that is known here", values::quoted(value));
            Err(Problem::new(problem, format!("did you mean `{word}`?")))
        }
        "client" => Ok(HostHeader::Client),
        "upstream" => Ok(HostHeader::Upstream),
        _ if is_host(text) => Ok(HostHeader::Name(text.to_owned())),
        _ => {
            let problem = format!("{} is not a host", values::quoted(value));
            let remedy =
                "write `client`, `upstream`, or a host with or without a port, such as `llm.example.org`";
            Err(Problem::new(problem, remedy))
        }
    }
}

/// Whether a text is a name, an IPv4 address or an IPv6 address in brackets, with or without a port.
fn is_host(text: &str) -> bool {
    let (host, port) = match text.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => (host, Some(port)),
        _ => (text, None),
    };
    let is_host = match host.strip_prefix('[').and_then(|host| host.strip_suffix(']')) {
        Some(address) => address.parse::<std::net::Ipv6Addr>().is_ok(),
        None => {
            let is_part = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
            host.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '_')
                && host.len() <= 253
                && host.chars().all(is_part)
        }
    };
    is_host
        && port.is_none_or(|port| {
            port.bytes().all(|b| b.is_ascii_digit()) && port.parse::<u16>().is_ok_and(|p| p > 0)
        })
}
