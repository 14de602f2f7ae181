//! Events larger than `max_event_size`, 1 MiB: they pass as they arrive, and members after the long ones are still read.

use super::error_form::ErrorForm::Superset;
use super::row::{Request, Row};
use super::{WORD, data, named};

pub const MIB: usize = 1 << 20;
/// Well beyond the limit.
pub const LONG: usize = MIB + MIB / 8;

pub fn base64(length: usize) -> String {
    "iVBORw0KGgoAAAAN".repeat(length / 16)
}

fn part(text: &str, finish: &str) -> String {
    data(format!(r#"{{"choices":[{{"index":0,"delta":{{"content":"{text}"}},"finish_reason":{finish}}}]}}"#))
}

pub fn rows() -> Vec<Row> {
    [chats(), cut(), named_ends(), limits()].concat()
}

pub fn chat(name: &str) -> Row {
    let row = Row::new(format!("large, chat: {name}"), Request::post("/v1/chat/completions", "{}"));
    row.speaks("openai").sends(part("Look:", "null")).token_at(0)
}

/// An event with a picture, and more members after it.
fn picture(finish: &str, more: &str) -> String {
    let picture = format!(
        r#"{{"type":"image_url","image_url":{{"url":"data:image/png;base64,{}"}}}}"#,
        base64(2 * MIB)
    );
    data(format!(
        r#"{{"id":"c","choices":[{{"index":0,"delta":{{"role":"assistant","content":"","images":[{picture}]}},"finish_reason":{finish}}}]{more}}}"#
    ))
}

pub const USAGE: &str = r#","usage":{"prompt_tokens":12,"completion_tokens":1290}"#;

fn chats() -> Vec<Row> {
    let broken = data(format!(r#"{{"choices":[{{"index":0,"delta":{{"content":"{}"]}}"#, base64(LONG)));
    let text = data(base64(LONG));
    let escapes = part(&r#"\ud83e\udd80\"\\n"#.repeat(MIB / 16 + 1000), "\"stop\"");
    vec![
        chat("a picture, its end and usage behind it").sends(picture("\"stop\"", USAGE)).counts(12, 1290),
        chat("a picture and [DONE]").sends(picture("null", "")).sends("data: [DONE]\n\n"),
        chat("two pictures").sends(picture("null", "")).after(1, picture("\"stop\"", USAGE)).counts(12, 1290),
        chat("a picture and no end")
            .sends(picture("null", USAGE))
            .counts(12, 1290)
            .raises(Superset, "upstream_truncated"),
        chat("a picture and a RST").sends(picture("null", "")).resets().raises(Superset, "upstream_reset"),
        chat("a picture of a second choice that does not end")
            .sends(picture("\"stop\"", "").replacen("\"index\":0", "\"index\":1", 1))
            .raises(Superset, "upstream_truncated"),
        chat("escapes").sends(&escapes),
        chat("no valid JSON, and a clean end").sends(&broken),
        chat("no valid JSON, and a RST").sends(&broken).resets().raises(Superset, "upstream_reset"),
        chat("no valid JSON, and a whole end").sends(&broken).sends(part("", "\"stop\"")),
        chat("an error")
            .sends(data(format!(r#"{{"detail":"{}","error":{{"message":"m"}}}}"#, base64(LONG))))
            .reports_an_error(),
        Row::new("large, chat: a picture as the first event", Request::post("/ask", "{}"))
            .speaks("openai")
            .sends(picture("null", USAGE))
            .after(1, part("!", "\"stop\""))
            .token_at(0)
            .counts(12, 1290),
        Row::new("large: a text of an application's own, then a chat", Request::post("/ask", "{}"))
            .speaks("openai")
            .sends(&text)
            .after(1, part("Hi", "null"))
            .token_at(1)
            .raises(Superset, "upstream_truncated"),
    ]
}

/// Failures inside a large event. Part of it has been relayed, so no error event can follow.
fn cut() -> Vec<Row> {
    let half = format!("data: {{\"text\":\"{}", base64(LONG));
    let row = |name: &str| {
        Row::new(format!("large, cut: {name}"), Request::post("/ask", "{}"))
            .sends(WORD)
            .token_at(0)
            .sends(&half)
    };
    vec![
        row("a clean end").breaks("upstream_truncated"),
        row("a RST").resets().breaks("upstream_reset"),
        row("a FIN").closes().breaks("upstream_closed"),
        row("a stall").stalls().breaks("idle_timeout"),
        row("its lines whole, the blank one missing").sends("\"}\n").completed_by("\n"),
        row("its data whole, its line not").sends("\"}").completed_by("\n\n"),
        row("whole after all").sends("\"}\n\n").sends(WORD),
    ]
}

/// `terminal` is recognized in large events.
fn named_ends() -> Vec<Row> {
    let row = |name: &str, keys: &'static str| {
        Row::new(format!("large, a named end: {name}"), Request::post("/ask", "{}"))
            .keys(keys)
            .sends(WORD)
            .token_at(0)
    };
    let long = base64(LONG);
    vec![
        row("a member", "terminal: member:done")
            .sends(data(format!("{{\"text\":\"{long}\",\"done\":true}}")))
            .resets(),
        row("a name", "terminal: event:end").sends(named("end", &long)),
        row("none", "terminal: member:done")
            .sends(data(format!("{{\"text\":\"{long}\"}}")))
            .raises_and_breaks(Superset, "upstream_truncated"),
    ]
}

/// The exact limit; and a small limit, with which every dialect still works.
fn limits() -> Vec<Row> {
    let row = |name: &str| {
        Row::new(format!("a limit of 1 KiB: {name}"), Request::post("/v1/chat/completions", "{}"))
            .keys("max_event_size: 1KiB")
    };
    // Exactly this many bytes are held back.
    let held = format!("data: {}", "x".repeat(1024 - 6));
    let anthropic = Request::post("/v1/messages", "{}");
    let long = "a b c \\\" ".repeat(300);
    vec![
        row("held back up to it").holds(&held).sends("\n\n").token_at(0),
        row("passed beyond it").holds(&held).sends("x").sends("\n\n").token_at(0),
        row("a chat").speaks("openai").sends(part(&long, "null")).sends(part(&long, "\"stop\"")).token_at(0),
        row("a chat that is cut").speaks("openai").sends(part(&long, "null")).token_at(0).raises(Superset, "upstream_truncated"),
        row("a small event after a large one that is open").sends(part(&long, "null").trim_end()).sends("\n\n").sends(part("", "\"stop\"")).speaks("openai").token_at(0),
        Row::new("a limit of 1 KiB: a name behind its data", anthropic)
            .keys("max_event_size: 1KiB")
            .speaks("anthropic")
            .sends(format!("data: {{\"delta\":{{\"text\":\"{long}\"}}}}\nevent: content_block_delta\n\n"))
            .sends("event: message_stop\ndata: {}\n\n")
            .token_at(0),
        Row::new("a limit of 1 KiB: data in lines", Request::post("/ask", "{}"))
            .keys("max_event_size: 1KiB")
            .speaks("openai")
            .sends(format!("data: {{\"choices\":[{{\"delta\":\r\ndata: {{\"content\":\"{long}\"}},\r\ndata: \"finish_reason\":\"stop\"}}]}}\r\n\r\n"))
            .token_at(0),
        Row::new("a limit of 1 KiB: a long comment", Request::post("/ask", "{}"))
            .keys("max_event_size: 1KiB")
            .sends(format!(": {long}\n"))
            .after(1, WORD)
            .token_at(1),
    ]
}
