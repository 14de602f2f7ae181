//! How a request ended. One value, computed in one place; status, metrics, error events and logs read it.

mod grpc_status;

use std::borrow::Cow;
use std::fmt;
use std::time::Duration;

pub use grpc_status::GrpcStatus;

/// Where in its life a request was.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Phase {
    /// Waiting for a server that takes the request.
    Queued,
    /// Opening an upstream connection.
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
    pub const ALL: [Self; 6] =
        [Self::Queued, Self::Connecting, Self::Prefill, Self::Streaming, Self::Body, Self::Tunnel];

    /// The value of the `phase` label.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Connecting => "connecting",
            Self::Prefill => "prefill",
            Self::Streaming => "streaming",
            Self::Body => "body",
            Self::Tunnel => "tunnel",
        }
    }
}

/// Whose doing an end was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EndedBy {
    Client,
    Backend,
    Proxy,
}

impl EndedBy {
    /// The word in the access log.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Client => "client",
            Self::Backend => "backend",
            Self::Proxy => "proxy",
        }
    }
}

/// All that follows from a [`Failure`].
#[derive(Clone, Copy, Debug)]
pub struct Facts {
    /// In an error event, in the body of a status of ours, and in the access log. Stable: users script against it.
    pub code: &'static str,
    /// The value of the `outcome` label.
    pub outcome: &'static str,
    /// The status, where no response header is out yet.
    pub status: u16,
    /// What a call of gRPC ends with instead, before its response header and after.
    pub grpc_status: GrpcStatus,
    pub ended_by: EndedBy,
    /// What a person reads together with that status. Fixed: never an upstream address, header or byte.
    pub unanswered: &'static str,
    /// Likewise in an error event; empty where no stream can end so.
    pub broken_off: &'static str,
}

