//! A short streamed answer in OpenAI's chat completions format.

use crate::kit::wire::{LAST_CHUNK, STREAM_HEAD, chunk};

/// The path of the answer.
pub const PATH: &str = "/v1/chat/completions";

const WORDS: [&str; 8] = ["Sure", ",", " the", " answer", " is", " forty", "-two", "."];

/// The whole response, with each event in its own chunk.
pub fn completion() -> Vec<u8> {
    let mut answer = STREAM_HEAD.as_bytes().to_vec();
    answer.extend(event(r#"{"role":"assistant","content":"","refusal":null}"#, "null"));
    for word in WORDS {
        answer.extend(event(&format!(r#"{{"content":"{word}"}}"#), "null"));
    }
    answer.extend(event("{}", r#""stop""#));
    answer.extend(chunk("data: [DONE]\n\n"));
    answer.extend_from_slice(LAST_CHUNK.as_bytes());
    answer
}

fn event(delta: &str, finish_reason: &str) -> Vec<u8> {
    let head = r#"{"id":"chatcmpl-AbZ3kQ9vTn2xLw7RyUe5HsGd1MfCo","object":"chat.completion.chunk","created":1733011200"#;
    let model =
        r#""model":"gpt-4o-mini-2024-07-18","service_tier":"default","system_fingerprint":"fp_0705bf87c0""#;
    let choice = format!(r#"{{"index":0,"delta":{delta},"logprobs":null,"finish_reason":{finish_reason}}}"#);
    chunk(format!("data: {head},{model},\"choices\":[{choice}]}}\n\n"))
}
