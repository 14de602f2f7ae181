//! Upstreams: groups of servers, and how they are reached.

use std::sync::Arc;
use std::time::Duration;

use super::balance_keys::{BALANCE, HASH, balance};
use super::group::{
    Balance, FailoverPolicy, HashPolicy, HealthPolicy, OutlierPolicy, QueuePolicy, ServerConfig,
};
use super::group_keys::{self, FAILOVER, OUTLIER_DETECTION, QUEUE};
use super::health_keys::{HEALTH, health};
use super::host_header::{HOST_HEADER, HostHeader};
use super::issue::{At, ConfigIssue};
use super::key::Entry::{Section as Sub, Value as Scalar};
use super::key::{Absent, Key, Many, Names, Section, key};
use super::keys::{Keys, Written};
use super::servers::{MAX_STREAMS, SERVERS, servers};
use super::tls::{self, UPSTREAM_TLS, UpstreamTls};
use super::tree::Value;
use super::values::{BOOLEAN, DURATION, DURATION_OR_OFF, WHOLE_SECONDS_OR_OFF};

static NAMES: Names =
    Names { example: "llm", pattern: || "^[^\\u0000-\\u001f\\u007f-\\u009f\\u2028\\u2029]+$".to_owned() };

pub static UPSTREAMS: Section = Section {
    many: Many::Named(&NAMES),
    absent: Absent::Required,
    example: "{ llm: { servers: [http://127.0.0.1:8000] } }",
    ..Section::new(
        "upstreams",
        "0.1.0",
        "Groups of servers that serve the same API, under names of your choice. Routes refer to these names.",
        &[
            Sub(&SERVERS),
            Scalar(&HOST.row),
            Scalar(&VIA.row),
            Scalar(&BALANCE.row),
            Sub(&HASH),
            Scalar(&MAX_STREAMS.row),
            Sub(&QUEUE),
            Sub(&HEALTH),
            Sub(&OUTLIER_DETECTION),
            Sub(&FAILOVER),
            Scalar(&SLOW_START.row),
            Scalar(&CONNECT_TIMEOUT.row),
            Scalar(&KEEPALIVE_IDLE.row),
            Scalar(&TCP_KEEPALIVE.row),
            Scalar(&HTTP2_PING.row),
            Sub(&UPSTREAM_TLS),
        ],
    )
};

pub static HOST: Key<HostHeader> = key(
    "host",
    "0.1.0",
    HOST_HEADER,
    "client",
    "The host that servers see: the one of the client's request (`client`), the one of the server's URL (`upstream`), or a name \
     with or without a port.",
)
.example("llm.example.org");

pub static VIA: Key<bool> = key(
    "via",
    "0.1.0",
    BOOLEAN,
    "false",
    "Whether requests carry `Via` (RFC 9110, 7.6.3). nginx backends stop compressing when they see it.",
);

pub static SLOW_START: Key<Option<Duration>> = key(
    "slow_start",
    "0.1.0",
    DURATION_OR_OFF,
    "off",
    "Over this time the share of a server that joins or returns grows to its full weight.",
)
.example("30s");

pub static CONNECT_TIMEOUT: Key<Duration> = key(
    "connect_timeout",
    "0.1.0",
    DURATION,
    "5s",
    "The time to connect to a server, for all its addresses together. After it the answer is 504. A server that refuses \
     connections may be restarting, so the only server is tried again within this time; then the answer is 502.",
);

pub static KEEPALIVE_IDLE: Key<Option<Duration>> = key(
    "keepalive_idle",
    "0.1.0",
    DURATION_OR_OFF,
    "1500ms",
    "How long an idle connection to a server is kept for the next request. The default is below the 2s of gunicorn and the 5s of \
     uvicorn, so that no request meets a connection that the server is closing.",
);

pub static TCP_KEEPALIVE: Key<Option<Duration>> =
    key("tcp_keepalive", "0.1.0", WHOLE_SECONDS_OR_OFF, "15s", "TCP keepalive, as for listeners.");

pub static HTTP2_PING: Key<Option<Duration>> = key(
    "http2_ping",
    "0.1.0",
    DURATION_OR_OFF,
    "off",
    "How often an HTTP/2 connection is checked with a PING; without an answer within 5s its streams are lost. It finds dead \
     servers behind load balancers that answer TCP keepalive. A server whose event loop is busy does not answer either. Not for \
     gRPC.",
)
.example("30s");

