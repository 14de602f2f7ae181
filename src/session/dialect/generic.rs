//! The fallback for streams in no known dialect.

use std::sync::LazyLock;

use super::{Answer, Dialect, Finder, Heartbeat, Json, Member, OnBreak, Seen, is_set};

/// The fallback for streams in no known dialect.
pub static GENERIC: Dialect = Dialect {
    name: "generic",
    title: "any other stream",
    paths: &[],
    signs: &[],
    is_sign: |_| false,
    type_member: "type",
    types: &[],
    members: LazyLock::new(|| Finder::new(&[Member::Set("error"), Member::Set("usage")])),
    ends_with_done: false,
    read,
    requires_end: false,
    on_break: OnBreak::Break,
    heartbeat: Heartbeat::Comment,
    columns: [
        "any clean end between events; with `terminal` set, that event",
        "`error` event, top-level `error` member",
        "the first event with data",
        "`usage`",
    ],
};

/// Types of event without content.
pub const NO_CONTENT: [&str; 8] =
    ["ping", "keepalive", "keep-alive", "keep_alive", "heartbeat", "metadata", "connected", "error"];

/// Data is content unless it is null, or an object with nothing set but its type, ids and other metadata.
fn read(event: &Seen, answer: &mut Answer) {
    const NO_PARTS: [&str; 8] = ["type", "event", "id", "role", "index", "object", "created", "model"];
    let is_part = |name: &str, value: &Json| !NO_PARTS.contains(&name) && is_set(value);
    let says_something = match event.data {
        Json::Object(members) => members.iter().any(|(name, value)| is_part(name, value)),
        Json::Null => false,
        _ => true,
    };
    let kind = event.data["type"].as_str().unwrap_or_default();
    answer.has_content |= says_something
        && !event.is_any(&NO_CONTENT)
        && !NO_CONTENT.contains(&kind)
        && !is_set(&event.data["error"]);
    if event.data["usage"].is_object() {
        let names = (["prompt_tokens", "input_tokens"], ["completion_tokens", "output_tokens"]);
        answer.count_either(&event.data["usage"], names.0, names.1);
    }
}
