//! Answers of OpenAI's chat completions, completions, Responses and Assistants, and of compatible APIs.

use serde_json::{Value, json};

use super::super::{data, named};
use super::Answer;

pub fn answers() -> Vec<Answer> {
    vec![
        chat(),
        chat_without_usage(),
        chat_without_done(),
        completions(),
        azure(),
        reasoning(),
        tool_call(),
        responses(),
        assistants(),
    ]
}

fn chat_chunk(choices: Value, usage: &Value) -> String {
    data(json!({
        "id": "chatcmpl-123", "object": "chat.completion.chunk", "created": 1_694_268_190, "model": "gpt-4o-mini",
        "system_fingerprint": "fp_44709d6fcb", "choices": choices, "usage": usage,
    }))
}

fn delta(delta: Value, finish_reason: Option<&str>) -> String {
    let choice = json!({ "index": 0, "delta": delta, "logprobs": null, "finish_reason": finish_reason });
    chat_chunk(json!([choice]), &Value::Null)
}

fn hello() -> [String; 3] {
    [
        delta(json!({ "role": "assistant", "content": "" }), None),
        delta(json!({ "content": "Hello " }), None),
        delta(json!({ "content": "world" }), None),
    ]
}

fn done() -> String {
    data("[DONE]")
}

fn chat() -> Answer {
    let usage = json!({ "prompt_tokens": 19, "completion_tokens": 10, "total_tokens": 29,
        "prompt_tokens_details": { "cached_tokens": 0 }, "completion_tokens_details": { "reasoning_tokens": 0 } });
    let end = [delta(json!({}), Some("stop")), chat_chunk(json!([]), &usage), done()];
    let answer = Answer::new("chat", "openai", "/v1/chat/completions");
    answer.of(hello().into_iter().chain(end), 3).token(1).counts(19, 10)
}

fn chat_without_usage() -> Answer {
    let end = [delta(json!({}), Some("length")), done()];
    Answer::new("chat without usage", "openai", "/openai/chat/completions")
        .of(hello().into_iter().chain(end), 2)
        .token(1)
}

fn chat_without_done() -> Answer {
    let end = [delta(json!({ "content": "!" }), Some("stop"))];
    // At a path that implies no dialect.
    Answer::new("chat without [DONE]", "openai", "/generate")
        .of(hello().into_iter().chain(end), 1)
        .token(1)
        .may_go_on()
}

fn completions() -> Answer {
    let chunk = |text: &str, finish_reason: Option<&str>| {
        let choice = json!({ "text": text, "index": 0, "logprobs": null, "finish_reason": finish_reason });
        data(
            json!({ "id": "cmpl-7iA7iJjj8V2zOkCGvWF2hAkDWBQZe", "object": "text_completion", "created": 1_690_759_702,
            "choices": [choice], "model": "gpt-3.5-turbo-instruct", "system_fingerprint": "fp_44709d6fcb" }),
        )
    };
    Answer::new("completions", "openai", "/v1/completions")
        .of([chunk("This", None), chunk(" is", None), chunk("", Some("stop")), done()], 2)
}

fn azure() -> Answer {
    let filters = json!([{ "prompt_index": 0, "content_filter_results": { "hate": { "filtered": false, "severity": "safe" } } }]);
    let first = data(
        json!({ "choices": [], "created": 0, "id": "", "model": "gpt-4o", "object": "", "prompt_filter_results": filters }),
    );
    let end = [delta(json!({}), Some("stop")), done()];
    Answer::new("chat of Azure", "openai", "/openai/deployments/d/chat/completions")
        .of([first].into_iter().chain(hello()).chain(end), 2)
        .token(2)
}

fn reasoning() -> Answer {
    let events = [
        // A comment of OpenRouter's between events.
        ": OPENROUTER PROCESSING\n\n".to_owned(),
        delta(json!({ "role": "assistant", "content": null, "reasoning_content": "" }), None),
        delta(json!({ "content": null, "reasoning_content": "Hmm" }), None),
        ": keep-alive\n\n".to_owned(),
        delta(json!({ "content": "Hello", "reasoning_content": null }), None),
        delta(json!({ "content": "", "reasoning_content": null }), Some("stop")),
        done(),
    ];
    Answer::new("chat with reasoning", "openai", "/v1/chat/completions").of(events, 2).token(2)
}

