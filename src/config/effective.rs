//! Prints the configuration that results from a file, defaults included, as YAML that can be read back.

use std::fmt::Display;

use super::Config;
use super::doctor::{DOCTOR_PATH, DOCTOR_TOKEN, DoctorPoint};
use super::effective_group::{per_client, upstream};
use super::group::RoutePerClient;
use super::limits::{LIMITS, MAX_CONNECTIONS, MAX_HEADER_SIZE, MAX_REQUEST_BODY, ROUTE_LIMITS};
use super::listener::{self, LISTENERS, Listener};
use super::read::{ADMIN, ADMIN_ADDRESS_KEY};
use super::request_key::PER_CLIENT;
use super::route::{self, MATCH, Matcher, ROUTE_STREAM, ROUTES, RouteConfig};
use super::server::{self, SERVER};
use super::stream::StreamPolicy;
use super::stream_table::*;
use super::telemetry::{ACCESS_LOG, AccessLogPolicy, BUCKETS, FORMAT, LOG_PATH, METRICS, MODELS};
use super::tls::{CERTIFICATE, CLIENT_CA, KEY, LISTENER_TLS, ListenerTls};
use super::upstream::UPSTREAMS;
use super::values::{self, TrustedPeer};

/// The whole effective configuration as YAML.
pub fn effective_yaml(config: &Config) -> String {
    let mut out = YamlLines::default();
    out.section(LISTENERS.name, |out| {
        config.listeners.iter().for_each(|listener| out.item(|out| write_listener(out, listener)));
    });
    out.section(ADMIN.name, |out| out.line(ADMIN_ADDRESS_KEY.line(&config.admin)));
    out.section(UPSTREAMS.name, |out| {
        for config in &config.upstreams {
            out.section(&values::quoted_yaml(&config.name), |out| upstream(out, config));
        }
    });
    out.section(ROUTES.name, |out| {
        config.routes.iter().for_each(|route| out.item(|out| write_route(out, route)));
    });
    out.section(STREAM.name, |out| write_stream(out, &config.stream));
    out.section(LIMITS.name, |out| {
        out.line(MAX_REQUEST_BODY.line(&config.limits.max_request_body));
        out.line(MAX_HEADER_SIZE.line(&config.limits.max_header_size));
        out.line(MAX_CONNECTIONS.line(&config.limits.max_connections));
        out.line(per_client(&PER_CLIENT, config.limits.per_client.as_ref()));
    });
    match &config.access_log {
        AccessLogPolicy::Off => out.line(format!("{}: off", ACCESS_LOG.name)),
        path => out.section(ACCESS_LOG.name, |out| {
            out.line(LOG_PATH.line(path));
            out.line(FORMAT.line(&()));
        }),
    }
    out.section(METRICS.name, |out| {
        out.line(BUCKETS.line(&config.metrics.buckets));
        if !config.metrics.models.is_empty() {
            out.line(MODELS.list_line(&config.metrics.models));
        }
    });
    out.section(SERVER.name, |out| {
        out.line(server::THREADS_KEY.line(&config.server.threads));
        out.line(server::DRAIN_DELAY.line(&config.server.drain_delay));
        out.line(server::DRAIN_TIMEOUT.line(&config.server.drain_timeout));
        out.line(server::LOG.line(&config.server.log));
    });
    out.text
}

/// YamlLines of YAML, each as far indented as its section.
#[derive(Default)]
pub struct YamlLines {
    text: String,
    indent: usize,
    /// The next line begins an item of a list.
    is_first: bool,
}

impl YamlLines {
    pub fn line(&mut self, line: impl Display) {
        let indent = " ".repeat(self.indent.saturating_sub(if self.is_first { 2 } else { 0 }));
        let dash = if std::mem::take(&mut self.is_first) { "- " } else { "" };
        self.text.push_str(&format!("{indent}{dash}{line}\n"));
    }

    /// A key, and the lines of its section below it.
    pub fn section(&mut self, name: &str, write: impl FnOnce(&mut Self)) {
        self.line(format!("{name}:"));
        self.indented(2, write);
    }

    /// An item of a list, within the section of the list.
    pub fn item(&mut self, write: impl FnOnce(&mut Self)) {
        self.is_first = true;
        self.indented(2, write);
    }

    fn indented(&mut self, by: usize, write: impl FnOnce(&mut Self)) {
        self.indent += by;
        write(self);
        self.indent -= by;
    }
}

