//! The UI message stream of the AI SDK (ai-sdk.dev, "Stream Protocols").

use std::sync::LazyLock;

use serde_json::{Value, json};

use super::{Answer, Dialect, Finder, Heartbeat, Member, OnBreak, OwnClose, Seen, has_text};

/// The AI SDK's UI message stream.
pub static AI_SDK_UI: Dialect = Dialect {
    name: "ai_sdk_ui",
    title: "the AI SDK's UI message stream",
    paths: &[],
    signs: &[
        "\"messageId\"",
        "text-start",
        "text-delta",
        "reasoning-start",
        "reasoning-delta",
        "tool-input-",
    ],
    is_sign,
    type_member: "type",
    types: &["finish", "abort", "error"],
    members: LazyLock::new(|| Finder::new(&[Member::Set("error")])),
    ends_with_done: true,
    read,
    requires_end: true,
    on_break: OnBreak::Own { data: error, close: OwnClose::Clean },
    heartbeat: Heartbeat::Comment,
    columns: [
        "`finish`, `abort`, `[DONE]`",
        "`error` part",
        "`text-delta`, `reasoning-delta`, `tool-…` with text",
        "",
    ],
};

fn is_sign(event: &Seen) -> bool {
    let is_part = |member: &str| event.data["id"].is_string() && event.data[member].is_string();
    match event.kind {
        b"start" => event.data["messageId"].is_string(),
        b"text-start" | b"reasoning-start" => is_part("type"),
        b"text-delta" | b"reasoning-delta" => is_part("delta"),
        kind => kind.starts_with(b"tool-input-") && event.data["toolCallId"].is_string(),
    }
}

fn read(event: &Seen, answer: &mut Answer) {
    match event.kind {
        b"finish" | b"abort" => answer.end(),
        b"error" => answer.has_error = true,
        b"text-delta" | b"reasoning-delta" => answer.has_content |= has_text(&event.data["delta"]),
        kind if kind.starts_with(b"tool-") => answer.has_content = true,
        _ => {}
    }
}

fn error(_: &str, message: &str) -> Value {
    json!({ "type": "error", "errorText": message })
}
