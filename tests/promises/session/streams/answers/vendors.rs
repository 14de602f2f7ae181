//! Answers of Anthropic's, Google's and Cohere's APIs.

use serde_json::{Value, json};

use super::super::error_form::ErrorForm;
use super::super::{data, named};
use super::Answer;

pub fn answers() -> Vec<Answer> {
    vec![
        anthropic(),
        anthropic_thinks(),
        anthropic_calls(),
        gemini(),
        gemini_thinks(),
        gemini_blocks(),
        cohere(),
    ]
}

/// An event of Anthropic's API, with its type as the name.
fn event(data: Value) -> String {
    named(data["type"].as_str().unwrap_or_default(), &data)
}

fn message_start() -> String {
    event(
        json!({ "type": "message_start", "message": { "id": "msg_1nZdL29xx5MUA1yADyHTEsnR8uuvGzszyY", "type": "message",
        "role": "assistant", "content": [], "model": "claude-opus-4-1", "stop_reason": null, "stop_sequence": null,
        "usage": { "input_tokens": 25, "output_tokens": 1 } } }),
    )
}

fn block(start: Value, deltas: impl IntoIterator<Item = Value>) -> Vec<String> {
    let start = event(json!({ "type": "content_block_start", "index": 0, "content_block": start }));
    let deltas = deltas
        .into_iter()
        .map(|delta| event(json!({ "type": "content_block_delta", "index": 0, "delta": delta })));
    [start].into_iter().chain(deltas).collect()
}

fn of_anthropic(name: &'static str, events: Vec<String>, stop_reason: &str) -> Answer {
    let stop = json!({ "stop_reason": stop_reason, "stop_sequence": null });
    let end = [
        event(json!({ "type": "message_delta", "delta": stop, "usage": { "output_tokens": 15 } })),
        event(json!({ "type": "message_stop" })),
    ];
    let block_stop = event(json!({ "type": "content_block_stop", "index": 0 }));
    let events = [message_start()].into_iter().chain(events).chain([block_stop]).chain(end);
    let answer = Answer::new(name, "anthropic", "/v1/messages").of(events, 2).types_are_in_data();
    answer.counts_from_the_beginning(25, 1).counts(25, 15)
}

fn anthropic() -> Answer {
    let text = |text: &str| json!({ "type": "text_delta", "text": text });
    let mut events = block(json!({ "type": "text", "text": "" }), [text("Hello"), text("!")]);
    events.insert(1, event(json!({ "type": "ping" })));
    of_anthropic("anthropic", events, "end_turn").token(3)
}

fn anthropic_thinks() -> Answer {
    let start = json!({ "type": "thinking", "thinking": "", "signature": "" });
    let thoughts = [
        json!({ "type": "thinking_delta", "thinking": "" }),
        json!({ "type": "thinking_delta", "thinking": "Let me see" }),
        json!({ "type": "signature_delta", "signature": "EqQBCgIYAhIM1gbcDa9GJwZA2b3hGgxBdjrkzLoky3dl1pkiMOYds" }),
    ];
    of_anthropic("anthropic thinks", block(start, thoughts), "end_turn").token(3)
}

fn anthropic_calls() -> Answer {
    let start = json!({ "type": "tool_use", "id": "toolu_01T1x1fJ34qAmk2tNTrN7Up6", "name": "get_weather", "input": {} });
    let json = |json: &str| json!({ "type": "input_json_delta", "partial_json": json });
    let parts = [json(""), json("{\"location\":"), json(" \"San Francisco\"}")];
    of_anthropic("anthropic calls a tool", block(start, parts), "tool_use").token(3)
}

fn candidates(candidates: Value) -> String {
    let usage = json!({ "promptTokenCount": 3, "candidatesTokenCount": 2, "totalTokenCount": 5 });
    data(json!({ "candidates": candidates, "usageMetadata": usage, "modelVersion": "m", "responseId": "r" }))
}

fn part(part: Value, finish_reason: Option<&str>) -> String {
    let mut candidate = json!({ "content": { "parts": [part], "role": "model" }, "index": 0 });
    if let Some(reason) = finish_reason {
        candidate["finishReason"] = reason.into();
    }
    candidates(json!([candidate]))
}

/// Older clients of Gemini raise no error on any event, so the connection breaks after it.
fn of_gemini(name: &'static str, events: impl IntoIterator<Item = String>) -> Answer {
    let answer = Answer::new(name, "gemini", "/v1beta/models/m:streamGenerateContent?alt=sse");
    let answer = answer.of(events, 1).may_go_on().raises(ErrorForm::Gemini).and_breaks();
    answer.counts_from_the_beginning(3, 2).counts(3, 2)
}

fn gemini() -> Answer {
    of_gemini(
        "gemini",
        [
            part(json!({ "text": "Hello " }), None),
            part(json!({ "text": "wor" }), None),
            part(json!({ "text": "ld" }), Some("STOP")),
        ],
    )
}

fn gemini_thinks() -> Answer {
    of_gemini(
        "gemini thinks",
        [
            part(json!({ "text": "" }), None),
            part(json!({ "text": "Let me see", "thought": true }), None),
            part(
                json!({ "functionCall": { "name": "search", "args": {} }, "thoughtSignature": "CuoB" }),
                None,
            ),
            part(json!({ "text": "" }), Some("MAX_TOKENS")),
        ],
    )
    .token(1)
}

fn gemini_blocks() -> Answer {
    let blocked = json!({ "promptFeedback": { "blockReason": "PROHIBITED_CONTENT" }, "usageMetadata": { "promptTokenCount": 4, "totalTokenCount": 4 } });
    let answer = of_gemini("gemini blocks", [part(json!({ "text": "Hi" }), None), data(blocked)]);
    answer.counts(4, 2)
}

fn cohere() -> Answer {
    let event = |kind: &str, mut data: Value| {
        let mut typed = json!({ "type": kind });
        for (name, value) in data.as_object_mut().into_iter().flatten() {
            typed[name] = value.take();
        }
        named(kind, typed)
    };
    let content = |text: &str| json!({ "index": 0, "delta": { "message": { "content": { "text": text } } } });
    let message =
        json!({ "role": "assistant", "content": [], "tool_plan": "", "tool_calls": [], "citations": [] });
    let tokens = json!({ "input_tokens": 3, "output_tokens": 2 });
    let end = json!({ "finish_reason": "COMPLETE", "usage": { "billed_units": { "input_tokens": 1, "output_tokens": 2 }, "tokens": tokens } });
    let events = [
        event("message-start", json!({ "id": "m", "delta": { "message": message } })),
        event(
            "content-start",
            json!({ "index": 0, "delta": { "message": { "content": { "type": "text", "text": "" } } } }),
        ),
        event("content-delta", content("Hello ")),
        event("content-delta", content("world")),
        event("content-end", json!({ "index": 0 })),
        event("message-end", json!({ "delta": end })),
    ];
    let answer = Answer::new("cohere", "cohere", "/v2/chat").of(events, 1).token(2).counts(3, 2);
    answer.types_are_in_data().raises(ErrorForm::Cohere).and_breaks()
}
