//! Turns the YAML tree into the configuration, collecting every mistake on the way.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use super::issue::{ConfigIssue, Step};
use super::keys::{Keys, Node, did_you_mean};
use super::listener::listeners;
use super::request_key::per_client;
use super::stream_keys::stream;
use super::tree::Value;
use super::upstream::{Upstreams, upstreams};
use super::values::{self, Problem};
use super::{
    AccessLogPolicy, BucketPreset, Config, Limits, ListenAddress, Listener, Matcher, MetricsPolicy,
    ProcessConfig, RouteConfig, RoutePerClient, StreamPolicy, UpstreamConfig,
};

/// Reads a whole configuration; the mistakes come in the order of the keys below. Only without any it is one to run on.
pub fn config(value: &Value, mistakes: &mut Vec<ConfigIssue>) -> Config {
    let mut root = Keys::of(value, Vec::new(), mistakes);
    let listeners = listeners(&mut root);
    let admin = root.section("admin", |mut admin| {
        if admin.is_off() {
            return None;
        }
        let mut keys = admin.keys();
        let address = keys.get("address", Some(DEFAULT_ADMIN), |value| {
            if values::is_off(value) {
                return Ok(None);
            }
            values::address(value).map(Some).map_err(|problem| values::or_off(value, problem))
        });
        keys.finish();
        address
    });
    let admin = admin.unwrap_or(Some(DEFAULT_ADMIN));
    admin_apart(&mut root, admin, &listeners);
    let upstreams = upstreams(&mut root);
    let stream = root.section("stream", |node| stream(node, &StreamPolicy::default())).unwrap_or_default();
    let routes = routes(&mut root, &upstreams, &stream);
    let Upstreams { upstreams, .. } = upstreams;
    let limits = limits(&mut root);
    let access_log = access_log(&mut root);
    let metrics = metrics(&mut root);
    let server = server(&mut root);
    root.finish();
    Config { listeners, admin, upstreams, routes, stream, limits, access_log, metrics, server }
}

/// Two sockets cannot listen on one address.
fn admin_apart(root: &mut Keys, admin: Option<SocketAddr>, listeners: &[Listener]) {
    let Some(admin) = admin.filter(|admin| admin.port() != 0) else { return };
    let taken = listeners.iter().position(|listener| listener.address == ListenAddress::Tcp(admin));
    if let Some(index) = taken {
        let path = root.child("listeners").chain([Step::Index(index), Step::Key("address".into())]);
        let problem = format!("`{admin}` is where the live page and /metrics are");
        let remedy = "choose another port, or set `admin.address`";
        root.mistakes.push(ConfigIssue::new(path.collect(), problem, remedy));
    }
}

const DEFAULT_ADMIN: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 9090);

fn routes(root: &mut Keys, upstreams: &Upstreams, stream: &StreamPolicy) -> Vec<Arc<RouteConfig>> {
    let everything = |upstream: &Arc<UpstreamConfig>| RouteConfig {
        name: "default".to_owned(),
        matcher: Matcher::default(),
        upstream: upstream.clone(),
        stream: stream.clone(),
        per_client: RoutePerClient::Inherit,
    };
    match (root.list("routes", |node| route(node, upstreams, stream)), &*upstreams.upstreams) {
        (Some(routes), _) => routes.into_iter().map(Arc::new).collect(),
        (None, [only]) => vec![Arc::new(everything(only))],
        (None, []) => Vec::new(),
        (None, _) => {
            root.missing("routes", "there are several upstreams: add `routes:` that say which gets what");
            Vec::new()
        }
    }
}

fn route(node: Node, upstreams: &Upstreams, defaults: &StreamPolicy) -> Option<RouteConfig> {
    let mut keys = node.keys();
    let matcher = keys.section("match", matcher).unwrap_or_default();
    let upstream = keys
        .required("upstream", "the name of one of the `upstreams`", |value| upstream(value, upstreams))
        .flatten();
    let per_client = keys.section("limits", route_limits).unwrap_or_default();
    let stream = keys.section("stream", |node| stream(node, defaults));
    keys.finish();
    let name = matcher.path.clone().unwrap_or_else(|| "default".to_owned());
    Some(RouteConfig {
        name,
        matcher,
        upstream: upstream?,
        stream: stream.unwrap_or_else(|| defaults.clone()),
        per_client,
    })
}

/// Reads the `limits` of a route; returns their `per_client`.
fn route_limits(node: Node) -> RoutePerClient {
    let mut keys = node.keys();
    let per_client = keys.section("per_client", per_client).unwrap_or_default();
    keys.finish();
    per_client
}

/// The upstream of a route; `None`: it is there, but there are mistakes in it.
fn upstream(
    value: &Value,
    Upstreams { upstreams, unusable }: &Upstreams,
) -> Result<Option<Arc<UpstreamConfig>>, Problem> {
    let name = value.as_str().unwrap_or_default();
    let found = upstreams.iter().find(|upstream| upstream.name == name);
    if found.is_some() || unusable.iter().any(|other| other == name) {
        return Ok(found.cloned());
    }
    let names = upstreams.iter().map(|upstream| &upstream.name).chain(unusable).map(String::as_str);
    let remedy = did_you_mean(name, names.clone()).unwrap_or_else(|| {
        format!("add it to `upstreams`, or write one of: {}", names.collect::<Vec<_>>().join(", "))
    });
    Err(Problem::new(format!("there is no upstream {}", values::quoted(value)), remedy))
}

