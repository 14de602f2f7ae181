//! Local responses, sent before any response head: a status and a JSON body in the shape that SDKs parse.

use http::StatusCode;
use serde_json::json;

use super::Client;
use crate::headers::grpc;
use crate::http1::{BadHead, ResponseHead};
use crate::outcome::{Facts, Failure, Fault, GrpcStatus};

/// A response that sidestream sends instead of a backend's response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LocalReply {
    pub status: StatusCode,
    /// Stable, because users script against it.
    pub code: &'static str,
    pub message: &'static str,
    /// The status of the reply to a gRPC call, which carries only this status and the message.
    pub grpc_status: GrpcStatus,
    /// Value of `Retry-After`, in seconds.
    pub retry_after: Option<u16>,
}

impl LocalReply {
    pub const NO_ROUTE: Self =
        Self::new(StatusCode::NOT_FOUND, "no_route", "No route is configured for this request.");
    pub const CONNECT: Self = Self::new(
        StatusCode::METHOD_NOT_ALLOWED,
        "method_not_allowed",
        "CONNECT is not supported here: this is a reverse proxy.",
    );
    /// Only for gRPC calls.
    pub const GRPC_OVER_HTTP1: Self = Self::new(
        StatusCode::HTTP_VERSION_NOT_SUPPORTED,
        "grpc_needs_http2",
        "gRPC needs HTTP/2, and this request came over HTTP/1.1.",
    );

    const fn new(status: StatusCode, code: &'static str, message: &'static str) -> Self {
        Self { status, code, message, grpc_status: GrpcStatus::Unimplemented, retry_after: None }
    }

    /// The JSON body, in the shape that the clients of OpenAI and Anthropic parse.
    pub fn body(&self) -> String {
        let kind = match self.status {
            StatusCode::TOO_MANY_REQUESTS => "rate_limit_error",
            status if status.is_server_error() => "api_error",
            _ => "invalid_request_error",
        };
        json!({ "error": { "message": self.message, "type": kind, "code": self.code } }).to_string()
    }

    /// The response head for [`Self::body`].
    pub fn head(&self, body: &str) -> ResponseHead {
        let mut head = ResponseHead::new(self.status);
        head.fields.append("Content-Type", "application/json");
        head.fields.append("Content-Length", body.len().to_string());
        if let Some(seconds) = self.retry_after {
            head.fields.append("Retry-After", seconds.to_string());
        }
        head
    }

    /// The whole reply to a gRPC call: a trailers-only response with the status in its fields.
    fn grpc_head(&self) -> ResponseHead {
        let mut head = ResponseHead::new(StatusCode::OK);
        head.fields.append("Content-Type", grpc::MEDIA_TYPE);
        grpc::append_status(&mut head.fields, self.grpc_status, self.message);
        head
    }
}

impl From<BadHead> for LocalReply {
    fn from(bad: BadHead) -> Self {
        const MALFORMED: (StatusCode, &str) = (StatusCode::BAD_REQUEST, "malformed_head");
        let ((status, code), message) = match bad {
            BadHead::Tls => {
                (MALFORMED, "This is not an HTTP request: the client speaks TLS, but this port does not.")
            }
            BadHead::Line => (
                MALFORMED,
                "A line in the head of this request violates HTTP/1.1: a control character, a bare CR or LF, a folded line, or \
                 an invalid field.",
            ),
            BadHead::Target => {
                (MALFORMED, "The request target is neither a path nor an absolute http or https URI.")
            }
            BadHead::Host => (
                MALFORMED,
                "This request does not name exactly one valid host, or its Host field contradicts its target.",
            ),
            BadHead::Length => (
                MALFORMED,
                "The length of the request body is ambiguous: the header fields contradict each other.",
            ),
            BadHead::Connection => (
                MALFORMED,
                "The Connection field of this request names Host, Content-Length or Transfer-Encoding, which are not \
                 connection-specific.",
            ),
            BadHead::Coding => (
                (StatusCode::NOT_IMPLEMENTED, "unknown_transfer_coding"),
                "The transfer coding of the request body is not supported.",
            ),
            BadHead::LineTooLong => (
                (StatusCode::URI_TOO_LONG, "target_too_long"),
                "The request line is longer than the configured limit.",
            ),
            BadHead::TooLarge => (
                (StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE, "header_too_large"),
                "The request head is larger than the configured limit.",
            ),
            BadHead::TimedOut => {
                ((StatusCode::REQUEST_TIMEOUT, "header_timeout"), "The request head did not arrive in time.")
            }
        };
        let grpc_status = match bad {
            BadHead::TooLarge | BadHead::LineTooLong => GrpcStatus::ResourceExhausted,
            BadHead::TimedOut => GrpcStatus::DeadlineExceeded,
            _ => GrpcStatus::Internal,
        };
        Self { status, code, message, grpc_status, retry_after: None }
    }
}

impl From<Failure> for LocalReply {
    fn from(failure: Failure) -> Self {
        Fault::from(failure).into()
    }
}

impl From<Fault> for LocalReply {
    fn from(fault: Fault) -> Self {
        let Facts { code, status, unanswered, .. } = *fault.failure.facts();
        // Every status in the table is valid, so the fallback is never used.
        let status = StatusCode::from_u16(status).unwrap_or(StatusCode::BAD_GATEWAY);
        let is_passing = matches!(status, StatusCode::SERVICE_UNAVAILABLE | StatusCode::TOO_MANY_REQUESTS);
        let retry_after = fault.retry_after.or(is_passing.then_some(1));
        Self { status, code, message: unanswered, grpc_status: fault.grpc_status(), retry_after }
    }
}

/// Sends the reply. Returns its status if it was written. If the request was not read completely, the
/// connection closes afterwards (RFC 9112, 9.3).
pub async fn send(client: &mut Client, reply: LocalReply) -> Option<StatusCode> {
    if client.is_grpc() {
        return Box::pin(send_grpc(client, reply)).await;
    }
    let body = reply.body();
    let is_head = client.request().method == http::Method::HEAD;
    client.read_what_is_there().await;
    let begun = client.begin(reply.head(&body));
    let body = if is_head { &[] } else { body.as_bytes() };
    if begun.is_err() || client.write_last(body).await.is_err() {
        client.abandon();
        return None;
    }
    Some(reply.status)
}

/// Like [`send`], in gRPC's form.
async fn send_grpc(client: &mut Client, reply: LocalReply) -> Option<StatusCode> {
    client.read_what_is_there().await;
    if client.answer(reply.grpc_head()).await.is_err() {
        client.abandon();
        return None;
    }
    client.dismiss_request();
    Some(StatusCode::OK)
}