fn write_listener(out: &mut YamlLines, listener: &Listener) {
    out.line(listener::ADDRESS.line(&listener.address));
    out.line(listener::HTTP2.line(&listener.http2));
    if let Some(ListenerTls { certificate, key, client_ca, .. }) = &listener.tls {
        let file = |name: &str, path: &std::path::Path| {
            format!("{name}: {}", values::text(&path.display().to_string()))
        };
        out.section(LISTENER_TLS.name, |out| {
            out.line(file(CERTIFICATE.row.name, certificate));
            out.line(file(KEY.row.name, key));
            if let Some(client_ca) = client_ca {
                out.line(file(CLIENT_CA.row.name, client_ca));
            }
        });
    }
    out.line(listener::PROXY_PROTOCOL.line(&listener.proxy_protocol));
    out.line(listener::HEADER_TIMEOUT.line(&listener.header_timeout));
    out.line(listener::KEEPALIVE_TIMEOUT.line(&listener.keepalive_timeout));
    out.line(listener::TCP_KEEPALIVE.line(&listener.tcp_keepalive));
    let trusted = &listener.trusted_proxies;
    let networks = trusted.networks.iter().map(|network| TrustedPeer::Network(*network));
    let peers: Vec<TrustedPeer> = networks.chain(trusted.unix.then_some(TrustedPeer::Unix)).collect();
    if !peers.is_empty() {
        out.line(listener::TRUSTED_PROXIES.list_line(&peers));
    }
    let path = listener.doctor.as_ref().map(|point| point.path().to_owned());
    out.line(DOCTOR_PATH.line(&path));
    if let Some(DoctorPoint { token: Some(token), .. }) = &listener.doctor {
        out.line(DOCTOR_TOKEN.line(&Some(token.clone())));
    }
}

fn write_route(out: &mut YamlLines, route: &RouteConfig) {
    out.line(format!("{}: {{{}}}", MATCH.name, matcher(&route.matcher).join(", ")));
    out.line(route::UPSTREAM.line(&route.upstream.name));
    let limit = match &route.per_client {
        RoutePerClient::Inherit => None,
        RoutePerClient::Off => Some(per_client(&PER_CLIENT, None)),
        RoutePerClient::Limit(limit) => Some(per_client(&PER_CLIENT, Some(limit))),
    };
    if let Some(limit) = limit {
        out.line(ROUTE_LIMITS.line(&[limit]));
    }
    out.section(ROUTE_STREAM.name, |out| write_stream(out, &route.stream));
}

fn matcher(matcher: &Matcher) -> Vec<String> {
    let path = matcher.path.as_ref().map(|path| route::PATH.line(path));
    let host = matcher.host.as_ref().map(|host| route::HOST.line(host));
    let method = matcher.method.as_ref().map(|method| route::METHOD.line(method));
    [path, host, method].into_iter().flatten().collect()
}

fn write_stream(out: &mut YamlLines, stream: &StreamPolicy) {
    let session = &stream.session;
    for line in [
        HEARTBEAT.line(&session.heartbeat),
        EARLY_HEARTBEAT.line(&session.early_heartbeat),
        HEARTBEAT_PADDING.line(&session.heartbeats),
        FIRST_EVENT_TIMEOUT.line(&session.first_event_timeout),
        IDLE_TIMEOUT.line(&session.idle_timeout),
        MAX_DURATION.line(&session.max_duration),
        WRITE_TIMEOUT.line(&stream.write_timeout),
        HALF_CLOSE.line(&stream.half_close),
        ON_DISCONNECT.line(&stream.on_disconnect),
        DRAIN_TIMEOUT.line(&stream.drain_timeout),
        DIALECT.line(&session.dialect),
        ERROR_EVENTS.line(&session.error_events),
        DETECT_TRUNCATION.line(&session.detect_truncation),
        TERMINAL.line(&session.terminal),
        COALESCE.line(&session.coalesce),
        MAX_EVENT_SIZE.line(&session.max_event_size),
        TREAT_AS_EVENT_STREAM.line(&stream.treat_as_event_stream),
        NDJSON_TO_SSE.line(&stream.ndjson_to_sse),
        WEBSOCKET.line(&[WEBSOCKET_IDLE_TIMEOUT.line(&stream.websocket_idle_timeout)]),
    ] {
        out.line(line);
    }
}
