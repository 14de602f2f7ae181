//! Prints the configuration that results from a file, defaults included, as YAML that can be read back.

use std::fmt::Write;
use std::time::Duration;

use super::read::{DIALECTS, ERROR_EVENTS};
use super::{Config, HalfClose, Matcher, StreamPolicy};

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
        writeln!(out, "    header_timeout: {}", duration(Some(listener.header_timeout)))?;
        writeln!(out, "    keepalive_timeout: {}", duration(Some(listener.keepalive_timeout)))?;
    }
    let admin = config.admin.map_or_else(|| "off".to_owned(), |address| text(&address.to_string()));
    writeln!(out, "admin:\n  address: {admin}")?;
    writeln!(out, "upstreams:")?;
    for upstream in &config.upstreams {
        writeln!(out, "  {}:", text(&upstream.name))?;
        writeln!(out, "    servers: [{}]", text(&upstream.server.to_string()))?;
        writeln!(out, "    connect_timeout: {}", duration(Some(upstream.connect_timeout)))?;
        writeln!(out, "    keepalive_idle: {}", duration(upstream.keepalive_idle))?;
    }
    writeln!(out, "routes:")?;
    for route in &config.routes {
        writeln!(out, "  - match: {}", matcher(&route.matcher))?;
        writeln!(out, "    upstream: {}", text(&route.upstream.name))?;
        writeln!(out, "    stream:")?;
        write_stream(out, "      ", &route.stream)?;
    }
    writeln!(out, "stream:")?;
    write_stream(out, "  ", &config.stream)?;
    writeln!(out, "limits:\n  max_header_size: {}", config.limits.max_header_size)?;
    let threads = config.server.threads.map_or_else(|| "auto".to_owned(), |n| n.to_string());
    writeln!(out, "server:\n  threads: {threads}")?;
    writeln!(out, "  drain_timeout: {}", duration(Some(config.server.drain_timeout)))
}

fn write_stream(out: &mut String, indent: &str, stream: &StreamPolicy) -> std::fmt::Result {
    let half_close = match stream.half_close {
        HalfClose::Cancel => "cancel",
        HalfClose::Tolerate => "tolerate",
    };
    let error_events = word(&ERROR_EVENTS, &stream.error_events);
    let detect_truncation = if stream.detect_truncation { "auto" } else { "off" };
    writeln!(out, "{indent}heartbeat: {}", duration(stream.heartbeat))?;
    writeln!(out, "{indent}first_event_timeout: {}", duration(stream.first_event_timeout))?;
    writeln!(out, "{indent}idle_timeout: {}", duration(stream.idle_timeout))?;
    writeln!(out, "{indent}max_duration: {}", duration(stream.max_duration))?;
    writeln!(out, "{indent}write_timeout: {}", duration(stream.write_timeout))?;
    writeln!(out, "{indent}half_close: {half_close}")?;
    writeln!(out, "{indent}error_events: {error_events}")?;
    writeln!(out, "{indent}dialect: {}", word(&DIALECTS, &stream.dialect))?;
    writeln!(out, "{indent}detect_truncation: {detect_truncation}")?;
    writeln!(out, "{indent}max_event_size: {}", stream.max_event_size)
}

/// The word that stands for a value. Every value has one.
fn word<T: PartialEq>(words: &[(&'static str, T)], value: &T) -> &'static str {
    words.iter().find(|(_, meaning)| meaning == value).map_or("auto", |(word, _)| word)
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

fn duration(duration: Option<Duration>) -> String {
    duration.map_or_else(|| "off".to_owned(), |d| humantime::format_duration(d).to_string())
}

/// A string that YAML reads back as this string: JSON's quoting is YAML's.
fn text(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}
