//! MCP's streamable HTTP: open requests get an error response, unless the clients can resume the stream.

use serde_json::{Value, json};

use super::error_form::ErrorForm;
use super::row::{End, Request, Row};
use super::{data, named};

const PRIMING: &str = "id: ev-1\nretry: 200\ndata:\n\n";

fn request(body: &Value) -> Request {
    Request::post("/mcp", body.to_string())
        .with("Accept", "application/json, text/event-stream")
        .with("Mcp-Protocol-Version", "2025-11-25")
}

fn call(id: &Value) -> Value {
    json!({ "jsonrpc": "2.0", "id": id, "method": "tools/call", "params": { "name": "t", "arguments": {} } })
}

fn calls_7() -> Request {
    request(&call(&json!(7)))
}

fn listens() -> Request {
    Request::get("/mcp").with("Accept", "text/event-stream").with("Mcp-Session-Id", "1868a90c")
}

fn progress() -> String {
    let params = json!({ "progressToken": "p", "progress": 1 });
    named("message", json!({ "jsonrpc": "2.0", "method": "notifications/progress", "params": params }))
}

fn answer(id: &Value) -> String {
    named("message", json!({ "jsonrpc": "2.0", "id": id, "result": { "content": [] } }))
}

fn to(ids: &[Value]) -> ErrorForm {
    ErrorForm::JsonRpc(ids.to_vec())
}

pub fn rows() -> Vec<Row> {
    let rows = [resumable(), unanswered(), answered(), batches(), ids(), unknown(), listening()].concat();
    rows.into_iter().map(|row| row.speaks("mcp")).collect()
}

/// After an event with an id, nothing is added to the end of the stream.
fn resumable() -> Vec<Row> {
    let primed = |name: &str| Row::new(format!("mcp primed: {name}"), calls_7()).sends(PRIMING);
    let with_id = format!("id: ev-2\n{}", progress());
    vec![
        primed("a clean end"),
        primed("a RST").resets().breaks("upstream_reset"),
        primed("a FIN").closes().breaks("upstream_closed"),
        primed("a stall").stalls().breaks("idle_timeout"),
        primed("progress and a clean end").after(1, &with_id),
        primed("progress and a RST").after(1, &with_id).resets().breaks("upstream_reset"),
        primed("progress without an id, and a clean end").after(1, progress()),
        primed("cut inside an event").loses("id: ev-2\ndata: {\"jsonrpc\"").resets().breaks("upstream_reset"),
        primed("half an event and a clean end").holds("id: ev-2\ndata: {\"jsonrpc\""),
        primed("the answer").after(1, answer(&json!(7))).token_at(1),
        primed("the answer and a RST").sends(answer(&json!(7))).token_at(0).resets(),
        Row::new("mcp primed in CRLF: a clean end", calls_7()).sends(PRIMING.replace('\n', "\r\n")),
        Row::new("mcp: ids from the first notification on", calls_7()).sends(&with_id),
    ]
}

/// Without ids, each open request gets an error response.
fn unanswered() -> Vec<Row> {
    let row = |name: &str| Row::new(format!("mcp unanswered: {name}"), calls_7());
    let error = || to(&[json!(7)]);
    let asks = named(
        "message",
        json!({ "jsonrpc": "2.0", "id": 7, "method": "sampling/createMessage", "params": {} }),
    );
    vec![
        row("nothing and a clean end").raises(error(), "upstream_truncated"),
        row("a clean end").sends(progress()).raises(error(), "upstream_truncated"),
        row("a RST").sends(progress()).resets().raises(error(), "upstream_reset"),
        row("a stall").sends(progress()).stalls().raises(error(), "idle_timeout"),
        row("silence").stalls().raises(error(), "first_event_timeout"),
        row("an empty id is none")
            .sends(format!("id:\n{}", progress()))
            .raises(error(), "upstream_truncated"),
        row("a request of the server's with the same id").sends(asks).raises(error(), "upstream_truncated"),
        row("a comment").sends(": ping\n\n").raises(error(), "upstream_truncated"),
        row("half an answer")
            .sends(progress())
            .loses("event: message\ndata: {\"jsonrpc\":\"2.0\",\"id\":7,\"result\":{}")
            .raises(error(), "upstream_truncated"),
    ]
}

fn answered() -> Vec<Row> {
    let row = |name: &str| Row::new(format!("mcp answered: {name}"), calls_7());
    let error = named(
        "message",
        json!({ "jsonrpc": "2.0", "id": 7, "error": { "code": -32602, "message": "Unknown tool" } }),
    );
    vec![
        row("at once").sends(answer(&json!(7))).token_at(0),
        row("at once, and a FIN").sends(answer(&json!(7))).token_at(0).closes(),
        row("after progress").paces([&*progress(), &*progress(), &*answer(&json!(7))]).token_at(2),
        row("without an event line")
            .sends("data: {\"result\": {}, \"id\": 7, \"jsonrpc\": \"2.0\"}\n\n")
            .token_at(0),
        row("in two lines of data")
            .sends("data: {\"jsonrpc\":\"2.0\",\ndata: \"id\":7,\"result\":{}}\n\n")
            .token_at(0),
        row("with an error").sends(&error).reports_an_error(),
        row("with an error after progress").sends(progress()).after(1, &error).reports_an_error(),
        row("and another notification").sends(answer(&json!(7))).sends(progress()).token_at(0),
        row("without a blank line at the end")
            .holds("data: {\"jsonrpc\":\"2.0\",\"id\":7,\"result\":{}}\n")
            .completed_by("\n")
            .token_at(0),
        row("with a result that is null")
            .sends(data(json!({ "jsonrpc": "2.0", "id": 7, "result": null })))
            .token_at(0),
    ]
}