fn matcher(node: Node) -> Matcher {
    let mut keys = node.keys();
    let path = keys.get("path", None, |value| match value.as_str() {
        Some(path) if path.starts_with('/') => Ok(Some(path.to_owned())),
        _ => {
            let problem = format!("{} is not the prefix of a path", values::quoted(value));
            Err(Problem::new(problem, "write a path that begins with `/`, such as `/v1/`"))
        }
    });
    let host = keys.get("host", None, |value| match value.as_str() {
        Some(host) if !host.is_empty() && !host.contains([':', '/', '*']) => {
            Ok(Some(host.to_ascii_lowercase()))
        }
        _ => {
            let problem = format!("{} is not a host name", values::quoted(value));
            Err(Problem::new(problem, "write a name without scheme and port, such as `llm.example.org`"))
        }
    });
    let method = keys.get("method", None, |value| {
        let method = value.as_str().filter(|m| m.bytes().all(|b| b.is_ascii_uppercase()));
        method.and_then(|m| m.parse().ok()).map(Some).ok_or_else(|| {
            let problem = format!("{} is not a request method", values::quoted(value));
            Problem::new(problem, "write one method in capitals, such as `POST`")
        })
    });
    keys.finish();
    Matcher { path, host, method }
}

fn limits(root: &mut Keys) -> Limits {
    let default =
        Limits { max_request_body: None, max_header_size: 64 << 10, max_connections: None, per_client: None };
    let limits = root.section("limits", |node| {
        let mut keys = node.keys();
        let max_request_body = keys.get("max_request_body", None, values::size_or_off);
        let max_connections = keys.get("max_connections", None, values::count_or_off);
        let max_header_size = keys.get("max_header_size", default.max_header_size, |value| {
            let size = values::size(value)?;
            // What is read of a head before anyone can look at it is bounded by 1 MiB.
            if size <= 1 << 20 {
                Ok(size)
            } else {
                Err(Problem::new("this is too much", "write at most `1MiB`"))
            }
        });
        let per_client = match keys.section("per_client", per_client) {
            Some(RoutePerClient::Limit(limit)) => Some(limit),
            _ => None,
        };
        keys.finish();
        Limits { max_request_body, max_header_size, max_connections, per_client }
    });
    limits.unwrap_or(default)
}

fn access_log(root: &mut Keys) -> AccessLogPolicy {
    let policy = root.section("access_log", |mut node| {
        if node.is_off() {
            return AccessLogPolicy::Off;
        }
        let mut keys = node.keys();
        let policy = keys.get("path", AccessLogPolicy::Stdout, |value| match value.as_str() {
            _ if values::is_off(value) => Ok(AccessLogPolicy::Off),
            Some("stdout") => Ok(AccessLogPolicy::Stdout),
            // A file can have such a name, but nobody means it.
            Some(path) if !path.is_empty() && !values::means_off(value) => {
                Ok(AccessLogPolicy::File(path.into()))
            }
            _ => {
                let problem = format!("{} is not a path", values::quoted(value));
                let remedy = "write the path of a file, `stdout`, or `off`";
                Err(values::or_off(value, Problem::new(problem, remedy)))
            }
        });
        keys.get("format", (), |v| values::word(v, &[("json", ())], &[]));
        keys.finish();
        policy
    });
    policy.unwrap_or(AccessLogPolicy::Stdout)
}

fn metrics(root: &mut Keys) -> MetricsPolicy {
    let policy = root.section("metrics", |node| {
        let mut keys = node.keys();
        let buckets = keys.get("buckets", BucketPreset::default(), |v| values::word(v, &BUCKETS, &[]));
        let models = keys.list("models", |node| node.read(values::model));
        keys.finish();
        MetricsPolicy { buckets, models: models.unwrap_or_default() }
    });
    policy.unwrap_or_default()
}

/// The words of `metrics.buckets`.
pub const BUCKETS: [(&str, BucketPreset); 3] =
    [("wide", BucketPreset::Wide), ("otel", BucketPreset::Otel), ("vllm", BucketPreset::Vllm)];

fn server(root: &mut Keys) -> ProcessConfig {
    let default = ProcessConfig {
        threads: None,
        drain_delay: Duration::ZERO,
        drain_timeout: Duration::from_secs(300),
        log: "info".to_owned(),
    };
    let server = root.section("server", |node| {
        let mut keys = node.keys();
        let threads = keys.get("threads", default.threads, values::threads);
        let drain_delay = keys.get("drain_delay", default.drain_delay, values::duration_or_zero);
        let drain_timeout = keys.get("drain_timeout", default.drain_timeout, values::duration);
        let log = keys.get("log", default.log.clone(), values::log_filter);
        keys.finish();
        ProcessConfig { threads, drain_delay, drain_timeout, log }
    });
    server.unwrap_or(default)
}
