//! How an exchange ended: one value, computed in one place.
//!
//! The status, the metrics, the error event and the access log all read it.

mod grpc_status;

use std::borrow::Cow;
use std::fmt;
use std::time::Duration;

pub use grpc_status::GrpcStatus;

/// The phase of an exchange.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Phase {
    /// Waiting in the queue for a free server.
    Queued,
    /// Opening an upstream connection.
    Connecting,
    /// The request is sent or being sent; the response head has not arrived.
    Prefill,
    /// Relaying an event stream.
    Streaming,
    /// Relaying the body of any other response.
    Body,
    /// Relaying a WebSocket.
    Tunnel,
}

impl Phase {
    /// All phases, in the order in which an exchange passes through them.
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

/// The party that ended an exchange.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EndedBy {
    /// The client.
    Client,
    /// The backend.
    Backend,
    /// sidestream itself, for example on a timeout.
    Proxy,
}

impl EndedBy {
    /// The value of `ended_by` in the access log.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Client => "client",
            Self::Backend => "backend",
            Self::Proxy => "proxy",
        }
    }
}

/// Everything that a [`Failure`] implies.
#[derive(Clone, Copy, Debug)]
pub struct Facts {
    /// The code in error events, in the bodies of local replies and in the access log. Stable: users script against it.
    pub code: &'static str,
    /// The value of the `outcome` label.
    pub outcome: &'static str,
    /// The response status if the response head has not been sent yet.
    pub status: u16,
    /// The status of a gRPC call, whether or not the response head has been sent.
    pub grpc_status: GrpcStatus,
    /// The party that ended the exchange.
    pub ended_by: EndedBy,
    /// The message that goes with `status`. A fixed text: it never contains upstream addresses, fields or bytes.
    pub unanswered: &'static str,
    /// The message in an error event, equally fixed. Empty if the failure cannot happen inside a stream.
    pub broken_off: &'static str,
}

