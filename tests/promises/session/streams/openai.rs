//! Chat completions as compatible backends write them: several choices, unusual finish reasons, and usage in many places.

use super::data;
use super::error_form::ErrorForm::{Line, Superset};
use super::row::{Head, Request, Row};

/// A part of one choice. `finish`: the finish reason, as JSON.
fn choice(index: u64, text: &str, finish: &str) -> String {
    format!(r#"{{"index":{index},"delta":{{"content":"{text}"}},"finish_reason":{finish}}}"#)
}

/// An event with these choices, followed by more members.
fn chunk(choices: &[String], more: &str) -> String {
    let choices = choices.join(",");
    data(format!(r#"{{"id":"c","object":"chat.completion.chunk","model":"m","choices":[{choices}]{more}}}"#))
}

fn part(index: u64, text: &str) -> String {
    chunk(&[choice(index, text, "null")], "")
}

fn finish(index: u64, reason: &str) -> String {
    chunk(&[choice(index, "", &format!("\"{reason}\""))], "")
}

const DONE: &str = "data: [DONE]\n\n";

/// A chat whose first word arrives at once.
fn chat(name: &str) -> Row {
    let row = Row::new(
        format!("openai: {name}"),
        Request::post("/v1/chat/completions", r#"{"stream":true,"n":2}"#),
    );
    row.speaks("openai").sends(part(0, "Hello")).token_at(0)
}

fn cut(row: Row) -> Row {
    row.raises(Superset, "upstream_truncated")
}

pub fn rows() -> Vec<Row> {
    [choices(), reasons(), usage(), shapes(), unreadable(), errors()].concat()
}

/// The answer is complete when all choices seen so far are finished.
fn choices() -> Vec<Row> {
    let both = chunk(&[choice(0, "", "\"stop\""), choice(1, "", "\"stop\"")], "");
    let unnumbered = |finish: &str| {
        data(format!(r#"{{"choices":[{{"delta":{{"content":"a"}},"finish_reason":{finish}}}]}}"#))
    };
    vec![
        cut(chat("two choices, the second one cut").sends(part(1, "Hi")).sends(finish(0, "stop"))),
        cut(chat("two choices, the first one cut").sends(part(1, "Hi")).sends(finish(1, "stop"))),
        cut(chat("a second choice that begins after the first one's end").sends(finish(0, "stop")).sends(part(1, "Hi"))),
        chat("two choices, both finished").sends(part(1, "Hi")).sends(finish(1, "length")).sends(finish(0, "stop")),
        chat("two choices, finished in one event").sends(part(1, "Hi")).sends(both),
        chat("two choices, and a clean end after [DONE]").sends(part(1, "Hi")).sends(DONE),
        cut(chat("a choice with a high number").sends(part(40, "Hi")).sends(finish(0, "stop"))),
        chat("a choice with a high number, finished").sends(part(40, "Hi")).sends(finish(0, "stop")).sends(finish(40, "stop")),
        cut(chat("blanks around numbers")
            .sends(data("{ \"choices\" : [ { \"index\" : 1 , \"delta\" : { \"content\" : \"Hi\" } , \"finish_reason\" : null } ] }"))
            .sends(finish(0, "stop"))),
        chat("choices without a number").sends(unnumbered("null")).sends(unnumbered("\"stop\"")),
        cut(chat("a finished choice, a broken event").sends(part(1, "a")).sends(finish(0, "stop")).loses("data: {\"choices\":[{\"index\":1")),
        chat("finished, and then cut inside an event").sends(finish(0, "stop")).holds("data: {\"choices\":[],\"usa"),
    ]
}

/// Values that are a finish reason, and values that are not.
fn reasons() -> Vec<Row> {
    let mut rows = Vec::new();
    for none in ["\"null\"", "\"\"", "null"] {
        let event = chunk(&[choice(0, "a", none)], "");
        rows.push(cut(chat(&format!("{none} is no reason to finish")).sends(event)));
    }
    for reason in ["stop", "length", "tool_calls", "content_filter", "function_call", "eos", "max_tokens"] {
        rows.push(chat(&format!("{reason} is a reason to finish")).sends(finish(0, reason)));
    }
    rows.push(cut(
        chat("no reason at all").sends(data(r#"{"choices":[{"index":0,"delta":{"content":"a"}}]}"#))
    ));
    rows.push(
        chat("no reason, but [DONE]")
            .sends(data(r#"{"choices":[{"index":0,"delta":{"content":"a"}}]}"#))
            .sends(DONE),
    );
    rows.push(chat("[DONE] with a blank behind it").sends("data: [DONE] \n\n"));
    rows.push(
        chat("finished, broken before [DONE]")
            .sends(finish(0, "stop"))
            .resets()
            .raises(Superset, "upstream_reset"),
    );
    rows.push(chat("broken after [DONE]").sends(finish(0, "stop")).sends(DONE).resets());
    rows
}

/// Usage counts in every place where backends send it. The last count that is not zero wins.
fn usage() -> Vec<Row> {
    let usage = |input: u64, output: u64| {
        format!(
            r#"{{"prompt_tokens":{input},"completion_tokens":{output},"total_tokens":{}}}"#,
            input + output
        )
    };
    let beside = |text: &str, finish: &str, usage: &str| {
        chunk(&[choice(0, text, finish)], &format!(",\"usage\":{usage}"))
    };
    let in_choice = data(format!(
        r#"{{"choices":[{{"index":0,"delta":{{}},"finish_reason":"stop","usage":{}}}]}}"#,
        usage(3, 9)
    ));
    let alone = |usage: String| chunk(&[], &format!(",\"usage\":{usage}"));
    vec![
        // OpenRouter sends an empty choice again.
        chat("usage beside a choice after the end")
            .sends(finish(0, "stop"))
            .sends(beside("", "null", &usage(14, 32)))
            .sends(DONE)
            .counts(14, 32),
        chat("usage beside a choice after the end, without [DONE]")
            .sends(finish(0, "stop"))
            .sends(beside("", "null", &usage(14, 32)))
            .counts(14, 32),
        chat("usage beside the last choice")
            .sends(beside("", "\"stop\"", &usage(14, 32)))
            .sends(DONE)
            .counts(14, 32),
        chat("usage in x_groq")
            .sends(chunk(
                &[choice(0, "", "\"stop\"")],
                &format!(r#","x_groq":{{"id":"req_1","usage":{}}}"#, usage(18, 7)),
            ))
            .sends(DONE)
            .counts(18, 7),
        chat("usage in a choice").sends(in_choice).sends(DONE).counts(3, 9),
        chat("zeros after real counts")
            .sends(alone(usage(3, 9)))
            .sends(finish(0, "stop"))
            .sends(alone(usage(0, 0)))
            .sends(DONE)
            .counts(3, 9),
        chat("zeros before real counts")
            .sends(beside("a", "null", &usage(0, 0)))
            .sends(beside("", "\"stop\"", &usage(3, 9)))
            .counts(3, 9),
        chat("no counts but zeros").sends(beside("", "\"stop\"", &usage(3, 0))).sends(DONE).counts(3, 0),
        chat("counts that grow")
            .sends(beside("a", "null", &usage(3, 1)))
            .sends(beside("b", "null", &usage(3, 2)))
            .sends(beside("", "\"stop\"", &usage(3, 3)))
            .sends(DONE)
            .counts(3, 3),
        cut(chat("counts that grow, and a cut")
            .sends(beside("a", "null", &usage(3, 1)))
            .sends(beside("b", "null", &usage(3, 2)))
            .counts(3, 2)),
        chat("null, and then usage alone")
            .sends(beside("a", "\"stop\"", "null"))
            .sends(alone(usage(3, 2)))
            .sends(DONE)
            .counts(3, 2),
        chat("input and output tokens")
            .sends(finish(0, "stop"))
            .sends(alone(r#"{"input_tokens":5,"output_tokens":6}"#.to_owned()))
            .sends(DONE)
            .counts(5, 6),
        chat("usage after [DONE]").sends(DONE).sends(alone(usage(3, 2))).counts(3, 2),
        chat("usage in the text")
            .sends(finish(0, "stop"))
            .sends(part(0, r#"\"usage\":{\"prompt_tokens\":9}"#))
            .sends(DONE),
    ]
}

/// Unusual JSON that not every parser accepts, and invalid JSON.
fn unreadable() -> Vec<Row> {
    // A character that is split between two events.
    let halves = || chat("").sends(part(0, r"\ud83e")).sends(part(0, r"\udd80"));
    let name = |name: &str, row: Row| Row { name: format!("openai: {name}"), ..row };
    let torn =
        [b"data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"\xf0\x9f\"}}]}\n\n".as_slice()].concat();
    vec![
        name("half a character as an escape, and its end", halves().sends(finish(0, "stop"))),
        name("half a character as an escape, and a cut", cut(halves())),
        name(
            "half a character as an escape beside the reason to finish",
            chat("").sends(chunk(&[choice(0, r"\udd80", "\"stop\"")], "")),
        ),
        Row::new(
            "openai: half a character as an escape comes first",
            Request::post("/v1/chat/completions", "{}"),
        )
        .speaks("openai")
        .sends(part(0, r"\ud83e"))
        .after(1, part(0, r"\udd80"))
        .token_at(0)
        .raises(Superset, "upstream_truncated"),
        Row::new(
            "openai: half a character in bytes comes first",
            Request::post("/v1/chat/completions", "{}"),
        )
        .speaks("openai")
        .sends(&torn)
        .after(1, part(0, "Hi"))
        .token_at(0)
        .raises(Superset, "upstream_truncated"),
        chat("half a character in bytes, and its end").sends(&torn).sends(finish(0, "stop")),
        cut(chat("half a character in bytes, and a cut").sends(&torn)),
        chat("a number that is none, and its end")
            .sends(data(r#"{"choices":[{"index":0,"delta":{"content":"a"},"logprob":NaN}]}"#))
            .sends(finish(0, "stop")),
        chat("a NUL").sends(part(0, r"\u0000")).sends("data: \0\n\n").sends(finish(0, "stop")),
    ]
}

/// Errors in an event with choices.
fn errors() -> Vec<Row> {
    let error = r#","error":{"code":"server_error","message":"Provider disconnected"}"#;
    let failed = chunk(&[choice(0, "", "\"error\"")], error);
    vec![
        chat("an error beside a choice").sends(&failed).reports_an_error(),
        chat("an error beside a choice, and [DONE]").sends(&failed).sends(DONE).reports_an_error(),
        chat("an error and [DONE]")
            .sends(data(r#"{"error":{"message":"m"}}"#))
            .sends(DONE)
            .reports_an_error(),
        chat("an error, and half an event at a RST")
            .sends(data(r#"{"error":{"message":"m"}}"#))
            .loses("data: [DO")
            .resets()
            .reports_an_error(),
        cut(chat("an error that is null").sends(chunk(&[choice(0, "a", "null")], r#","error":null"#))),
        chat("an error that is null, and the end")
            .sends(chunk(&[choice(0, "a", "\"stop\"")], r#","error":null"#)),
        cut(chat("an error in the text").sends(part(0, r#"\"error\":{\"message\":\"m\"}"#))),
    ]
}

/// The same events in unusual notations.
fn shapes() -> Vec<Row> {
    let plain =
        |name: &str| Row::new(format!("openai: {name}"), Request::post("/generate", "{}")).speaks("openai");
    vec![
        plain("an event in lines")
            .sends("data: {\"choices\":\ndata:  [{\"index\":0,\"delta\":{\"content\":\"a\"},\ndata: \"finish_reason\":\"stop\"}]}\n\n")
            .token_at(0),
        plain("lines of JSON").head(Head::lines()).sends("{\"choices\":[{\"delta\":{\"content\":\"a\"},\"finish_reason\":\"stop\"}]}\n").token_at(0),
        plain("lines of JSON that are cut")
            .head(Head::lines())
            .sends("{\"choices\":[{\"delta\":{\"content\":\"a\"},\"finish_reason\":null}]}\n")
            .token_at(0)
            .raises(Line, "upstream_truncated"),
        plain("[DONE] and nothing before it").sends(DONE).speaks("generic"),
        Row::new("openai: [DONE] and nothing before it, as was asked for", Request::post("/v1/chat/completions", "{}")).sends(DONE).speaks("openai"),
        plain("an event in pieces")
            .holds("data: {\"choi")
            .holds("ces\":[{\"delta\":{\"content\":\"a\"}}]}\n")
            .sends("\ndata: [DONE]\n\n")
            .token_at(0),
        plain("two events and a half in one piece, then the rest")
            .sends(part(0, "a"))
            .holds("data: [DO")
            .sends("NE]\n\n")
            .token_at(0),
        plain("an `event: message` line").sends(format!("event: message\n{}event: message\n{DONE}", part(0, "a"))).token_at(0),
        plain("events of another name").sends(format!("event: data\n{}event: data\n{}", part(0, "a"), finish(0, "stop"))).token_at(0),
        plain("a byte order mark").sends(format!("\u{feff}{}{}", part(0, "a"), finish(0, "stop"))).token_at(0),
        plain("ids").sends(format!("id: 1\n{}id: 2\n{}id: 3\n{DONE}", part(0, "a"), finish(0, "stop"))).token_at(0),
        plain("CR alone ends lines").sends(format!("{}{DONE}", part(0, "a")).replace('\n', "\r")).token_at(0),
        plain("a whole message in one event")
            .sends(data(r#"{"choices":[{"index":0,"message":{"role":"assistant","content":"Hi"},"finish_reason":"stop"}],"usage":{"prompt_tokens":1,"completion_tokens":2}}"#))
            .token_at(0)
            .counts(1, 2),
        plain("a refusal").sends(data(r#"{"choices":[{"index":0,"delta":{"refusal":"No"},"finish_reason":null}]}"#)).sends(DONE).token_at(0),
        plain("audio").sends(data(r#"{"choices":[{"index":0,"delta":{"audio":{"data":"UklG"}},"finish_reason":null}]}"#)).sends(DONE).token_at(0),
        plain("no content at all")
            .sends(data(r#"{"choices":[{"index":0,"delta":{"role":"assistant","content":""},"finish_reason":null}]}"#))
            .sends(finish(0, "stop"))
            .sends(DONE),
    ]
}
