//! The event that tells a client that its stream broke.

use serde_json::{Value, json};

use crate::outcome::Fault;

/// The type of the error in the words of Anthropic's API, which OpenAI's clients take as well. SDKs choose by it whether they try
/// again.
fn class(fault: Fault) -> &'static str {
    match fault.status() {
        Some(401) => "authentication_error",
        Some(403) => "permission_error",
        Some(404) => "not_found_error",
        Some(413) => "request_too_large",
        Some(429) => "rate_limit_error",
        // The one that AI SDK's Anthropic provider takes for worth another try.
        None | Some(503 | 529) => "overloaded_error",
        Some(400..500) => "invalid_request_error",
        Some(_) => "api_error",
    }
}

/// The same in the words of OpenAI's API.
fn openai_class(fault: Fault) -> &'static str {
    match fault.status() {
        Some(400..500) => class(fault),
        _ => "server_error",
    }
}

/// The shape of an error event.
#[derive(Clone, Copy, Debug)]
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
    /// JSON-RPC error responses to these requests; MCP's and A2A's clients heed nothing else.
    JsonRpc(&'a [Value]),
    /// A dialect's own, made of the code and the message.
    Own(fn(&str, &str) -> Value),
    /// For pages that read an `EventSource` themselves.
    Generic,
    /// A JSON text on a line of its own, for streams of those. Ollama's clients raise what `error` says, if it is a string.
    Line,
}

/// Renders the events that end a broken stream. `sequence_number` counts the events before them.
pub fn render(form: ErrorForm, fault: Fault, sequence_number: u64) -> String {
    let (class, openai_class) = (class(fault), openai_class(fault));
    let (code, message) = (&*fault.code(), &*fault.message());
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
        ErrorForm::Own(data) => format!("data: {}\n\n", data(code, message)),
        ErrorForm::JsonRpc(ids) => ids.iter().map(|id| json_rpc_error(id, code, message)).collect(),
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
    use crate::outcome::{Cause, Failure};

    #[test]
    fn the_event_has_every_part_that_some_client_needs() {
        let event = render(ErrorForm::Superset, Failure::IdleTimeout.into(), 7);
        let data = event.strip_prefix("event: error\ndata: ").and_then(|e| e.strip_suffix("\n\n"));
        let data: serde_json::Value = serde_json::from_str(data.unwrap_or_default()).unwrap_or_default();
        let message = &*Fault::from(Failure::IdleTimeout).message();
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
            let fault = Fault::caused(Failure::Status, Cause::Status(status));
            let event = render(ErrorForm::Superset, fault, 0);
            assert!(event.contains(&format!("\"code\":\"upstream_status_{status}\"")), "{event}");
            assert!(event.contains(&format!("\"type\":\"{class}\"")), "{event}");
        }
    }

    #[test]
    fn a_json_rpc_error_answers_every_open_request_with_its_own_id() {
        let ids = [json!(7), json!("b")];
        let events = render(ErrorForm::JsonRpc(&ids), Failure::Reset.into(), 0);
        let answered: Vec<Value> = events
            .lines()
            .filter_map(|line| line.strip_prefix("data: "))
            .map(|data| serde_json::from_str::<Value>(data).unwrap_or_default()["id"].clone())
            .collect();
        assert_eq!(answered, ids);
    }
}
