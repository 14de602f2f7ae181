//! llama.cpp's own API (github.com/ggml-org/llama.cpp, tools/server, `/completion`).

use std::sync::LazyLock;

use super::{Answer, Dialect, Finder, Heartbeat, Member, OnBreak, Seen, has_text};

/// The native API of llama.cpp's server.
pub static LLAMA_CPP: Dialect = Dialect {
    name: "llama_cpp",
    title: "llama.cpp's server",
    paths: &["/completion"],
    signs: &["\"stop\""],
    is_sign,
    type_member: "",
    types: &[],
    members: LazyLock::new(|| Finder::new(&[Member::True("stop"), Member::Set("error")])),
    ends_with_done: false,
    read,
    requires_end: true,
    on_break: OnBreak::Superset,
    heartbeat: Heartbeat::Comment,
    columns: ["`\"stop\":true`", "`error` member", "`content`", "`tokens_evaluated`, `tokens_predicted`"],
};

fn is_sign(event: &Seen) -> bool {
    // Each version has at least one of these members in every event.
    const BESIDE: [&str; 7] =
        ["slot_id", "id_slot", "multimodal", "tokens", "tokens_predicted", "generation_settings", "index"];
    event.data["content"].is_string()
        && event.data["stop"].is_boolean()
        && BESIDE.iter().any(|member| event.data.get(member).is_some())
}

fn read(event: &Seen, answer: &mut Answer) {
    answer.has_content |= has_text(&event.data["content"]);
    if event.data["stop"] == true {
        answer.end();
        answer.count(event.data["tokens_evaluated"].as_u64(), event.data["tokens_predicted"].as_u64());
    }
}
