//! How streams are treated: the `stream` keys, as defaults and per route.

use std::time::Duration;

use crate::session::Policy;

/// The effective `stream` settings of a route. Durations are `None` where the key is `off`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StreamPolicy {
    /// The settings that the session itself follows.
    pub session: Policy,
    /// How long a client may take nothing of what is written to it.
    pub write_timeout: Option<Duration>,
    /// What a FIN from the client means.
    pub half_close: HalfClose,
    /// What happens to the backend's work after its client left.
    pub on_disconnect: OnDisconnect,
    /// The longest time for which an answer is read after its client left.
    pub drain_timeout: Duration,
    /// Which responses are event streams.
    pub treat_as_event_stream: TreatAsEventStream,
    /// Whether streams of JSON lines become event streams.
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

/// What happens to the backend's work after its client left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnDisconnect {
    /// The upstream connection is closed, so that the backend stops.
    Cancel,
    /// The answer is read to its end, so that it is counted and billed.
    Drain,
}

/// Which responses are event streams.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TreatAsEventStream {
    /// By content type; and `text/plain` that is one beyond doubt, where a stream was asked for.
    Auto,
    /// Every successful response.
    Always,
    /// None.
    Never,
}
