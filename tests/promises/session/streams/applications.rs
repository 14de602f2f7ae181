//! Streams in no known dialect: events that resemble a dialect are not recognized, and any clean end is complete.

use super::error_form::ErrorForm::{self, AgUi, Superset};
use super::row::{End, Head, Request, Row};
use super::{WORD, data, named};

/// Events with the name or a member of a dialect, but without its other characteristics.
fn lookalikes() -> Vec<String> {
    let unnamed = [
        r#"{"choices":["a","b"]}"#,
        r#"{"choices":[]}"#,
        r#"{"choices":[{"id":1,"label":"a"}]}"#,
        r#"{"choices":{"delta":{"content":"a"}}}"#,
        r#"{"type":"message_start"}"#,
        r#"{"type":"message_start","message":"Welcome"}"#,
        r#"{"type":"message_delta","delta":"a"}"#,
        r#"{"type":"message_stop"}"#,
        r#"{"type":"content_block_start","block":1}"#,
        r#"{"type":"response.saved"}"#,
        r#"{"type":"response.saved","response":{"id":1}}"#,
        r#"{"type":"response"}"#,
        r#"{"event":"response.completed"}"#,
        r#"{"type":"start"}"#,
        r#"{"type":"finish"}"#,
        r#"{"type":"abort"}"#,
        r#"{"type":"text-delta","text":"a"}"#,
        r#"{"type":"tool-input-start","tool":"search"}"#,
        r#"{"type":"RUN_STARTED","run":1}"#,
        r#"{"type":"RUN_FINISHED"}"#,
        r#"{"type":"content-delta","text":"a"}"#,
        r#"{"type":"message-end"}"#,
        r#"{"type":"transcript.text","text":"a"}"#,
        r#"{"content":"x"}"#,
        r#"{"content":"x","stop":"no"}"#,
        r#"{"stop":true}"#,
        r#"{"done":true}"#,
        r#"{"done":true,"model":7}"#,
        r#"{"token":"a"}"#,
        r#"{"token":{"value":"a"}}"#,
        r#"{"token":{"id":1,"text":"a"}}"#,
        r#"{"generated_text":"a"}"#,
        r#"{"candidates":["a","b"]}"#,
        r#"{"candidates":[{"name":"a"}]}"#,
        r#"{"candidates":[]}"#,
        r#"{"object":"thread.run"}"#,
        r#"{"event":"message","answer":"a"}"#,
        r#"{"event":"message_end"}"#,
        r#"{"task_id":"1","state":"completed","final":true}"#,
        r#"{"jsonrpc":"1.0","id":7,"result":{}}"#,
        r#"{"kind":"status-update","status":{"state":"completed"},"final":true}"#,
        r#"{"statusUpdate":{"status":{"state":"TASK_STATE_COMPLETED"}}}"#,
        r#"{"response":"a"}"#,
        r#"{"error":null}"#,
        r#"{"error":false,"errors":[]}"#,
        r#"{"error":""}"#,
        r#"{"finish_reason":"stop"}"#,
        r#"{"delta":{"content":"a"}}"#,
        r#"["choices","candidates"]"#,
        "[DONE]",
        "null",
        "7",
        "{broken",
    ];
    let named_ones = [
        ("question", r#"{"choices":["a","b"]}"#),
        ("message_stop", "{}"),
        ("message_start", r#"{"message":"Welcome"}"#),
        ("response.completed", "{}"),
        ("thread.run.completed", "{}"),
        ("done", "[DONE]"),
        ("done", "{}"),
        ("end", ""),
        ("finish", "{}"),
        ("message", r#"{"text":"a"}"#),
        ("message-end", "{}"),
        ("RUN_FINISHED", "{}"),
    ];
    let named_ones = named_ones.map(|(name, text)| named(name, text));
    unnamed.map(data).into_iter().chain(named_ones).collect()
}

fn application() -> Request {
    Request::post("/ask", r#"{"question":"why"}"#)
}

pub fn rows() -> Vec<Row> {
    [of_lookalikes(), broken(), by_get()].concat()
}

/// Each of these events among plain ones, followed by a clean end or a failure.
fn of_lookalikes() -> Vec<Row> {
    let row = |event: &str, end: End| {
        let row = Row::new(format!("an application's {event:?}, and {end:?}"), application());
        row.sends(WORD).sends(event).token_at(0).ending(end)
    };
    let rows = lookalikes().into_iter().flat_map(|event| {
        [row(&event, End::Clean), row(&event, End::Reset).raises_and_breaks(Superset, "upstream_reset")]
    });
    rows.collect()
}

/// A failure adds an error event, and breaks the connection for clients that ignore the event.
fn broken() -> Vec<Row> {
    let streams = [
        ("words", "data: Hello\n\ndata: world\n\n".to_owned()),
        ("words in CRLF", "data: Hello\r\n\r\ndata: world\r\n\r\n".to_owned()),
        ("words in CR", "data: Hello\r\rdata: world\r\r".to_owned()),
        ("JSON", data(r#"{"text": "a, b: c"}"#)),
        ("names", named("token", "Hello")),
        ("ids", format!("id: 1\nretry: 200\n{WORD}")),
        ("lines of data", "data: a\ndata: b\ndata:\n\n".to_owned()),
        ("a byte order mark", format!("\u{feff}{WORD}")),
    ];
    let mut rows = Vec::new();
    for (name, events) in streams {
        for (end, code) in
            [(End::Reset, "upstream_reset"), (End::Closed, "upstream_closed"), (End::Stall, "idle_timeout")]
        {
            let row =
                Row::new(format!("{name} that break: {end:?}"), application()).sends(&events).ending(end);
            rows.push(row.token_at(0).raises_and_breaks(Superset, code));
        }
        rows.push(Row::new(format!("{name} that end"), application()).sends(&events).token_at(0));
    }
    for end in [End::Reset, End::Closed] {
        let code = if end == End::Reset { "upstream_reset" } else { "upstream_closed" };
        let row = Row::new(format!("nothing, and {end:?}"), application()).ending(end);
        rows.push(row.raises_and_breaks(Superset, code));
    }
    rows.push(
        Row::new("nothing, for long", application())
            .stalls()
            .raises_and_breaks(Superset, "first_event_timeout"),
    );
    rows.push(
        Row::new("comments are no first event", application())
            .sends(": one moment\n\n")
            .stalls()
            .raises_and_breaks(Superset, "first_event_timeout"),
    );
    rows.push(Row::new("nothing at all", application()));
    rows.push(
        Row::new("a time to reconnect is no event", application())
            .sends("retry: 3000\n\n")
            .resets()
            .raises_and_breaks(Superset, "upstream_reset"),
    );
    // The progress of a download in Ollama's API, not an answer.
    let progress =
        "{\"status\":\"pulling manifest\"}\n{\"status\":\"pulling\",\"completed\":1,\"total\":9}\n";
    let pull = |name: &str| {
        Row::new(name, Request::post("/api/pull", "{}")).head(Head::lines()).sends(progress).token_at(0)
    };
    rows.push(pull("the progress of a download").after(1, "{\"status\":\"success\"}\n"));
    rows.push(
        pull("the progress of a download, and a RST")
            .resets()
            .raises_and_breaks(ErrorForm::Line, "upstream_reset"),
    );
    rows.push(
        Row::new("AG-UI before its first word", application())
            .sends("data: {\"type\":\"RUN_STARTED\",\"threadId\":\"t\",\"runId\":\"r\"}\n\n")
            .speaks("ag_ui")
            .resets()
            .raises_and_breaks(AgUi, "upstream_reset"),
    );
    rows
}

/// Subscriptions by GET, which may be silent for a long time.
fn by_get() -> Vec<Row> {
    let listens = || Request::get("/events").with("Accept", "text/event-stream");
    let mut comments = Row::new("listening: comments for 20 minutes", listens());
    for _ in 0..40 {
        comments = comments.after(30, ":\n");
    }
    vec![
        comments.after(1, WORD).token_at(1201),
        Row::new("listening: silence", listens()).stalls().raises_and_breaks(Superset, "first_event_timeout"),
        Row::new("listening: lines that end at once", listens()).head(Head::lines()),
    ]
}
