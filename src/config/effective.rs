//! Prints the configuration that results from a file, defaults included, as YAML that can be read back.

use std::fmt::Write;
use std::path::Path;
use std::time::Duration;

use super::effective_group::{per_client, write_group};
use super::read::BUCKETS;
use super::stream_keys::{
    DETECT_TRUNCATION, ERROR_EVENTS, HALF_CLOSE, ON_DISCONNECT, TREAT_AS_EVENT_STREAM, dialects, word_for,
};
use super::{
    AccessLogPolicy, Config, Limits, Matcher, RoutePerClient, StreamPolicy, UpstreamConfig, UpstreamTls,
};

/// The whole effective configuration as YAML.
pub fn effective_yaml(config: &Config) -> String {
    let mut yaml = String::new();
    // Writing to a String cannot fail.
    let _ = write_config(&mut yaml, config);
    yaml
}

fn write_config(out: &mut String, config: &Config) -> std::fmt::Result {
    writeln!(out, "listeners:")?;
    for listener in &config.listeners {
        writeln!(out, "  - address: {}", text(&listener.address.to_string()))?;
        writeln!(out, "    http2: {}", listener.http2)?;
        if let Some(tls) = &listener.tls {
            writeln!(out, "    tls:")?;
            writeln!(out, "      certificate: {}\n      key: {}", path(&tls.certificate), path(&tls.key))?;
            if let Some(client_ca) = &tls.client_ca {
                writeln!(out, "      client_ca: {}", path(client_ca))?;
            }
        }
        writeln!(out, "    proxy_protocol: {}", listener.proxy_protocol)?;
        writeln!(out, "    header_timeout: {}", duration(Some(listener.header_timeout)))?;
        writeln!(out, "    keepalive_timeout: {}", duration(Some(listener.keepalive_timeout)))?;
        writeln!(out, "    tcp_keepalive: {}", duration(listener.tcp_keepalive))?;
        let trusted = &listener.trusted_proxies;
        let networks = trusted.networks.iter().map(ToString::to_string);
        let trusted: Vec<String> =
            networks.chain(trusted.unix.then(|| "unix".to_owned())).map(|n| text(&n)).collect();
        if !trusted.is_empty() {
            writeln!(out, "    trusted_proxies: [{}]", trusted.join(", "))?;
        }
        let path = listener.doctor.as_ref().map_or_else(|| "off".to_owned(), |point| text(point.path()));
        writeln!(out, "    doctor_path: {path}")?;
        if let Some(token) = listener.doctor.as_ref().and_then(|point| point.token.as_ref()) {
            writeln!(out, "    doctor_token: {}", text(token.as_str()))?;
        }
    }
    let admin = config.admin.map_or_else(|| "off".to_owned(), |address| text(&address.to_string()));
    writeln!(out, "admin:\n  address: {admin}")?;
    writeln!(out, "upstreams:")?;
    for upstream in &config.upstreams {
        write_upstream(out, upstream)?;
    }
    writeln!(out, "routes:")?;
    for route in &config.routes {
        writeln!(out, "  - match: {}", matcher(&route.matcher))?;
        writeln!(out, "    upstream: {}", text(&route.upstream.name))?;
        match &route.per_client {
            RoutePerClient::Inherit => {}
            RoutePerClient::Off => writeln!(out, "    limits: {{ per_client: off }}")?,
            RoutePerClient::Limit(limit) => {
                writeln!(out, "    limits: {{ per_client: {} }}", per_client(Some(limit)))?;
            }
        }
        writeln!(out, "    stream:")?;
        write_stream(out, "      ", &route.stream)?;
    }
    writeln!(out, "stream:")?;
    write_stream(out, "  ", &config.stream)?;
    let Limits { max_request_body, max_header_size, max_connections, per_client: limit } = &config.limits;
    writeln!(out, "limits:\n  max_request_body: {}", number(max_request_body.as_ref()))?;
    writeln!(
        out,
        "  max_header_size: {max_header_size}\n  max_connections: {}",
        number(max_connections.as_ref())
    )?;
    writeln!(out, "  per_client: {}", per_client(limit.as_ref()))?;
    match &config.access_log {
        AccessLogPolicy::Off => writeln!(out, "access_log: off")?,
        path => writeln!(out, "access_log:\n  path: {}\n  format: json", text(&path.to_string()))?,
    }
    writeln!(out, "metrics:\n  buckets: {}", word_for(&BUCKETS, &config.metrics.buckets))?;
    if !config.metrics.models.is_empty() {
        let models: Vec<String> = config.metrics.models.iter().map(|model| text(model)).collect();
        writeln!(out, "  models: [{}]", models.join(", "))?;
    }
    let threads = config.server.threads.map_or_else(|| "auto".to_owned(), |n| n.to_string());
    writeln!(out, "server:\n  threads: {threads}")?;
    writeln!(out, "  drain_delay: {}", duration(Some(config.server.drain_delay)))?;
    writeln!(out, "  drain_timeout: {}", duration(Some(config.server.drain_timeout)))?;
    writeln!(out, "  log: {}", text(&config.server.log))
}

