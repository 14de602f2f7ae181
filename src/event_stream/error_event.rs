//! The event that tells a client that its stream broke, and the codes it carries.

use std::borrow::Cow;

use serde_json::{Value, json};

/// Why a stream was ended by an error event. Stable: users script against the names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorCode {
    /// The upstream connection was reset.
    UpstreamReset,
    /// The upstream connection was closed in the middle of the response's framing.
    UpstreamClosed,
    /// The upstream's response ended cleanly, and the answer in it was not complete.
    UpstreamTruncated,
    /// The upstream sent bytes that are no valid HTTP, or no valid body of the kind its header announced.
    UpstreamInvalid,
    /// The upstream was silent for longer than `idle_timeout`.
    IdleTimeout,
    /// No event arrived within `first_event_timeout`.
    FirstEventTimeout,
    /// The stream outlived `max_duration`.
    MaxDuration,
    /// The stream began before there was an upstream connection, and none could be opened.
    UpstreamConnectFailed,
    /// The same, and none was open in time.
    UpstreamConnectTimeout,
    /// The same, for want of resources of our own.
    Overloaded,
    /// The proxy is at its end, and so is every stream that is still open.
    ShuttingDown,
    /// The stream began before the upstream answered, and its answer had this status.
    UpstreamStatus(u16),
}

impl ErrorCode {
    /// Every value of the `code` label, for metrics that exist from the start.
    pub const LABELS: [&'static str; 12] = [
        "upstream_reset",
        "upstream_closed",
        "upstream_truncated",
        "upstream_invalid",
        "idle_timeout",
        "first_event_timeout",
        "max_duration",
        "upstream_connect_failed",
        "upstream_connect_timeout",
        "overloaded",
        "shutting_down",
        "upstream_status",
    ];

    /// The value of the metric's label.
    pub fn label(self) -> &'static str {
        match self {
            Self::UpstreamReset => "upstream_reset",
            Self::UpstreamClosed => "upstream_closed",
            Self::UpstreamTruncated => "upstream_truncated",
            Self::UpstreamInvalid => "upstream_invalid",
            Self::IdleTimeout => "idle_timeout",
            Self::FirstEventTimeout => "first_event_timeout",
            Self::MaxDuration => "max_duration",
            Self::UpstreamConnectFailed => "upstream_connect_failed",
            Self::UpstreamConnectTimeout => "upstream_connect_timeout",
            Self::Overloaded => "overloaded",
            Self::ShuttingDown => "shutting_down",
            Self::UpstreamStatus(_) => "upstream_status",
        }
    }

    /// The code as it stands in the event: the label, and the status if there is one.
    pub fn name(self) -> Cow<'static, str> {
        match self {
            Self::UpstreamStatus(status) => format!("{}_{status}", self.label()).into(),
            _ => self.label().into(),
        }
    }

    /// The text a person reads. Fixed: never an upstream address, header or byte.
    pub fn message(self) -> Cow<'static, str> {
        let text = match self {
            Self::UpstreamReset => "The backend's connection was reset before the answer was complete.",
            Self::UpstreamClosed => "The backend closed its connection before the answer was complete.",
            Self::UpstreamTruncated => "The backend ended its response before the answer was complete.",
            Self::UpstreamInvalid => "The backend sent an invalid response before the answer was complete.",
            Self::IdleTimeout => "The backend stopped sending before the answer was complete (idle timeout).",
            Self::FirstEventTimeout => "The backend sent no first event in time (first event timeout).",
            Self::MaxDuration => {
                "The answer was not complete within the longest duration that is allowed for it."
            }
            Self::UpstreamConnectFailed => "The backend could not be reached.",
            Self::UpstreamConnectTimeout => "The backend did not accept the connection in time.",
            Self::Overloaded => "No further connection to the backend can be opened now.",
            Self::ShuttingDown => "The server is shutting down, before the answer was complete.",
            Self::UpstreamStatus(status) => {
                return format!("The backend answered with the status {status} instead of a stream.").into();
            }
        };
        text.into()
    }

    /// The type of the error in the words of Anthropic's API, which OpenAI's clients take as well. SDKs choose by it whether
    /// they try again.
    fn class(self) -> &'static str {
        match self {
            Self::UpstreamStatus(status) => match status {
                401 => "authentication_error",
                403 => "permission_error",
                404 => "not_found_error",
                413 => "request_too_large",
                429 => "rate_limit_error",
                503 | 529 => "overloaded_error",
                400..500 => "invalid_request_error",
                _ => "api_error",
            },
            // The one that AI SDK's Anthropic provider takes for worth another try.
            _ => "overloaded_error",
        }
    }

    /// The same in the words of OpenAI's API.
    fn openai_class(self) -> &'static str {
        match self {
            Self::UpstreamStatus(400..500) => self.class(),
            _ => "server_error",
        }
    }
}

