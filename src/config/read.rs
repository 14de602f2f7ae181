//! Turns the YAML tree into the configuration, collecting every mistake on the way.

use std::collections::HashSet;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use serde_yaml::Value;

use super::keys::{Keys, Node, did_you_mean};
use super::mistake::{Mistake, Step};
use super::stream_keys::stream;
use super::values::{self, Problem};
use super::{
    AccessLogPolicy, BucketPreset, Config, Limits, Listener, Matcher, MetricsPolicy, Origin, Route, Server,
    StreamPolicy, Upstream,
};

/// Reads a whole configuration; the mistakes are in the order of the keys below.
pub fn config(value: &Value) -> Result<Config, Vec<Mistake>> {
    let mut mistakes = Vec::new();
    let mut root = Keys::of(value, Vec::new(), &mut mistakes);
    let listeners = listeners(&mut root);
    let admin = root.section("admin", |admin| {
        if values::is_off(admin.value) {
            return None;
        }
        let mut keys = admin.keys();
        let address = keys.get("address", Some(DEFAULT_ADMIN), |value| {
            if values::is_off(value) { Ok(None) } else { values::address(value).map(Some) }
        });
        keys.finish();
        address
    });
    let admin = admin.unwrap_or(Some(DEFAULT_ADMIN));
    let upstreams = upstreams(&mut root);
    let stream = root.section("stream", |node| stream(node, &StreamPolicy::default())).unwrap_or_default();
    let routes = routes(&mut root, &upstreams, &stream);
    let limits = limits(&mut root);
    let access_log = access_log(&mut root);
    let metrics = metrics(&mut root);
    let server = server(&mut root);
    root.finish();
    if mistakes.is_empty() {
        Ok(Config { listeners, admin, upstreams, routes, stream, limits, access_log, metrics, server })
    } else {
        Err(mistakes)
    }
}

const DEFAULT_ADMIN: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 9090);

fn listeners(root: &mut Keys) -> Vec<Listener> {
    let listeners = root.list("listeners", |node| {
        let mut keys = node.keys();
        let address = keys.required("address", "such as `address: 127.0.0.1:8080`", values::address);
        keys.get("http2", (), |v| values::boolean(v).map(drop));
        keys.section("tls", |node| {
            if !node.value.is_null() {
                tls_listener(node);
            }
        });
        let header_timeout = keys.get("header_timeout", Duration::from_secs(10), values::duration);
        let keepalive_timeout = keys.get("keepalive_timeout", Duration::from_secs(75), values::duration);
        keys.finish();
        Some(Listener { address: address?, header_timeout, keepalive_timeout })
    });
    let Some(listeners) = listeners else {
        root.missing("listeners", "add `listeners:` with at least one `- address: 127.0.0.1:8080`");
        return Vec::new();
    };
    let mut seen = HashSet::new();
    for (index, listener) in listeners.iter().enumerate() {
        if listener.address.port() != 0 && !seen.insert(listener.address) {
            let path = root.child("listeners").chain([Step::Index(index), Step::Key("address".into())]);
            let problem = format!("`{}` is listened on twice", listener.address);
            let mistake = Mistake::new(path.collect(), problem, "give every listener an address of its own");
            root.mistakes.push(mistake);
        }
    }
    listeners
}

/// Terminating TLS is still to come; unreadable files are told apart all the same.
fn tls_listener(node: Node) {
    let value = node.value.clone();
    let path = node.path.clone();
    let mut keys = node.keys();
    let before = keys.mistakes.len();
    keys.required("certificate", "the path of a PEM file", values::certificate_file);
    keys.required("key", "the path of a PEM file", values::key_file);
    keys.get("client_ca", (), |v| if v.is_null() { Ok(()) } else { values::certificate_file(v) });
    keys.check_unknown();
    if keys.mistakes.len() == before {
        let Problem { problem, remedy } =
            values::not_supported(&value, "leave out `tls` and let another proxy terminate it");
        keys.mistakes.push(Mistake::new(path, format!("TLS on a listener: {problem}"), remedy));
    }
}

