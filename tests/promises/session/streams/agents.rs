//! A2A, versions 0.3 and 1.0: all events of a stream answer the same request, and only a final one ends it.

use serde_json::{Value, json};

use super::data;
use super::error_form::ErrorForm;
use super::row::{End, Request, Row};

/// A request for a stream. The name of the method depends on the version.
fn request(method: &str, id: &Value) -> Request {
    let message = json!({ "role": "user", "messageId": "u", "parts": [{ "kind": "text", "text": "Hi" }] });
    let body = json!({ "jsonrpc": "2.0", "id": id, "method": method, "params": { "message": message } });
    Request::post("/a2a", body.to_string()).with("Accept", "text/event-stream")
}

fn old() -> Request {
    request("message/stream", &json!("ID"))
}

fn new() -> Request {
    request("SendStreamingMessage", &json!("ID")).with("A2A-Version", "1.0")
}

fn result(result: Value) -> String {
    data(json!({ "jsonrpc": "2.0", "id": "ID", "result": result }))
}

/// A status update in version 0.3.
fn old_status(state: &str, is_final: bool) -> String {
    let status = json!({ "state": state, "timestamp": "2025-04-02T16:59:25.331844" });
    result(
        json!({ "kind": "status-update", "taskId": "t", "contextId": "c", "status": status, "final": is_final }),
    )
}

/// A status update in version 1.0, which has no `final`.
fn new_status(state: &str) -> String {
    result(json!({ "statusUpdate": { "taskId": "t", "contextId": "c", "status": { "state": state } } }))
}

fn errors() -> ErrorForm {
    ErrorForm::JsonRpc(vec![json!("ID")])
}

/// Each kind of early end, and its code.
const EARLY_ENDS: [(End, &str); 4] = [
    (End::Reset, "upstream_reset"),
    (End::Closed, "upstream_closed"),
    (End::Stall, "idle_timeout"),
    (End::Clean, "upstream_truncated"),
];

pub fn rows() -> Vec<Row> {
    [interrupted(), complete(), failed(), unusual()]
        .concat()
        .into_iter()
        .map(|row| row.speaks("a2a"))
        .collect()
}

/// Two status updates that are not final, followed by each early end.
fn interrupted() -> Vec<Row> {
    let begun = |version: &str, end: End, request: Request, updates: [String; 2]| {
        let row = Row::new(format!("a2a {version}: two updates and {end:?}"), request);
        row.paces(updates.iter().map(String::as_str)).ending(end)
    };
    let mut rows = Vec::new();
    for (end, code) in EARLY_ENDS {
        let updates = [old_status("submitted", false), old_status("working", false)];
        rows.push(begun("0.3", end, old(), updates).raises(errors(), code));
        let updates = [new_status("TASK_STATE_SUBMITTED"), new_status("TASK_STATE_WORKING")];
        rows.push(begun("1.0", end, new(), updates).raises(errors(), code));
        let updates = [new_status("TASK_STATE_WORKING"), new_status("TASK_STATE_WORKING")];
        let resubscribed = request("SubscribeToTask", &json!("ID"));
        rows.push(begun("1.0 resubscribed", end, resubscribed, updates).raises(errors(), code));
        let updates = [old_status("working", false), old_status("working", false)];
        let resubscribed = request("tasks/resubscribe", &json!("ID"));
        rows.push(begun("0.3 resubscribed", end, resubscribed, updates).raises(errors(), code));
    }
    rows
}

