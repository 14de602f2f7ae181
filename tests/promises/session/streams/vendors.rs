//! Peculiarities of other APIs of vendors and servers.

use serde_json::{Value, json};

use super::error_form::ErrorForm::{Cohere, Gemini, Line, Superset};
use super::row::{Head, Request, Row};
use super::{data, named};

pub fn rows() -> Vec<Row> {
    [gemini(), cohere(), servers(), ollama(), assistants(), media()].concat()
}

/// The finish reason may come early or in each event. Only its absence from the whole stream is a truncation.
fn gemini() -> Vec<Row> {
    let event = |text: &str, more: &str| {
        data(format!(
            r#"{{"candidates":[{{"content":{{"parts":[{{"text":"{text}"}}],"role":"model"}},"index":0{more}}}]}}"#
        ))
    };
    let stop = r#","finishReason":"STOP""#;
    let path = "/v1beta/models/m:streamGenerateContent?alt=sse";
    let row = |name: &str| Row::new(format!("gemini: {name}"), Request::post(path, "{}")).speaks("gemini");
    let cut = |row: Row| row.raises_and_breaks(Gemini, "upstream_truncated");
    let counts = data(r#"{"usageMetadata":{"promptTokenCount":3,"totalTokenCount":3},"modelVersion":"m"}"#);
    let thoughts = data(
        r#"{"candidates":[{"content":{"parts":[{"text":"a"}]},"finishReason":"STOP"}],"usageMetadata":{"promptTokenCount":3,"candidatesTokenCount":2,"thoughtsTokenCount":40,"totalTokenCount":45}}"#,
    );
    vec![
        row("a reason to finish in each event").sends(event("a", stop)).after(1, event("b", stop)).token_at(0),
        row("a reason to finish that comes early").sends(event("a", stop)).after(1, event("b", "")).token_at(0),
        cut(row("an empty reason to finish").sends(event("a", r#","finishReason":"""#)).token_at(0)),
        cut(row("no reason to finish").sends(event("a", r#","finishReason":null"#)).token_at(0)),
        row("blocked at once").sends(data(r#"{"promptFeedback":{"blockReason":"SAFETY"},"usageMetadata":{"promptTokenCount":4}}"#)).counts(4, None),
        row("a reason to finish without content").sends(data(r#"{"candidates":[{"finishReason":"RECITATION","index":0}]}"#)),
        row("thoughts are output").sends(thoughts).token_at(0).counts(3, 42),
        row("a call").sends(data(r#"{"candidates":[{"content":{"parts":[{"functionCall":{"name":"f","args":{}}}]},"finishReason":"STOP"}]}"#)).token_at(0),
        row("a signature alone is no token")
            .sends(data(r#"{"candidates":[{"content":{"parts":[{"text":"","thoughtSignature":"CuoB"}]}}]}"#))
            .after(1, event("a", stop))
            .token_at(1),
        row("counts first, and long silence after them").sends(&counts).after(40, event("a", stop)).token_at(40).counts(3, None),
        cut(row("nothing at all, which was asked for")),
        cut(row("counts first, and then nothing").sends(&counts).counts(3, None)),
        cut(row("a candidate without content first").sends(data(r#"{"candidates":[{"index":0}],"modelVersion":"m"}"#))),
        row("silence from the beginning on").after(40, event("a", stop)).token_at(40),
        row("silence in the middle").sends(event("a", "")).after(40, event("b", stop)).token_at(0),
        row("silence in the middle of a stream in CRLF").sends(event("a", "").replace('\n', "\r\n")).after(40, event("b", stop)).token_at(0),
        cut(row("candidates that are none").sends(event("a", "")).sends(data(r#"{"candidates":[],"usageMetadata":{"promptTokenCount":1}}"#)).token_at(0).counts(1, None)),
    ]
}

fn cohere() -> Vec<Row> {
    let event = |data: Value| named(data["type"].as_str().unwrap_or_default(), &data);
    let start =
        event(json!({ "type": "message-start", "id": "m", "delta": { "message": { "role": "assistant" } } }));
    let end = |reason: &str| {
        event(
            json!({ "type": "message-end", "delta": { "finish_reason": reason, "usage": { "tokens": { "input_tokens": 3, "output_tokens": 2 } } } }),
        )
    };
    let row = |name: &str| {
        Row::new(format!("cohere: {name}"), Request::post("/v2/chat", "{}")).speaks("cohere").sends(&start)
    };
    let part = |kind: &str, message: Value| {
        event(json!({ "type": kind, "index": 0, "delta": { "message": message } }))
    };
    let call = json!({ "tool_calls": { "id": "c", "type": "function", "function": { "name": "f", "arguments": "" } } });
    vec![
        row("a plan")
            .after(1, part("tool-plan-delta", json!({ "tool_plan": "I will" })))
            .sends(end("TOOL_CALL"))
            .token_at(1)
            .counts(3, 2),
        row("a call")
            .after(1, part("tool-call-start", call))
            .sends(end("TOOL_CALL"))
            .token_at(1)
            .counts(3, 2),
        row("a thought")
            .after(1, part("content-delta", json!({ "content": { "thinking": "Hm" } })))
            .sends(end("COMPLETE"))
            .token_at(1)
            .counts(3, 2),
        row("its end in capitals that say an error")
            .sends(end("ERROR_TOXIC"))
            .counts(3, 2)
            .reports_an_error(),
        row("a limit").sends(end("MAX_TOKENS")).counts(3, 2),
        row("content that ends is no end")
            .sends(event(json!({ "type": "content-end", "index": 0 })))
            .raises_and_breaks(Cohere, "upstream_truncated"),
        row("a stall").stalls().raises_and_breaks(Cohere, "idle_timeout"),
        Row::new("cohere: nothing, which was asked for", Request::post("/v2/chat", "{}"))
            .speaks("cohere")
            .raises_and_breaks(Cohere, "upstream_truncated"),
    ]
}

/// Text Generation Inference and llama.cpp.
fn servers() -> Vec<Row> {
    let tgi =
        |name: &str| Row::new(format!("tgi: {name}"), Request::post("/generate_stream", "{}")).speaks("tgi");
    let token = |more: &str| {
        data(format!(r#"{{"token":{{"id":7,"text":" a","logprob":-0.5,"special":false}}{more}}}"#))
    };
    const NULL: &str = r#","generated_text":null,"details":null"#;
    let llama = |name: &str| {
        Row::new(format!("llama.cpp: {name}"), Request::post("/completion", "{}")).speaks("llama_cpp")
    };
    let content = |more: &str| data(format!(r#"{{"content":"a"{more}}}"#));
    vec![
        tgi("a text that is empty")
            .sends(token(NULL))
            .sends(token(r#","generated_text":"","details":null"#))
            .token_at(0),
        tgi("a text that is null")
            .sends(token(r#","generated_text":null"#))
            .token_at(0)
            .raises(Superset, "upstream_truncated"),
        tgi("more candidates for a token")
            .sends(token(r#","top_tokens":[{"id":1,"text":"b","special":false}],"generated_text":" a""#))
            .token_at(0),
        tgi("a token without text first")
            .sends(data(r#"{"token":{"id":1,"text":"","special":true},"generated_text":null}"#))
            .after(1, token(r#","generated_text":" a""#))
            .token_at(1),
        tgi("blanks in JSON, none after the field")
            .sends(token(NULL).replace("data: ", "data:"))
            .sends("data:{ \"token\" : { \"id\" : 2 , \"text\" : \"\" } , \"generated_text\" : \"a\" }\n\n")
            .token_at(0),
        llama("an end in one event")
            .sends(content(r#","stop":true,"tokens_evaluated":5,"tokens_predicted":1"#))
            .token_at(0)
            .counts(5, 1),
        llama("stop in the settings is none")
            .sends(content(r#","stop":false"#))
            .sends(content(r#","generation_settings":{"stop":true},"stop":false"#))
            .token_at(0)
            .raises(Superset, "upstream_truncated"),
        llama("stop in the text is none")
            .sends(content(r#","tokens":[7],"stop":false"#))
            .sends(data(r#"{"content":"\"stop\":true","stop":false}"#))
            .token_at(0)
            .raises(Superset, "upstream_truncated"),
        llama("a stop behind blanks")
            .sends(content(r#","tokens":[7],"stop":false"#))
            .sends("data: { \"content\" : \"\" , \"stop\" : true }\n\n")
            .token_at(0),
        llama("the older shape, at another path")
            .sends(content(r#","multimodal":false,"slot_id":0,"stop":false"#))
            .sends(content(r#","stop":true"#))
            .token_at(0),
        Row::new("llama.cpp: infill", Request::post("/infill", "{}"))
            .speaks("llama_cpp")
            .sends(content(r#","id_slot":0,"stop":false"#))
            .token_at(0)
            .raises(Superset, "upstream_truncated"),
    ]
}

fn ollama() -> Vec<Row> {
    let row = |name: &str| {
        Row::new(format!("ollama: {name}"), Request::post("/api/chat", "{}"))
            .head(Head::lines())
            .speaks("ollama")
    };
    let line = |more: &str| format!("{{\"model\":\"m\",\"created_at\":\"2023-08-04T19:22:45Z\"{more}}}\n");
    let word = line(r#","message":{"role":"assistant","content":"Hi"},"done":false"#);
    let last = line(r#","message":{"role":"assistant","content":""},"done":true,"done_reason":"stop""#);
    vec![
        row("a model that is loaded").sends(line(r#","message":{"role":"assistant","content":""},"done_reason":"load","done":true"#)),
        row("several lines at once, and half of one").sends(format!("{word}{word}")).holds(&last[..20]).sends(&last[20..]).token_at(0),
        row("blank lines").sends(&word).sends("\n\r\n").sends(&last).token_at(0),
        row("blanks in JSON").sends(word.replace(':', ": ")).sends("{ \"model\" : \"m\" , \"done\" : true }\n").token_at(0),
        row("done in a call").sends(line(r#","message":{"content":"","tool_calls":[{"function":{"name":"f","arguments":{"done":true}}}]},"done":false"#)).token_at(0).raises(Line, "upstream_truncated"),
        row("a long silence carries nothing").sends(&word).after(100, &last).token_at(0),
        row("a stall").sends(&word).stalls().token_at(0).raises(Line, "idle_timeout"),
        row("its last line without a line end").sends(&word).holds(last.trim_end()).completed_by("\n").token_at(0),
        Row::new("ollama: in events", Request::post("/api/chat", "{}")).speaks("ollama").sends(data(word.trim_end())).token_at(0).raises(Superset, "upstream_truncated"),
    ]
}

/// Each way in which a run ends.
fn assistants() -> Vec<Row> {
    let run = |status: &str| json!({ "id": "run_1", "object": "thread.run", "status": status, "usage": { "prompt_tokens": 3, "completion_tokens": 4 } });
    let delta = named(
        "thread.message.delta",
        r#"{"id":"m","object":"thread.message.delta","delta":{"content":[{"index":0,"type":"text","text":{"value":"Hi"}}]}}"#,
    );
    let row = |name: &str| {
        Row::new(format!("assistants: {name}"), Request::post("/v1/threads/t/runs", "{}"))
            .speaks("assistants")
            .sends(&delta)
            .token_at(0)
    };
    let mut rows = Vec::new();
    for status in ["completed", "cancelled", "expired", "incomplete", "requires_action"] {
        rows.push(row(status).sends(named(&format!("thread.run.{status}"), run(status))).counts(3, 4));
    }
    rows.extend([
        row("failed").sends(named("thread.run.failed", run("failed"))).counts(3, 4).reports_an_error(),
        row("done alone").sends(named("done", "[DONE]")),
        row("done and a RST").sends(named("done", "[DONE]")).resets(),
        row("a step that ends")
            .sends(named(
                "thread.run.step.completed",
                r#"{"id":"s","object":"thread.run.step","status":"completed","usage":null}"#,
            ))
            .raises(Superset, "upstream_truncated"),
        row("a message that ends")
            .sends(named("thread.message.completed", r#"{"id":"m","object":"thread.message"}"#))
            .raises(Superset, "upstream_truncated"),
    ]);
    rows
}

fn media() -> Vec<Row> {
    let row = |name: &str, path: &'static str| {
        Row::new(format!("media: {name}"), Request::post(path, "{}")).speaks("openai_media")
    };
    let edited =
        |kind: &str, more: &str| named(kind, format!(r#"{{"type":"{kind}","b64_json":"iVBOR"{more}}}"#));
    vec![
        row("an edited image", "/v1/images/edits")
            .sends(edited("image_edit.partial_image", r#","partial_image_index":0"#))
            .after(1, edited("image_edit.completed", r#","usage":{"input_tokens":5,"output_tokens":6}"#))
            .token_at(0)
            .counts(5, 6),
        row("an edited image that is cut", "/v1/images/edits")
            .sends(edited("image_edit.partial_image", ""))
            .token_at(0)
            .raises(Superset, "upstream_truncated"),
        row("segments", "/v1/audio/transcriptions")
            .sends(data(
                r#"{"type":"transcript.text.segment","id":"s","start":0,"end":1,"text":"Hi","speaker":"A"}"#,
            ))
            .sends(data(r#"{"type":"transcript.text.done","text":"Hi"}"#))
            .token_at(0),
        row("a translation, which was asked for, and nothing", "/v1/audio/translations")
            .raises(Superset, "upstream_truncated"),
        row("a whole image at once", "/v1/images/generations")
            .sends(edited("image_generation.completed", ""))
            .token_at(0),
    ]
}
