//! AG-UI (docs.ag-ui.com, "Events").

use std::sync::LazyLock;

use serde_json::{Value, json};

use super::{Answer, Dialect, Finder, Heartbeat, Member, OnBreak, OwnClose, Seen, has_text};

/// AG-UI.
pub static AG_UI: Dialect = Dialect {
    name: "ag_ui",
    title: "AG-UI",
    paths: &[],
    signs: &["RUN_STARTED", "RUN_ERROR", "TEXT_MESSAGE_", "TOOL_CALL_"],
    is_sign,
    type_member: "type",
    types: &["RUN_STARTED", "RUN_FINISHED", "RUN_ERROR"],
    members: LazyLock::new(|| Finder::new(&[Member::Set("error")])),
    ends_with_done: false,
    read,
    requires_end: true,
    // The client reports the event and finishes the run. Only a broken connection makes the run fail, but that also
    // terminates a Node process.
    on_break: OnBreak::Own { data: error, close: OwnClose::AsBackend },
    heartbeat: Heartbeat::Comment,
    columns: ["`RUN_FINISHED`, `RUN_ERROR`", "`RUN_ERROR`", "`TEXT_MESSAGE_CONTENT`, `TOOL_CALL_ARGS`", ""],
};

fn is_sign(event: &Seen) -> bool {
    let has = |members: &[&str]| members.iter().all(|member| event.data[member].is_string());
    match event.kind {
        b"RUN_STARTED" => has(&["threadId", "runId"]),
        // A run that fails at once begins with this event.
        b"RUN_ERROR" => has(&["message"]),
        kind if kind.starts_with(b"TEXT_MESSAGE_") => has(&["messageId"]),
        kind => kind.starts_with(b"TOOL_CALL_") && has(&["toolCallId"]),
    }
}

fn read(event: &Seen, answer: &mut Answer) {
    match event.kind {
        b"RUN_STARTED" => answer.begin(),
        b"RUN_FINISHED" => answer.end(),
        b"RUN_ERROR" => {
            answer.has_error = true;
            answer.end();
        }
        b"TEXT_MESSAGE_CONTENT" | b"TEXT_MESSAGE_CHUNK" | b"TOOL_CALL_ARGS" | b"TOOL_CALL_CHUNK" => {
            answer.has_content |= has_text(&event.data["delta"]);
        }
        _ => {}
    }
}

fn error(code: &str, message: &str) -> Value {
    json!({ "type": "RUN_ERROR", "message": message, "code": code })
}
