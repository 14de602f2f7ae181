//! Cohere's chat, v2 (docs.cohere.com/v2/docs/streaming).

use std::sync::LazyLock;

use serde_json::{Value, json};

use super::{Answer, Dialect, Finder, Heartbeat, Member, OnBreak, OwnClose, Seen, has_text};

/// The types of event that identify the dialect.
const KINDS: [&str; 6] =
    ["message-start", "content-start", "content-delta", "tool-plan-delta", "tool-call-start", "message-end"];

/// Cohere's chat, v2.
pub static COHERE: Dialect = Dialect {
    name: "cohere",
    title: "Cohere's chat, v2",
    paths: &["/v2/chat"],
    signs: &KINDS,
    is_sign,
    type_member: "type",
    types: &["message-start", "message-end"],
    members: LazyLock::new(|| Finder::new(&[Member::Set("error")])),
    ends_with_done: false,
    read,
    requires_end: true,
    // The clients return the event like any other, and fail only if the connection breaks.
    on_break: OnBreak::Own { data: error, close: OwnClose::Break },
    heartbeat: Heartbeat::Comment,
    columns: [
        "`message-end`",
        "`finish_reason: ERROR`",
        "`content-delta`, `tool-…` with text",
        "`delta.usage`",
    ],
};

fn is_sign(event: &Seen) -> bool {
    event.is_any(&KINDS) && event.says_type() && event.data["delta"].is_object()
}

fn read(event: &Seen, answer: &mut Answer) {
    let delta = &event.data["delta"];
    let is_part = event.kind == b"content-delta" || event.kind.starts_with(b"tool-");
    answer.has_content |= is_part && has_text(&delta["message"]);
    if event.kind == b"message-start" {
        answer.begin();
    }
    if event.kind == b"message-end" {
        answer.end();
        answer.has_error |= delta["finish_reason"].as_str().is_some_and(|reason| reason.starts_with("ERROR"));
        let tokens = &delta["usage"]["tokens"];
        answer.count(tokens["input_tokens"].as_u64(), tokens["output_tokens"].as_u64());
    }
}

fn error(code: &str, message: &str) -> Value {
    let delta = json!({ "finish_reason": "ERROR", "error": message });
    json!({ "type": "message-end", "delta": delta, "code": code })
}