/// Each final state of a task, also with a broken connection after it.
fn complete() -> Vec<Row> {
    let mut rows = Vec::new();
    for state in ["completed", "canceled", "rejected", "failed"] {
        for end in [End::Clean, End::Reset, End::Closed] {
            let name = format!("a2a 0.3: {state} and {end:?}");
            let row = Row::new(name, old()).sends(old_status("working", false)).ending(end);
            rows.push(row.sends(old_status(state, true)));
            let name = format!("a2a 1.0: {state} and {end:?}");
            let row = Row::new(name, new()).sends(new_status("TASK_STATE_WORKING")).ending(end);
            rows.push(row.sends(new_status(&format!("TASK_STATE_{}", state.to_uppercase()))));
        }
    }
    for state in ["input-required", "auth-required"] {
        let row = Row::new(format!("a2a 0.3: {state}"), old()).sends(old_status("working", false));
        rows.push(row.sends(old_status(state, true)));
        let row = Row::new(format!("a2a 1.0: {state}"), new()).sends(new_status("TASK_STATE_WORKING"));
        let state = state.to_uppercase().replace('-', "_");
        rows.push(row.sends(new_status(&format!("TASK_STATE_{state}"))));
    }
    let message = json!({ "role": "agent", "messageId": "a", "parts": [{ "text": "Hello" }] });
    let mut old_message = message.clone();
    old_message["kind"] = "message".into();
    rows.extend([
        Row::new("a2a 0.3: a message alone", old()).sends(result(old_message)).token_at(0),
        Row::new("a2a 1.0: a message alone", new()).sends(result(json!({ "message": message }))).token_at(0),
        Row::new("a2a 0.3: final says it, whatever the state", old()).sends(old_status("working", true)),
        Row::new("a2a 0.3: a task that has ended before", old()).sends(result(
            json!({ "kind": "task", "id": "t", "contextId": "c", "status": { "state": "completed" } }),
        )),
        Row::new("a2a 1.0: a task that has ended before", new()).sends(result(
            json!({ "task": { "id": "t", "contextId": "c", "status": { "state": "TASK_STATE_COMPLETED" } } }),
        )),
    ]);
    rows
}

/// Errors that the agent reports.
fn failed() -> Vec<Row> {
    let error = json!({ "code": -32603, "message": "Internal error", "data": null });
    let error = data(json!({ "jsonrpc": "2.0", "id": "ID", "error": error }));
    let row = |name: &str, request: Request| Row::new(name, request).reports_an_error();
    vec![
        row("a2a 0.3: an error alone", old()).sends(&error),
        row("a2a 1.0: an error after a status", new()).sends(new_status("TASK_STATE_WORKING")).sends(&error),
        row("a2a 1.0: an error and a break", new())
            .sends(new_status("TASK_STATE_WORKING"))
            .sends(&error)
            .resets(),
    ]
}

fn unusual() -> Vec<Row> {
    let working = new_status("TASK_STATE_WORKING");
    let artifact = result(
        json!({ "artifactUpdate": { "taskId": "t", "artifact": { "artifactId": "a", "parts": [{ "text": "final:true" }] } } }),
    );
    // The request body is too long to be kept, so the id is learned from the responses.
    let long = Request { body: format!("{}{}", " ".repeat(100_000), new().body), ..new() };
    vec![
        Row::new("a2a: an artifact later", new())
            .sends(&working)
            .after(1, &artifact)
            .after(1, new_status("TASK_STATE_COMPLETED"))
            .token_at(1),
        Row::new("a2a: an artifact and a break", new())
            .sends(&working)
            .after(2, &artifact)
            .resets()
            .token_at(2)
            .raises(errors(), "upstream_reset"),
        Row::new("a2a: ids of events change nothing", new())
            .sends(format!("id: 1\n{working}"))
            .resets()
            .raises(errors(), "upstream_reset"),
        Row::new("a2a: a request too long to be kept", long.clone())
            .sends(&working)
            .closes()
            .raises(errors(), "upstream_closed"),
        Row::new("a2a: a request too long to be kept, whole", long).sends(&working).sends(new_status("TASK_STATE_FAILED")),
        Row::new("a2a: broken before the first event", new()).resets().raises(errors(), "upstream_reset"),
        Row::new("a2a: ended before the first event", old()).raises(errors(), "upstream_truncated"),
        Row::new("a2a: a number as id", request("message/stream", &json!(9_007_199_254_740_993_u64)))
            .sends("data: {\"jsonrpc\":\"2.0\",\"id\":9007199254740993,\"result\":{\"kind\":\"task\",\"id\":\"t\",\"status\":{\"state\":\"working\"}}}\n\n")
            .raises(ErrorForm::JsonRpc(vec![json!(9_007_199_254_740_993_u64)]), "upstream_truncated"),
        Row::new("a2a: cut inside the last event", new())
            .sends(&working)
            .loses("data: {\"jsonrpc\":\"2.0\",\"id\":\"ID\",\"result\":{\"statusUpdate\":{\"status\":{\"state\":\"TASK_STATE_COMPLETED\"")
            .raises(errors(), "upstream_truncated"),
    ]
}
