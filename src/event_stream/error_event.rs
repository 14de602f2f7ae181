//! The event that tells a client that its stream broke, and the codes it carries.

use serde_json::json;

/// Why a stream was ended by an error event. Stable: users script against the names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ErrorCode {
    /// The upstream connection was reset.
    UpstreamReset,
    /// The upstream connection was closed in the middle of the response's framing.
    UpstreamClosed,
    /// The upstream sent bytes that are no valid HTTP.
    UpstreamInvalid,
    /// The upstream was silent for longer than `idle_timeout`.
    IdleTimeout,
    /// No event arrived within `first_event_timeout`.
    FirstEventTimeout,
    /// The stream outlived `max_duration`.
    MaxDuration,
}

impl ErrorCode {
    /// Every code, for metrics that exist from the start.
    pub const ALL: [Self; 6] = [
        Self::UpstreamReset,
        Self::UpstreamClosed,
        Self::UpstreamInvalid,
        Self::IdleTimeout,
        Self::FirstEventTimeout,
        Self::MaxDuration,
    ];

    /// The stable name, as it stands in the event and in the metric's label.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::UpstreamReset => "upstream_reset",
            Self::UpstreamClosed => "upstream_closed",
            Self::UpstreamInvalid => "upstream_invalid",
            Self::IdleTimeout => "idle_timeout",
            Self::FirstEventTimeout => "first_event_timeout",
            Self::MaxDuration => "max_duration",
        }
    }

    /// The text a person reads. Fixed: never an upstream address, header or byte.
    pub fn message(self) -> &'static str {
        match self {
            Self::UpstreamReset => "The backend's connection was reset before the answer was complete.",
            Self::UpstreamClosed => "The backend closed its connection before the answer was complete.",
            Self::UpstreamInvalid => "The backend sent an invalid response before the answer was complete.",
            Self::IdleTimeout => "The backend stopped sending before the answer was complete (idle timeout).",
            Self::FirstEventTimeout => "The backend sent no first event in time (first event timeout).",
            Self::MaxDuration => {
                "The answer was not complete within the longest duration that is allowed for it."
            }
        }
    }
}

/// Renders the one event that every LLM SDK raises as a typed error with our message.
///
/// `event: error` is what Anthropic SDKs need, the `error` object with `message` what OpenAI SDKs need, and
/// `type` with a numeric `sequence_number` what the AI SDK's providers need. `sequence_number` counts the
/// events before this one.
pub fn render(code: ErrorCode, sequence_number: u64) -> String {
    let (code, message) = (code.as_str(), code.message());
    let data = json!({
        "type": "error",
        "sequence_number": sequence_number,
        "code": code,
        "message": message,
        "param": null,
        "error": { "type": "overloaded_error", "code": code, "message": message, "param": null },
    });
    format!("event: error\ndata: {data}\n\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_event_has_every_part_that_some_client_needs() {
        let event = render(ErrorCode::IdleTimeout, 7);
        let data = event.strip_prefix("event: error\ndata: ").and_then(|e| e.strip_suffix("\n\n"));
        let data: serde_json::Value = serde_json::from_str(data.unwrap_or_default()).unwrap_or_default();
        let message = ErrorCode::IdleTimeout.message();
        assert_eq!(data["type"], "error");
        assert_eq!(data["sequence_number"], 7);
        assert_eq!((&data["code"], &data["message"]), (&json!("idle_timeout"), &json!(message)));
        assert_eq!(data["error"]["type"], "overloaded_error");
        assert_eq!(data["error"]["code"], "idle_timeout");
        assert_eq!(data["error"]["message"], message);
        assert!(data["param"].is_null() && data["error"]["param"].is_null());
    }
}
