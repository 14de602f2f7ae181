//! How a request ended. One value, computed in one place; metrics, error events and logs read it.

use std::borrow::Cow;

use http::StatusCode;

use crate::event_stream::ErrorCode;

/// Where in its life a request was.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Phase {
    /// Looking for or opening an upstream connection.
    Connecting,
    /// The request is (being) sent; no response header yet.
    Prefill,
    /// An event stream is running.
    Streaming,
    /// The body of another response is running.
    Body,
    /// A WebSocket is open.
    Tunnel,
}

impl Phase {
    pub const ALL: [Self; 5] = [Self::Connecting, Self::Prefill, Self::Streaming, Self::Body, Self::Tunnel];

    /// The value of the `phase` label.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Connecting => "connecting",
            Self::Prefill => "prefill",
            Self::Streaming => "streaming",
            Self::Body => "body",
            Self::Tunnel => "tunnel",
        }
    }
}

/// What the upstream did wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UpstreamFault {
    /// This machine has no descriptor, port or memory left for another connection.
    NoResources,
    /// No connection could be opened.
    ConnectFailed,
    /// No connection was open within `connect_timeout`.
    ConnectTimeout,
    /// Its connection was reset.
    Reset,
    /// It closed its connection before the response was complete.
    Closed,
    /// Its response ended cleanly, and the answer in it was not complete.
    Truncated,
    /// It sent no valid HTTP.
    Invalid,
    /// It was silent for longer than `idle_timeout` inside a response.
    IdleTimeout,
    /// No header, or no first event, within `first_event_timeout`.
    FirstEventTimeout,
    /// It took longer than `max_duration`.
    MaxDuration,
    /// None of its doing: the proxy is at its end.
    ShuttingDown,
    /// It answered with this status after the stream had begun without it.
    Status(StatusCode),
}

impl UpstreamFault {
    /// The code of the error event once a stream's header is out.
    pub fn event_code(self) -> ErrorCode {
        match self {
            Self::NoResources => ErrorCode::Overloaded,
            Self::ConnectFailed => ErrorCode::UpstreamConnectFailed,
            Self::ConnectTimeout => ErrorCode::UpstreamConnectTimeout,
            Self::Reset => ErrorCode::UpstreamReset,
            Self::Closed => ErrorCode::UpstreamClosed,
            Self::Truncated => ErrorCode::UpstreamTruncated,
            Self::Invalid => ErrorCode::UpstreamInvalid,
            Self::IdleTimeout => ErrorCode::IdleTimeout,
            Self::FirstEventTimeout => ErrorCode::FirstEventTimeout,
            Self::MaxDuration => ErrorCode::MaxDuration,
            Self::ShuttingDown => ErrorCode::ShuttingDown,
            Self::Status(status) => ErrorCode::UpstreamStatus(status.as_u16()),
        }
    }
}

/// Who ended a request and how.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The whole response was delivered.
    Completed,
    /// The whole response was delivered, and it ended in an error that the backend itself reported.
    ReportedError,
    /// The client left.
    ClientGone(Phase),
    /// The client left, and the whole response was read all the same, as `on_disconnect: drain` asks for.
    Drained(Phase),
    /// The client took nothing for `write_timeout`.
    SlowReader,
    /// The upstream failed.
    Upstream(UpstreamFault),
    /// The client's request body is none that can be served.
    BadBody(BadBody),
}

/// What is wrong with a request's body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BadBody {
    /// It breaks the rules of its framing.
    Malformed,
    /// It is larger than `max_request_body`.
    TooLarge,
    /// Its client sends nothing more of it.
    TimedOut,
}

impl BadBody {
    /// Stable: users script against it.
    pub fn code(self) -> &'static str {
        match self {
            Self::Malformed => "malformed_body",
            Self::TooLarge => "body_too_large",
            Self::TimedOut => "body_timeout",
        }
    }
}

impl Outcome {
    /// Every value of the `outcome` label that can occur for a WebSocket.
    pub const WEBSOCKET_LABELS: [&'static str; 7] =
        ["completed", "client_gone", "slow_reader", "upstream_reset", "idle_timeout", "max_duration", "shed"];

    /// Every value of the `outcome` label that can occur for a stream.
    pub const LABELS: [&'static str; 11] = [
        "completed",
        "client_gone",
        "drained",
        "slow_reader",
        "upstream_reset",
        "upstream_truncated",
        "upstream_error",
        "idle_timeout",
        "first_event_timeout",
        "max_duration",
        "shed",
    ];

    /// The same end, where the client had left in this phase and the answer was read on.
    pub fn without_client(self, phase: Phase) -> Self {
        match self {
            Self::Completed | Self::ReportedError | Self::Drained(_) => Self::Drained(phase),
            Self::ClientGone(_) | Self::SlowReader | Self::Upstream(_) | Self::BadBody(_) => {
                Self::ClientGone(phase)
            }
        }
    }

    /// Where in its life the request was, if the outcome depends on it.
    pub fn phase(self) -> Option<Phase> {
        match self {
            Self::ClientGone(phase) | Self::Drained(phase) => Some(phase),
            Self::Completed
            | Self::ReportedError
            | Self::SlowReader
            | Self::Upstream(_)
            | Self::BadBody(_) => None,
        }
    }

    /// Whose doing the end was: `client`, `backend` or `proxy`.
    pub fn ended_by(self) -> &'static str {
        match self {
            Self::Completed | Self::ReportedError => "backend",
            Self::ClientGone(_) | Self::Drained(_) | Self::SlowReader | Self::BadBody(_) => "client",
            Self::Upstream(fault) => match fault {
                UpstreamFault::ConnectFailed
                | UpstreamFault::Reset
                | UpstreamFault::Closed
                | UpstreamFault::Truncated
                | UpstreamFault::Invalid
                | UpstreamFault::Status(_) => "backend",
                UpstreamFault::NoResources
                | UpstreamFault::ConnectTimeout
                | UpstreamFault::IdleTimeout
                | UpstreamFault::FirstEventTimeout
                | UpstreamFault::MaxDuration
                | UpstreamFault::ShuttingDown => "proxy",
            },
        }
    }

    /// The code of what went wrong, as clients see it in a status of ours or an error event.
    pub fn error_code(self) -> Option<Cow<'static, str>> {
        match self {
            Self::Upstream(fault) => Some(fault.event_code().name()),
            Self::BadBody(bad) => Some(bad.code().into()),
            Self::Completed
            | Self::ReportedError
            | Self::ClientGone(_)
            | Self::Drained(_)
            | Self::SlowReader => None,
        }
    }

    /// The value of the `outcome` label.
    pub fn label(self) -> &'static str {
        match self {
            Self::Completed => "completed",
            Self::ReportedError => "upstream_error",
            Self::ClientGone(_) => "client_gone",
            Self::Drained(_) => "drained",
            Self::SlowReader => "slow_reader",
            Self::Upstream(fault) => match fault {
                UpstreamFault::Reset | UpstreamFault::Closed => "upstream_reset",
                UpstreamFault::ConnectFailed
                | UpstreamFault::ConnectTimeout
                | UpstreamFault::Invalid
                | UpstreamFault::Status(_) => "upstream_error",
                UpstreamFault::Truncated => "upstream_truncated",
                UpstreamFault::NoResources | UpstreamFault::ShuttingDown => "shed",
                UpstreamFault::IdleTimeout => "idle_timeout",
                UpstreamFault::FirstEventTimeout => "first_event_timeout",
                UpstreamFault::MaxDuration => "max_duration",
            },
            // Whoever sends such a body is no client that can be served.
            Self::BadBody(_) => "client_gone",
        }
    }
}
