//! The ends of streams: `terminal`, resumable MCP responses, and failures after the terminal event.

use sidestream::session::dialect::GENERIC;
use sidestream::session::{Close, Policy, Terminal};

use super::{Driven, post};

fn policy(terminal: &str) -> Policy {
    Policy { terminal: Some(terminal.parse().expect("a terminal")), ..Policy::default() }
}

#[test]
fn terminal_works_with_the_dialect_set_to_generic() {
    for (terminal, last) in [
        ("[DONE]", "data: [DONE]\n\n"),
        ("event:end", "event: end\ndata: x\n\n"),
        ("member:done", "data: {\"done\":1}\n\n"),
    ] {
        let policy = Policy { dialect: Some(&GENERIC), ..policy(terminal) };
        let mut whole = Driven::new(&policy);
        whole.backend("data: {\"token\":\"a\"}\n\n").backend(last).ends();
        assert_eq!(whole.outcome(), ("completed", Close::Clean), "{terminal}");
        let mut broken = Driven::new(&policy);
        broken.backend(last).breaks();
        assert_eq!(broken.outcome(), ("completed", Close::Clean), "{terminal}");
        let mut cut = Driven::new(&policy);
        cut.backend("data: {\"token\":\"a\"}\n\n").ends();
        assert_eq!(cut.outcome(), ("upstream_truncated", Close::Break), "{terminal}");
    }
}

#[test]
fn a_named_terminal_event_needs_no_data() {
    let policy = policy("event:end");
    for last in ["event: end\n\n", "id: 4\r\nevent:end\r\n\r\n", ": c\nevent: end\ndata\n\n"] {
        let mut driven = Driven::new(&policy);
        driven.backend("data: a\n\n").backend(last).ends();
        assert_eq!(driven.outcome(), ("completed", Close::Clean), "{last:?}");
    }
    let mut other = Driven::new(&policy);
    other.backend("data: a\n\n: event: end\n\nevent: ended\n\n").ends();
    assert_eq!(other.outcome(), ("upstream_truncated", Close::Break));
}

#[test]
fn terminal_is_a_text_a_name_or_a_member() {
    for text in ["[DONE]", "END", "<|im_end|>", "{\"done\":true}", "event:end", "member:done", "[1, 2]"] {
        let terminal = text.parse::<Terminal>().unwrap_or_else(|problem| panic!("{text}: {problem}"));
        assert_eq!(terminal.to_string(), text);
    }
    for text in [
        "",
        " ",
        "event:",
        "member:",
        "event: end",
        "member:a b",
        "data: [DONE]",
        "evnt:end",
        "[a\nb]",
        " END",
    ] {
        assert!(text.parse::<Terminal>().is_err(), "{text:?}");
    }
}

#[test]
fn an_id_without_data_makes_an_mcp_response_resumable() {
    let policy = Policy::default();
    let call = post("/mcp", r#"{"jsonrpc":"2.0","id":7,"method":"tools/call"}"#);
    let primed = "id: ev-1\nretry: 200\n\n";
    let mut ended = Driven::beginning(&policy, call.clone());
    ended.backend(primed).ends();
    assert_eq!((ended.outcome(), ended.written()), (("completed", Close::Clean), primed.to_owned()));
    let mut broken = Driven::beginning(&policy, call);
    broken.backend(primed).breaks();
    assert_eq!((broken.outcome(), broken.written()), (("upstream_reset", Close::Break), primed.to_owned()));
}

#[test]
fn events_that_resemble_a_dialect_are_generic() {
    for events in [
        r#"{"question":"Q?","choices":[{"id":1,"text":"yes"},{"id":2,"text":"no"}]}"#,
        r#"{"choices":[{"text":"go north"},{"text":"go south"}]}"#,
        r#"{"choices":[{"delta":{"x":1,"y":2}}]}"#,
        r#"{"choices":[{"delta":5}]}"#,
        r#"{"choices":[{"index":0,"message":"pick me"}]}"#,
        r#"{"candidates":[{"content":{"parts":["wheel","door"]},"id":1}]}"#,
        r#"{"type":"message_start","message":{"id":"77","role":"user","content":"hi"}}"#,
        r#"{"type":"content_block_delta","delta":{"color":"red"}}"#,
        r#"{"type":"response.created","response":{"id":4,"title":"survey"}}"#,
        r#"{"type":"response.done"}"#,
        r#"{"content":"Bus 12 arrives","stop":false}"#,
        r#"{"step":1,"error":0.25}"#,
    ] {
        let policy = Policy::default();
        let mut driven = Driven::new(&policy);
        driven.backend(format!("data: {events}\n\n")).ends();
        assert_eq!(
            (driven.outcome(), driven.session.dialect()),
            (("completed", Close::Clean), &GENERIC),
            "{events}"
        );
        let mut broken = Driven::new(&policy);
        broken.backend(format!("data: {events}\n\n")).breaks();
        assert_eq!(broken.outcome(), ("upstream_reset", Close::Break), "{events}");
    }
    // Protocols other than MCP use JSON-RPC too.
    let policy = Policy::default();
    let mut driven =
        Driven::beginning(&policy, post("/rpc", r#"{"jsonrpc":"2.0","id":5,"method":"app.watch"}"#));
    driven.backend("data: {\"progress\":1}\n\ndata: [DONE]\n\n").ends();
    assert_eq!(driven.outcome(), ("completed", Close::Clean));
}

#[test]
fn a_break_after_the_terminal_event_matters_only_if_an_event_followed_it() {
    const RUN: &str = "data: {\"type\":\"RUN_STARTED\",\"threadId\":\"t\",\"runId\":\"r\"}\n\n";
    const OVER: &str = "data: {\"type\":\"RUN_FINISHED\",\"threadId\":\"t\",\"runId\":\"r\"}\n\n";
    const CHAT: &str = "data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"a\"}}]}\n\n";
    for (stream, label) in [
        (format!("{RUN}{OVER}"), "completed"),
        (format!("{RUN}{OVER}: c\n"), "completed"),
        (format!("{RUN}{OVER}{RUN}"), "upstream_reset"),
        (format!("{RUN}{OVER}data: {{\"type\":\"TEXT"), "upstream_reset"),
        (format!("{CHAT}data: [DONE]\n\n"), "completed"),
        (format!("{CHAT}data: [DONE]\n\n{CHAT}"), "upstream_reset"),
    ] {
        let policy = Policy::default();
        let mut driven = Driven::new(&policy);
        driven.backend(&stream).breaks();
        assert_eq!(driven.outcome().0, label, "{stream}");
    }
    // An incomplete second run is a truncation too.
    let policy = Policy::default();
    let mut second = Driven::new(&policy);
    second.backend(format!("{RUN}{OVER}{RUN}")).ends();
    assert_eq!(second.outcome().0, "upstream_truncated");
}