/// The shape of an error event.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum ErrorForm<'a> {
    /// The one event that every LLM SDK raises as a typed error with our message.
    ///
    /// `event: error` is what Anthropic SDKs need, the `error` object with `message` what OpenAI SDKs need, and
    /// `type` with a numeric `sequence_number` what the AI SDK's providers need.
    Superset,
    /// The native form of OpenAI's chat completions.
    OpenAi,
    /// The native form of OpenAI's Responses. The documented flat form raises in no SDK; the nested one does.
    Responses,
    /// The native form of Anthropic's messages.
    Anthropic,
    /// JSON-RPC error responses to these requests; MCP clients heed nothing else.
    Mcp(&'a [Value]),
    /// For pages that read an `EventSource` themselves.
    Generic,
    /// A JSON text on a line of its own, for streams of those. Ollama's clients raise what `error` says, if it is a string.
    Line,
}

/// Renders the events that end a broken stream. `sequence_number` counts the events before them.
pub fn render(form: ErrorForm, code: ErrorCode, sequence_number: u64) -> String {
    let (class, openai_class) = (code.class(), code.openai_class());
    let (code, message) = (&*code.name(), &*code.message());
    let error = |data: Value| format!("event: error\ndata: {data}\n\n");
    match form {
        ErrorForm::Superset => error(json!({
            "type": "error",
            "sequence_number": sequence_number,
            "code": code,
            "message": message,
            "param": null,
            "error": { "type": class, "code": code, "message": message, "param": null },
        })),
        ErrorForm::OpenAi => {
            let data =
                json!({ "error": { "message": message, "type": openai_class, "param": null, "code": code } });
            format!("data: {data}\n\ndata: [DONE]\n\n")
        }
        ErrorForm::Responses => error(json!({
            "type": "error",
            "sequence_number": sequence_number,
            "error": { "type": openai_class, "code": code, "message": message, "param": null },
        })),
        ErrorForm::Anthropic => error(json!({
            "type": "error",
            "error": { "type": class, "message": message },
        })),
        ErrorForm::Mcp(ids) => ids.iter().map(|id| json_rpc_error(id, code, message)).collect(),
        ErrorForm::Generic => error(json!({ "code": code, "message": message })),
        ErrorForm::Line => format!("{}\n", json!({ "error": message, "code": code })),
    }
}

/// A server error of its own making (JSON-RPC 2.0, 5.1: -32000 to -32099 are free for that).
fn json_rpc_error(id: &Value, code: &str, message: &str) -> String {
    let error = json!({ "code": -32000, "message": message, "data": { "code": code } });
    let data = json!({ "jsonrpc": "2.0", "id": id, "error": error });
    format!("event: message\ndata: {data}\n\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_event_has_every_part_that_some_client_needs() {
        let event = render(ErrorForm::Superset, ErrorCode::IdleTimeout, 7);
        let data = event.strip_prefix("event: error\ndata: ").and_then(|e| e.strip_suffix("\n\n"));
        let data: serde_json::Value = serde_json::from_str(data.unwrap_or_default()).unwrap_or_default();
        let message = &*ErrorCode::IdleTimeout.message();
        assert_eq!(data["type"], "error");
        assert_eq!(data["sequence_number"], 7);
        assert_eq!((&data["code"], &data["message"]), (&json!("idle_timeout"), &json!(message)));
        assert_eq!(data["error"]["type"], "overloaded_error");
        assert_eq!(data["error"]["code"], "idle_timeout");
        assert_eq!(data["error"]["message"], message);
        assert!(data["param"].is_null() && data["error"]["param"].is_null());
    }

    #[test]
    fn a_status_is_kept_in_the_code_and_in_the_class() {
        for (status, class) in [(401, "authentication_error"), (429, "rate_limit_error"), (500, "api_error")]
        {
            let code = ErrorCode::UpstreamStatus(status);
            let event = render(ErrorForm::Superset, code, 0);
            assert!(event.contains(&format!("\"code\":\"upstream_status_{status}\"")), "{event}");
            assert!(event.contains(&format!("\"type\":\"{class}\"")), "{event}");
        }
    }

    #[test]
    fn a_json_rpc_error_answers_every_open_request_with_its_own_id() {
        let ids = [json!(7), json!("b")];
        let events = render(ErrorForm::Mcp(&ids), ErrorCode::UpstreamReset, 0);
        let answered: Vec<Value> = events
            .lines()
            .filter_map(|line| line.strip_prefix("data: "))
            .map(|data| serde_json::from_str::<Value>(data).unwrap_or_default()["id"].clone())
            .collect();
        assert_eq!(answered, ids);
    }
}
