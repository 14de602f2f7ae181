//! Recognition of dialects: by the request until an event contradicts it, and by the events, however late.

use super::error_form::ErrorForm::Superset;
use super::row::{End, Request, Row};
use super::{WORD, data, named};

pub fn rows() -> Vec<Row> {
    [asked_otherwise(), recognised_late()].concat()
}

const CHAT: [&str; 3] = [
    "data: {\"id\":\"c\",\"object\":\"chat.completion.chunk\",\"model\":\"m\",\"choices\":[{\"index\":0,\"delta\":{\"role\":\"assistant\",\"content\":\"\"},\"finish_reason\":null}]}\n\n",
    "data: {\"id\":\"c\",\"object\":\"chat.completion.chunk\",\"model\":\"m\",\"choices\":[{\"index\":0,\"delta\":{\"content\":\"Hi\"},\"finish_reason\":null}]}\n\n",
    "data: {\"id\":\"c\",\"object\":\"chat.completion.chunk\",\"model\":\"m\",\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\"}]}\n\n",
];

/// The first event in no known dialect overrides the path.
fn asked_otherwise() -> Vec<Row> {
    let paths = [
        "/v1/chat/completions",
        "/v1/completions",
        "/v1/responses",
        "/v1/messages",
        "/completion",
        "/generate_stream",
        "/v2/chat",
        "/v1/threads/runs",
        "/v1/models/m:streamGenerateContent",
        "/v1/chat-messages",
    ];
    let mut rows = Vec::new();
    for path in paths {
        let request = || Request::post(path, r#"{"stream":true}"#);
        for event in [WORD, "data: {\"type\":\"token\",\"token\":\"a\"}\n\n", "event: token\ndata: Hi\n\n"] {
            let row = Row::new(format!("{path} and {event:?}"), request()).sends(event).token_at(0);
            rows.push(row.sends(event));
        }
    }
    rows.push(
        Row::new(
            "/v1/chat/completions and events of an application's, then a break",
            Request::post(paths[0], "{}"),
        )
        .sends(WORD)
        .token_at(0)
        .resets()
        .raises_and_breaks(Superset, "upstream_reset"),
    );
    // Nothing contradicts the path.
    for end in [End::Clean, End::Reset] {
        let code = if end == End::Clean { "upstream_truncated" } else { "upstream_reset" };
        let asked = |name: &str| {
            Row::new(format!("asked for a chat: {name}, {end:?}"), Request::post(paths[0], "{}"))
        };
        for row in [
            asked("nothing"),
            asked("comments").sends(": ping\n\n: ping\n\n"),
            asked("pings").sends("event: ping\ndata: {}\n\n"),
        ] {
            rows.push(row.speaks("openai").ending(end).raises(Superset, code));
        }
    }
    rows
}

/// A chat is recognized even after many events in no known dialect.
fn recognised_late() -> Vec<Row> {
    let own = |row: Row| {
        let steps =
            (1..=15).map(|step| named("status", format!("{{\"step\":{step},\"text\":\"searching\"}}")));
        row.sends(steps.collect::<String>())
    };
    let begun = |name: &str, path: &'static str| {
        let row = own(Row::new(format!("15 events in no dialect, then {name}"), Request::post(path, "{}")));
        row.after(1, CHAT[0]).after(1, CHAT[1]).token_at(2).speaks("openai")
    };
    vec![
        begun("a chat", "/ask").sends(CHAT[2]).sends("data: [DONE]\n\n"),
        begun("a chat, and an event after [DONE]", "/ask")
            .sends("data: [DONE]\n\n")
            .sends(named("status", "{\"step\":16}")),
        begun("a chat and a break after [DONE]", "/ask").sends("data: [DONE]\n\n").resets(),
        begun("a chat without [DONE]", "/ask").sends(CHAT[2]),
        begun("a chat that is cut", "/ask").raises(Superset, "upstream_truncated"),
        begun("a chat that is cut, as was asked for", "/v1/chat/completions")
            .raises(Superset, "upstream_truncated"),
        // The text form of a Python dictionary is not JSON.
        Row::new("a dictionary of Python's, then a chat that is cut", Request::post("/ask", "{}"))
            .sends("data: {'status': 'searching'}\n\n")
            .after(1, CHAT[0])
            .after(1, CHAT[1])
            .token_at(2)
            .speaks("openai")
            .raises(Superset, "upstream_truncated"),
        Row::new(
            "a dictionary of Python's, then a chat that is cut, as was asked for",
            Request::post("/v1/chat/completions", "{}"),
        )
        .sends("data: {'status': 'searching'}\n\n")
        .after(1, CHAT[0])
        .after(1, CHAT[1])
        .token_at(2)
        .speaks("openai")
        .raises(Superset, "upstream_truncated"),
        Row::new(
            "an end of Anthropic's in a stream of an application's, then a chat that is cut",
            Request::post("/v1/messages", "{}"),
        )
        .sends("data: {\"type\":\"message_stop\"}\n\n")
        .after(1, CHAT[1])
        .token_at(1)
        .speaks("openai")
        .raises(Superset, "upstream_truncated"),
        begun("a chat that breaks", "/ask").resets().raises(Superset, "upstream_reset"),
        own(Row::new("15 events in no dialect, then a message of Anthropic's", Request::post("/ask", "{}")))
            .after(
                1,
                named(
                    "message_start",
                    r#"{"type":"message_start","message":{"role":"assistant","usage":{"input_tokens":3}}}"#,
                ),
            )
            .after(
                1,
                named(
                    "content_block_delta",
                    r#"{"type":"content_block_delta","delta":{"type":"text_delta","text":"Hi"}}"#,
                ),
            )
            .speaks("anthropic")
            .token_at(2)
            .counts(3, None)
            .raises(Superset, "upstream_truncated"),
        own(Row::new("15 events in no dialect, and an error among them", Request::post("/ask", "{}")))
            .sends(data("{\"error\":\"no such tool\"}"))
            .after(1, CHAT[0])
            .after(1, CHAT[1])
            .token_at(2)
            .speaks("openai")
            .sends("data: [DONE]\n\n"),
    ]
}
