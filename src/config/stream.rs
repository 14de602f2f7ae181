//! How streams are treated: the `stream` keys, as defaults and per route.

use std::time::Duration;

use crate::session::Policy;

/// The effective `stream` settings of a route. Durations are `None` where the key is `off`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StreamPolicy {
    /// What the stream itself follows.
    pub session: Policy,
    /// How long a client may take nothing of what is written to it.
    pub write_timeout: Option<Duration>,
    pub half_close: HalfClose,
    pub on_disconnect: OnDisconnect,
    /// How long an answer whose client has left is read on at most.
    pub drain_timeout: Duration,
    pub treat_as_event_stream: TreatAsEventStream,
    /// Whether streams of JSON texts, one a line, become event streams.
    pub ndjson_to_sse: bool,
    /// How long a WebSocket may be silent both ways.
    pub websocket_idle_timeout: Option<Duration>,
}

/// What a FIN from the client means while its response is still to come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HalfClose {
    /// The client has left.
    Cancel,
    /// The client still reads.
    Tolerate,
}

/// What becomes of the upstream's work when its client has left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnDisconnect {
    /// Its connection is closed, so that it stops.
    Cancel,
    /// Its answer is read to the end, so that it is counted and billed.
    Drain,
}

/// Which responses are event streams.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TreatAsEventStream {
    /// Those that say so, and plain text that is one beyond doubt where a stream was asked for.
    Auto,
    /// Every successful one.
    Always,
    Never,
}

impl Default for StreamPolicy {
    fn default() -> Self {
        Self {
            session: Policy::default(),
            write_timeout: Some(Duration::from_secs(30)),
            half_close: HalfClose::Cancel,
            on_disconnect: OnDisconnect::Cancel,
            drain_timeout: Duration::from_secs(300),
            treat_as_event_stream: TreatAsEventStream::Auto,
            ndjson_to_sse: false,
            websocket_idle_timeout: None,
        }
    }
}
