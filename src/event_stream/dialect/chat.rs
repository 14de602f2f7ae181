//! OpenAI's chat completions and completions (platform.openai.com/docs/api-reference/chat-streaming).

use std::sync::LazyLock;

use serde_json::Value;

use super::json::Key;
use super::{Meaning, Progress, Usage};

/// The terminal event; clients look at no more of it than this.
const DONE: &[u8] = b"[DONE]";

struct Keys {
    finish_reason: Key,
    usage: Key,
    error: Key,
    choices: Key,
}

static KEYS: LazyLock<Keys> = LazyLock::new(|| Keys {
    finish_reason: Key::new("\"finish_reason\""),
    usage: Key::new("\"usage\""),
    error: Key::new("\"error\""),
    choices: Key::new("\"choices\""),
});

/// Whether this data ends a stream of this dialect.
pub fn is_done(data: &[u8]) -> bool {
    data.starts_with(DONE)
}

/// Reads one event. Parses it only if it can matter; `seeks_content`: whether its content does.
pub fn read(data: &[u8], seeks_content: bool) -> Meaning {
    if is_done(data) {
        return Meaning { progress: Progress::Ended, ..Meaning::default() };
    }
    let finishes = KEYS.finish_reason.may_be_set_in(data);
    // Some backends count in every event; the last count is in the event that finishes, or that has no choices.
    let counts = KEYS.usage.may_be_set_in(data) && (finishes || KEYS.choices.may_be_empty_in(data));
    if !(seeks_content || finishes || counts || KEYS.error.may_be_set_in(data)) {
        return Meaning::default();
    }
    let Ok(chunk) = serde_json::from_slice::<Value>(data) else { return Meaning::default() };
    let choices = || chunk["choices"].as_array().into_iter().flatten();
    let finished = choices().any(|choice| choice["finish_reason"].as_str().is_some_and(|r| !r.is_empty()));
    Meaning {
        content: choices().any(has_content),
        progress: if finished { Progress::Answered } else { Progress::Open },
        error: !chunk["error"].is_null(),
        usage: chunk["usage"].is_object().then(|| Usage {
            input_tokens: chunk["usage"]["prompt_tokens"].as_u64(),
            output_tokens: chunk["usage"]["completion_tokens"].as_u64(),
        }),
    }
}

/// Whether a choice carries more than a role: text, reasoning, a call, a refusal, or what is yet to be invented.
fn has_content(choice: &Value) -> bool {
    let delta = choice["delta"].as_object().into_iter().flatten();
    let mut parts = delta.filter(|(key, _)| *key != "role").map(|(_, value)| value).chain(choice.get("text"));
    parts.any(|part| match part {
        Value::Null => false,
        Value::String(text) => !text.is_empty(),
        Value::Array(items) => !items.is_empty(),
        Value::Object(fields) => !fields.is_empty(),
        Value::Bool(_) | Value::Number(_) => true,
    })
}
