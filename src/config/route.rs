//! Routes: which requests go to which upstream, and how their streams are treated.

use std::sync::Arc;

use http::Method;

use super::group::RoutePerClient;
use super::key::Entry::{Section as Sub, Value as Scalar};
use super::key::{Entries, Key, Many, Section, optional, required};
use super::keys::{Keys, Node, did_you_mean};
use super::limits::{ROUTE_LIMITS, route_limits};
use super::stream::StreamPolicy;
use super::stream_keys::stream;
use super::stream_table::STREAM;
use super::tree::Value;
use super::upstream::{UpstreamConfig, Upstreams};
use super::values::ValueShape::{Pattern, Text};
use super::values::{self, NAME, Parsed, Problem, ValueKind, text};

pub static ROUTES: Section = Section {
    many: Many::List,
    example: "[{ match: { path: /v1/ }, upstream: llm }]",
    ..Section::new(
        "routes",
        "0.1.0",
        "Which requests go to which upstream. The first match wins; a request without one is answered 404. Without routes, all \
         requests go to the only upstream.",
        &[Sub(&MATCH), Scalar(&UPSTREAM.row), Sub(&ROUTE_LIMITS), Sub(&ROUTE_STREAM)],
    )
};

pub static MATCH: Section = Section {
    example: "{ path: /v1/, method: POST }",
    ..Section::new(
        "match",
        "0.1.0",
        "The conditions of the route. All of them must hold; without any, every request matches.",
        &[Scalar(&PATH.row), Scalar(&HOST.row), Scalar(&METHOD.row)],
    )
};

pub static PATH: Key<String> = optional(
    "path",
    "0.1.0",
    ValueKind { name: "path", shape: Text("^/"), read: path, show: |path| text(path) },
    "/v1/",
    "A prefix of the request path.",
);

pub static HOST: Key<String> = optional(
    "host",
    "0.1.0",
    ValueKind { name: "host name", shape: Text("^[^:/*]+$"), read: host, show: |host| text(host) },
    "llm.example.org",
    "The host of the request, without a port.",
);

pub static METHOD: Key<Method> = optional(
    "method",
    "0.1.0",
    ValueKind {
        name: "method",
        shape: Pattern("^[A-Z]+$"),
        read: method,
        show: |method| text(method.as_str()),
    },
    "POST",
    "The method of the request.",
);

pub static UPSTREAM: Key<String> =
    required("upstream", "0.1.0", NAME, "llm", "The name of one of the `upstreams`.");

pub static ROUTE_STREAM: Section = Section {
    example: "{ idle_timeout: 20m }",
    entries: Entries::SameAs(&STREAM),
    ..Section::new("stream", "0.1.0", "Overrides keys of the top-level `stream` for this route.", &[])
};

/// Which requests go to which upstream, and how their streams are treated.
#[derive(Clone, Debug)]
pub struct RouteConfig {
    /// Its label in the metrics: the path prefix, or `default` for a route without one.
    pub name: String,
    /// The conditions of the route.
    pub matcher: Matcher,
    /// Where the requests go.
    pub upstream: Arc<UpstreamConfig>,
    /// How their streams are treated, defaults included.
    pub stream: StreamPolicy,
    /// How many streams each client may have.
    pub per_client: RoutePerClient,
}

/// The conditions of a route. An absent one holds for every request.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Matcher {
    /// A prefix of the path.
    pub path: Option<String>,
    /// The host without a port, in lower case.
    pub host: Option<String>,
    /// The method, in upper case.
    pub method: Option<Method>,
}

impl Matcher {
    /// Whether all conditions hold for a request with this method, host (without a port) and path.
    pub fn matches(&self, method: &Method, host: Option<&str>, path: &str) -> bool {
        self.path.as_ref().is_none_or(|prefix| path.starts_with(prefix.as_str()))
            && self.method.as_ref().is_none_or(|m| m == method)
            && self.host.as_ref().is_none_or(|h| host.is_some_and(|host| h.eq_ignore_ascii_case(host)))
    }
}