macro_rules! failures {
    ($($(#[$doc:meta])+ $name:ident: $code:literal, $outcome:literal, $status:literal, $grpc_status:ident, $ended_by:ident, $unanswered:literal, $broken_off:literal;)+) => {
        /// Why an exchange failed. A client that disconnects is not a failure; see [`Outcome`].
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Failure {
            $($(#[$doc])+ $name,)+
        }

        impl Failure {
            /// All failures, in the order of the table.
            pub const ALL: [Self; [$($code),+].len()] = [$(Self::$name),+];

            /// The failure's row of the table.
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

// Columns: code, outcome, status, gRPC status, ended by; message with the status; message in an error event.
failures! {
    /// The host has no file descriptor, port or memory left for another connection.
    NoResources: "overloaded", "shed", 503, Unavailable, Proxy,
        "The proxy cannot open another connection to the backend at the moment.",
        "The proxy cannot open another connection to the backend at the moment.";
    /// All servers are at `max_streams`, and the queue is full or disabled.
    QueueFull: "queue_full", "shed", 503, Unavailable, Proxy,
        "All servers are busy: each has reached its stream limit.",
        "All servers are busy: each has reached its stream limit.";
    /// No slot became free within the queue's `timeout`.
    QueueTimeout: "queue_timeout", "shed", 503, Unavailable, Proxy,
        "All servers are busy, and none became free in time.",
        "All servers are busy, and none became free in time.";
    /// No server of the upstream is up.
    NoServer: "no_server", "shed", 503, Unavailable, Proxy,
        "No server is available at the moment.",
        "No server is available at the moment.";
    /// The client has reached the `max_streams` of `per_client`.
    TooManyStreams: "too_many_streams", "shed", 429, ResourceExhausted, Proxy,
        "This client already has too many open streams.",
        "This client already has too many open streams.";
    /// The DNS lookup of the server's name failed.
    LookupFailed: "dns_failed", "upstream_error", 502, Unavailable, Backend,
        "The host name of the backend could not be resolved.",
        "The host name of the backend could not be resolved.";
    /// The DNS lookup of the server's name got no answer in time.
    LookupTimeout: "dns_timeout", "upstream_error", 504, Unavailable, Proxy,
        "The host name of the backend was not resolved in time.",
        "The host name of the backend was not resolved in time.";
    /// No connection could be opened.
    ConnectFailed: "upstream_connect_failed", "upstream_error", 502, Unavailable, Backend,
        "The backend could not be reached.",
        "The backend could not be reached.";
    /// No connection was established within `connect_timeout`.
    ConnectTimeout: "upstream_connect_timeout", "upstream_error", 504, Unavailable, Proxy,
        "The backend did not accept the connection in time.",
        "The backend did not accept the connection in time.";
    /// A gRPC call, which needs HTTP/2, was routed to an upstream that uses HTTP/1.1.
    GrpcOverHttp1: "grpc_needs_http2", "upstream_error", 502, Unimplemented, Proxy,
        "gRPC needs HTTP/2 to the backend: in `servers`, write h2:// or h2s:// instead of http:// or https://. Unix sockets \
         always use HTTP/1.1.", "";
    /// The upstream connection, or the HTTP/2 stream on it, was reset.
    Reset: "upstream_reset", "upstream_reset", 502, Unavailable, Backend,
        "The backend reset the connection without answering.",
        "The backend reset the connection before the answer was complete.";
    /// The upstream connection was closed before the framing of the response was complete.
    Closed: "upstream_closed", "upstream_reset", 502, Unavailable, Backend,
        "The backend closed the connection without answering.",
        "The backend closed the connection before the answer was complete.";
    /// The response ended cleanly, but the answer in it was not complete.
    Truncated: "upstream_truncated", "upstream_truncated", 502, Internal, Backend,
        "The backend ended its response before the answer was complete.",
        "The backend ended its response before the answer was complete.";
    /// The backend sent invalid HTTP, or a body that does not match its head.
    Invalid: "upstream_invalid", "upstream_error", 502, Internal, Backend,
        "The backend sent an invalid response.",
        "The backend sent an invalid response before the answer was complete.";
    /// An early heartbeat started the stream, and then the backend answered with an error status, which is the cause.
    Status: "upstream_status", "upstream_error", 502, Internal, Backend,
        "The backend sent an invalid response.",
        "The backend answered with an error instead of a stream.";
    /// The backend sent nothing for `idle_timeout` within a response.
    IdleTimeout: "idle_timeout", "idle_timeout", 504, DeadlineExceeded, Proxy,
        "The backend was silent for too long.",
        "The backend stopped sending before the answer was complete (idle timeout).";
    /// Neither a response head nor a first event arrived within `first_event_timeout`.
    FirstEventTimeout: "first_event_timeout", "first_event_timeout", 504, DeadlineExceeded, Proxy,
        "The backend did not begin to answer in time.",
        "The backend sent no first event in time (first event timeout).";
    /// The exchange took longer than `max_duration`.
    MaxDuration: "max_duration", "max_duration", 504, DeadlineExceeded, Proxy,
        "The answer took longer than the maximum duration.",
        "The answer was not complete within the maximum duration.";
    /// sidestream is shutting down, and `drain_timeout` has expired. Not a fault of the backend.
    ShuttingDown: "shutting_down", "shed", 503, Unavailable, Proxy,
        "The server is shutting down.",
        "The server is shutting down; the answer is not complete.";
    /// The framing of the request body is invalid.
    MalformedBody: "malformed_body", "client_gone", 400, Internal, Client,
        "The framing of the request body is invalid.", "";
    /// The request body is larger than `max_request_body`.
    BodyTooLarge: "body_too_large", "client_gone", 413, ResourceExhausted, Client,
        "The request body is larger than allowed.", "";
    /// The client stopped sending the request body.
    BodyTimeout: "body_timeout", "client_gone", 408, DeadlineExceeded, Client,
        "The rest of the request body did not arrive in time.", "";
}

impl Failure {
    /// Whether the backend's connection broke. Without a proxy, the client would have seen a broken connection too.
    pub fn breaks_connection(self) -> bool {
        matches!(self, Self::Reset | Self::Closed | Self::Invalid)
    }

    /// Whether the failure is evidence against the server: it counts in outlier detection and in the server's metrics.
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

    /// The codes that can occur in error events.
    pub fn error_event_codes() -> impl Iterator<Item = &'static str> {
        Self::ALL
            .into_iter()
            .map(Self::facts)
            .filter(|facts| !facts.broken_off.is_empty())
            .map(|facts| facts.code)
    }
}

/// The table of failures in docs/access-log.md, as Markdown.
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

/// The cause of a failure as the operating system or the protocol reported it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// An error number of the operating system.
    Os(i32),
    /// The error code of a reset HTTP/2 stream (RFC 9113, 7).
    Http2(u32),
    /// The error code of a GOAWAY frame (RFC 9113, 6.8).
    GoAway(u32),
    /// The status of the backend's response.
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

/// A failure with its cause, if one is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fault {
    /// What went wrong.
    pub failure: Failure,
    /// Why, if the operating system, the protocol or the backend said so.
    pub cause: Option<Cause>,
    /// The value of `Retry-After` in seconds, if a later attempt may succeed (RFC 9110, 10.2.3).
    pub retry_after: Option<u16>,
}

impl From<Failure> for Fault {
    fn from(failure: Failure) -> Self {
        Self { failure, cause: None, retry_after: None }
    }
}

impl Fault {
    /// A failure with a cause.
    pub fn caused(failure: Failure, cause: impl Into<Option<Cause>>) -> Self {
        Self { cause: cause.into(), ..failure.into() }
    }

    /// A temporary failure: a new attempt may succeed after this time, which is rounded up to seconds.
    pub fn passing(failure: Failure, after: Duration) -> Self {
        // The cast saturates: `Retry-After` is at most 65,535 seconds.
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
        let seconds = after.as_secs_f64().ceil() as u16;
        Self { retry_after: Some(seconds), ..failure.into() }
    }

    /// The code that clients see. It includes the backend's status, if that is the failure: `upstream_status_429`.
    pub fn code(self) -> Cow<'static, str> {
        let code = self.failure.facts().code;
        self.status().map_or(code.into(), |status| format!("{code}_{status}").into())
    }

    /// The message in an error event.
    pub fn message(self) -> Cow<'static, str> {
        self.status().map_or(self.failure.facts().broken_off.into(), |status| {
            format!("The backend answered with the status {status} instead of a stream.").into()
        })
    }

    /// The backend's status, if the failure is [`Failure::Status`].
    pub fn status(self) -> Option<u16> {
        match self {
            Self { failure: Failure::Status, cause: Some(Cause::Status(status)), .. } => Some(status),
            _ => None,
        }
    }
}

/// How an exchange ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The whole response was delivered.
    Completed,
    /// The whole response was delivered, and it ended with an error that the backend itself reported.
    ReportedError,
    /// The client disconnected in this phase.
    ClientGone(Phase),
    /// The client disconnected in this phase, and the response was read to its end, as `on_disconnect: drain` asks for.
    Drained(Phase),
    /// The client read nothing for `write_timeout`.
    SlowReader,
    /// The exchange failed.
    Failed(Fault),
}

impl From<Failure> for Outcome {
    fn from(failure: Failure) -> Self {
        Self::Failed(failure.into())
    }
}

impl Outcome {
    /// All values of the `outcome` label, sorted.
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

    /// The outcome of a drained exchange that ended like this after its client had disconnected in `phase`.
    pub fn without_client(self, phase: Phase) -> Self {
        match self {
            Self::Completed | Self::ReportedError | Self::Drained(_) => Self::Drained(phase),
            Self::ClientGone(_) | Self::SlowReader | Self::Failed(_) => Self::ClientGone(phase),
        }
    }

    /// The fault, if the exchange failed.
    pub fn fault(self) -> Option<Fault> {
        match self {
            Self::Failed(fault) => Some(fault),
            _ => None,
        }
    }

    /// The phase in which the client disconnected, if it did.
    pub fn phase(self) -> Option<Phase> {
        match self {
            Self::ClientGone(phase) | Self::Drained(phase) => Some(phase),
            Self::Completed | Self::ReportedError | Self::SlowReader | Self::Failed(_) => None,
        }
    }

    /// The party that ended the exchange.
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
    fn labels_and_codes_are_unique() {
        let mut labels = Outcome::labels();
        labels.dedup();
        assert_eq!(labels.len(), 11);
        let mut codes: Vec<_> = Failure::ALL.into_iter().map(|failure| failure.facts().code).collect();
        codes.sort_unstable();
        codes.dedup();
        assert_eq!(codes.len(), Failure::ALL.len());
    }

    #[test]
    fn causes_are_named_and_a_status_is_part_of_the_code() {
        assert_eq!(Cause::Http2(8).to_string(), "HTTP/2 CANCEL");
        assert!(Cause::Os(104).to_string().contains("reset"), "{}", Cause::Os(104));
        let fault = Fault::caused(Failure::Status, Cause::Status(429));
        assert_eq!(fault.code(), "upstream_status_429");
    }
}
