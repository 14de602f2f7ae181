//! How a stream is to be treated.

use std::time::Duration;

use super::dialect::Dialect;

/// The settings of a route that a session follows. Durations are `None` where the key is `off`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
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
    pub error_events: ErrorEvents,
    /// What streams speak; `None` learns it from their events.
    pub dialect: Option<&'static Dialect>,
    /// Whether a clean end without the dialect's terminal event is an error.
    pub detect_truncation: bool,
    /// What ends a stream that is in no known dialect.
    pub terminal: Option<Terminal>,
    /// While events keep coming, they are written once in this time, and at the latest where a heartbeat would be.
    pub coalesce: Option<Duration>,
    /// Bytes of an incomplete event that are held back.
    pub max_event_size: usize,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            heartbeat: Some(Duration::from_secs(15)),
            early_heartbeat: None,
            first_event_timeout: Some(Duration::from_secs(600)),
            idle_timeout: Some(Duration::from_secs(300)),
            max_duration: None,
            error_events: ErrorEvents::Auto,
            dialect: None,
            detect_truncation: true,
            terminal: None,
            coalesce: None,
            max_event_size: 1 << 20,
        }
    }
}

/// How a stream that broke is ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorEvents {
    /// As the clients of the stream's dialect need it.
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

/// The event that ends a stream of an application's own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Terminal {
    /// Its data, such as `[DONE]`.
    Data(String),
    /// Its name.
    Event(String),
    /// A top-level member that is set: neither null nor false.
    Member(String),
}

impl std::fmt::Display for Terminal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Data(data) => f.write_str(data),
            Self::Event(name) => write!(f, "event:{name}"),
            Self::Member(name) => write!(f, "member:{name}"),
        }
    }
}

impl std::str::FromStr for Terminal {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let named = |name: &str| Some(name.to_owned()).filter(|name| !name.is_empty()).ok_or(());
        match text.split_once(':') {
            Some(("event", name)) => named(name).map(Self::Event),
            Some(("member", name)) => named(name).map(Self::Member),
            _ if text.len() > 2 && text.starts_with('[') && text.ends_with(']') => {
                Ok(Self::Data(text.to_owned()))
            }
            _ => Err(()),
        }
    }
}
