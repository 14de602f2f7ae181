//! The head of a response decides whether the body is a stream or opaque.

use super::error_form::ErrorForm::{AiSdkUi, Superset};
use super::row::{Framing, Head, Kind, Request, Row};
use super::{WORD, named};

pub fn rows() -> Vec<Row> {
    [no_success(), content_types(), plain_text(), other_text(), lengths(), of_the_ai_sdk()].concat()
}

fn chat() -> Request {
    Request::post("/v1/chat/completions", r#"{"model":"m","stream":true}"#)
}

/// A response with an error status is opaque, whatever its media type.
fn no_success() -> Vec<Row> {
    let head = |status: &'static str| Head::new(Kind::Opaque, &["text/event-stream"]).status(status);
    let row = |name: &str, head: Head| Row::new(format!("no success: {name}"), chat()).head(head);
    let error = "{\"error\":{\"message\":\"Invalid model\",\"type\":\"invalid_request_error\"}}";
    let events = format!("{WORD}{}", named("error", "{\"message\":\"m\"}"));
    vec![
        row("400 with JSON", head("400 Bad Request").framed(Framing::Length)).sends(error),
        row("400 with JSON in chunks", head("400 Bad Request")).sends(error),
        row("401 with half an event", head("401 Unauthorized").framed(Framing::Length))
            .sends("data: {\"error\":"),
        row("429 with an event", head("429 Too Many Requests")).sends(&events),
        row("500 with events", head("500 Internal Server Error").framed(Framing::Length)).sends(&events),
        row("500 with events in chunks", head("500 Internal Server Error"))
            .sends(&events)
            .after(1, "data: half"),
        row("503 that breaks", head("503 Service Unavailable"))
            .sends("data: {\"error\"")
            .resets()
            .breaks("upstream_reset"),
        row("302 with an event", head("302 Found")).sends(&events),
        row("204", head("204 No Content").framed(Framing::Nothing)),
        row("400 with lines", Head::new(Kind::Opaque, &["application/x-ndjson"]).status("400 Bad Request"))
            .sends("{\"error\":\"m\"}"),
        row("400 with no body", head("400 Bad Request").framed(Framing::Length)),
    ]
}

/// Of several media types, the last valid one counts.
fn content_types() -> Vec<Row> {
    let streams: [&[&str]; 9] = [
        &["text/event-stream; charset=utf-8"],
        &["Text/Event-Stream"],
        &["text/plain", "text/event-stream"],
        &["application/json, text/event-stream"],
        &["text/event-stream", "*/*"],
        &["text/event-stream", "nonsense"],
        &["text/event-stream,"],
        &["text/event-stream;a=\"x, text/plain\""],
        &["text/event-stream", "text/event-stream"],
    ];
    let others: [&[&str]; 6] = [
        &["text/event-stream", "application/json"],
        &["text/event-stream, text/html"],
        &["text/event-streams"],
        &["application/json; a=text/event-stream"],
        &[],
        &["nonsense"],
    ];
    let event = format!("{WORD}data: {{\"half\":");
    let mut rows = Vec::new();
    for types in streams {
        let row = Row::new(format!("a stream of {types:?}"), chat()).head(Head::new(Kind::Events, types));
        rows.push(row.sends(WORD).holds("data: {\"te").sends("xt\":1}\n\n").token_at(0));
    }
    for types in others {
        let row = Row::new(format!("no stream of {types:?}"), chat()).head(Head::new(Kind::Opaque, types));
        rows.push(row.sends(&event));
    }
    rows
}

/// Plain text is treated as a stream if the client asked for one and the text begins like one.
fn plain_text() -> Vec<Row> {
    let head = || Head::new(Kind::Events, &["text/plain; charset=utf-8"]);
    let row = |name: &str| {
        Row::new(format!("plain text that is a stream: {name}"), chat()).head(head()).token_at(0)
    };
    let accepted = Request::post("/ask", "{}").with("Accept", "text/event-stream");
    vec![
        row("an event of JSON").sends(WORD).sends(WORD),
        row("an event in two pieces").holds("da").holds("ta: {\"text\":\"Hi\"").sends("}\n\n"),
        row("a comment first").sends(format!(": ping\n\n{WORD}")),
        row("a name first").sends(named("token", "{\"text\":\"Hi\"}")),
        row("a word").sends("data: Hello\n\n"),
        row("in CRLF").sends("data: {\"text\":\"Hi\"}\r\n\r\n"),
        row("broken").sends(WORD).resets().raises_and_breaks(Superset, "upstream_reset"),
        Row::new("plain text that is a stream: asked for by Accept", accepted).head(head()).sends(WORD).token_at(0),
        Row::new("plain text that is a chat, and cut", chat())
            .head(head())
            .speaks("openai")
            .sends("data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"Hi\"},\"finish_reason\":null}]}\n\n")
            .token_at(0)
            .raises(Superset, "upstream_truncated"),
    ]
}

/// Plain text that only resembles a stream, or that no client asked a stream for.
fn other_text() -> Vec<Row> {
    let head = || Head::new(Kind::Opaque, &["text/plain"]);
    let texts: [(&str, &[&str]); 11] = [
        (
            "an older protocol of the AI SDK",
            &["0:\"Hello\"\n", "0:\" world\"\nd:{\"finishReason\":\"stop\"}\n"],
        ),
        ("an emoji", &[":tada: done"]),
        ("an emoji in pieces", &[":", "tada: done\n"]),
        ("a YAML file", &["data:\n  key: value\n  other: 1\n"]),
        ("a YAML file with a value", &["data: x\nmore: y\n"]),
        ("a log of events", &["event: login user=x\nevent: logout user=x\n"]),
        ("a log of events and dates", &["event: login\n2026-01-01 event: logout\n"]),
        ("a letter", &["Dear reader,\n\ndata: attached\n\n"]),
        ("an id", &["id: 7\nname: x\n"]),
        ("half a field", &["dat"]),
        ("nothing", &[]),
    ];
    let mut rows = Vec::new();
    for (name, pieces) in texts {
        let row = Row::new(format!("plain text that is not a stream: {name}"), chat()).head(head());
        rows.push(pieces.iter().fold(row, |row, piece| row.sends(piece)));
    }
    let unasked = [
        ("without `stream`", Request::post("/ask", "{}")),
        ("by GET", Request::get("/file")),
        ("with `stream: false`", Request::post("/ask", r#"{"stream":false}"#)),
    ];
    for (name, request) in unasked {
        let row = Row::new(format!("plain text, requested {name}"), request).head(head());
        rows.push(row.sends(WORD).after(1, "data: {\"half\":"));
    }
    rows.push(
        Row::new("plain text of a known length", chat()).head(head().framed(Framing::Length)).sends(WORD),
    );
    rows
}

/// `Content-Length` is removed from an event stream. JSON lines with a length are a file, and opaque.
fn lengths() -> Vec<Row> {
    vec![
        Row::new("a stream of a known length", Request::post("/ask", "{}"))
            .head(Head::events().framed(Framing::Length))
            .sends(WORD)
            .after(1, WORD)
            .token_at(0),
        Row::new("an empty stream of a known length", Request::post("/ask", "{}")).head(Head::events().framed(Framing::Length)),
        Row::new("a chat of a known length that is cut", chat())
            .head(Head::events().framed(Framing::Length))
            .speaks("openai")
            .sends("data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"Hi\"},\"finish_reason\":null}]}\n\n")
            .token_at(0)
            .raises(Superset, "upstream_truncated"),
        Row::new("a stream that the close ends", Request::post("/ask", "{}"))
            .head(Head::events().framed(Framing::Close))
            .sends(WORD)
            .after(1, WORD)
            .token_at(0),
        Row::new("a stream that the close ends, inside an event", Request::post("/ask", "{}"))
            .head(Head::events().framed(Framing::Close))
            .sends(WORD)
            .loses("data: {\"text\"")
            .token_at(0)
            .raises_and_breaks(Superset, "upstream_truncated"),
        Row::new("a stream that a RST ends instead of a close", Request::post("/ask", "{}"))
            .head(Head::events().framed(Framing::Close))
            .sends(WORD)
            .token_at(0)
            .resets()
            .raises_and_breaks(Superset, "upstream_reset"),
        Row::new("a chat that the close ends too early", chat())
            .head(Head::events().framed(Framing::Close))
            .speaks("openai")
            .sends("data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"Hi\"},\"finish_reason\":null}]}\n\n")
            .token_at(0)
            .raises(Superset, "upstream_truncated"),
        Row::new("a stream with the status 202", Request::post("/ask", "{}"))
            .head(Head::events().status("202 Accepted"))
            .sends(WORD)
            .token_at(0)
            .resets()
            .raises_and_breaks(Superset, "upstream_reset"),
        Row::new("lines of a known length", Request::get("/file"))
            .head(Head::new(Kind::Opaque, &["application/x-ndjson"]).framed(Framing::Length))
            .sends("{\"a\":1}\n{\"b\""),
        Row::new("lines of other names", Request::post("/ask", "{}"))
            .head(Head::new(Kind::Lines, &["application/jsonl; charset=utf-8"]))
            .sends("{\"a\":1}\n")
            .holds("{\"b\"")
            .sends(":2}\n")
            .token_at(0),
    ]
}

/// The AI SDK announces its dialect in a header field.
fn of_the_ai_sdk() -> Vec<Row> {
    let head = || Head { more: "x-vercel-ai-ui-message-stream: v1\r\n", ..Head::events() };
    let row = |name: &str| {
        let row = Row::new(format!("the head of the AI SDK: {name}"), Request::post("/api/chat", "{}"));
        row.head(head()).for_sockets().sends("data: {\"type\":\"start\",\"messageId\":\"m\"}\n\n")
    };
    vec![
        row("a RST").resets().raises(AiSdkUi, "upstream_reset"),
        row("a clean end").raises(AiSdkUi, "upstream_truncated"),
        row("a whole end").sends("data: {\"type\":\"finish\"}\n\ndata: [DONE]\n\n"),
        row("an error").sends("data: {\"type\":\"error\",\"errorText\":\"m\"}\n\n").reports_an_error(),
    ]
}
