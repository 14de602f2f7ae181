//! Answers in the dialects of agents and their pages.

use serde_json::{Value, json};

use super::super::error_form::ErrorForm;
use super::super::row::Request;
use super::super::{data, named};
use super::Answer;

pub fn answers() -> Vec<Answer> {
    vec![ai_sdk_ui(), ag_ui(), ag_ui_calls(), a2a_0_3(), a2a_1_0(), mcp(), dify(), dify_workflow()]
}

fn ai_sdk_ui() -> Answer {
    let events = [
        json!({ "type": "start", "messageId": "m" }),
        json!({ "type": "start-step" }),
        json!({ "type": "text-start", "id": "0" }),
        json!({ "type": "text-delta", "id": "0", "delta": "Hello " }),
        json!({ "type": "text-delta", "id": "0", "delta": "world" }),
        json!({ "type": "text-end", "id": "0" }),
        json!({ "type": "finish-step" }),
        json!({ "type": "finish", "finishReason": "stop" }),
    ];
    let answer = Answer::new("ai_sdk_ui", "ai_sdk_ui", "/api/chat");
    let answer = answer.of(events.into_iter().map(data).chain([data("[DONE]")]), 2).token(3);
    answer.raises(ErrorForm::AiSdkUi)
}

/// The client reports the error event, but fails only if the connection breaks, as without a proxy.
fn of_ag_ui(name: &'static str, events: impl IntoIterator<Item = Value>) -> Answer {
    let answer = Answer::new(name, "ag_ui", "/agent").of(events.into_iter().map(data), 1);
    Answer { breaks_when_broken: true, ..answer.raises(ErrorForm::AgUi) }
}

fn ag_ui() -> Answer {
    of_ag_ui(
        "ag_ui",
        [
            json!({ "type": "RUN_STARTED", "threadId": "t", "runId": "r" }),
            json!({ "type": "TEXT_MESSAGE_START", "messageId": "m", "role": "assistant" }),
            json!({ "type": "TEXT_MESSAGE_CONTENT", "messageId": "m", "delta": "Hello " }),
            json!({ "type": "TEXT_MESSAGE_CONTENT", "messageId": "m", "delta": "world" }),
            json!({ "type": "TEXT_MESSAGE_END", "messageId": "m" }),
            json!({ "type": "RUN_FINISHED", "threadId": "t", "runId": "r" }),
        ],
    )
    .token(2)
}

fn ag_ui_calls() -> Answer {
    of_ag_ui(
        "ag_ui calls a tool",
        [
            json!({ "type": "RUN_STARTED", "threadId": "t", "runId": "r", "timestamp": 1_700_000_000_000_u64 }),
            json!({ "type": "STATE_SNAPSHOT", "snapshot": { "status": "RUN_FINISHED" } }),
            json!({ "type": "TOOL_CALL_START", "toolCallId": "c", "toolCallName": "search" }),
            json!({ "type": "TOOL_CALL_ARGS", "toolCallId": "c", "delta": "{\"q\":1}" }),
            json!({ "type": "TOOL_CALL_END", "toolCallId": "c" }),
            json!({ "type": "RUN_FINISHED", "threadId": "t", "runId": "r" }),
        ],
    )
    .token(3)
}

fn json_rpc_request(method: &str) -> Request {
    let body = json!({ "jsonrpc": "2.0", "id": "ID", "method": method, "params": {} });
    Request::post("/rpc", body.to_string()).with("Accept", "application/json, text/event-stream")
}

fn of_json_rpc(name: &'static str, dialect: &'static str, method: &str) -> Answer {
    let answer = Answer::new(name, dialect, "/rpc").raises(ErrorForm::JsonRpc(vec![json!("ID")]));
    Answer { request: json_rpc_request(method), ..answer }
}

fn result(result: Value) -> String {
    data(json!({ "jsonrpc": "2.0", "id": "ID", "result": result }))
}

