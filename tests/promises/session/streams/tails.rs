//! The rest of a stream after the last event at a clean end, and comments between events.

use super::WORD;
use super::error_form::ErrorForm::{Line, Superset};
use super::row::{Head, Request, Row};

pub fn rows() -> Vec<Row> {
    [of_events(), of_chats(), of_lines(), comments()].concat()
}

/// What must happen to the rest.
enum Tail {
    /// It is completed with these line ends.
    Completed(&'static str),
    /// It is relayed at once.
    AtOnce,
    /// It is relayed unchanged at the end.
    Passes,
    /// It is an incomplete event, so it is dropped and the stream is truncated.
    Dropped,
}

fn of_events() -> Vec<Row> {
    use Tail::{AtOnce, Completed, Dropped, Passes};
    let tails = [
        ("", AtOnce),
        ("\n", AtOnce),
        (": a comment\n", AtOnce),
        ("data: [DONE]", Completed("\n\n")),
        ("data:[DONE]", Completed("\n\n")),
        ("data: {\"a\":1}", Completed("\n\n")),
        ("data: {\"a\":\ndata: 1}", Completed("\n\n")),
        ("data: [1, 2]", Completed("\n\n")),
        ("data: \"a\"", Completed("\n\n")),
        ("event: x\ndata: {}", Completed("\n\n")),
        ("data: a\n", Completed("\n")),
        ("data: a\r\n", Completed("\n")),
        ("data: a\r", Completed("\r")),
        ("data: a\nid: 1\n", Completed("\n")),
        ("event: x\ndata\n", Completed("\n")),
        ("data: {}\n: a comment", Completed("\n\n")),
        (": a comment", Passes),
        (":", Passes),
        ("retry: 50", Passes),
        ("retry: 50\n", Passes),
        ("id: 1", Passes),
        ("id: 1\n", Passes),
        ("id: 1\nretry: 50\n", Passes),
        ("data: {\"a\":", Dropped),
        ("data: {\"a\":1}}", Dropped),
        ("data: {\"a\":1}\ndata: {", Dropped),
        ("data: a", Dropped),
        ("data: 12", Dropped),
        ("data: [DON", Dropped),
        ("da", Dropped),
        ("data", Dropped),
        ("event: x", Dropped),
        ("event: x\n", Dropped),
        ("data: {}\nevent: x", Dropped),
        ("data: {}\nid: 1", Dropped),
    ];
    let mut rows = Vec::new();
    for (tail, becomes) in tails {
        let row = Row::new(format!("a tail: {tail:?}"), Request::post("/ask", "{}")).sends(WORD).token_at(0);
        rows.push(match becomes {
            Completed(line_ends) => row.holds(tail).completed_by(line_ends),
            AtOnce => row.sends(tail),
            Passes => row.holds(tail),
            Dropped => row.loses(tail).raises_and_breaks(Superset, "upstream_truncated"),
        });
    }
    rows.extend([
        Row::new("a tail behind a byte order mark", Request::post("/ask", "{}"))
            .holds("\u{feff}data: [DONE]")
            .completed_by("\n\n"),
        Row::new("a CRLF cut in two, and a clean end", Request::post("/ask", "{}"))
            .holds("data: Hi\r\n\r")
            .token_at(0),
        Row::new("a CRLF cut in two, and a RST", Request::post("/ask", "{}"))
            .holds("data: Hi\r\n\r")
            .token_at(0)
            .resets()
            .raises_and_breaks(Superset, "upstream_reset"),
        Row::new("a CRLF cut in two, and the rest", Request::post("/ask", "{}"))
            .holds("data: Hi\r\n\r")
            .sends("\ndata: you\r\n\r\n")
            .token_at(0),
        Row::new("a tail is all", Request::post("/ask", "{}"))
            .holds("data: {\"a\":1}")
            .completed_by("\n\n")
            .token_at(0),
        Row::new("a tail where CR ends lines", Request::post("/ask", "{}"))
            .sends("data: a\r\rdata: b\r\r")
            .holds("data: {\"a\":1}")
            .completed_by("\r\r")
            .token_at(0),
    ]);
    rows
}

const CHAT: &str =
    "data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"Hi\"},\"finish_reason\":null}]}\n\n";

/// A chat without its end is truncated, whatever the rest is.
fn of_chats() -> Vec<Row> {
    let row = |name: &str| {
        let row = Row::new(format!("a tail of a chat: {name}"), Request::post("/v1/chat/completions", "{}"));
        row.speaks("openai").sends(CHAT).token_at(0)
    };
    let finish = "data: {\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\"}]}";
    let cut = |row: Row| row.raises(Superset, "upstream_truncated");
    vec![
        row("[DONE]").holds("data: [DONE]").completed_by("\n\n"),
        row("[DONE] and its line end").holds("data: [DONE]\n").completed_by("\n"),
        row("[DONE] and its CRLF").holds("data: [DONE]\r\n").completed_by("\n"),
        row("a reason to finish").holds(finish).completed_by("\n\n"),
        cut(row("a word").holds(CHAT.trim_end()).completed_by("\n\n")),
        cut(row("half a word").loses(&CHAT[..40])),
        cut(row("half of [DONE]").loses("data: [DON")),
        cut(row("a comment").loses(": keep-alive")),
        cut(row("a time to reconnect").loses("retry: 50")),
        row("[DONE] without its line end, and a RST")
            .loses("data: [DONE]")
            .resets()
            .raises(Superset, "upstream_reset"),
        row("a comment after [DONE]").sends("data: [DONE]\n\n").holds(": bye"),
        row("half an event after [DONE]").sends("data: [DONE]\n\n").holds("data: {\"us"),
    ]
}

fn of_lines() -> Vec<Row> {
    let row = |name: &str| {
        let row =
            Row::new(format!("a tail of lines: {name}"), Request::post("/ask", "{}")).head(Head::lines());
        row.sends("{\"word\":\"Hello\"}\n").token_at(0)
    };
    vec![
        row("whole").holds("{\"a\":1}").completed_by("\n"),
        row("a CR").holds("{\"a\":1}\r").completed_by("\n"),
        row("blanks").holds("  "),
        row("half").loses("{\"a\":").raises_and_breaks(Line, "upstream_truncated"),
        row("no JSON").loses("word").raises_and_breaks(Line, "upstream_truncated"),
    ]
}

/// A comment between events needs no blank line. A comment inside an event belongs to the event.
fn comments() -> Vec<Row> {
    let row = |name: &str| Row::new(format!("comments: {name}"), Request::post("/ask", "{}"));
    let alive = ": keep-alive\n";
    vec![
        row("before the first event").sends(alive).after(5, alive).after(5, WORD).token_at(10),
        row("between events").sends(WORD).after(5, alive).after(5, alive).after(5, WORD).token_at(0),
        row("after the last event").sends(WORD).after(5, alive).token_at(0),
        row("with a blank line").sends(": keep-alive\n\n").after(5, WORD).token_at(5),
        row("in CRLF").sends(": keep-alive\r\n").after(5, WORD.replace('\n', "\r\n")).token_at(5),
        row("without a text").sends(":\n").after(5, ":\n").after(5, WORD).token_at(10),
        row("without a blank").sends(":ping\n").after(5, WORD).token_at(5),
        row("several at once").sends(":\n: a\n:b\n").after(5, WORD).token_at(5),
        row("beside blank lines").sends("\n").after(5, "\n\n").after(5, WORD).after(5, "\n").token_at(10),
        row("in two pieces").holds(": keep-").after(5, "alive\n").after(5, WORD).token_at(10),
        row("and the beginning of an event")
            .sends(": a\n")
            .holds("data: {\"te")
            .after(5, "xt\":\"Hi\"}\n\n")
            .token_at(5),
        row("between the lines of an event")
            .holds("data: a\n")
            .holds(alive)
            .after(5, "data: b\n\n")
            .token_at(5),
        row("behind an id").holds("id: 1\n").holds(alive).after(5, WORD).token_at(5),
        row("and a RST").sends(alive).after(5, alive).resets().raises_and_breaks(Superset, "upstream_reset"),
        row("are not long silent")
            .sends(WORD)
            .after(200, alive)
            .after(200, alive)
            .after(200, WORD)
            .token_at(0),
        Row::new("comments: in a chat, and a RST", Request::post("/v1/chat/completions", "{}"))
            .speaks("openai")
            .sends(CHAT)
            .after(5, alive)
            .token_at(0)
            .resets()
            .raises(Superset, "upstream_reset"),
    ]
}
