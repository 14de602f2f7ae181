//! The settings of a session.

use std::time::Duration;

use super::dialect::Dialect;
use super::heartbeat::Heartbeats;

/// The settings of a route that concern its responses. A duration is `None` if its key is `off`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    /// The silence towards the client after which a heartbeat is sent.
    pub heartbeat: Option<Duration>,
    /// The time from the request head to a first heartbeat, with a response head from sidestream if the backend has sent
    /// none.
    pub early_heartbeat: Option<Duration>,
    /// The bytes of the heartbeats, `heartbeat_padding` included.
    pub heartbeats: Heartbeats,
    /// From the request being sent to the first event. For other responses: to the response head.
    pub first_event_timeout: Option<Duration>,
    /// The longest silence of the backend within a response.
    pub idle_timeout: Option<Duration>,
    /// From the request head to the end of the response.
    pub max_duration: Option<Duration>,
    /// How to end a stream that broke.
    pub error_events: ErrorEvents,
    /// The dialect of the streams. `None`: recognize it from their events.
    pub dialect: Option<&'static Dialect>,
    /// Whether a clean end without the terminal event of the dialect is an error.
    pub detect_truncation: bool,
    /// The terminal event of streams in no known dialect.
    pub terminal: Option<Terminal>,
    /// The shortest time between two writes while events arrive continuously. Events never wait longer than `heartbeat`.
    pub coalesce: Option<Duration>,
    /// The most bytes of an incomplete event that are held back.
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

/// How to end a stream that broke.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorEvents {
    /// In the way that the clients of the stream's dialect need.
    Auto,
    /// With an error event in the format of OpenAI's chat completions.
    OpenAi,
    /// With an error event in the format of Anthropic's messages.
    Anthropic,
    /// With an error event in the format of OpenAI's Responses that its SDKs raise.
    Responses,
    /// With a JSON-RPC error for each open request, or with a broken connection if there is none.
    Mcp,
    /// With an error event that is a flat object, for pages that use `EventSource` directly, and a broken connection.
    Generic,
    /// With a broken connection only.
    Off,
}

/// The terminal event of a stream in no known dialect.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Terminal {
    /// The event with this data, such as `[DONE]`.
    Data(String),
    /// The event with this name.
    Event(String),
    /// The event whose data has this top-level member, with a value other than null and false.
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

    /// Parses the value of the key `terminal`.
    ///
    /// # Errors
    ///
    /// What to write instead.
    fn from_str(text: &str) -> Result<Self, &'static str> {
        let named = |name: &str| match name {
            "" => Err("write a name after the colon, such as `event:done` or `member:done`"),
            name if name.contains(|c: char| c.is_whitespace() || c.is_control()) => {
                Err("write the name right after the colon, without spaces, such as `event:done`")
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
                "write the data of the last event as it is sent, on one line and without spaces around it",
            ),
            _ => Ok(Self::Data(text.to_owned())),
        }
    }
}