fn batches() -> Vec<Row> {
    let both = || request(&json!([call(&json!(1)), call(&json!("b"))]));
    let notified = || {
        let notification = json!({ "jsonrpc": "2.0", "method": "notifications/initialized" });
        request(&json!([notification, call(&json!(1)), call(&json!("b"))]))
    };
    let error = data(json!({ "jsonrpc": "2.0", "id": 1, "error": { "code": -32000, "message": "m" } }));
    let at_once = data(json!([
        { "jsonrpc": "2.0", "id": "b", "result": {} },
        { "jsonrpc": "2.0", "id": 1, "result": {} },
    ]));
    vec![
        Row::new("mcp batch: one of two answered", both())
            .sends(answer(&json!("b")))
            .token_at(0)
            .raises(to(&[json!(1)]), "upstream_truncated"),
        Row::new("mcp batch: none answered", notified())
            .sends(progress())
            .resets()
            .raises(to(&[json!(1), json!("b")]), "upstream_reset"),
        Row::new("mcp batch: one failed, one open", both())
            .sends(&error)
            .closes()
            .raises(to(&[json!("b")]), "upstream_closed"),
        Row::new("mcp batch: both answered", both())
            .sends(answer(&json!("b")))
            .after(1, answer(&json!(1)))
            .token_at(0),
        Row::new("mcp batch: answered as a batch", both()).sends(at_once).token_at(0),
        Row::new("mcp batch: one of two answered, with ids", both())
            .sends(format!("id: 1\n{}", answer(&json!("b"))))
            .token_at(0)
            .resets()
            .breaks("upstream_reset"),
    ]
}

/// The ids of requests keep their type and all their digits.
fn ids() -> Vec<Row> {
    let ids = [json!(0), json!(-1), json!(9_007_199_254_740_993_u64), json!("7"), json!(""), json!("é\"\n")];
    let mut rows = Vec::new();
    for id in ids {
        let row = |what: &str| Row::new(format!("mcp id {id}: {what}"), request(&call(&id)));
        rows.push(row("open").sends(progress()).raises(to(std::slice::from_ref(&id)), "upstream_truncated"));
        rows.push(row("answered").sends(answer(&id)).token_at(0));
    }
    rows
}

/// If the request body could not be read, no open requests are known.
fn unknown() -> Vec<Row> {
    let long = || {
        let mut body = call(&json!(7));
        body["params"]["arguments"] = json!({ "text": "x".repeat(100_000) });
        request(&body)
    };
    let task = json!({ "taskId": "786512e2", "status": "working", "createdAt": "2025-11-25T10:30:00Z", "ttl": 60000 });
    let row = |name: &str| Row::new(format!("mcp: a request too long to be kept, {name}"), long());
    vec![
        row("a clean end").sends(progress()),
        row("a RST").sends(progress()).resets().breaks("upstream_reset"),
        row("a stall").sends(progress()).stalls().breaks("idle_timeout"),
        row("answered").sends(answer(&json!(7))).token_at(0),
        row("answered with a task")
            .sends(data(json!({ "jsonrpc": "2.0", "id": 7, "result": { "task": task } })))
            .token_at(0),
    ]
}

/// A stream opened by GET, which answers no request.
fn listening() -> Vec<Row> {
    let row = |name: &str| Row::new(format!("mcp listening: {name}"), listens());
    let changed = named("message", json!({ "jsonrpc": "2.0", "method": "notifications/tools/list_changed" }));
    let mut comments = row("comments for 20 minutes");
    for _ in 0..40 {
        comments = comments.after(30, ": keep-alive\n");
    }
    let mut rows = vec![
        comments.clone(),
        Row {
            name: "mcp listening: comments and then silence".to_owned(),
            ..comments.stalls().breaks("idle_timeout")
        },
        row("silence").stalls().breaks("idle_timeout"),
        row("an event and then silence").sends(&changed).stalls().breaks("idle_timeout"),
        row("nothing"),
        row("the answer of a call that is resumed")
            .after(60, format!("id: 9\n{}", answer(&json!(7))))
            .token_at(60),
        row("an event").after(60, &changed),
    ];
    for (end, code) in [(End::Reset, "upstream_reset"), (End::Closed, "upstream_closed")] {
        rows.push(row(&format!("an event and {end:?}")).sends(&changed).ending(end).breaks(code));
        rows.push(
            row(&format!("an event with an id and {end:?}"))
                .sends(format!("id: 1\n{changed}"))
                .ending(end)
                .breaks(code),
        );
    }
    rows
}
