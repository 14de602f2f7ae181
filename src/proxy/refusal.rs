//! Answers of our own, while no response header is out: a status and a JSON body that SDKs can read.

use http::StatusCode;
use serde_json::json;

use super::client::Client;
use super::outcome::{BadBody, UpstreamFault};
use super::strict_head::Doubt;
use crate::head::ResponseHead;

/// What is answered instead of a backend's response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refusal {
    pub status: StatusCode,
    /// Stable: users script against it.
    pub code: &'static str,
    pub message: &'static str,
}

impl Refusal {
    pub const NO_ROUTE: Self =
        Self::new(StatusCode::NOT_FOUND, "no_route", "No route is configured for this request.");
    pub const HEAD_TOO_LARGE: Self = Self::new(
        StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
        "header_too_large",
        "The head of this request is larger than is allowed here.",
    );
    pub const MALFORMED_BODY: Self = Self::new(
        StatusCode::BAD_REQUEST,
        "malformed_body",
        "The body of this request breaks the rules of its framing.",
    );

    const MALFORMED_HEAD: Self = Self::new(
        StatusCode::BAD_REQUEST,
        "malformed_head",
        "The head of this request breaks the rules of HTTP, or could be read in two ways.",
    );
    const UNKNOWN_CODING: Self = Self::new(
        StatusCode::NOT_IMPLEMENTED,
        "unknown_transfer_coding",
        "The body of this request is in a transfer coding that is not supported here.",
    );
    pub const BODY_TOO_LARGE: Self = Self::new(
        StatusCode::PAYLOAD_TOO_LARGE,
        "body_too_large",
        "The body of this request is larger than is allowed here.",
    );

    const fn new(status: StatusCode, code: &'static str, message: &'static str) -> Self {
        Self { status, code, message }
    }

    /// The JSON body, in the shape that OpenAI's and Anthropic's clients read.
    pub fn body(&self) -> String {
        let kind = if self.status.is_server_error() { "api_error" } else { "invalid_request_error" };
        json!({ "error": { "message": self.message, "type": kind, "code": self.code } }).to_string()
    }

    /// The head that goes with [`Self::body`].
    pub fn head(&self, body: &str) -> ResponseHead {
        let mut head = ResponseHead::new(self.status);
        head.fields.append("Content-Type", "application/json");
        head.fields.append("Content-Length", body.len().to_string());
        if self.status == StatusCode::SERVICE_UNAVAILABLE {
            head.fields.append("Retry-After", "1");
        }
        head
    }
}

impl From<Doubt> for Refusal {
    fn from(doubt: Doubt) -> Self {
        match doubt {
            Doubt::Line | Doubt::Target | Doubt::Host | Doubt::Length => Self::MALFORMED_HEAD,
            Doubt::Coding => Self::UNKNOWN_CODING,
        }
    }
}

impl From<BadBody> for Refusal {
    fn from(bad: BadBody) -> Self {
        match bad {
            BadBody::Malformed => Self::MALFORMED_BODY,
            BadBody::TooLarge => Self::BODY_TOO_LARGE,
        }
    }
}

impl From<UpstreamFault> for Refusal {
    fn from(fault: UpstreamFault) -> Self {
        const BAD_GATEWAY: StatusCode = StatusCode::BAD_GATEWAY;
        const TIMEOUT: StatusCode = StatusCode::GATEWAY_TIMEOUT;
        let (status, code, message) = match fault {
            UpstreamFault::NoResources => (
                StatusCode::SERVICE_UNAVAILABLE,
                "overloaded",
                "No further connection to the backend can be opened now.",
            ),
            UpstreamFault::ShuttingDown => {
                (StatusCode::SERVICE_UNAVAILABLE, "shutting_down", "The server is shutting down.")
            }
            UpstreamFault::ConnectFailed => {
                (BAD_GATEWAY, "upstream_connect_failed", "The backend could not be reached.")
            }
            UpstreamFault::ConnectTimeout => {
                (TIMEOUT, "upstream_connect_timeout", "The backend did not accept the connection in time.")
            }
            UpstreamFault::Reset => {
                (BAD_GATEWAY, "upstream_reset", "The backend reset its connection without an answer.")
            }
            UpstreamFault::Closed | UpstreamFault::Truncated => {
                (BAD_GATEWAY, "upstream_closed", "The backend closed its connection without an answer.")
            }
            UpstreamFault::Invalid | UpstreamFault::Status(_) => {
                (BAD_GATEWAY, "upstream_invalid", "The backend sent an invalid response.")
            }
            UpstreamFault::IdleTimeout => (TIMEOUT, "idle_timeout", "The backend was silent for too long."),
            UpstreamFault::FirstEventTimeout => {
                (TIMEOUT, "first_event_timeout", "The backend did not begin to answer in time.")
            }
            UpstreamFault::MaxDuration => {
                (TIMEOUT, "max_duration", "The answer took longer than is allowed for it.")
            }
        };
        Self { status, code, message }
    }
}

/// Sends the answer; returns its status if it went out.
pub async fn send(client: &mut Client<'_>, refusal: Refusal) -> Option<StatusCode> {
    let body = refusal.body();
    let is_head = client.request().method == http::Method::HEAD;
    let sent = async {
        client.write_head(refusal.head(&body)).await.ok()?;
        if !is_head {
            client.write(body.as_bytes()).await.ok()?;
        }
        client.finish().await.ok()
    };
    if sent.await.is_none() {
        client.abandon();
        return None;
    }
    let mut upload = client.upload();
    client.drain(&mut upload).await;
    Some(refusal.status)
}