fn tool_call() -> Answer {
    let call = |call: Value| delta(json!({ "tool_calls": [call] }), None);
    let events = [
        delta(json!({ "role": "assistant", "content": null }), None),
        call(
            json!({ "index": 0, "id": "call_1", "type": "function", "function": { "name": "search", "arguments": "" } }),
        ),
        call(json!({ "index": 0, "function": { "arguments": "{\"finish_reason\":\"stop\"}" } })),
        delta(json!({}), Some("tool_calls")),
        done(),
    ];
    Answer::new("chat with a tool call", "openai", "/v1/chat/completions").of(events, 2).token(1)
}

/// An event of OpenAI's Responses.
fn response_event(number: u64, kind: &str, members: Value) -> String {
    let mut event = json!({ "type": kind, "sequence_number": number });
    for (name, value) in members.as_object().into_iter().flatten() {
        event[name] = value.clone();
    }
    named(kind, event)
}

fn responses() -> Answer {
    let response = |status: &str, usage: Value| {
        json!({ "response": { "id": "resp_67c9", "object": "response", "created_at": 1_741_290_958,
        "status": status, "error": null, "incomplete_details": null, "model": "gpt-4o", "output": [], "usage": usage } })
    };
    let item = |more: Value| json!({ "item_id": "msg_67c9", "output_index": 0, "content_index": 0, "logprobs": [], "delta": more });
    let usage = json!({ "input_tokens": 37, "input_tokens_details": { "cached_tokens": 0 }, "output_tokens": 11,
        "output_tokens_details": { "reasoning_tokens": 0 }, "total_tokens": 48 });
    let message = json!({ "id": "msg_67c9", "type": "message", "status": "in_progress", "role": "assistant", "content": [] });
    let part = json!({ "type": "output_text", "text": "", "annotations": [] });
    let events = [
        response_event(0, "response.created", response("in_progress", Value::Null)),
        response_event(1, "response.in_progress", response("in_progress", Value::Null)),
        response_event(2, "response.output_item.added", json!({ "output_index": 0, "item": message })),
        response_event(
            3,
            "response.content_part.added",
            json!({ "item_id": "msg_67c9", "output_index": 0, "content_index": 0, "part": part }),
        ),
        response_event(4, "response.output_text.delta", item(json!("Hello "))),
        response_event(5, "response.output_text.delta", item(json!("world"))),
        response_event(
            6,
            "response.output_text.done",
            json!({ "item_id": "msg_67c9", "text": "Hello world" }),
        ),
        response_event(7, "response.completed", response("completed", usage)),
    ];
    Answer::new("responses", "responses", "/v1/responses")
        .of(events, 1)
        .token(4)
        .counts(37, 11)
        .types_are_in_data()
}

fn assistants() -> Answer {
    let run = |status: &str, usage: Value| {
        let run = json!({ "id": "run_123", "object": "thread.run", "created_at": 1_710_330_640, "assistant_id": "asst_123",
            "thread_id": "thread_123", "status": status, "last_error": null, "tools": [], "usage": usage });
        named(&format!("thread.run.{status}"), run)
    };
    let delta = |text: &str| {
        let content = json!([{ "index": 0, "type": "text", "text": { "value": text, "annotations": [] } }]);
        named(
            "thread.message.delta",
            json!({ "id": "msg_001", "object": "thread.message.delta", "delta": { "content": content } }),
        )
    };
    let message = |status: &str| json!({ "id": "msg_001", "object": "thread.message", "thread_id": "thread_123", "role": "assistant", "content": [], "status": status });
    let usage = json!({ "prompt_tokens": 20, "completion_tokens": 11, "total_tokens": 31 });
    let events = [
        named(
            "thread.created",
            json!({ "id": "thread_123", "object": "thread", "created_at": 1_710_330_640, "metadata": {} }),
        ),
        run("queued", Value::Null),
        named("thread.message.created", message("in_progress")),
        delta("Hello "),
        delta("world"),
        named("thread.message.completed", message("completed")),
        run("completed", usage),
        named("done", "[DONE]"),
    ];
    Answer::new("assistants", "assistants", "/v1/threads/runs").of(events, 2).token(3).counts(20, 11)
}
