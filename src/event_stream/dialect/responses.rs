//! OpenAI's Responses (platform.openai.com/docs/api-reference/responses-streaming).

use serde_json::Value;

use super::{Meaning, Progress, Usage};

/// Whether this is a type of event that only this dialect has.
pub fn is_type(kind: &[u8]) -> bool {
    kind.starts_with(b"response.")
}

/// Reads one event of this type.
pub fn read(kind: &[u8], data: &[u8]) -> Meaning {
    match kind {
        b"response.completed" | b"response.incomplete" | b"response.failed" => Meaning {
            progress: Progress::Ended,
            error: kind == b"response.failed",
            usage: usage(data),
            content: false,
        },
        b"error" => Meaning { error: true, ..Meaning::default() },
        _ => Meaning { content: kind.ends_with(b".delta"), ..Meaning::default() },
    }
}

fn usage(data: &[u8]) -> Option<Usage> {
    let event = serde_json::from_slice::<Value>(data).ok()?;
    let counts = &event["response"]["usage"];
    counts.is_object().then(|| Usage {
        input_tokens: counts["input_tokens"].as_u64(),
        output_tokens: counts["output_tokens"].as_u64(),
    })
}