/// Reads the `routes` section.
pub fn routes(root: &mut Keys, upstreams: &Upstreams, stream: &StreamPolicy) -> Vec<Arc<RouteConfig>> {
    let everything = |upstream: &Arc<UpstreamConfig>| RouteConfig {
        name: "default".to_owned(),
        matcher: Matcher::default(),
        upstream: upstream.clone(),
        stream: stream.clone(),
        per_client: RoutePerClient::Inherit,
    };
    match (root.sections(&ROUTES, |node| route(node, upstreams, stream)), &*upstreams.upstreams) {
        (Some(routes), _) => routes.into_iter().map(Arc::new).collect(),
        (None, [only]) => vec![Arc::new(everything(only))],
        (None, []) => Vec::new(),
        (None, _) => {
            let remedy = "there are several upstreams: add `routes:` that say which one gets which requests";
            root.missing(ROUTES.name, remedy);
            Vec::new()
        }
    }
}

fn route(node: Node, upstreams: &Upstreams, defaults: &StreamPolicy) -> Option<RouteConfig> {
    let mut keys = node.keys(&ROUTES);
    let matcher = keys.section(&MATCH, matcher).keys().unwrap_or_default();
    let upstream = keys.required(&UPSTREAM).and_then(|name| upstream(&mut keys, &name, upstreams));
    let per_client = keys.section(&ROUTE_LIMITS, route_limits).keys().unwrap_or_default();
    let stream = keys.section(&ROUTE_STREAM, |keys| stream(keys, Some(defaults))).keys();
    keys.finish();
    Some(RouteConfig {
        name: matcher.path.clone().unwrap_or_else(|| "default".to_owned()),
        matcher,
        upstream: upstream?,
        stream: stream.unwrap_or_else(|| defaults.clone()),
        per_client,
    })
}

/// The upstream of a route. `None`: there are mistakes in it, or there is none, which is reported.
fn upstream(
    keys: &mut Keys,
    name: &str,
    Upstreams { upstreams, unusable }: &Upstreams,
) -> Option<Arc<UpstreamConfig>> {
    let found = upstreams.iter().find(|upstream| upstream.name == name);
    if found.is_none() && !unusable.iter().any(|other| other == name) {
        let names = upstreams.iter().map(|upstream| &upstream.name).chain(unusable).map(String::as_str);
        let remedy = did_you_mean(name, names.clone()).unwrap_or_else(|| {
            format!("add it to `upstreams`, or write one of: {}", names.collect::<Vec<_>>().join(", "))
        });
        if let Some(node) = keys.take(UPSTREAM.row.name) {
            let problem = format!("there is no upstream {}", values::quoted(node.value));
            node.report(&problem, &remedy);
        }
    }
    found.cloned()
}

/// Reads the `match` section.
fn matcher(mut keys: Keys) -> Matcher {
    let matcher =
        Matcher { path: keys.optional(&PATH), host: keys.optional(&HOST), method: keys.optional(&METHOD) };
    keys.finish();
    matcher
}

fn path(value: &Value) -> Parsed<String> {
    match value.as_str() {
        Some(path) if path.starts_with('/') => Ok(path.to_owned()),
        _ => {
            let remedy = "write a path that begins with `/`, such as `/v1/`";
            Err(Problem::not(value, "the prefix of a path", remedy))
        }
    }
}

fn host(value: &Value) -> Parsed<String> {
    match value.as_str() {
        Some(host) if !host.is_empty() && !host.contains([':', '/', '*']) => Ok(host.to_ascii_lowercase()),
        _ => {
            let remedy = "write a name without scheme and port, such as `llm.example.org`";
            Err(Problem::not(value, "a host name", remedy))
        }
    }
}

fn method(value: &Value) -> Parsed<Method> {
    let method = value.as_str().filter(|method| method.bytes().all(|b| b.is_ascii_uppercase()));
    method.and_then(|method| method.parse().ok()).ok_or_else(|| {
        Problem::not(value, "a request method", "write one method in capitals, such as `POST`")
    })
}