fn a2a_0_3() -> Answer {
    let artifact = |text: &str, append: bool| {
        let artifact = json!({ "artifactId": "a", "parts": [{ "kind": "text", "text": text }] });
        result(
            json!({ "kind": "artifact-update", "taskId": "t", "contextId": "c", "artifact": artifact, "append": append, "lastChunk": append }),
        )
    };
    let end = json!({ "kind": "status-update", "taskId": "t", "contextId": "c", "status": { "state": "completed" }, "final": true });
    let events = [
        result(json!({ "kind": "task", "id": "t", "contextId": "c", "status": { "state": "working" } })),
        artifact("Hello ", false),
        artifact("world", true),
        result(end),
    ];
    of_json_rpc("a2a 0.3", "a2a", "message/stream").of(events, 1).token(1)
}

fn a2a_1_0() -> Answer {
    let artifact = |text: &str, append: bool| {
        let artifact = json!({ "artifactId": "a", "parts": [{ "text": text }] });
        let update = json!({ "taskId": "t", "contextId": "c", "artifact": artifact, "append": append, "lastChunk": append });
        result(json!({ "artifactUpdate": update }))
    };
    let status = |state: &str| json!({ "taskId": "t", "contextId": "c", "status": { "state": state } });
    let task = json!({ "id": "t", "contextId": "c", "status": { "state": "TASK_STATE_WORKING" } });
    let events = [
        result(json!({ "task": task })),
        artifact("Hello ", false),
        artifact("world", true),
        result(json!({ "statusUpdate": status("TASK_STATE_COMPLETED") })),
    ];
    of_json_rpc("a2a 1.0", "a2a", "SendStreamingMessage").of(events, 1).token(1)
}

fn mcp() -> Answer {
    let progress = |progress: u64| {
        let params = json!({ "progressToken": "p", "progress": progress, "total": 2 });
        named("message", json!({ "jsonrpc": "2.0", "method": "notifications/progress", "params": params }))
    };
    let content = json!([{ "type": "text", "text": "Hello" }]);
    let end = json!({ "jsonrpc": "2.0", "id": "ID", "result": { "content": content, "isError": false } });
    let answer =
        of_json_rpc("mcp", "mcp", "tools/call").of([progress(1), progress(2), named("message", end)], 1);
    answer.token(2)
}

/// The end is often missing, and the behavior of the clients is not known.
fn dify() -> Answer {
    let message = |text: &str| {
        data(
            json!({ "event": "message", "task_id": "900bbd43", "message_id": "663c5084", "conversation_id": "45701982",
            "answer": text, "created_at": 1_705_398_420 }),
        )
    };
    let usage = json!({ "prompt_tokens": 33, "prompt_unit_price": "0.001", "completion_tokens": 135, "total_tokens": 168 });
    let end = data(
        json!({ "event": "message_end", "task_id": "900bbd43", "id": "663c5084", "metadata": { "usage": usage } }),
    );
    let answer = Answer::new("dify", "dify", "/v1/chat-messages");
    let events = ["event: ping\n\n".to_owned(), message(""), message(" I"), message("'m glad"), end];
    answer.of(events, 1).token(2).counts(33, 135).may_end_anywhere().and_breaks()
}

fn dify_workflow() -> Answer {
    let event = |event: &str, more: Value| {
        data(json!({ "event": event, "task_id": "5ad4cb98", "workflow_run_id": "5ad498-f0c7", "data": more }))
    };
    let events = [
        event("workflow_started", json!({ "id": "5ad498", "created_at": 1_679_586_595 })),
        event("node_started", json!({ "id": "5ad498", "node_type": "llm", "title": "LLM" })),
        event("text_chunk", json!({ "text": "Hello" })),
        event("workflow_finished", json!({ "id": "5ad498", "status": "succeeded", "outputs": {} })),
    ];
    let answer = Answer::new("dify workflow", "dify", "/v1/workflows/run");
    answer.of(events, 1).token(2).may_end_anywhere().and_breaks()
}
