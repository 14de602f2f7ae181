//! OpenAI's Responses and Anthropic's messages: all ways to end, to fail and to count tokens.

use serde_json::{Value, json};

use super::error_form::ErrorForm::Superset;
use super::row::{Request, Row};
use super::{data, named};

pub fn rows() -> Vec<Row> {
    [responses(), responses_without_names(), anthropic(), anthropic_counts()].concat()
}

const DELTA: &str = "event: response.output_text.delta\ndata: {\"type\":\"response.output_text.delta\",\"sequence_number\":1,\"item_id\":\"i\",\"delta\":\"Hi\"}\n\n";

fn response(name: &str) -> Row {
    let row = Row::new(format!("responses: {name}"), Request::post("/v1/responses", r#"{"stream":true}"#));
    row.speaks("responses").sends(DELTA).token_at(0)
}

fn with_usage(kind: &str) -> Value {
    json!({ "type": kind, "sequence_number": 2, "response": { "id": "r", "usage": { "input_tokens": 36, "output_tokens": 87 } } })
}

fn responses() -> Vec<Row> {
    let mut rows = Vec::new();
    for kind in ["completed", "incomplete", "cancelled", "canceled", "done"] {
        let kind = format!("response.{kind}");
        let end = named(&kind, with_usage(&kind));
        rows.push(response(&kind).sends(&end).counts(36, 87));
        rows.push(response(&format!("{kind} and a RST")).sends(end).resets().counts(36, 87));
        rows.push(response(&format!("{kind} in a name alone")).sends(named(&kind, "{}")));
    }
    let error = json!({ "code": "server_error", "message": "m" });
    let failed = json!({ "type": "response.failed", "sequence_number": 2, "response": { "id": "r", "status": "failed", "error": error, "usage": null } });
    rows.extend([
        response("failed").sends(named("response.failed", &failed)).reports_an_error(),
        response("failed, without a name").sends(data(&failed)).reports_an_error(),
        response("an error")
            .sends(named(
                "error",
                json!({ "type": "error", "code": "server_error", "message": "m", "param": null }),
            ))
            .reports_an_error(),
        response("an error, without a name")
            .sends(data(
                json!({ "type": "error", "code": "server_error", "message": "m", "sequence_number": 2 }),
            ))
            .reports_an_error(),
        response("an end that is text")
            .sends(DELTA.replace("Hi", r#"\"type\":\"response.completed\""#))
            .raises(Superset, "upstream_truncated"),
        response("an item that is done")
            .sends(named(
                "response.output_text.done",
                json!({ "type": "response.output_text.done", "text": "Hi" }),
            ))
            .raises(Superset, "upstream_truncated"),
        response("error members that are null")
            .sends(named(
                "response.in_progress",
                json!({ "type": "response.in_progress", "error": null, "response": { "error": null } }),
            ))
            .raises(Superset, "upstream_truncated"),
    ]);
    rows
}

/// Backends that send data without event names, with `type` at any position.
fn responses_without_names() -> Vec<Row> {
    let row = |name: &str| {
        let row = Row::new(format!("responses in data alone: {name}"), Request::post("/generate", "{}"))
            .speaks("responses");
        row.sends(data(
            r#"{"sequence_number":1,"delta":"Hi","item_id":"i","type":"response.output_text.delta"}"#,
        ))
        .token_at(0)
    };
    vec![
        row("its type behind the rest")
            .sends(data(r#"{"sequence_number":2,"response":{"usage":{"input_tokens":3,"output_tokens":4}},"type":"response.completed"}"#))
            .counts(3, 4),
        row("its type behind blanks").sends(data(r#"{ "type" : "response.completed" , "response" : { } }"#)),
        row("its type in a second line").sends("data: {\ndata:   \"type\": \"response.completed\"\ndata: }\n\n"),
        row("an item of that type").sends(data(r#"{"item":{"type":"response.completed"},"type":"response.output_item.added"}"#)).raises(Superset, "upstream_truncated"),
        row("missing").raises(Superset, "upstream_truncated"),
        row("missing, and a RST").resets().raises(Superset, "upstream_reset"),
    ]
}

/// An event with its type as the name.
fn event(data: Value) -> String {
    named(data["type"].as_str().unwrap_or_default(), &data)
}

fn message_start(usage: Value) -> String {
    event(
        json!({ "type": "message_start", "message": { "id": "msg_1", "type": "message", "role": "assistant", "content": [], "stop_reason": null, "usage": usage } }),
    )
}

fn message_delta(stop_reason: Value, usage: Value) -> String {
    event(
        json!({ "type": "message_delta", "delta": { "stop_reason": stop_reason, "stop_sequence": null }, "usage": usage }),
    )
}

const TEXT: &str = "event: content_block_delta\ndata: {\"type\":\"content_block_delta\",\"index\":0,\"delta\":{\"type\":\"text_delta\",\"text\":\"Hi\"}}\n\n";
const STOP: &str = "event: message_stop\ndata: {\"type\":\"message_stop\"}\n\n";

fn message(name: &str, usage: Value) -> Row {
    let row = Row::new(format!("anthropic: {name}"), Request::post("/v1/messages", r#"{"stream":true}"#));
    row.speaks("anthropic").sends(message_start(usage)).sends(TEXT).token_at(0)
}

fn anthropic() -> Vec<Row> {
    let row = |name: &str| message(name, json!({ "input_tokens": 7, "output_tokens": 1 }));
    let cut = |row: Row| row.counts(7, 1).raises(Superset, "upstream_truncated");
    let end = |reason: &str| message_delta(json!(reason), json!({ "output_tokens": 15 }));
    let mut rows = Vec::new();
    for reason in ["end_turn", "max_tokens", "stop_sequence", "tool_use", "pause_turn", "refusal"] {
        rows.push(row(&format!("{reason} without message_stop")).sends(end(reason)).counts(7, 15));
    }
    rows.extend([
        row("message_stop alone").sends(STOP).counts(7, 1),
        row("message_stop in a name alone").sends("event: message_stop\ndata: {}\n\n").counts(7, 1),
        row("message_stop in data alone").sends("data: {\"type\": \"message_stop\"}\n\n").counts(7, 1),
        row("message_stop and a RST").sends(STOP).resets().counts(7, 1),
        row("a stop reason and a RST")
            .sends(end("end_turn"))
            .resets()
            .counts(7, 15)
            .raises(Superset, "upstream_reset"),
        row("a stop reason behind the rest, in data alone")
            .sends(data(
                r#"{"usage":{"output_tokens":15},"delta":{"stop_reason":"end_turn"},"type":"message_delta"}"#,
            ))
            .counts(7, 15),
        cut(row("no stop reason").sends(message_delta(Value::Null, json!({ "output_tokens": 1 })))),
        cut(row("a block that stops").sends(event(json!({ "type": "content_block_stop", "index": 0 })))),
        cut(row("an end that is text")
            .sends(TEXT.replace("Hi", r#"event: message_stop\ndata: {\"type\":\"message_stop\"}\n\n"#))),
        cut(row("pings").sends(event(json!({ "type": "ping" })))),
        row("an error")
            .sends(event(
                json!({ "type": "error", "error": { "type": "overloaded_error", "message": "Overloaded" } }),
            ))
            .counts(7, 1)
            .reports_an_error(),
        row("an error and a RST")
            .sends(event(json!({ "type": "error", "error": { "type": "api_error", "message": "m" } })))
            .resets()
            .counts(7, 1)
            .reports_an_error(),
        Row::new("anthropic: names alone say the types", Request::post("/v1/messages", "{}"))
            .sends(named("message_start", r#"{"message":{"usage":{"input_tokens":7}}}"#))
            .sends(named("content_block_delta", r#"{"index":0,"delta":{"text":"Hi"}}"#))
            .sends(named(
                "message_delta",
                r#"{"delta":{"stop_reason":"end_turn"},"usage":{"output_tokens":15}}"#,
            ))
            .speaks("anthropic")
            .token_at(0)
            .counts(7, 15),
    ]);
    rows
}

/// Input counts include the cache. A count that a later event does not repeat stays.
fn anthropic_counts() -> Vec<Row> {
    let cached = |more: Value| {
        let mut usage = json!({ "input_tokens": 7, "output_tokens": 1 });
        for (name, count) in more.as_object().into_iter().flatten() {
            usage[name] = count.clone();
        }
        usage
    };
    let ends = |row: Row, usage: Value| row.sends(message_delta(json!("end_turn"), usage)).sends(STOP);
    let read = || cached(json!({ "cache_read_input_tokens": 10_000, "cache_creation_input_tokens": 0 }));
    vec![
        ends(message("read from the cache", read()), json!({ "output_tokens": 15 })).counts(10_007, 15),
        ends(message("written to the cache", cached(json!({ "cache_creation_input_tokens": 500 }))), json!({ "output_tokens": 15 })).counts(507, 15),
        ends(
            message("both", cached(json!({ "cache_creation_input_tokens": 500, "cache_read_input_tokens": 10_000 }))),
            json!({ "output_tokens": 15 }),
        )
        .counts(10_507, 15),
        ends(message("no input at the end", read()), json!({ "input_tokens": 0, "output_tokens": 15 })).counts(10_007, 15),
        ends(
            message("zeros of the cache at the end", read()),
            json!({ "input_tokens": 0, "cache_read_input_tokens": 0, "cache_creation_input_tokens": 0, "output_tokens": 15 }),
        )
        .counts(10_007, 15),
        ends(
            message("the same at the end", read()),
            json!({ "input_tokens": 7, "cache_read_input_tokens": 10_000, "cache_creation_input_tokens": 0, "output_tokens": 15 }),
        )
        .counts(10_007, 15),
        ends(message("input at the end alone", json!({ "input_tokens": 0, "output_tokens": 0 })), json!({ "input_tokens": 12, "output_tokens": 15 })).counts(12, 15),
        ends(message("null for the cache", cached(json!({ "cache_read_input_tokens": null }))), json!({ "output_tokens": 15 })).counts(7, 15),
    ]
}
