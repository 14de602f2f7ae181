//! Ollama's own API (github.com/ollama/ollama, docs/api.md), which streams JSON lines.

use std::sync::LazyLock;

use super::{Answer, Dialect, Finder, Heartbeat, Member, OnBreak, Seen, has_text, is_set};

/// Ollama's own API.
pub static OLLAMA: Dialect = Dialect {
    name: "ollama",
    title: "Ollama's own API, JSON lines",
    paths: &[],
    signs: &["\"done\""],
    is_sign,
    type_member: "",
    types: &[],
    members: LazyLock::new(|| Finder::new(&[Member::True("done"), Member::Set("error")])),
    ends_with_done: false,
    read,
    requires_end: true,
    on_break: OnBreak::Superset,
    heartbeat: Heartbeat::Comment,
    columns: [
        "`\"done\":true`",
        "`error` member",
        "text, a thought or a call",
        "`prompt_eval_count`, `eval_count`",
    ],
};

fn is_sign(event: &Seen) -> bool {
    event.data["done"].is_boolean() && event.data["model"].is_string()
}

/// Reads a chunk of `/api/chat` or of `/api/generate`.
fn read(event: &Seen, answer: &mut Answer) {
    let (chunk, message) = (event.data, &event.data["message"]);
    let texts = [&chunk["response"], &chunk["thinking"], &message["content"], &message["thinking"]];
    answer.has_content |= texts.into_iter().any(has_text) || is_set(&message["tool_calls"]);
    if chunk["done"] == true {
        answer.end();
        answer.count(chunk["prompt_eval_count"].as_u64(), chunk["eval_count"].as_u64());
    }
}
