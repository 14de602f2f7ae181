//! How a stream is to be treated.

use std::time::Duration;

use super::dialect::Dialect;
use super::heartbeat::Heartbeats;

/// The settings of a route that a session follows. Durations are `None` where the key is `off`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    /// Silence towards the client before a heartbeat.
    pub heartbeat: Option<Duration>,
    /// From the request's head to a response header of our own and a first heartbeat, where the backend has sent none.
    pub early_heartbeat: Option<Duration>,
    /// What is written then, with `heartbeat_padding`.
    pub heartbeats: Heartbeats,
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
            heartbeats: Heartbeats::default(),
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
    type Err = &'static str;

    /// `Err`: what to write instead.
    fn from_str(text: &str) -> Result<Self, &'static str> {
        let named = |name: &str| match name {
            "" => Err("write a name after the colon, such as `event:done` or `member:done`"),
            name if name.contains(|c: char| c.is_whitespace() || c.is_control()) => {
                Err("write the name right after the colon, without blanks, such as `event:done`")
            }
            name => Ok(name.to_owned()),
        };
        match text.split_once(':') {
            Some(("event", name)) => named(name).map(Self::Event),
            Some(("member", name)) => named(name).map(Self::Member),
            Some(("data", _)) => Err("leave out `data:`, and write the data in quotes, such as `\"[DONE]\"`"),
            Some((kind, _))
                if !kind.is_empty()
                    && kind.chars().all(|c| c.is_ascii_alphanumeric() || "_-".contains(c)) =>
            {
                Err(
                    "write `event:NAME`, `member:NAME`, or the data of the last event in quotes, such as `\"[DONE]\"`",
                )
            }
            _ if text.trim().is_empty() => {
                Err("write the data of the last event in quotes, such as `\"[DONE]\"`, or `null`")
            }
            _ if text != text.trim() || text.contains(char::is_control) => Err(
                "write the data of the last event as it is sent, on one line and without blanks around it",
            ),
            _ => Ok(Self::Data(text.to_owned())),
        }
    }
}