fn upstreams(root: &mut Keys) -> Vec<Arc<Upstream>> {
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
    let servers = keys.list("servers", |node| node.read(values::origin));
    let server = one_server(&mut keys, servers);
    keys.get("balance", (), |v| values::word(v, &[("least_streams", ())], &["round_robin"]));
    let connect_timeout = keys.get("connect_timeout", Duration::from_secs(5), values::duration);
    let keepalive_idle = keys.get("keepalive_idle", Some(Duration::from_secs(4)), values::duration_or_off);
    keys.not_yet("max_streams", &["null", "off"], "leave it out: streams are not limited");
    keys.not_yet("queue", &["off", "{size: 0, timeout: 30s}"], "leave it out: requests are never queued");
    keys.not_yet("health", &["null", "off"], "leave it out: servers are not checked");
    keys.not_yet(
        "tls",
        &["null", "{ca: null, server_name: null, verify: true}"],
        "leave it out and use an `http://` server",
    );
    keys.finish();
    Some(Upstream { name: name.to_owned(), server: server?, connect_timeout, keepalive_idle })
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

fn routes(root: &mut Keys, upstreams: &[Arc<Upstream>], stream: &StreamPolicy) -> Vec<Arc<Route>> {
    let everything = |upstream: &Arc<Upstream>| Route {
        name: "default".to_owned(),
        matcher: Matcher::default(),
        upstream: upstream.clone(),
        stream: stream.clone(),
    };
    match (root.list("routes", |node| route(node, upstreams, stream)), upstreams) {
        (Some(routes), _) => routes.into_iter().map(Arc::new).collect(),
        (None, [only]) => vec![Arc::new(everything(only))],
        (None, []) => Vec::new(),
        (None, _) => {
            root.missing("routes", "there are several upstreams: add `routes:` that say which gets what");
            Vec::new()
        }
    }
}

fn route(node: Node, upstreams: &[Arc<Upstream>], defaults: &StreamPolicy) -> Option<Route> {
    let mut keys = node.keys();
    let matcher = keys.section("match", matcher).unwrap_or_default();
    let upstream = keys.required("upstream", "the name of one of the `upstreams`", |value| {
        let name = value.as_str().unwrap_or_default();
        upstreams.iter().find(|u| u.name == name).cloned().ok_or_else(|| {
            let names = upstreams.iter().map(|u| u.name.as_str());
            let remedy = did_you_mean(name, names.clone()).unwrap_or_else(|| {
                format!("add it to `upstreams`, or write one of: {}", names.collect::<Vec<_>>().join(", "))
            });
            Problem::new(format!("there is no upstream {}", values::quoted(value)), remedy)
        })
    });
    let stream = keys.section("stream", |node| stream(node, defaults));
    keys.finish();
    let name = matcher.path.clone().unwrap_or_else(|| "default".to_owned());
    Some(Route { name, matcher, upstream: upstream?, stream: stream.unwrap_or_else(|| defaults.clone()) })
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
    let default = Limits { max_header_size: 64 << 10 };
    let limits = root.section("limits", |node| {
        let mut keys = node.keys();
        keys.not_yet("max_request_body", &["off"], "leave it out, or write `off`");
        keys.not_yet("max_connections", &["off"], "leave it out, or write `off`");
        let max_header_size = keys.get("max_header_size", default.max_header_size, |value| {
            let size = values::size(value)?;
            // What is read of a head before anyone can look at it is bounded by 1 MiB.
            if size <= 1 << 20 {
                Ok(size)
            } else {
                Err(Problem::new("this is too much", "write at most `1MiB`"))
            }
        });
        keys.finish();
        Limits { max_header_size }
    });
    limits.unwrap_or(default)
}

fn access_log(root: &mut Keys) -> AccessLogPolicy {
    let policy = root.section("access_log", |node| {
        if values::is_off(node.value) {
            return AccessLogPolicy::Off;
        }
        let mut keys = node.keys();
        let policy = keys.get("path", AccessLogPolicy::Stdout, |value| match value.as_str() {
            Some("stdout") => Ok(AccessLogPolicy::Stdout),
            Some(path) if !path.is_empty() => Ok(AccessLogPolicy::File(path.into())),
            _ => {
                let problem = format!("{} is not a path", values::quoted(value));
                Err(Problem::new(problem, "write the path of a file, or `stdout`"))
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

fn server(root: &mut Keys) -> Server {
    let default = Server { threads: None, drain_timeout: Duration::from_secs(300), log: "info".to_owned() };
    let server = root.section("server", |node| {
        let mut keys = node.keys();
        let threads = keys.get("threads", default.threads, values::threads);
        let drain_timeout = keys.get("drain_timeout", default.drain_timeout, values::duration);
        let log = keys.get("log", default.log.clone(), values::log_filter);
        keys.finish();
        Server { threads, drain_timeout, log }
    });
    server.unwrap_or(default)
}
