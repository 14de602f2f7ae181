//! How streams are treated: the `stream` keys, as defaults and per route.

use std::time::Duration;

use crate::event_stream::dialect::Dialect;

/// The effective `stream` settings of a route. Durations are `None` where the key is `off`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StreamPolicy {
    /// Silence towards the client before a heartbeat.
    pub heartbeat: Option<Duration>,
    /// From the request sent to the first event (for other responses: to the header).
    pub first_event_timeout: Option<Duration>,
    /// Silence of the backend inside a response.
    pub idle_timeout: Option<Duration>,
    /// From the request's head to the end of its stream.
    pub max_duration: Option<Duration>,
    /// How long a client may take nothing of what is written to it.
    pub write_timeout: Option<Duration>,
    pub half_close: HalfClose,
    pub error_events: ErrorEvents,
    /// What streams speak; `None` learns it from their first events.
    pub dialect: Option<Dialect>,
    /// Whether a clean end without the dialect's terminal event is an error.
    pub detect_truncation: bool,
    /// Bytes of an incomplete event that are held back.
    pub max_event_size: usize,
}

/// What a FIN from the client means while its response is still to come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HalfClose {
    /// The client has left.
    Cancel,
    /// The client still reads.
    Tolerate,
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
            first_event_timeout: Some(Duration::from_secs(600)),
            idle_timeout: Some(Duration::from_secs(300)),
            max_duration: None,
            write_timeout: Some(Duration::from_secs(30)),
            half_close: HalfClose::Cancel,
            error_events: ErrorEvents::Auto,
            dialect: None,
            detect_truncation: true,
            max_event_size: 1 << 20,
        }
    }
}
