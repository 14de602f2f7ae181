//! Text Generation Inference's own API (huggingface.co/docs/text-generation-inference, `/generate_stream`).

use std::sync::LazyLock;

use super::{Answer, Dialect, Finder, Heartbeat, Member, OnBreak, Seen, has_text, is_set};

/// Text Generation Inference's own API.
pub static TGI: Dialect = Dialect {
    name: "tgi",
    title: "Text Generation Inference",
    paths: &["/generate_stream"],
    signs: &["\"generated_text\""],
    is_sign,
    type_member: "",
    types: &[],
    members: LazyLock::new(|| {
        Finder::new(&[Member::Set("generated_text"), Member::Set("error"), Member::Set("error_type")])
    }),
    ends_with_done: false,
    read,
    requires_end: true,
    on_break: OnBreak::Superset,
    heartbeat: Heartbeat::Comment,
    columns: ["`generated_text`", "`error`, `error_type` members", "`token.text`", "`details`"],
};

fn is_sign(event: &Seen) -> bool {
    let token = &event.data["token"];
    token["text"].is_string() && token["id"].as_u64().is_some() && event.data.get("generated_text").is_some()
}

fn read(event: &Seen, answer: &mut Answer) {
    answer.has_content |= has_text(&event.data["token"]["text"]);
    answer.has_error |= is_set(&event.data["error_type"]);
    if event.data["generated_text"].is_string() {
        answer.end();
    }
    let details = &event.data["details"];
    answer.count(details["input_length"].as_u64(), details["generated_tokens"].as_u64());
}
