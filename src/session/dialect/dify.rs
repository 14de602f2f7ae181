//! Dify (docs.dify.ai, "Send Chat Message", "Execute Workflow").

use std::sync::LazyLock;

use super::{Answer, Dialect, Finder, Heartbeat, Member, OnBreak, Seen, has_text};

/// The types of event with a part of the answer.
const PARTS: [&str; 4] = ["message", "agent_message", "text_chunk", "agent_thought"];

/// Dify.
pub static DIFY: Dialect = Dialect {
    name: "dify",
    title: "Dify",
    paths: &["/chat-messages", "/completion-messages", "/workflows/run"],
    signs: &["\"task_id\"", "\"workflow_run_id\""],
    is_sign,
    type_member: "event",
    types: &["message_end", "workflow_finished", "error"],
    members: LazyLock::new(|| Finder::new(&[Member::Set("error")])),
    ends_with_done: false,
    read,
    requires_end: false,
    on_break: OnBreak::Break,
    heartbeat: Heartbeat::Comment,
    columns: [
        "`message_end`, `workflow_finished`; their absence is no truncation",
        "`error` event",
        "`message`, `agent_message`",
        "`metadata.usage`",
    ],
};

fn is_sign(event: &Seen) -> bool {
    let has = |member: &str| event.data[member].is_string();
    has("event") && (has("task_id") || has("workflow_run_id"))
}

fn read(event: &Seen, answer: &mut Answer) {
    let data = event.data;
    match data["event"].as_str().unwrap_or_default() {
        "message_end" | "workflow_finished" => {
            // A chat flow sends both, in either order.
            answer.finish();
            let usage = &data["metadata"]["usage"];
            answer.count(usage["prompt_tokens"].as_u64(), usage["completion_tokens"].as_u64());
        }
        "error" => answer.has_error = true,
        kind if PARTS.contains(&kind) => {
            answer.has_content |=
                has_text(&data["answer"]) || has_text(&data["data"]["text"]) || has_text(&data["thought"])
        }
        _ => {}
    }
}
