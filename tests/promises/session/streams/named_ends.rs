//! Streams in no known dialect with the key `terminal`.

use super::data;
use super::error_form::ErrorForm::{Line, Superset};
use super::row::{End, Head, Request, Row};

const BEGUN: &str = "data: {\"token\":\"Hello\"}\n\ndata: {\"token\":\" world\"}\n\n";

/// A kind of terminal event, its key, and events that match.
const ENDS: [(&str, &str, &[&str]); 3] = [
    (
        "the text",
        r#"terminal: "[DONE]""#,
        &["data: [DONE]\n\n", "data:[DONE]\r\n\r\n", "id: 9\nevent: message\ndata: [DONE]\n\n"],
    ),
    (
        "the name",
        "terminal: event:end",
        &["event: end\ndata: {}\n\n", "data: bye\nevent: end\n\n", "event:end\r\ndata:\r\n\r\n"],
    ),
    (
        "the member",
        "terminal: member:done",
        &[
            "data: {\"done\":true}\n\n",
            "data: { \"token\" : \"\", \"done\" : \"stop\" }\n\n",
            "data: {\"done\":{}}\n\n",
        ],
    ),
];

/// The same keys, and similar events that do not match.
const OTHERS: [(&str, &str, &[&str]); 3] = [
    (
        "the text",
        r#"terminal: "[DONE]""#,
        &["data: {\"token\":\"[DONE]\"}\n\n", "id: [DONE]\ndata: {\"token\":\"!\"}\n\n", ": [DONE]\n\n"],
    ),
    (
        "the name",
        "terminal: event:end",
        &["data: end\n\n", "event: ended\ndata: {\"token\":\"!\"}\n\n", "data: {\"event\":\"end\"}\n\n"],
    ),
    (
        "the member",
        "terminal: member:done",
        &[
            "data: {\"token\":\"!\",\"done\":false}\n\n",
            "data: {\"token\":\"!\",\"done\":null}\n\n",
            "data: {\"token\":\"\\\"done\\\":true\",\"x\":{\"done\":true}}\n\n",
        ],
    ),
];

fn begun(name: String) -> Row {
    Row::new(name, Request::post("/generate", "{}")).sends(BEGUN).token_at(0)
}

pub fn rows() -> Vec<Row> {
    let mut rows = Vec::new();
    for (what, keys, ends) in ENDS {
        let row = |name: String| begun(format!("{what} that ends a stream: {name}")).keys(keys);
        rows.extend([
            row("missing".to_owned()).raises_and_breaks(Superset, "upstream_truncated"),
            row("missing, and a RST".to_owned()).resets().raises_and_breaks(Superset, "upstream_reset"),
            row("missing, and a stall".to_owned()).stalls().raises_and_breaks(Superset, "idle_timeout"),
            row("missing, inside an event".to_owned())
                .loses("data: {\"tok")
                .raises_and_breaks(Superset, "upstream_truncated"),
        ]);
        for (end, event) in [End::Clean, End::Reset, End::Closed]
            .iter()
            .flat_map(|end| ends.iter().map(move |event| (end, event)))
        {
            rows.push(row(format!("{event:?} and {end:?}")).sends(event).ending(*end));
        }
        // The key is not set.
        let row = |name: &str| begun(format!("{what} that ends a stream, unnamed: {name}")).sends(ends[0]);
        rows.extend([
            row("a clean end"),
            row("a RST").resets().raises_and_breaks(Superset, "upstream_reset"),
        ]);
    }
    for (what, keys, others) in OTHERS {
        for event in others {
            let row = begun(format!("{what} that ends a stream, and {event:?}")).keys(keys).sends(event);
            rows.push(row.raises_and_breaks(Superset, "upstream_truncated"));
        }
    }
    rows.extend(python());
    rows.extend(unnamed());
    rows.extend(beside_dialects());
    rows
}

/// The text form of a Python dictionary is not JSON. Terminal events by text or name still work beside it.
fn python() -> Vec<Row> {
    const DICTIONARY: &str = "data: {'token': 'Hello'}\n\n";
    let row = |name: &str, keys: &'static str| {
        let row = Row::new(
            format!("dictionaries of Python's and a named end: {name}"),
            Request::post("/generate", "{}"),
        );
        row.keys(keys).sends(DICTIONARY).sends(DICTIONARY).token_at(0)
    };
    let [(_, text, texts), (_, name, names), _] = ENDS;
    vec![
        row("a text", text).sends(texts[0]),
        row("a name", name).sends(names[0]),
        row("a text that is missing", text).raises_and_breaks(Superset, "upstream_truncated"),
        row("a name that is missing", name).raises_and_breaks(Superset, "upstream_truncated"),
        Row::new(
            "dictionaries of Python's and a named end: where a chat was asked for",
            Request::post("/v1/chat/completions", "{}"),
        )
        .keys(text)
        .sends(DICTIONARY)
        .sends(DICTIONARY)
        .token_at(0)
        .raises_and_breaks(Superset, "upstream_truncated"),
        row("an error instead", text).sends("event: error\ndata: {'code': 1}\n\n").reports_an_error(),
    ]
}

/// Without the key, any clean end is complete.
fn unnamed() -> [Row; 3] {
    [
        begun("a stream without `terminal`, and a clean end".to_owned()),
        begun("a stream without `terminal`, and a RST".to_owned())
            .resets()
            .raises_and_breaks(Superset, "upstream_reset"),
        begun("a stream without `terminal`, and a FIN".to_owned())
            .closes()
            .raises_and_breaks(Superset, "upstream_closed"),
    ]
}

/// In a known dialect the key has no effect. In JSON lines it works as in events.
fn beside_dialects() -> Vec<Row> {
    let chat = || {
        let row = Row::new("", Request::post("/v1/chat/completions", "{}"))
            .keys("terminal: event:end")
            .speaks("openai");
        row.sends(data(r#"{"choices":[{"index":0,"delta":{"content":"Hi"},"finish_reason":null}]}"#))
            .token_at(0)
    };
    let lines = || {
        let row =
            Row::new("", Request::post("/generate", "{}")).keys("terminal: member:done").head(Head::lines());
        row.sends("{\"token\":\"Hello\"}\n").token_at(0)
    };
    let name = |name: &str, row: Row| Row { name: format!("a named end beside others: {name}"), ..row };
    vec![
        name("a chat that ends", chat().sends("data: [DONE]\n\n")),
        name("a chat that is cut", chat().raises(Superset, "upstream_truncated")),
        name("lines that end", lines().sends("{\"token\":\"\",\"done\":true}\n")),
        name("lines that end and break", lines().sends("{\"token\":\"\",\"done\":true}\n").resets()),
        name("lines that are cut", lines().raises_and_breaks(Line, "upstream_truncated")),
        name("lines whose end lacks its line end", lines().holds("{\"done\":true}").completed_by("\n")),
    ]
}
