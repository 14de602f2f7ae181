//! Backends: how each group of servers is reached.

use std::fmt;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use super::group::{
    Balance, FailoverPolicy, HashPolicy, HealthPolicy, OutlierPolicy, QueuePolicy, ServerConfig,
};
use super::issue::{ConfigIssue, Step};
use super::keys::{Keys, Node};
use super::listener::DEFAULT_TCP_KEEPALIVE;
use super::origin::{Origin, origin};
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

/// The default of `resolve`.
const DEFAULT_RESOLVE: Duration = Duration::from_secs(10);
/// Looking up more often than this would be a load of its own.
const SHORTEST_RESOLVE: Duration = Duration::from_millis(100);

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
    let servers = keys.list("servers", server);
    let server = one_server(&mut keys, servers);
    let host = keys.get("host", HostHeader::Client, host_header);
    let via = keys.get("via", false, values::boolean);
    keys.get("balance", (), |v| values::word(v, &[("least_streams", ())], &["round_robin"]));
    let connect_timeout = keys.get("connect_timeout", Duration::from_secs(5), values::duration);
    let keepalive_idle =
        keys.get("keepalive_idle", Some(Duration::from_millis(1500)), values::duration_or_off);
    let tcp_keepalive = keys.get("tcp_keepalive", Some(DEFAULT_TCP_KEEPALIVE), values::tcp_keepalive);
    let http2_ping = keys.get("http2_ping", None, values::duration_or_off);
    keys.not_yet("max_streams", &["null", "off"], "leave it out: streams are not limited");
    keys.not_yet("queue", &["off", "{size: 0, timeout: 30s}"], "leave it out: requests are never queued");
    keys.not_yet("health", &["null", "off"], "leave it out: servers are not checked");
    let tls = keys.section("tls", tls::upstream).unwrap_or_default();
    if let Some((server, _)) = &server
        && tls != UpstreamTls::default()
        && !server.protocol.is_tls()
    {
        let path = keys.child("tls").collect();
        let problem = format!("`{server}` is not spoken to over TLS");
        let remedy = "write an `https://` or `h2s://` server, or leave this out";
        keys.mistakes.push(ConfigIssue::new(path, problem, remedy));
    }
    keys.finish();
    let (server, resolve) = server?;
    let server = ServerConfig {
        origin: server,
        weight: NonZeroU32::MIN,
        max_streams: None,
        is_backup: false,
        resolve,
        is_each_address: false,
    };
    Some(UpstreamConfig {
        name: name.to_owned(),
        servers: vec![server],
        balance: Balance::LeastStreams,
        hash: HashPolicy::default(),
        queue: QueuePolicy::default(),
        health: None,
        outlier_detection: Some(OutlierPolicy::default()),
        failover: FailoverPolicy::default(),
        slow_start: None,
        host,
        via,
        connect_timeout,
        keepalive_idle,
        tcp_keepalive,
        http2_ping,
        tls,
    })
}

/// A server: its URL, or a mapping with that and more. Returns how often it is looked up, too.
fn server(node: Node) -> Option<(Origin, Duration)> {
    if !matches!(node.value, Value::Mapping(_)) {
        return Some((node.read(origin)?, DEFAULT_RESOLVE));
    }
    let mut keys = node.keys();
    let server = keys.required("url", "such as `url: http://127.0.0.1:8000`", origin);
    let is_looked_up = server.as_ref().is_none_or(Origin::has_name);
    let resolve = keys.get("resolve", DEFAULT_RESOLVE, |value| resolve(value, is_looked_up));
    keys.not_yet("weight", &["1"], "leave it out: there is one server to an upstream");
    keys.not_yet("max_streams", &["null", "off"], "leave it out: streams are not limited");
    keys.not_yet("backup", &["false"], "leave it out: there is one server to an upstream");
    keys.finish();
    Some((server?, resolve))
}

fn resolve(value: &Value, is_looked_up: bool) -> Result<Duration, Problem> {
    if !is_looked_up {
        let problem = "there is nothing to look up: the server's URL has an IP address or a path";
        return Err(Problem::new(problem, "leave this out, or give the server by its name"));
    }
    let interval = values::duration(value)?;
    if interval < SHORTEST_RESOLVE {
        let problem = format!("{} is too often", values::quoted(value));
        return Err(Problem::new(problem, "write at least `100ms`"));
    }
    Ok(interval)
}

fn one_server(keys: &mut Keys, servers: Option<Vec<(Origin, Duration)>>) -> Option<(Origin, Duration)> {
    let mut servers = servers.or_else(|| {
        keys.missing("servers", "add `servers: [http://127.0.0.1:8000]`");
        None
    })?;
    if servers.len() > 1 {
        let path = keys.child("servers").chain([Step::Index(1)]).collect();
        let remedy = "name one server and put a load balancer behind it";
        keys.mistakes.push(ConfigIssue::new(path, "more than one server is not supported yet", remedy));
    }
    servers.pop()
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
