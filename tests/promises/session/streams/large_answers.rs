//! Events larger than `max_event_size` in the dialects that have them: pictures, contexts, results.

use super::error_form::ErrorForm::{Gemini, JsonRpc, Line, Superset};
use super::large::{LONG, MIB, USAGE, base64, chat};
use super::row::{Head, Request, Row};
use super::{WORD, data, named};

pub fn rows() -> Vec<Row> {
    [wide_ones(), others(), lines(), json_rpc()].concat()
}

/// Many small members, which together make a large event.
fn wide() -> String {
    let members: Vec<String> = (0..60_000).map(|n| format!("\"k{n}\":\"value {n}\"")).collect();
    format!("{{{}}}", members.join(","))
}

/// Events that are wide but not deep.
fn wide_ones() -> Vec<Row> {
    let event = |finish: &str| {
        data(format!(
            r#"{{"id":"c","metadata":{},"choices":[{{"index":0,"delta":{{"content":"a"}},"finish_reason":{finish}}}]{USAGE}}}"#,
            wide()
        ))
    };
    let call = r#"{"jsonrpc":"2.0","id":7,"method":"tools/call","params":{"name":"t"}}"#;
    let result = format!(r#"{{"jsonrpc":"2.0","result":{{"structuredContent":{}}},"id":7}}"#, wide());
    let mcp = |name: &str| {
        Row::new(name, Request::post("/mcp", call)).speaks("mcp").sends(data(&result)).token_at(0)
    };
    vec![
        chat("many members, and the end behind them").sends(event("\"stop\"")).counts(12, 1290),
        chat("many members, and no end")
            .sends(event("null"))
            .counts(12, 1290)
            .raises(Superset, "upstream_truncated"),
        mcp("large, mcp: a result of many members, its id behind it"),
        mcp("large, mcp: a result of many members, its id behind it, and a RST").resets(),
    ]
}

fn others() -> Vec<Row> {
    let long = base64(LONG);
    let inline = |finish: &str| {
        data(format!(
            r#"{{"candidates":[{{"content":{{"parts":[{{"inlineData":{{"mimeType":"image/png","data":"{long}"}}}}]}}{finish}}}],"usageMetadata":{{"promptTokenCount":3,"candidatesTokenCount":1290}}}}"#
        ))
    };
    let gemini = |name: &str| {
        let request = Request::post("/v1beta/models/m:streamGenerateContent?alt=sse", "{}");
        Row::new(format!("large, gemini: {name}"), request).speaks("gemini").token_at(0).counts(3, 1290)
    };
    let partial = named(
        "image_generation.partial_image",
        format!(r#"{{"type":"image_generation.partial_image","b64_json":"{long}","partial_image_index":0}}"#),
    );
    let completed = named(
        "image_generation.completed",
        format!(
            r#"{{"type":"image_generation.completed","b64_json":"{long}","usage":{{"input_tokens":50,"output_tokens":49}}}}"#
        ),
    );
    let image = |name: &str| {
        Row::new(format!("large, image: {name}"), Request::post("/v1/images/generations", "{}"))
            .speaks("openai_media")
            .token_at(0)
    };
    let response = |kind: &str| {
        format!(
            r#"{{"response":{{"output":[{{"content":"{long}"}}],"usage":{{"input_tokens":3,"output_tokens":4}}}},"type":"{kind}"}}"#
        )
    };
    let anthropic = |name: &str| {
        Row::new(format!("large, anthropic: {name}"), Request::post("/v1/messages", "{}"))
            .speaks("anthropic")
            .token_at(0)
    };
    let block = named(
        "content_block_delta",
        format!(
            r#"{{"type":"content_block_delta","index":0,"delta":{{"type":"text_delta","text":"{long}"}}}}"#
        ),
    );
    vec![
        gemini("a picture and its end").sends(inline(r#","finishReason":"STOP""#)),
        gemini("a picture without an end").sends(inline("")).raises_and_breaks(Gemini, "upstream_truncated"),
        image("whole").sends(&partial).after(1, &completed).counts(50, 49),
        image("cut between events").sends(&partial).raises(Superset, "upstream_truncated"),
        image("its end alone, and a RST").sends(&completed).counts(50, 49).resets(),
        Row::new("large, responses: the whole answer at its end", Request::post("/v1/responses", "{}"))
            .speaks("responses")
            .sends(named(
                "response.output_text.delta",
                r#"{"type":"response.output_text.delta","delta":"Hi"}"#,
            ))
            .sends(data(response("response.completed")))
            .token_at(0)
            .counts(3, 4),
        anthropic("a block, then its end")
            .sends(&block)
            .sends(named("message_stop", r#"{"type":"message_stop"}"#)),
        anthropic("a block in CRLF, then its end")
            .sends(block.replace('\n', "\r\n"))
            .sends(named("message_stop", "{}")),
        anthropic("a block").sends(&block).raises(Superset, "upstream_truncated"),
        Row::new("large: an event of an application's own", Request::post("/ask", "{}"))
            .sends(data(&long))
            .sends(WORD)
            .token_at(0),
        Row::new("large: an application's, and a RST", Request::post("/ask", "{}"))
            .sends(data(format!("{{\"text\":\"{long}\"}}")))
            .token_at(0)
            .resets()
            .raises_and_breaks(Superset, "upstream_reset"),
    ]
}

/// The last line of `/api/generate` holds the context, 1.4 MB of numbers.
fn lines() -> Vec<Row> {
    let context: Vec<String> = (0..200_000).map(|n| (100_000 + n).to_string()).collect();
    let last = |done: bool| {
        format!(
            "{{\"model\":\"m\",\"response\":\"\",\"done\":{done},\"done_reason\":\"stop\",\"context\":[{}],\"total_duration\":5,\"prompt_eval_count\":26,\"eval_count\":298}}\n",
            context.join(",")
        )
    };
    let row = |name: &str| {
        let row = Row::new(format!("large, ollama: {name}"), Request::post("/api/generate", "{}"))
            .head(Head::lines())
            .speaks("ollama");
        row.sends("{\"model\":\"m\",\"response\":\"Hi\",\"done\":false}\n").token_at(0)
    };
    let whole = last(true);
    vec![
        row("the context at the end").sends(&whole).counts(26, 298),
        row("the context at the end, and a RST").sends(&whole).counts(26, 298).resets(),
        row("the context, its line end missing").sends(whole.trim_end()).completed_by("\n").counts(26, 298),
        row("the context, and no end").sends(last(false)).raises(Line, "upstream_truncated"),
        row("half the context").sends(&whole[..whole.len() - 100_000]).breaks("upstream_truncated"),
    ]
}

fn json_rpc() -> Vec<Row> {
    let content = |id: &str, id_first: bool| {
        let result = format!(
            r#""result":{{"content":[{{"type":"image","data":"{}","mimeType":"image/png"}}]}}"#,
            base64(2 * MIB)
        );
        let members =
            if id_first { format!("\"id\":{id},{result}") } else { format!("{result},\"id\":{id}") };
        named("message", format!("{{\"jsonrpc\":\"2.0\",{members}}}"))
    };
    let request =
        || Request::post("/mcp", r#"{"jsonrpc":"2.0","id":7,"method":"tools/call","params":{"name":"t"}}"#);
    let row = |name: &str| Row::new(format!("large, mcp: {name}"), request()).speaks("mcp").token_at(0);
    let artifact = format!(
        r#"{{"jsonrpc":"2.0","id":7,"result":{{"kind":"artifact-update","artifact":{{"parts":[{{"kind":"file","file":{{"bytes":"{}"}}}}]}}}}}}"#,
        base64(LONG)
    );
    let agent = Request::post("/a2a", r#"{"jsonrpc":"2.0","id":7,"method":"message/stream","params":{}}"#);
    let error = || JsonRpc(vec![7.into()]);
    vec![
        row("a result").sends(content("7", true)),
        row("a result, its id behind it").sends(content("7", false)),
        row("a result and a RST").sends(content("7", false)).resets(),
        row("a result of another request").sends(content("8", false)).raises(error(), "upstream_truncated"),
        Row::new("large, a2a: an artifact", agent)
            .speaks("a2a")
            .sends(data(artifact))
            .token_at(0)
            .raises(error(), "upstream_truncated"),
    ]
}
