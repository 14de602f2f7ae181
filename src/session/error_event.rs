//! Renders the error event, which tells the client that its stream broke.

use serde_json::{Value, json};

use crate::outcome::Fault;

/// The error type in the terms of Anthropic's API, which OpenAI's SDKs accept too. SDKs decide by it whether to retry.
fn class(fault: Fault) -> &'static str {
    match fault.status() {
        Some(401) => "authentication_error",
        Some(403) => "permission_error",
        Some(404) => "not_found_error",
        Some(413) => "request_too_large",
        Some(429) => "rate_limit_error",
        // The AI SDK's Anthropic provider retries only this type.
        None | Some(503 | 529) => "overloaded_error",
        Some(400..500) => "invalid_request_error",
        Some(_) => "api_error",
    }
}

/// The error type in the terms of OpenAI's API.
fn openai_class(fault: Fault) -> &'static str {
    match fault.status() {
        Some(400..500) => class(fault),
        _ => "server_error",
    }
}

/// The shape of an error event.
#[derive(Clone, Copy, Debug)]
pub enum ErrorForm<'a> {
    /// One event that every LLM SDK raises as a typed error with our message.
    ///
    /// Anthropic's SDKs need `event: error`, OpenAI's SDKs need an `error` object with a `message`, and the AI SDK's
    /// providers need `type` and a numeric `sequence_number`.
    Superset,
    /// The format of OpenAI's chat completions.
    OpenAi,
    /// The format of OpenAI's Responses. No SDK raises the documented flat format, so this uses the nested one.
    Responses,
    /// The format of Anthropic's messages.
    Anthropic,
    /// A JSON-RPC error response to each of these request ids. The clients of MCP and A2A ignore everything else.
    JsonRpc(&'a [Value]),
    /// The format of another dialect: renders the data of the event from the code and the message.
    Own(fn(&str, &str) -> Value),
    /// A flat object, for pages that use `EventSource` directly.
    Generic,
    /// One line of JSON, for streams of JSON lines. Ollama's clients raise `error` if it is a string.
    Line,
}

/// Renders the events that end a broken stream. `sequence_number`: the number of events before them.
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

/// An error response with the code -32000: -32000 to -32099 are reserved for server errors (JSON-RPC 2.0, 5.1).
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
    fn the_superset_has_the_members_that_each_sdk_needs() {
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
    fn the_backend_status_decides_code_and_type() {
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
