//! Google's Gemini, with `alt=sse` (ai.google.dev/api/generate-content).

use std::sync::LazyLock;

use serde_json::{Value, json};

use super::{Answer, Dialect, Finder, Heartbeat, Json, Member, OnBreak, OwnClose, Seen, has_text};

/// Gemini with `alt=sse`.
pub static GEMINI: Dialect = Dialect {
    name: "gemini",
    title: "Gemini with `alt=sse`",
    paths: &[":streamGenerateContent"],
    signs: &["\"candidates\"", "\"promptFeedback\"", "\"usageMetadata\""],
    is_sign,
    type_member: "",
    types: &[],
    members: LazyLock::new(|| {
        Finder::new(&[
            Member::Set("finishReason"),
            Member::Set("blockReason"),
            Member::Set("usageMetadata"),
            Member::Set("error"),
        ])
    }),
    ends_with_done: false,
    read,
    requires_end: true,
    // Older clients raise no error on any event.
    on_break: OnBreak::Own { data: error, close: OwnClose::Break },
    // Google's own clients fail on a comment: they treat any nonblank line other than `data` as a broken event.
    heartbeat: Heartbeat::BlankLine,
    columns: [
        "a candidate's `finishReason`, or `promptFeedback.blockReason`, early or late",
        "`error` member",
        "`parts` with text, a thought or a call",
        "`usageMetadata`",
    ],
};

/// Token counts may arrive before the first candidate, and a candidate may arrive without content.
fn is_sign(event: &Seen) -> bool {
    let is_named = event.data["modelVersion"].is_string() || event.data["responseId"].is_string();
    let is_part = |part: &Json| part.is_object();
    let is_content = |content: &Json| {
        content["role"] == "model"
            || content["parts"].as_array().is_some_and(|parts| !parts.is_empty() && parts.iter().all(is_part))
            || content.as_object().is_some_and(<[_]>::is_empty)
    };
    let is_candidate = |candidate: &Json| {
        is_content(&candidate["content"])
            || candidate["finishReason"].is_string()
            || (is_named && candidate["index"].as_u64().is_some())
    };
    let candidates = event.data["candidates"].as_array();
    candidates.is_some_and(|candidates| !candidates.is_empty() && candidates.iter().all(is_candidate))
        || event.data["promptFeedback"]["blockReason"].is_string()
        || (is_named && event.data["usageMetadata"].is_object())
}

fn read(event: &Seen, answer: &mut Answer) {
    let candidates = || event.data["candidates"].as_array().into_iter().flatten();
    let is_part = |part: &Json| match part.as_object() {
        Some(part) => part
            .iter()
            .any(|(name, value)| name != "thoughtSignature" && (value.is_object() || has_text(value))),
        None => false,
    };
    answer.has_content |=
        candidates().any(|c| c["content"]["parts"].as_array().is_some_and(|parts| parts.iter().any(is_part)));
    if candidates().any(|candidate| has_text(&candidate["finishReason"]))
        || has_text(&event.data["promptFeedback"]["blockReason"])
    {
        answer.finish();
    }
    let usage = &event.data["usageMetadata"];
    let thoughts = usage["thoughtsTokenCount"].as_u64().unwrap_or(0);
    let output = usage["candidatesTokenCount"].as_u64().map(|candidates| candidates.saturating_add(thoughts));
    answer.count(usage["promptTokenCount"].as_u64(), output);
}

/// Google's clients need `error` as the first member, with a numeric `code`.
fn error(code: &str, message: &str) -> Value {
    let details = json!([{ "reason": code }]);
    json!({ "error": { "code": 503, "message": message, "status": "UNAVAILABLE", "details": details } })
}