macro_rules! failures {
    ($($(#[$doc:meta])+ $name:ident: $code:literal, $outcome:literal, $status:literal, $grpc_status:ident, $ended_by:ident, $unanswered:literal, $broken_off:literal;)+) => {
        /// What went wrong with a request, its client aside.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Failure {
            $($(#[$doc])+ $name,)+
        }

        impl Failure {
            /// Every failure, in the order of the table.
            pub const ALL: [Self; [$($code),+].len()] = [$(Self::$name),+];

            /// What follows from it.
            pub const fn facts(self) -> &'static Facts {
                match self {
                    $(Self::$name => &Facts {
                        code: $code,
                        outcome: $outcome,
                        status: $status,
                        grpc_status: GrpcStatus::$grpc_status,
                        ended_by: EndedBy::$ended_by,
                        unanswered: $unanswered,
                        broken_off: $broken_off,
                    },)+
                }
            }
        }
    };
}

// Code, outcome, status, status of a call of gRPC, who ended it; the message with the status, and the one in an error event.
failures! {
    /// This machine has no descriptor, port or memory left for another connection.
    NoResources: "overloaded", "shed", 503, Unavailable, Proxy,
        "No further connection to the backend can be opened now.",
        "No further connection to the backend can be opened now.";
    /// All servers carry as many streams as they may, and no more requests may wait.
    QueueFull: "queue_full", "shed", 503, Unavailable, Proxy,
        "All servers are busy: they carry as many streams as they may.",
        "All servers are busy: they carry as many streams as they may.";
    /// No server was free within the queue's `timeout`.
    QueueTimeout: "queue_timeout", "shed", 503, Unavailable, Proxy,
        "All servers are busy, and none was free in time.",
        "All servers are busy, and none was free in time.";
    /// No server of the upstream is up.
    NoServer: "no_server", "shed", 503, Unavailable, Proxy,
        "No server is available now.",
        "No server is available now.";
    /// The client has as many streams as it may have.
    TooManyStreams: "too_many_streams", "shed", 429, ResourceExhausted, Proxy,
        "This client has too many streams open already.",
        "This client has too many streams open already.";
    /// The name of the backend's server could not be looked up.
    LookupFailed: "dns_failed", "upstream_error", 502, Unavailable, Backend,
        "The name of the backend's server could not be looked up.",
        "The name of the backend's server could not be looked up.";
    /// Nobody has answered what the address of the backend's server is.
    LookupTimeout: "dns_timeout", "upstream_error", 504, Unavailable, Proxy,
        "The name of the backend's server was not looked up in time.",
        "The name of the backend's server was not looked up in time.";
    /// No connection could be opened.
    ConnectFailed: "upstream_connect_failed", "upstream_error", 502, Unavailable, Backend,
        "The backend could not be reached.",
        "The backend could not be reached.";
    /// No connection was open within `connect_timeout`.
    ConnectTimeout: "upstream_connect_timeout", "upstream_error", 504, Unavailable, Proxy,
        "The backend did not accept the connection in time.",
        "The backend did not accept the connection in time.";
    /// gRPC is of HTTP/2, and this upstream is spoken to in HTTP/1.1.
    GrpcOverHttp1: "grpc_needs_http2", "upstream_error", 502, Unimplemented, Proxy,
        "gRPC needs HTTP/2 to the backend: write h2:// or h2s:// in place of http:// or https:// in `servers`. Unix sockets are spoken \
         to in HTTP/1.1.", "";
    /// The upstream connection, or its stream, was reset.
    Reset: "upstream_reset", "upstream_reset", 502, Unavailable, Backend,
        "The backend reset its connection without an answer.",
        "The backend's connection was reset before the answer was complete.";
    /// The upstream connection was closed in the middle of the response's framing.
    Closed: "upstream_closed", "upstream_reset", 502, Unavailable, Backend,
        "The backend closed its connection without an answer.",
        "The backend closed its connection before the answer was complete.";
    /// The response ended cleanly, and the answer in it was not complete.
    Truncated: "upstream_truncated", "upstream_truncated", 502, Internal, Backend,
        "The backend ended its response before the answer was complete.",
        "The backend ended its response before the answer was complete.";
    /// The backend sent bytes that are no valid HTTP, or no valid body of the kind its header announced.
    Invalid: "upstream_invalid", "upstream_error", 502, Internal, Backend,
        "The backend sent an invalid response.",
        "The backend sent an invalid response before the answer was complete.";
    /// The stream began before the backend answered, and its answer was no success: the status is the cause.
    Status: "upstream_status", "upstream_error", 502, Internal, Backend,
        "The backend sent an invalid response.",
        "The backend answered with an error instead of a stream.";
    /// The backend was silent for longer than `idle_timeout` inside a response.
    IdleTimeout: "idle_timeout", "idle_timeout", 504, DeadlineExceeded, Proxy,
        "The backend was silent for too long.",
        "The backend stopped sending before the answer was complete (idle timeout).";
    /// No header, or no first event, within `first_event_timeout`.
    FirstEventTimeout: "first_event_timeout", "first_event_timeout", 504, DeadlineExceeded, Proxy,
        "The backend did not begin to answer in time.",
        "The backend sent no first event in time (first event timeout).";
    /// The request took longer than `max_duration`.
    MaxDuration: "max_duration", "max_duration", 504, DeadlineExceeded, Proxy,
        "The answer took longer than is allowed for it.",
        "The answer was not complete within the longest duration that is allowed for it.";
    /// Not a backend fault: sidestream is shutting down, and `drain_timeout` has expired.
    ShuttingDown: "shutting_down", "shed", 503, Unavailable, Proxy,
        "The server is shutting down.",
        "The server is shutting down, before the answer was complete.";
    /// The request's body breaks the rules of its framing.
    MalformedBody: "malformed_body", "client_gone", 400, Internal, Client,
        "The body of this request breaks the rules of its framing.", "";
    /// The request's body is larger than `max_request_body`.
    BodyTooLarge: "body_too_large", "client_gone", 413, ResourceExhausted, Client,
        "The body of this request is larger than is allowed here.", "";
    /// The client sends nothing more of its request's body.
    BodyTimeout: "body_timeout", "client_gone", 408, DeadlineExceeded, Client,
        "The rest of this request's body did not arrive in time.", "";
}

impl Failure {
    /// Whether it is the backend's connection that broke, which a client would have seen without a proxy.
    pub fn breaks_connection(self) -> bool {
        matches!(self, Self::Reset | Self::Closed | Self::Invalid)
    }

    /// Whether it says that the server is not well, so that others had better get its requests.
    pub fn is_servers(self) -> bool {
        matches!(
            self,
            Self::LookupFailed
                | Self::LookupTimeout
                | Self::ConnectFailed
                | Self::ConnectTimeout
                | Self::Reset
                | Self::Closed
                | Self::Truncated
                | Self::Invalid
                | Self::IdleTimeout
                | Self::FirstEventTimeout
        )
    }

    /// The codes that error events can have.
    pub fn error_event_codes() -> impl Iterator<Item = &'static str> {
        Self::ALL
            .into_iter()
            .map(Self::facts)
            .filter(|facts| !facts.broken_off.is_empty())
            .map(|facts| facts.code)
    }
}

/// The table of failures in docs/access-log.md.
pub fn table() -> String {
    let head = "| `error.type` | `outcome` | status before the header | status of a gRPC call | `ended_by` | what a client reads |\n|---|---|---|---|---|---|\n";
    let rows = Failure::ALL.into_iter().map(|failure| {
        let Facts { code, outcome, status, grpc_status, ended_by, unanswered, broken_off } = *failure.facts();
        let message = if broken_off.is_empty() { unanswered } else { broken_off };
        format!(
            "| `{code}` | `{outcome}` | {status} | {grpc_status} | `{}` | {message} |\n",
            ended_by.as_str()
        )
    });
    head.to_owned() + &rows.collect::<String>()
}

/// What the operating system or the protocol said of a failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// An error number of the operating system.
    Os(i32),
    /// The error code of a reset HTTP/2 stream (RFC 9113, 7).
    Http2(u32),
    /// Likewise of a connection that the backend gives up (RFC 9113, 6.8).
    GoAway(u32),
    /// The status of the backend's answer.
    Status(u16),
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Os(number) => std::io::Error::from_raw_os_error(*number).fmt(f),
            Self::Http2(code) => write!(f, "HTTP/2 {:?}", h2::Reason::from(*code)),
            Self::GoAway(code) => write!(f, "HTTP/2 GOAWAY {:?}", h2::Reason::from(*code)),
            Self::Status(status) => write!(f, "status {status}"),
        }
    }
}