fn write_upstream(out: &mut String, upstream: &UpstreamConfig) -> std::fmt::Result {
    writeln!(out, "  {}:", key(&upstream.name))?;
    write_group(out, upstream)?;
    writeln!(out, "    host: {}", text(&upstream.host.to_string()))?;
    writeln!(out, "    via: {}", upstream.via)?;
    writeln!(out, "    connect_timeout: {}", duration(Some(upstream.connect_timeout)))?;
    writeln!(out, "    keepalive_idle: {}", duration(upstream.keepalive_idle))?;
    writeln!(out, "    tcp_keepalive: {}", duration(upstream.tcp_keepalive))?;
    writeln!(out, "    http2_ping: {}", duration(upstream.http2_ping))?;
    if upstream.servers.iter().any(|server| server.origin.protocol.is_tls()) {
        let UpstreamTls { ca, server_name, verify } = &upstream.tls;
        let ca = ca.as_ref().map_or_else(|| "null".to_owned(), |ca| path(&ca.path));
        let server_name = server_name.as_ref().map_or_else(|| "null".to_owned(), |name| text(name));
        writeln!(out, "    tls:\n      ca: {ca}\n      server_name: {server_name}\n      verify: {verify}")?;
    }
    Ok(())
}

fn write_stream(out: &mut String, indent: &str, stream: &StreamPolicy) -> std::fmt::Result {
    let treat_as_event_stream = word_for(&TREAT_AS_EVENT_STREAM, &stream.treat_as_event_stream);
    let session = &stream.session;
    let terminal =
        session.terminal.as_ref().map_or_else(|| "null".to_owned(), |terminal| text(&terminal.to_string()));
    for (key, value) in [
        ("heartbeat", duration(session.heartbeat)),
        ("early_heartbeat", duration(session.early_heartbeat)),
        ("heartbeat_padding", session.heartbeats.padding().to_string()),
        ("first_event_timeout", duration(session.first_event_timeout)),
        ("idle_timeout", duration(session.idle_timeout)),
        ("max_duration", duration(session.max_duration)),
        ("write_timeout", duration(stream.write_timeout)),
        ("half_close", word_for(&HALF_CLOSE, &stream.half_close).to_owned()),
        ("on_disconnect", word_for(&ON_DISCONNECT, &stream.on_disconnect).to_owned()),
        ("drain_timeout", duration(Some(stream.drain_timeout))),
        ("error_events", word_for(&ERROR_EVENTS, &session.error_events).to_owned()),
        ("dialect", word_for(&dialects(), &session.dialect).to_owned()),
        ("detect_truncation", word_for(&DETECT_TRUNCATION, &session.detect_truncation).to_owned()),
        ("terminal", terminal),
        ("coalesce", duration(session.coalesce)),
        ("max_event_size", session.max_event_size.to_string()),
        ("treat_as_event_stream", treat_as_event_stream.to_owned()),
        ("ndjson_to_sse", stream.ndjson_to_sse.to_string()),
        ("websocket", format!("{{ idle_timeout: {} }}", duration(stream.websocket_idle_timeout))),
    ] {
        writeln!(out, "{indent}{key}: {value}")?;
    }
    Ok(())
}

fn matcher(matcher: &Matcher) -> String {
    let pairs = [
        ("path", matcher.path.clone()),
        ("host", matcher.host.clone()),
        ("method", matcher.method.as_ref().map(ToString::to_string)),
    ];
    let pairs = pairs.into_iter().filter_map(|(key, value)| Some(format!("{key}: {}", text(&value?))));
    format!("{{{}}}", pairs.collect::<Vec<_>>().join(", "))
}

pub fn duration(duration: Option<Duration>) -> String {
    duration.map_or_else(|| "off".to_owned(), |d| humantime::format_duration(d).to_string())
}

pub fn number(number: Option<&impl ToString>) -> String {
    number.map_or_else(|| "off".to_owned(), ToString::to_string)
}

fn path(path: &Path) -> String {
    text(&path.display().to_string())
}

/// A value that is read back as this string. A `$` is doubled, since it stands for what it is.
pub fn text(text: &str) -> String {
    key(&text.replace('$', "$$"))
}

/// A string that YAML reads back as this string: JSON's quoting is YAML's, but for a few characters.
pub fn key(text: &str) -> String {
    let json = serde_json::Value::from(text).to_string();
    json.chars().fold(String::with_capacity(json.len()), |mut quoted, c| {
        match c {
            // Line ends to YAML, or nothing that may stand in a file (YAML 1.2.2, 5.1).
            '\u{7f}'..='\u{9f}' | '\u{2028}' | '\u{2029}' | '\u{feff}' | '\u{fffe}' | '\u{ffff}' => {
                quoted.push_str(&format!("\\u{:04x}", u32::from(c)));
            }
            _ => quoted.push(c),
        }
        quoted
    })
}
