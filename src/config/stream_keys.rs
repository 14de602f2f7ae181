//! The keys of a `stream` section and their words.

use std::time::Duration;

use super::keys::Node;
use super::tree::Value;
use super::values;
use super::{HalfClose, OnDisconnect, StreamPolicy, TreatAsEventStream};
use crate::session::dialect::{ALL, Dialect, GENERIC};
use crate::session::{ErrorEvents, Heartbeats, Policy, Terminal};

pub const HALF_CLOSE: [(&str, HalfClose); 2] =
    [("cancel", HalfClose::Cancel), ("tolerate", HalfClose::Tolerate)];

pub const ON_DISCONNECT: [(&str, OnDisconnect); 2] =
    [("cancel", OnDisconnect::Cancel), ("drain", OnDisconnect::Drain)];

pub const ERROR_EVENTS: [(&str, ErrorEvents); 7] = [
    ("auto", ErrorEvents::Auto),
    ("openai", ErrorEvents::OpenAi),
    ("anthropic", ErrorEvents::Anthropic),
    ("responses", ErrorEvents::Responses),
    ("mcp", ErrorEvents::Mcp),
    ("generic", ErrorEvents::Generic),
    ("off", ErrorEvents::Off),
];

/// The words for what streams speak.
pub fn dialects() -> Vec<(&'static str, Option<&'static Dialect>)> {
    let named = ALL.into_iter().chain([&GENERIC]).map(|dialect| (dialect.name, Some(dialect)));
    std::iter::once(("auto", None)).chain(named).collect()
}

pub const DETECT_TRUNCATION: [(&str, bool); 2] = [("auto", true), ("off", false)];

pub const TREAT_AS_EVENT_STREAM: [(&str, TreatAsEventStream); 3] = [
    ("auto", TreatAsEventStream::Auto),
    ("always", TreatAsEventStream::Always),
    ("never", TreatAsEventStream::Never),
];

/// The word that stands for a value. Every value has one.
pub fn word_for<T: PartialEq>(words: &[(&'static str, T)], value: &T) -> &'static str {
    words.iter().find(|(_, meaning)| meaning == value).map_or("auto", |(word, _)| word)
}

/// Reads a `stream` section; `base` holds for the keys that are absent.
pub fn stream(node: Node, base: &StreamPolicy) -> StreamPolicy {
    let mut keys = node.keys();
    let before = &base.session;
    let mut time_or_off = |key: &str, base| keys.get(key, base, values::duration_or_off);
    let heartbeat = time_or_off("heartbeat", before.heartbeat);
    let early_heartbeat = time_or_off("early_heartbeat", before.early_heartbeat);
    let first_event_timeout = time_or_off("first_event_timeout", before.first_event_timeout);
    let idle_timeout = time_or_off("idle_timeout", before.idle_timeout);
    let max_duration = time_or_off("max_duration", before.max_duration);
    let write_timeout = time_or_off("write_timeout", base.write_timeout);
    let coalesce = time_or_off("coalesce", before.coalesce);
    let session = Policy {
        heartbeat,
        early_heartbeat,
        heartbeats: keys.get("heartbeat_padding", before.heartbeats.clone(), heartbeat_padding),
        first_event_timeout,
        idle_timeout,
        max_duration,
        error_events: keys.get("error_events", before.error_events, |v| values::word(v, &ERROR_EVENTS, &[])),
        dialect: keys.get("dialect", before.dialect, |v| values::word(v, &dialects(), &[])),
        detect_truncation: keys
            .get("detect_truncation", before.detect_truncation, |v| values::word(v, &DETECT_TRUNCATION, &[])),
        terminal: keys.get("terminal", before.terminal.clone(), terminal),
        coalesce,
        max_event_size: keys.get("max_event_size", before.max_event_size, values::size),
    };
    let policy = StreamPolicy {
        session,
        write_timeout,
        half_close: keys.get("half_close", base.half_close, |v| values::word(v, &HALF_CLOSE, &[])),
        // What a client that comes back would find is kept nowhere yet.
        on_disconnect: keys
            .get("on_disconnect", base.on_disconnect, |v| values::word(v, &ON_DISCONNECT, &["detach"])),
        drain_timeout: keys.get("drain_timeout", base.drain_timeout, values::duration),
        treat_as_event_stream: keys.get("treat_as_event_stream", base.treat_as_event_stream, |v| {
            values::word(v, &TREAT_AS_EVENT_STREAM, &[])
        }),
        ndjson_to_sse: keys.get("ndjson_to_sse", base.ndjson_to_sse, values::boolean),
        websocket_idle_timeout: keys
            .section("websocket", |node| websocket(node, base.websocket_idle_timeout))
            .unwrap_or(base.websocket_idle_timeout),
    };
    keys.finish();
    policy
}

/// Reads a `websocket` section; returns its `idle_timeout`.
fn websocket(node: Node, base: Option<Duration>) -> Option<Duration> {
    let mut keys = node.keys();
    let idle_timeout = keys.get("idle_timeout", base, values::duration_or_off);
    keys.finish();
    idle_timeout
}

/// Reads `heartbeat_padding`.
fn heartbeat_padding(value: &Value) -> Result<Heartbeats, values::Problem> {
    match values::size_or_zero(value)? {
        padding if padding <= Heartbeats::MAX_PADDING => Ok(Heartbeats::padded(padding)),
        _ => Err(values::Problem::new(
            format!("{} is too much", values::quoted(value)),
            "write at most `64KiB`",
        )),
    }
}

/// Reads `terminal`.
fn terminal(value: &Value) -> Result<Option<Terminal>, values::Problem> {
    if value.is_null() || values::is_off(value) {
        return Ok(None);
    }
    let parsed = match value.as_str() {
        Some(text) => text.parse(),
        None => Err(
            "write the data of the last event in quotes, such as `\"[DONE]\"`, or `event:NAME`, or `member:NAME`",
        ),
    };
    parsed.map(Some).map_err(|remedy| {
        values::Problem::new(format!("{} is not what can end a stream", values::quoted(value)), remedy)
    })
}
