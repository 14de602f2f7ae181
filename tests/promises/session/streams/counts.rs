//! Time to first token, and token counts.

use super::error_form::ErrorForm::Superset;
use super::row::{Head, Request, Row};
use super::{data, named};

pub fn rows() -> Vec<Row> {
    [in_no_dialect(), usage_in_no_dialect(), in_dialects(), in_pieces()].concat()
}

/// Events without content, one second before the first word.
fn in_no_dialect() -> Vec<Row> {
    let before = [
        (": processing\n\n".to_owned(), "a comment"),
        ("id: 1\nretry: 200\n\n".to_owned(), "an id alone"),
        ("event: open\n\n".to_owned(), "a name alone"),
        ("event: keepalive\ndata: {}\n\n".to_owned(), "a keepalive"),
        (named("keep-alive", "{\"time\":\"2025-01-01T00:00:00Z\"}"), "a keep-alive with a time"),
        (named("ping", "2025-01-01 00:00:00+00:00"), "a ping"),
        (named("heartbeat", "{\"n\":1}"), "a heartbeat"),
        (data(r#"{"type":"ping"}"#), "a ping in its data"),
        (data(r#"{"type":"heartbeat","n":1}"#), "a heartbeat in its data"),
        (named("metadata", r#"{"run_id":"1ef33f06","attempt":1}"#), "metadata"),
        (data(r#"{"type":"metadata","conversation":"c"}"#), "metadata in its data"),
        (data(r#"{"delta":""}"#), "an empty delta"),
        (data(r#"{"text":"","role":"assistant"}"#), "an empty text with a role"),
        ("data:\n\n".to_owned(), "no data"),
        (data(r#"{"error":null,"text":""}"#), "no error"),
    ];
    let words = [
        (data(r#"{"delta":"Hi"}"#), "a delta"),
        (data("Hi"), "a word"),
        (named("messages/partial", r#"[{"content":"H"}]"#), "a list"),
    ];
    let mut rows = Vec::new();
    for (before, what) in &before {
        for (word, first) in &words {
            let row = Row::new(format!("{what}, a second later {first}"), Request::post("/ask", "{}"));
            rows.push(row.sends(before).after(1, word).token_at(1));
        }
    }
    rows
}

/// `usage` is read in streams of no known dialect too.
fn usage_in_no_dialect() -> Vec<Row> {
    let row = |name: &str, usage: &str| {
        let row = Row::new(format!("usage in no dialect: {name}"), Request::post("/ask", "{}"));
        row.sends(data(r#"{"text":"Hi"}"#))
            .token_at(0)
            .sends(data(format!(r#"{{"text":"","usage":{usage}}}"#)))
    };
    vec![
        row("prompt and completion", r#"{"prompt_tokens":3,"completion_tokens":4}"#).counts(3, 4),
        row("input and output", r#"{"input_tokens":3,"output_tokens":4}"#).counts(3, 4),
        row("zeros later", r#"{"input_tokens":3,"output_tokens":4}"#)
            .sends(data(r#"{"usage":{"input_tokens":0,"output_tokens":0}}"#))
            .counts(3, 4),
        row("more later", r#"{"input_tokens":3,"output_tokens":4}"#)
            .sends(data(r#"{"usage":{"output_tokens":9}}"#))
            .counts(3, 9),
        row("something else", r#"{"total":3}"#),
        row("null", "null"),
    ]
}

fn in_dialects() -> Vec<Row> {
    let chat = |name: &str| {
        Row::new(format!("first token of a chat: {name}"), Request::post("/v1/chat/completions", "{}"))
            .speaks("openai")
    };
    let ends = |row: Row| row.sends("data: [DONE]\n\n");
    let delta =
        |delta: &str| data(format!(r#"{{"choices":[{{"index":0,"delta":{delta},"finish_reason":null}}]}}"#));
    let word = delta(r#"{"content":"Hi"}"#);
    let mut rows = Vec::new();
    for (name, nothing) in [
        ("a role", delta(r#"{"role":"assistant"}"#)),
        ("an empty content", delta(r#"{"content":""}"#)),
        ("null", delta(r#"{"role":"assistant","content":null,"tool_calls":null,"refusal":null}"#)),
        ("no tool calls", delta(r#"{"content":"","tool_calls":[]}"#)),
        ("an empty part of a list", delta(r#"{"content":[{"type":"text","text":""}]}"#)),
        ("no choices", data(r#"{"choices":[],"model":"m","object":"chat.completion.chunk","usage":null}"#)),
        ("a keepalive", named("keepalive", "{}")),
        ("a ping", named("ping", "{\"type\":\"ping\"}")),
        ("a comment", ": OPENROUTER PROCESSING\n\n".to_owned()),
        ("a data-less keepalive", "data:\n\n".to_owned()),
    ] {
        rows.push(ends(chat(name).sends(nothing).after(1, &word).token_at(1)));
    }
    for (name, token) in [
        ("reasoning", delta(r#"{"content":null,"reasoning_content":"Hmm"}"#)),
        ("reasoning of OpenRouter", delta(r#"{"content":"","reasoning":"Hmm"}"#)),
        ("a refusal", delta(r#"{"refusal":"No"}"#)),
        ("a part of a list", delta(r#"{"content":[{"type":"text","text":"Hi"}]}"#)),
        (
            "a thought in a list",
            delta(r#"{"content":[{"type":"thinking","thinking":[{"type":"text","text":"Hm"}]}]}"#),
        ),
        ("audio", delta(r#"{"audio":{"id":"a","data":"UklG"}}"#)),
        ("a tool call", delta(r#"{"tool_calls":[{"index":0,"function":{"name":"f","arguments":""}}]}"#)),
        ("text", data(r#"{"choices":[{"index":0,"text":"Hi","finish_reason":null}]}"#)),
    ] {
        rows.push(ends(
            chat(name)
                .sends(delta(r#"{"role":"assistant","content":""}"#))
                .after(1, token)
                .after(1, &word)
                .token_at(1),
        ));
    }
    let keepalive = named("keepalive", r#"{"type":"keepalive","sequence_number":2}"#);
    rows.push(
        Row::new("first token of responses: keepalives", Request::post("/v1/responses", "{}"))
            .speaks("responses")
            .sends(named("response.created", r#"{"type":"response.created","response":{"id":"r"}}"#))
            .after(1, &keepalive)
            .after(
                1,
                named(
                    "response.reasoning_summary_text.delta",
                    r#"{"type":"response.reasoning_summary_text.delta","delta":"Hmm"}"#,
                ),
            )
            .after(1, named("response.completed", r#"{"type":"response.completed","response":{"id":"r"}}"#))
            .token_at(2),
    );
    rows.push(
        Row::new("first token of responses: an empty delta", Request::post("/v1/responses", "{}"))
            .speaks("responses")
            .sends(named("response.output_text.delta", r#"{"type":"response.output_text.delta","delta":""}"#))
            .after(
                1,
                named(
                    "response.function_call_arguments.delta",
                    r#"{"type":"response.function_call_arguments.delta","delta":"{"}"#,
                ),
            )
            .token_at(1)
            .raises(Superset, "upstream_truncated"),
    );
    rows.push(
        Row::new("first token of ollama: an empty response", Request::post("/api/generate", "{}"))
            .head(Head::lines())
            .speaks("ollama")
            .sends("{\"model\":\"m\",\"response\":\"\",\"done\":false}\n")
            .after(1, "{\"model\":\"m\",\"response\":\"Hi\",\"done\":false}\n")
            .after(1, "{\"model\":\"m\",\"response\":\"\",\"done\":true,\"prompt_eval_count\":1,\"eval_count\":2}\n")
            .token_at(1)
            .counts(1, 2),
    );
    rows
}

/// The first token counts when its event is delivered, not when its first bytes arrive.
fn in_pieces() -> Vec<Row> {
    let row = |name: &str| Row::new(format!("first token in pieces: {name}"), Request::post("/ask", "{}"));
    vec![
        row("cut inside the event").holds("data: {\"text\":").after(1, "\"Hi\"}\n\n").token_at(1),
        row("cut before the blank line").holds("data: {\"text\":\"Hi\"}\n").after(1, "\n").token_at(1),
        row("an event before it, and half of it")
            .sends(": a\n\n")
            .holds("data: H")
            .after(2, "i\n\n")
            .token_at(2),
        row("with what it was held back for")
            .sends(data("{\"text\":\"\"}"))
            .holds("data: {\"text\":\"Hi\"}\n")
            .after(3, "id: 1\n\ndata: {\"text\":\"!\"}\n\n")
            .token_at(3),
        row("its blank line missing at the end").holds("data: Hi\n").completed_by("\n").token_at(0),
    ]
}
