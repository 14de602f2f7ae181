//! Anthropic's messages (docs.anthropic.com, "Streaming Messages").

use serde_json::Value;

use super::{Meaning, Progress, Usage};

/// The types of event that only this dialect has; `ping` and `error` are not among them.
pub fn is_type(kind: &[u8]) -> bool {
    const TYPES: [&[u8]; 6] = [
        b"message_start",
        b"message_delta",
        b"message_stop",
        b"content_block_start",
        b"content_block_delta",
        b"content_block_stop",
    ];
    TYPES.contains(&kind)
}

/// Reads one event of this type.
pub fn read(kind: &[u8], data: &[u8]) -> Meaning {
    match kind {
        b"content_block_delta" => Meaning { content: true, ..Meaning::default() },
        b"message_start" => {
            Meaning { usage: usage(data, |event| &event["message"]["usage"]), ..Meaning::default() }
        }
        b"message_delta" => Meaning { usage: usage(data, |event| &event["usage"]), ..Meaning::default() },
        b"message_stop" => Meaning { progress: Progress::Ended, ..Meaning::default() },
        b"error" => Meaning { error: true, ..Meaning::default() },
        _ => Meaning::default(),
    }
}

fn usage(data: &[u8], counts: impl Fn(&Value) -> &Value) -> Option<Usage> {
    let event = serde_json::from_slice::<Value>(data).ok()?;
    let counts = counts(&event);
    Some(Usage {
        input_tokens: counts["input_tokens"].as_u64(),
        output_tokens: counts["output_tokens"].as_u64(),
    })
}
