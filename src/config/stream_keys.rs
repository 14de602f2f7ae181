//! Reads a `stream` section.

use std::sync::LazyLock;
use std::time::Duration;

use super::StreamPolicy;
use super::keys::Keys;
use super::stream_table::*;
use crate::session::Policy;

/// Reads a `stream` section. `base` holds for the keys that are absent; without it, their defaults.
pub fn stream(mut keys: Keys, base: Option<&StreamPolicy>) -> StreamPolicy {
    let before = base.map(|base| &base.session);
    let session = Policy {
        heartbeat: keys.get_or(&HEARTBEAT, before.map(|b| b.heartbeat)),
        early_heartbeat: keys.get_or(&EARLY_HEARTBEAT, before.map(|b| b.early_heartbeat)),
        heartbeats: keys.get_or(&HEARTBEAT_PADDING, before.map(|b| b.heartbeats.clone())),
        first_event_timeout: keys.get_or(&FIRST_EVENT_TIMEOUT, before.map(|b| b.first_event_timeout)),
        idle_timeout: keys.get_or(&IDLE_TIMEOUT, before.map(|b| b.idle_timeout)),
        max_duration: keys.get_or(&MAX_DURATION, before.map(|b| b.max_duration)),
        error_events: keys.get_or(&ERROR_EVENTS, before.map(|b| b.error_events)),
        dialect: keys.get_or(&DIALECT, before.map(|b| b.dialect)),
        detect_truncation: keys.get_or(&DETECT_TRUNCATION, before.map(|b| b.detect_truncation)),
        terminal: keys.get_or(&TERMINAL, before.map(|b| b.terminal.clone())),
        coalesce: keys.get_or(&COALESCE, before.map(|b| b.coalesce)),
        max_event_size: keys.get_or(&MAX_EVENT_SIZE, before.map(|b| b.max_event_size)),
    };
    let idle_timeout = base.map(|b| b.websocket_idle_timeout);
    let policy = StreamPolicy {
        session,
        write_timeout: keys.get_or(&WRITE_TIMEOUT, base.map(|b| b.write_timeout)),
        half_close: keys.get_or(&HALF_CLOSE, base.map(|b| b.half_close)),
        on_disconnect: keys.get_or(&ON_DISCONNECT, base.map(|b| b.on_disconnect)),
        drain_timeout: keys.get_or(&DRAIN_TIMEOUT, base.map(|b| b.drain_timeout)),
        treat_as_event_stream: keys.get_or(&TREAT_AS_EVENT_STREAM, base.map(|b| b.treat_as_event_stream)),
        ndjson_to_sse: keys.get_or(&NDJSON_TO_SSE, base.map(|b| b.ndjson_to_sse)),
        websocket_idle_timeout: keys
            .section(&WEBSOCKET, |keys| websocket(keys, idle_timeout))
            .keys()
            .or(idle_timeout)
            .unwrap_or_else(|| WEBSOCKET_IDLE_TIMEOUT.default()),
    };
    keys.finish();
    policy
}

/// Reads a `websocket` section; returns its `idle_timeout`.
fn websocket(mut keys: Keys, base: Option<Option<Duration>>) -> Option<Duration> {
    let idle_timeout = keys.get_or(&WEBSOCKET_IDLE_TIMEOUT, base);
    keys.finish();
    idle_timeout
}

impl Default for StreamPolicy {
    fn default() -> Self {
        // Connections ask for it before they know their route, so it is read only once.
        static DEFAULT: LazyLock<StreamPolicy> =
            LazyLock::new(|| Keys::defaults(&STREAM, |keys| stream(keys, None)));
        DEFAULT.clone()
    }
}