/// A failure together with its cause, where one is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fault {
    pub failure: Failure,
    pub cause: Option<Cause>,
    /// Nothing is wrong but the time: it may be better after so many seconds (RFC 9110, 10.2.3).
    pub retry_after: Option<u16>,
}

impl From<Failure> for Fault {
    fn from(failure: Failure) -> Self {
        Self { failure, cause: None, retry_after: None }
    }
}

impl Fault {
    pub fn caused(failure: Failure, cause: impl Into<Option<Cause>>) -> Self {
        Self { cause: cause.into(), ..failure.into() }
    }

    /// It may be better after this time.
    pub fn passing(failure: Failure, after: Duration) -> Self {
        // What does not fit is far beyond any time that is told.
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
        let seconds = after.as_secs_f64().ceil() as u16;
        Self { retry_after: Some(seconds), ..failure.into() }
    }

    /// The code as clients see it: a backend's status is part of it.
    pub fn code(self) -> Cow<'static, str> {
        let code = self.failure.facts().code;
        self.status().map_or(code.into(), |status| format!("{code}_{status}").into())
    }

    /// What a person reads in an error event.
    pub fn message(self) -> Cow<'static, str> {
        self.status().map_or(self.failure.facts().broken_off.into(), |status| {
            format!("The backend answered with the status {status} instead of a stream.").into()
        })
    }

    /// The status of the backend that is the failure.
    pub fn status(self) -> Option<u16> {
        match self {
            Self { failure: Failure::Status, cause: Some(Cause::Status(status)), .. } => Some(status),
            _ => None,
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
    Failed(Fault),
}

impl From<Failure> for Outcome {
    fn from(failure: Failure) -> Self {
        Self::Failed(failure.into())
    }
}

impl Outcome {
    /// Every value of the `outcome` label.
    pub fn labels() -> Vec<&'static str> {
        const PHASE: Phase = Phase::Prefill;
        let ends = [
            Self::Completed,
            Self::ClientGone(PHASE),
            Self::Drained(PHASE),
            Self::SlowReader,
            Self::ReportedError,
        ];
        let failures = Failure::ALL.into_iter().map(Self::from);
        let mut labels: Vec<_> = ends.into_iter().chain(failures).map(Self::label).collect();
        labels.sort_unstable();
        labels.dedup();
        labels
    }

    /// The same end, where the client had left in this phase and the answer was read on.
    pub fn without_client(self, phase: Phase) -> Self {
        match self {
            Self::Completed | Self::ReportedError | Self::Drained(_) => Self::Drained(phase),
            Self::ClientGone(_) | Self::SlowReader | Self::Failed(_) => Self::ClientGone(phase),
        }
    }

    /// What went wrong, the client aside.
    pub fn fault(self) -> Option<Fault> {
        match self {
            Self::Failed(fault) => Some(fault),
            _ => None,
        }
    }

    /// Where in its life the request was, if the outcome depends on it.
    pub fn phase(self) -> Option<Phase> {
        match self {
            Self::ClientGone(phase) | Self::Drained(phase) => Some(phase),
            Self::Completed | Self::ReportedError | Self::SlowReader | Self::Failed(_) => None,
        }
    }

    pub fn ended_by(self) -> EndedBy {
        match self {
            Self::Completed | Self::ReportedError => EndedBy::Backend,
            Self::ClientGone(_) | Self::Drained(_) | Self::SlowReader => EndedBy::Client,
            Self::Failed(fault) => fault.failure.facts().ended_by,
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
            Self::Failed(fault) => fault.failure.facts().outcome,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_and_codes_are_each_listed_once() {
        let mut labels = Outcome::labels();
        labels.dedup();
        assert_eq!(labels.len(), 11);
        let mut codes: Vec<_> = Failure::ALL.into_iter().map(|failure| failure.facts().code).collect();
        codes.sort_unstable();
        codes.dedup();
        assert_eq!(codes.len(), Failure::ALL.len());
    }

    #[test]
    fn a_cause_is_told_in_words() {
        assert_eq!(Cause::Http2(8).to_string(), "HTTP/2 CANCEL");
        assert!(Cause::Os(104).to_string().contains("reset"), "{}", Cause::Os(104));
        let fault = Fault::caused(Failure::Status, Cause::Status(429));
        assert_eq!(fault.code(), "upstream_status_429");
    }
}