/// Servers that serve the same API, and how they are reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UpstreamConfig {
    /// Its name in the file.
    pub name: String,
    /// At least one.
    pub servers: Vec<ServerConfig>,
    /// How a server is chosen.
    pub balance: Balance,
    /// What `balance: hash` uses.
    pub hash: HashPolicy,
    /// Where requests wait while all servers are full.
    pub queue: QueuePolicy,
    /// Probes of the servers. `None` sends none.
    pub health: Option<HealthPolicy>,
    /// When a server is ejected. `None` ejects none.
    pub outlier_detection: Option<OutlierPolicy>,
    /// When another server is tried.
    pub failover: FailoverPolicy,
    /// How long a server that joins or returns takes to get its full share.
    pub slow_start: Option<Duration>,
    /// The host that servers see.
    pub host: HostHeader,
    /// Whether requests carry `Via` (RFC 9110, 7.6.3). nginx stops compressing when it sees one (`gzip_proxied off` is its default).
    pub via: bool,
    /// For all addresses of a server together.
    pub connect_timeout: Duration,
    /// How long an idle connection is kept. `None` keeps none.
    pub keepalive_idle: Option<Duration>,
    /// Silence after which the kernel probes the server's host. The connection is closed after three probes without an answer.
    /// `None` never probes. Whole seconds; without effect on a unix socket.
    pub tcp_keepalive: Option<Duration>,
    /// How often an HTTP/2 connection is checked with a PING. It is closed without an answer within 5 s. `None` never checks,
    /// because a server whose event loop is busy does not answer.
    pub http2_ping: Option<Duration>,
    /// How certificates of `https://` and `h2s://` servers are verified.
    pub tls: UpstreamTls,
}

/// The `upstreams` section.
#[derive(Default)]
pub struct Upstreams {
    /// In the order of the file.
    pub upstreams: Vec<Arc<UpstreamConfig>>,
    /// The names of those with mistakes.
    pub unusable: Vec<String>,
}

/// Reads the `upstreams` section.
pub fn upstreams(root: &mut Keys) -> Upstreams {
    let remedy = "add `upstreams:` with a name and its `servers: [http://127.0.0.1:8000]`";
    let mut read = Upstreams::default();
    let Some(node) = root.take(UPSTREAMS.name) else {
        root.missing(UPSTREAMS.name, remedy);
        return read;
    };
    let is_unusable = *node.value == Value::Unusable;
    let mut names = node.named_entries();
    for name in names.names() {
        report_name(&mut names, &name);
        let upstream = names.take(&name).and_then(|node| upstream(&name, node.keys(&UPSTREAMS)));
        match upstream {
            Some(upstream) => read.upstreams.push(Arc::new(upstream)),
            None => read.unusable.push(name),
        }
    }
    if names.is_empty() && !is_unusable {
        names.report("there is no upstream", remedy);
    }
    read
}

/// Reports a name that would be empty or break lines in logs and messages.
fn report_name(names: &mut Keys, name: &str) {
    let breaks_lines = |c: char| c.is_control() || matches!(c, '\u{2028}' | '\u{2029}');
    if name.is_empty() || name.contains(breaks_lines) {
        let path = names.child(name).collect();
        let problem = "this cannot be the name of an upstream";
        names
            .mistakes
            .push(ConfigIssue::new(path, problem, "write a name on one line, such as `llm`").at(At::Key));
    }
}

fn upstream(name: &str, mut keys: Keys) -> Option<UpstreamConfig> {
    let servers = servers(&mut keys);
    let (balance, hash) = balance(&mut keys);
    let queue = keys.section(&QUEUE, |keys| group_keys::queue(keys, servers.as_deref())).keys();
    let health = keys.section(&HEALTH, health).keys().flatten();
    let outlier_detection = match keys.section(&OUTLIER_DETECTION, group_keys::outlier_detection) {
        Written::Nothing => Some(OutlierPolicy::default()),
        written => written.keys(),
    };
    let failover = match keys.section(&FAILOVER, group_keys::failover) {
        Written::Nothing => FailoverPolicy::default(),
        Written::Off => FailoverPolicy::off(),
        Written::Keys(policy) => policy,
    };
    let slow_start = keys.get(&SLOW_START);
    let host = keys.get(&HOST);
    let via = keys.get(&VIA);
    let connect_timeout = keys.get(&CONNECT_TIMEOUT);
    let keepalive_idle = keys.get(&KEEPALIVE_IDLE);
    let tcp_keepalive = keys.get(&TCP_KEEPALIVE);
    let http2_ping = keys.get(&HTTP2_PING);
    let tls = keys.section(&UPSTREAM_TLS, tls::upstream).keys().unwrap_or_default();
    let is_plaintext = |servers: &Vec<ServerConfig>| servers.iter().all(|s| !s.origin.protocol.is_tls());
    if tls != UpstreamTls::default() && servers.as_ref().is_some_and(is_plaintext) {
        let remedy = "write an `https://` or `h2s://` server, or leave this out";
        keys.report_at(UPSTREAM_TLS.name, "no server is reached over TLS", remedy);
    }
    keys.finish();
    Some(UpstreamConfig {
        name: name.to_owned(),
        servers: servers?,
        balance,
        hash,
        queue: queue.unwrap_or_default(),
        health,
        outlier_detection,
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
