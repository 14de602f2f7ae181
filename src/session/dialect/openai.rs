//! OpenAI's chat completions and completions (platform.openai.com/docs/api-reference/chat-streaming), and compatible APIs.

use std::sync::LazyLock;

use super::{Answer, Dialect, Finder, Heartbeat, Json, Member, OnBreak, Seen, has_text};

/// OpenAI's chat completions and completions.
pub static OPENAI: Dialect = Dialect {
    name: "openai",
    title: "chat completions, completions",
    paths: &["/chat/completions", "/completions"],
    signs: &["\"choices\""],
    is_sign,
    type_member: "",
    types: &[],
    members: LazyLock::new(|| {
        Finder::new(&[
            Member::Set("finish_reason"),
            Member::Set("usage"),
            Member::Set("error"),
            Member::NotZero("index"),
        ])
    }),
    ends_with_done: true,
    read,
    requires_end: true,
    on_break: OnBreak::Superset,
    heartbeat: Heartbeat::Comment,
    columns: [
        "`[DONE]`, or a `finish_reason` for every choice seen",
        "`error` member",
        "a delta with text, reasoning, a refusal, audio or a tool call",
        "`usage`, beside the choices, in one, or in `x_groq`",
    ],
};

/// Every choice must have a member that is specific to this API. Azure begins with an empty list of choices, with `model`
/// and `object` beside it.
fn is_sign(event: &Seen) -> bool {
    const OF_DELTA: [&str; 9] = [
        "role",
        "content",
        "reasoning_content",
        "reasoning",
        "reasoning_details",
        "refusal",
        "audio",
        "tool_calls",
        "function_call",
    ];
    let is_message = |message: &Json| {
        message
            .as_object()
            .is_some_and(|m| m.is_empty() || m.iter().any(|(name, _)| OF_DELTA.contains(&&**name)))
    };
    let is_choice = |choice: &Json| {
        let is_numbered = choice["index"].as_u64().is_some() || choice.get("finish_reason").is_some();
        is_message(&choice["delta"])
            || is_message(&choice["message"])
            || (choice["text"].is_string() && is_numbered)
    };
    event.data["choices"].as_array().is_some_and(|choices| match choices {
        [] => event.data["model"].is_string() && event.data["object"].is_string(),
        choices => choices.iter().all(is_choice),
    })
}

fn read(event: &Seen, answer: &mut Answer) {
    let chunk = event.data;
    for choice in chunk["choices"].as_array().into_iter().flatten() {
        answer.has_content |= has_content(choice);
        // Some backends send `""` or `"null"` instead of null.
        let is_finished = choice["finish_reason"].as_str().is_some_and(|r| !matches!(r, "" | "null"));
        answer.note_choice(choice["index"].as_u64().unwrap_or(0), is_finished);
        count(choice.get("usage"), answer);
    }
    count(chunk.get("usage"), answer);
    count(chunk.get("x_groq").and_then(|groq| groq.get("usage")), answer);
}

fn count(usage: Option<&Json>, answer: &mut Answer) {
    if let Some(usage) = usage.filter(|usage| usage.is_object()) {
        answer.count_either(usage, ["prompt_tokens", "input_tokens"], ["completion_tokens", "output_tokens"]);
    }
}

/// Whether a choice has a part of the answer. Unknown members count as content, so new kinds of content need no change.
fn has_content(choice: &Json) -> bool {
    const NO_PARTS: [&str; 5] = ["role", "name", "id", "index", "provider_specific_fields"];
    let parts = ["delta", "message"].map(|part| choice[part].as_object()).into_iter().flatten().flatten();
    let mut parts = parts
        .filter(|(name, _)| !NO_PARTS.contains(&&**name))
        .map(|(_, value)| value)
        .chain(choice.get("text"));
    parts.any(|part| match part {
        Json::Null | Json::Bool(_) | Json::Number(_) => false,
        Json::String(text) => !text.is_empty(),
        // A text may be a list of parts, each with a type.
        Json::Array(items) => items.iter().any(|item| item["type"] != "text" || has_text(&item["text"])),
        Json::Object(fields) => !fields.is_empty(),
    })
}
