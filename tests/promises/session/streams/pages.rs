//! Peculiarities of the dialects between pages and agents: the AI SDK's UI stream, AG-UI, Dify.

use super::data;
use super::error_form::ErrorForm::{AgUi, AiSdkUi, Superset};
use super::row::{Request, Row};

pub fn rows() -> Vec<Row> {
    [ai_sdk_ui(), ag_ui(), dify()].concat()
}

fn ai_sdk_ui() -> Vec<Row> {
    let row = |name: &str| {
        let row =
            Row::new(format!("ai_sdk_ui: {name}"), Request::post("/api/chat", "{}")).speaks("ai_sdk_ui");
        row.sends(data(r#"{"type":"text-start","id":"0"}"#))
            .after(1, data(r#"{"type":"text-delta","id":"0","delta":"Hi"}"#))
            .token_at(1)
    };
    let first = |name: &str, event: &str| {
        Row::new(format!("ai_sdk_ui: {name}"), Request::post("/api/chat", "{}"))
            .speaks("ai_sdk_ui")
            .sends(data(event))
    };
    let cut = |row: Row| row.raises(AiSdkUi, "upstream_truncated");
    vec![
        row("finish alone").sends(data(r#"{"type":"finish"}"#)),
        row("[DONE] alone").sends(data("[DONE]")),
        row("an abort").sends(data(r#"{"type":"abort"}"#)),
        row("an abort and a RST").sends(data(r#"{"type":"abort"}"#)).resets(),
        cut(row("a step that finishes").sends(data(r#"{"type":"finish-step"}"#))),
        cut(row("an application's own part")
            .sends(data(r#"{"type":"data-finish","data":{"type":"finish"}}"#))),
        cut(row("finish in a text")
            .sends(data(r#"{"type":"text-delta","id":"0","delta":"{\"type\":\"finish\"}"}"#))),
        cut(first("a call first", r#"{"type":"tool-input-start","toolCallId":"c","toolName":"f"}"#)
            .token_at(0)),
        cut(first("a thought first", r#"{"type":"reasoning-start","id":"0"}"#)
            .after(1, data(r#"{"type":"reasoning-delta","id":"0","delta":"Hm"}"#))
            .token_at(1)),
        row("a type behind the rest").sends(data(r#"{"finishReason":"stop","type":"finish"}"#)),
    ]
}

fn ag_ui() -> Vec<Row> {
    let row = |name: &str| {
        let row = Row::new(
            format!("ag_ui: {name}"),
            Request::post("/agent", r#"{"threadId":"t","runId":"r","messages":[]}"#),
        );
        row.speaks("ag_ui").sends(data(r#"{"type":"RUN_STARTED","threadId":"t","runId":"r"}"#))
    };
    vec![
        row("an error").sends(data(r#"{"type":"RUN_ERROR","message":"m","code":"c"}"#)).reports_an_error(),
        row("a chunk of a message")
            .after(1, data(r#"{"type":"TEXT_MESSAGE_CHUNK","messageId":"m","delta":"Hi"}"#))
            .sends(data(r#"{"type":"RUN_FINISHED"}"#))
            .token_at(1),
        row("an empty part")
            .sends(data(r#"{"type":"TEXT_MESSAGE_CONTENT","messageId":"m","delta":""}"#))
            .after(1, data(r#"{"type":"TOOL_CALL_ARGS","toolCallId":"c","delta":"{"}"#))
            .token_at(1)
            .raises(AgUi, "upstream_truncated"),
        row("a step that finishes")
            .sends(data(r#"{"type":"STEP_FINISHED","stepName":"s"}"#))
            .raises(AgUi, "upstream_truncated"),
        row("an end in a snapshot")
            .sends(data(r#"{"type":"STATE_SNAPSHOT","snapshot":{"type":"RUN_FINISHED"}}"#))
            .raises(AgUi, "upstream_truncated"),
        row("a stall").stalls().raises(AgUi, "idle_timeout"),
        row("a RST").resets().raises_and_breaks(AgUi, "upstream_reset"),
        row("names in the Python SDK's style")
            .sends("data: {\"runId\": \"r\", \"threadId\": \"t\", \"type\": \"RUN_FINISHED\"}\n\n"),
    ]
}

/// The end of a Dify stream is often missing.
fn dify() -> Vec<Row> {
    let row = |name: &str| {
        Row::new(format!("dify: {name}"), Request::post("/v1/chat-messages", "{}")).speaks("dify")
    };
    let message =
        data(r#"{"event":"message","task_id":"t","message_id":"m","conversation_id":"c","answer":"Hi"}"#);
    let error = data(
        r#"{"event":"error","task_id":"t","message_id":"m","status":400,"code":"completion_request_error","message":"m"}"#,
    );
    vec![
        row("an error at once").sends(&error).reports_an_error(),
        row("an error").sends(&message).sends(&error).token_at(0).reports_an_error(),
        row("an error and a RST").sends(&message).sends(&error).token_at(0).resets().reports_an_error(),
        row("an error whose kind comes late").sends(&message).sends(data(r#"{"task_id":"t","message_id":"m","code":"c","event":"error"}"#)).token_at(0).reports_an_error(),
        row("a message of an agent").sends(data(r#"{"event":"agent_message","task_id":"t","answer":"Hi"}"#)).token_at(0),
        row("both ends, in either order")
            .sends(&message)
            .sends(data(r#"{"event":"workflow_finished","task_id":"t","workflow_run_id":"w","data":{}}"#))
            .sends(data(r#"{"event":"message_end","task_id":"t","metadata":{"usage":{"prompt_tokens":3,"completion_tokens":4}}}"#))
            .token_at(0)
            .counts(3, 4),
        row("a stall").sends(&message).stalls().token_at(0).raises_and_breaks(Superset, "idle_timeout"),
        row("pings in a silence").sends(&message).after(10, "event: ping\n\n").after(10, "event: ping\n\n").after(10, &message).token_at(0),
    ]
}
