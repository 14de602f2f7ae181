//! Ollama's own API (github.com/ollama/ollama, docs/api.md): JSON texts, one a line.

use std::sync::LazyLock;

use serde_json::Value;

use super::json::Key;
use super::{Meaning, Progress, Usage};

struct Keys {
    done: Key,
    error: Key,
}

static KEYS: LazyLock<Keys> =
    LazyLock::new(|| Keys { done: Key::new("\"done\""), error: Key::new("\"error\"") });

/// Whether this is a part of an answer.
pub fn is_chunk(fields: &Value) -> bool {
    fields.get("done").is_some_and(Value::is_boolean) && fields.get("model").is_some_and(Value::is_string)
}

/// Reads one text. `seeks_content`: no content was there yet.
pub fn read(data: &[u8], seeks_content: bool) -> Meaning {
    if !(seeks_content || KEYS.done.may_be_true_in(data) || KEYS.error.may_be_set_in(data)) {
        return Meaning::default();
    }
    let Ok(chunk) = serde_json::from_slice::<Value>(data) else { return Meaning::default() };
    let is_done = chunk["done"] == true;
    Meaning {
        content: has_content(&chunk),
        progress: if is_done { Progress::Ended } else { Progress::Open },
        error: !chunk["error"].is_null(),
        usage: is_done.then(|| Usage {
            input_tokens: chunk["prompt_eval_count"].as_u64(),
            output_tokens: chunk["eval_count"].as_u64(),
        }),
    }
}

/// Text, thoughts or calls, of `/api/chat` or of `/api/generate`.
fn has_content(chunk: &Value) -> bool {
    let message = &chunk["message"];
    let texts = [&chunk["response"], &chunk["thinking"], &message["content"], &message["thinking"]];
    let has_text = texts.iter().any(|text| text.as_str().is_some_and(|text| !text.is_empty()));
    has_text || message["tool_calls"].as_array().is_some_and(|calls| !calls.is_empty())
}
