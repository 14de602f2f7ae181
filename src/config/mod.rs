//! The configuration that the program runs on: defaults applied, references resolved, nothing left to check.
//!
//! [`load`] and [`from_flags`] turn YAML or the command line into it. They report every mistake with file, line, key path and
//! remedy, not just the first. The keys stand in one table (`key.rs`).

#![warn(missing_docs)]

#[cfg(test)]
mod agreement_tests;
mod balance_keys;
mod doctor;
mod effective;
mod effective_group;
mod environment;
mod group;
mod group_keys;
mod health_keys;
mod host_header;
mod issue;
mod key;
mod keys;
mod limits;
mod listener;
mod locate;
mod origin;
mod pem_files;
mod read;
mod reference;
mod request_key;
mod resolve;
mod route;
mod sample;
mod schema;
mod server;
mod servers;
mod stream;
mod stream_keys;
mod stream_table;
mod telemetry;
mod tls;
mod tree;
mod upstream;
mod values;

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

pub use doctor::{BadToken, DoctorPoint, DoctorToken};
pub use effective::effective_yaml;
pub use environment::Variables;
pub use group::{
    Balance, ClientKey, FailoverOn, FailoverPolicy, HashKey, HashPolicy, HealthPolicy, OutlierPolicy,
    PerClientLimit, QueuePolicy, RoutePerClient, ServerConfig,
};
pub use host_header::HostHeader;
pub use issue::{ConfigError, ConfigIssue};
pub use limits::Limits;
pub use listener::{ListenAddress, Listener, TrustedProxies};
pub use origin::{Address, Origin, Protocol};
pub use reference::reference;
use resolve::resolve;
pub use route::{Matcher, RouteConfig};
pub use sample::sample_file;
pub use schema::json_schema;
pub use server::ProcessConfig;
pub use stream::{HalfClose, OnDisconnect, StreamPolicy, TreatAsEventStream};
pub use telemetry::{AccessLogPolicy, BucketPreset, MetricsPolicy};
pub use tls::{Authorities, ListenerTls, UpstreamTls};
use tree::Value;
pub use upstream::UpstreamConfig;

/// Everything that `sidestream run` needs.
#[derive(Clone, Debug)]
pub struct Config {
    /// At least one.
    pub listeners: Vec<Listener>,
    /// The address of the admin listener, which serves `/metrics` and `/healthz`. `None` is no admin listener.
    pub admin: Option<SocketAddr>,
    /// In the order of the file. At least one.
    pub upstreams: Vec<Arc<UpstreamConfig>>,
    /// The first match wins. Never empty: without routes in the file there is one that matches every request.
    pub routes: Vec<Arc<RouteConfig>>,
    /// The defaults that routes started from.
    pub stream: StreamPolicy,
    /// Bounds on what clients may send.
    pub limits: Limits,
    /// Where the access log goes.
    pub access_log: AccessLogPolicy,
    /// The settings of the metrics.
    pub metrics: MetricsPolicy,
    /// The process.
    pub server: ProcessConfig,
}

/// Mistakes that are reported. The file is read again to find the place of each one.
const MOST_MISTAKES: usize = 100;

/// Reads and validates a configuration file. Fails with every mistake in it, or if it cannot be read.
pub fn load(path: &Path) -> Result<Config, ConfigError> {
    let text = std::fs::read_to_string(path)
        .map_err(|error| ConfigError::Unreadable { path: path.to_owned(), error })?;
    parse(&text, &path.display().to_string())
}

/// Validates the text of a configuration file. Its mistakes are reported under `name`.
pub fn parse(text: &str, name: &str) -> Result<Config, ConfigError> {
    parse_with(text, name, &|variable| std::env::var_os(variable))
}

/// Like [`parse`], with these variables in place of the environment.
pub fn parse_with(text: &str, name: &str, variables: Variables) -> Result<Config, ConfigError> {
    // Some editors begin UTF-8 files with a byte order mark. It has no meaning there.
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let written = tree::parse(text).map_err(|error| locate::syntax_error(name, text, &error))?;
    let (resolved, mut mistakes) = resolve(&written, variables);
    let config = read::config(&resolved, &mut mistakes);
    let unreported = mistakes.len().saturating_sub(MOST_MISTAKES);
    mistakes.truncate(MOST_MISTAKES);
    let more = (unreported > 0).then(|| ConfigIssue::more(name, unreported));
    let mistakes = mistakes.into_iter().map(|mistake| mistake.in_file(name, text, &written));
    finish(config, mistakes.chain(more).collect())
}

/// The configuration of `sidestream run` without a file.
///
/// `servers` are those of the only upstream. `admin` is an address or `off`; `None` is the default of the file.
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

/// An upstream of this one server, with the default of every key.
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
    distinct.sort_by_key(ConfigIssue::position);
    if distinct.is_empty() { Ok(config) } else { Err(ConfigError::Mistakes(distinct)) }
}
