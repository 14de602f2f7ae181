//! Anthropic's messages (docs.anthropic.com, "Streaming Messages").

use std::sync::LazyLock;

use super::{Answer, Dialect, Finder, Heartbeat, Json, Member, OnBreak, Seen, has_text};

/// Anthropic's messages.
pub static ANTHROPIC: Dialect = Dialect {
    name: "anthropic",
    title: "Anthropic's messages",
    paths: &["/v1/messages"],
    signs: &["message_start", "content_block_", "message_delta"],
    is_sign,
    type_member: "type",
    types: &["message_start", "message_delta", "message_stop", "error"],
    members: LazyLock::new(|| Finder::new(&[Member::Set("error")])),
    ends_with_done: false,
    read,
    requires_end: true,
    on_break: OnBreak::Superset,
    heartbeat: Heartbeat::Comment,
    columns: [
        "`message_stop`, or a `message_delta` with a `stop_reason`",
        "`error` event",
        "a `content_block_delta` that is not empty",
        "input with cache reads and creation, output",
    ],
};

fn is_sign(event: &Seen) -> bool {
    let (data, delta) = (event.data, &event.data["delta"]);
    match event.kind {
        b"message_start" => data["message"]["usage"].is_object() || data["message"]["role"] == "assistant",
        b"content_block_start" => data["content_block"]["type"].is_string(),
        b"content_block_delta" => {
            delta["type"].is_string() || DELTAS.iter().any(|part| delta[part].is_string())
        }
        b"message_delta" => delta.get("stop_reason").is_some() || data["usage"].is_object(),
        _ => false,
    }
}

fn read(event: &Seen, answer: &mut Answer) {
    match event.kind {
        b"content_block_delta" => {
            answer.has_content |= DELTAS.iter().any(|part| has_text(&event.data["delta"][part]))
        }
        b"message_start" => {
            answer.begin();
            count(&event.data["message"]["usage"], answer);
        }
        b"message_delta" => {
            count(&event.data["usage"], answer);
            if has_text(&event.data["delta"]["stop_reason"]) {
                answer.finish();
            }
        }
        b"message_stop" => answer.end(),
        _ => {}
    }
}

/// The members of a delta that are part of the answer. `type` and `signature` are not.
const DELTAS: [&str; 4] = ["text", "thinking", "partial_json", "citation"];

/// Adds up the input tokens, which are counted separately for the cache. Later events repeat the counts, sometimes without
/// those of the cache, so the largest sum counts.
fn count(usage: &Json, answer: &mut Answer) {
    const INPUT: [&str; 3] = ["input_tokens", "cache_creation_input_tokens", "cache_read_input_tokens"];
    let parts = INPUT.iter().filter_map(|name| usage[name].as_u64());
    let input = parts.reduce(u64::saturating_add).max(answer.usage.input_tokens);
    answer.count(input, usage["output_tokens"].as_u64());
}
