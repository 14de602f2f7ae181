//! How streams are treated: the `stream` keys, as defaults and per route.

use std::time::Duration;

use crate::event_stream::dialect::Dialect;

/// The effective `stream` settings of a route. Durations are `None` where the key is `off`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StreamPolicy {
    /// Silence towards the client before a heartbeat.
    pub heartbeat: Option<Duration>,
    /// From the request's head to a response header of our own and a first heartbeat, where the backend has sent none.
    pub early_heartbeat: Option<Duration>,
    /// From the request sent to the first event (for other responses: to the header).
    pub first_event_timeout: Option<Duration>,
    /// Silence of the backend inside a response.
    pub idle_timeout: Option<Duration>,
    /// From the request's head to the end of its stream.
    pub max_duration: Option<Duration>,
    /// How long a client may take nothing of what is written to it.
    pub write_timeout: Option<Duration>,
    pub half_close: HalfClose,
    pub on_disconnect: OnDisconnect,
    /// How long an answer whose client has left is read on at most.
    pub drain_timeout: Duration,
    pub error_events: ErrorEvents,
    /// What streams speak; `None` learns it from their first events.
    pub dialect: Option<Dialect>,
    /// Whether a clean end without the dialect's terminal event is an error.
    pub detect_truncation: bool,
    /// While events keep coming, they are written once in this time.
    pub coalesce: Option<Duration>,
    /// Bytes of an incomplete event that are held back.
    pub max_event_size: usize,
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
    /// Those that say so, and plain text that begins like one.
    Auto,
    /// Every successful one.
    Always,
    Never,
}

/// How a stream that broke is ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorEvents {
    /// One error event that every LLM SDK raises, then a clean end; on an MCP stream a JSON-RPC error.
    Auto,
    /// OpenAI's form for chat completions.
    OpenAi,
    Anthropic,
    /// OpenAI's form for Responses, the one that its SDKs raise.
    Responses,
    /// JSON-RPC errors with the ids of the request.
    Mcp,
    /// A flat object, for pages that read an `EventSource` themselves.
    Generic,
    /// The connection is broken: no event, and no end that looks clean.
    Off,
}

impl Default for StreamPolicy {
    fn default() -> Self {
        Self {
            heartbeat: Some(Duration::from_secs(15)),
            early_heartbeat: None,
            first_event_timeout: Some(Duration::from_secs(600)),
            idle_timeout: Some(Duration::from_secs(300)),
            max_duration: None,
            write_timeout: Some(Duration::from_secs(30)),
            half_close: HalfClose::Cancel,
            on_disconnect: OnDisconnect::Cancel,
            drain_timeout: Duration::from_secs(300),
            error_events: ErrorEvents::Auto,
            dialect: None,
            detect_truncation: true,
            coalesce: None,
            max_event_size: 1 << 20,
            treat_as_event_stream: TreatAsEventStream::Auto,
            ndjson_to_sse: false,
            websocket_idle_timeout: None,
        }
    }
}
