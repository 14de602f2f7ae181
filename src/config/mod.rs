//! The configuration that the program runs on: defaults applied, references resolved, nothing left to check.
//!
//! [`load`] and [`from_flags`] turn YAML or the command line into it and report every mistake they find, with
//! file, line, key path and remedy, not just the first.

mod doctor;
mod effective;
mod effective_group;
mod environment;
mod group;
mod group_keys;
mod issue;
mod keys;
mod listener;
mod locate;
mod origin;
mod read;
mod request_key;
mod resolve;
mod servers;
mod stream;
mod stream_keys;
mod telemetry;
mod tls;
mod tree;
mod upstream;
mod values;

use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

pub use doctor::{BadToken, DoctorPoint, DoctorToken};
pub use effective::effective_yaml;
pub use environment::Variables;
pub use group::{
    Balance, ClientKey, FailoverOn, FailoverPolicy, HashKey, HashPolicy, HealthPolicy, OutlierPolicy,
    PerClientLimit, QueuePolicy, RoutePerClient, ServerConfig,
};
pub use issue::{ConfigError, ConfigIssue};
pub use listener::{ListenAddress, Listener, TrustedProxies};
pub use origin::{Address, Origin, Protocol};
use resolve::resolve;
pub use stream::{HalfClose, OnDisconnect, StreamPolicy, TreatAsEventStream};
pub use telemetry::{AccessLogPolicy, BucketPreset, MetricsPolicy};
pub use tls::{Authorities, ListenerTls, UpstreamTls};
use tree::Value;
pub use upstream::{HostHeader, UpstreamConfig};

/// Everything that `sidestream run` needs to know.
#[derive(Clone, Debug)]
pub struct Config {
    /// At least one.
    pub listeners: Vec<Listener>,
    /// Where `/metrics` and `/healthz` are served; `None` when the admin listener is off.
    pub admin: Option<SocketAddr>,
    /// In the order of the file.
    pub upstreams: Vec<Arc<UpstreamConfig>>,
    /// First match wins. Never empty: without routes in the file there is one that matches everything.
    pub routes: Vec<Arc<RouteConfig>>,
    /// The defaults that routes started from.
    pub stream: StreamPolicy,
    pub limits: Limits,
    pub access_log: AccessLogPolicy,
    pub metrics: MetricsPolicy,
    pub server: ProcessConfig,
}

/// Which requests go to which upstream, and how their streams are treated.
#[derive(Clone, Debug)]
pub struct RouteConfig {
    /// The label in the metrics: the path prefix, or `default` for the route that matches everything.
    pub name: String,
    pub matcher: Matcher,
    pub upstream: Arc<UpstreamConfig>,
    pub stream: StreamPolicy,
    pub per_client: RoutePerClient,
}

/// The conditions of a route; an absent one holds for every request.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Matcher {
    /// Prefix of the path.
    pub path: Option<String>,
    /// Host without port, in lower case.
    pub host: Option<String>,
    pub method: Option<http::Method>,
}

impl Matcher {
    /// Whether a request with this method, host (without port) and path is meant.
    pub fn matches(&self, method: &http::Method, host: Option<&str>, path: &str) -> bool {
        self.path.as_ref().is_none_or(|prefix| path.starts_with(prefix.as_str()))
            && self.method.as_ref().is_none_or(|m| m == method)
            && self.host.as_ref().is_none_or(|h| host.is_some_and(|host| h.eq_ignore_ascii_case(host)))
    }
}

/// Bounds on what a client may send.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of a request body; beyond it the answer is 413.
    pub max_request_body: Option<usize>,
    /// Bytes of a whole request head; beyond it the answer is 431.
    pub max_header_size: usize,
    /// Client connections at once, of all listeners together; beyond it a new one is answered 503.
    pub max_connections: Option<NonZeroUsize>,
    /// Streams of a client at once; beyond it the answer is 429. Routes can say otherwise.
    pub per_client: Option<PerClientLimit>,
}

/// The process.
#[derive(Clone, Debug)]
pub struct ProcessConfig {
    /// Worker threads; `None` is one per core.
    pub threads: Option<NonZeroUsize>,
    /// How long requests are still taken after SIGTERM, while `/readyz` says no; can be zero.
    pub drain_delay: Duration,
    /// How long open streams may run on after SIGTERM.
    pub drain_timeout: Duration,
    /// What is logged to standard error, as `RUST_LOG` says it, which comes first.
    pub log: String,
}

/// Reads and validates a configuration file.
pub fn load(path: &Path) -> Result<Config, ConfigError> {
    let text = std::fs::read_to_string(path)
        .map_err(|error| ConfigError::Unreadable { path: path.to_owned(), error })?;
    parse(&text, &path.display().to_string())
}

/// Validates the text of a configuration file; `name` is what its mistakes are reported under.
pub fn parse(text: &str, name: &str) -> Result<Config, ConfigError> {
    parse_with(text, name, &|variable| std::env::var_os(variable))
}

/// The same, with these variables in place of the environment.
pub fn parse_with(text: &str, name: &str, variables: Variables) -> Result<Config, ConfigError> {
    // Editors put one in front of UTF-8, where it means nothing.
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let written: Value =
        serde_yaml::from_str(text).map_err(|error| locate::syntax_error(name, text, &error))?;
    let (resolved, mut mistakes) = resolve(&written, variables);
    let config = read::config(&resolved, &mut mistakes);
    let mistakes = mistakes.into_iter().map(|mistake| mistake.in_file(name, text, &written)).collect();
    finish(config, mistakes)
}

/// The configuration of `sidestream run` without a file.
///
/// `servers`: those of the only upstream. `admin`: an address or `off`; `None` is the default of the file.
pub fn from_flags(listen: &[String], servers: &[&str], admin: Option<&str>) -> Result<Config, ConfigError> {
    let mapping = |key: &str, value| Value::Mapping(vec![(key.to_owned(), value)]);
    let listeners = listen.iter().map(|address| mapping("address", address.as_str().into())).collect();
    let servers = mapping("servers", Value::List(servers.iter().map(|server| (*server).into()).collect()));
    let admin = admin.map(|address| ("admin".to_owned(), mapping("address", address.into())));
    let sections = [
        ("listeners".to_owned(), Value::List(listeners)),
        ("upstreams".to_owned(), mapping("default", servers)),
    ];
    let mut mistakes = Vec::new();
    let config = read::config(&Value::Mapping(sections.into_iter().chain(admin).collect()), &mut mistakes);
    finish(config, mistakes.into_iter().map(ConfigIssue::on_command_line).collect())
}

/// An upstream that is this server, with the default of every key.
pub fn single_server(origin: &Origin) -> Result<UpstreamConfig, ConfigError> {
    let config = from_flags(&["127.0.0.1:0".to_owned()], &[origin.to_string().as_str()], None)?;
    // A configuration without an upstream is refused above.
    config.upstreams.into_iter().next().map(Arc::unwrap_or_clone).ok_or(ConfigError::Mistakes(Vec::new()))
}

fn finish(config: Config, mistakes: Vec<ConfigIssue>) -> Result<Config, ConfigError> {
    let mut distinct: Vec<ConfigIssue> = Vec::new();
    for mistake in mistakes {
        if !distinct.iter().any(|other| mistake.repeats(other)) {
            distinct.push(mistake);
        }
    }
    if distinct.is_empty() { Ok(config) } else { Err(ConfigError::Mistakes(distinct)) }
}
