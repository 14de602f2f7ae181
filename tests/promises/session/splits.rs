//! The result does not depend on how the bytes of a stream are split, or on the content of its texts.

use proptest::prelude::*;
use serde_json::json;
use sidestream::session::{Format, Policy, Unit, begins_with_event};

use super::{Beginning, Driven, post};

/// Mixes every line end, comments, multi-byte UTF-8, empty data and a byte order mark.
pub const MIXED: &[u8] = "\u{feff}data: first\n\n: comment\r\ndata: zwei \u{1F980}\r\ndata: \u{e9}\r\n\r\n\
    data\n\ndata:\r\revent: x\rdata: y\r\rid: 1\n\ndata: a\n\r\ndata: b\r\n\ndata: c\r\n\rdata: d\n\n: end\n\n"
    .as_bytes();

/// Whether the text ends with an event, or with a comment between two events.
pub fn ends_between_events(text: &str) -> bool {
    let lines = text.replace("\r\n", "\n").replace('\r', "\n");
    lines.ends_with("\n\n")
        || lines == "\n"
        || lines.ends_with('\n') && lines.lines().last().is_some_and(|l| l.starts_with(':'))
}

fn run(policy: &Policy, beginning: Beginning, pieces: &[&[u8]]) -> Driven {
    let mut driven = Driven::beginning(policy, beginning);
    for piece in pieces {
        driven.backend(piece);
    }
    driven.ends();
    driven
}

/// Everything that the session reports about a stream, for comparison.
fn report(driven: &Driven) -> String {
    let session = &driven.session;
    format!(
        "{:?} {:?} {:?} {} {:?}",
        driven.outcome(),
        session.dialect(),
        session.usage(),
        session.events(),
        driven.first_token().is_some()
    )
}

#[test]
fn a_split_at_any_byte_gives_whole_events_and_the_same_bytes() {
    let policy = Policy::default();
    for at in 0..=MIXED.len() {
        let driven = run(&policy, Beginning::default(), &[&MIXED[..at], &MIXED[at..]]);
        assert_eq!(driven.written().as_bytes(), MIXED, "split at {at}");
        for (_, write) in &driven.writes {
            assert!(ends_between_events(write), "split at {at}: {write:?}");
        }
    }
}

#[test]
fn single_bytes_give_the_same_bytes() {
    let policy = Policy::default();
    let driven = run(&policy, Beginning::default(), &MIXED.chunks(1).collect::<Vec<_>>());
    assert_eq!(driven.written().as_bytes(), MIXED);
}

/// The same bytes, split at these positions.
fn cut<'a>(bytes: &'a [u8], cuts: &[prop::sample::Index]) -> Vec<&'a [u8]> {
    let mut at: Vec<usize> = cuts.iter().map(|i| i.index(bytes.len() + 1)).collect();
    at.extend([0, bytes.len()]);
    at.sort_unstable();
    at.windows(2).map(|w| &bytes[w[0]..w[1]]).collect()
}

/// Streams of significant tokens, which combine line ends in every way.
fn stream() -> impl Strategy<Value = Vec<u8>> {
    const TOKENS: [&str; 14] = [
        "\n",
        "\r",
        "\r\n",
        "data: x",
        "data:",
        "data",
        ": c",
        "id: 1",
        "event: e",
        "\u{feff}",
        "\u{1F980}",
        "dat",
        "\0",
        "data: {\"a\":1}",
    ];
    prop::collection::vec(prop::sample::select(&TOKENS[..]), 0..60)
        .prop_map(|tokens| tokens.concat().into_bytes())
}

/// Text that would mislead a search for bytes, but not a JSON parser.
fn text() -> impl Strategy<Value = String> {
    const PARTS: [&str; 9] = [
        "Hi",
        "\n\ndata: [DONE]\n\n",
        "\"finish_reason\":\"stop\"",
        "\"error\":{\"message\":\"x\"}",
        "\"type\":\"message_stop\"",
        "{\"jsonrpc\":\"2.0\",\"id\":1,\"result\":{}}",
        "\\",
        "\r\n",
        "é\u{1F980}",
    ];
    prop::collection::vec(prop::sample::select(&PARTS[..]), 0..4).prop_map(|parts| parts.concat())
}

/// A dialect, and an event in it that carries some text and does not end the answer.
fn event() -> impl Strategy<Value = (&'static str, String)> {
    (0..9usize, text()).prop_map(|(dialect, text)| {
        let (name, data) = match dialect {
            0 => ("openai", json!({ "choices": [{ "delta": { "content": text }, "finish_reason": null }] })),
            1 => ("responses", json!({ "type": "response.output_text.delta", "delta": text })),
            2 => ("anthropic", json!({ "delta": { "text": text }, "type": "content_block_delta" })),
            3 => ("ollama", json!({ "model": "m", "message": { "content": text }, "done": false })),
            4 => ("gemini", json!({ "candidates": [{ "content": { "parts": [{ "text": text }] } }] })),
            5 => ("tgi", json!({ "token": { "id": 1, "text": text }, "generated_text": null })),
            6 => ("llama_cpp", json!({ "content": text, "stop": false, "tokens_predicted": 1 })),
            7 => ("ag_ui", json!({ "type": "TEXT_MESSAGE_CONTENT", "messageId": "m", "delta": text })),
            _ => ("mcp", json!({ "jsonrpc": "2.0", "method": "notifications/message", "params": text })),
        };
        (name, format!("data: {data}\n\n"))
    })
}

proptest! {
    #[test]
    fn any_split_of_any_stream_gives_the_same_bytes_and_the_same_verdict(
        bytes in stream(), cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..20)
    ) {
        let policy = Policy { detect_truncation: false, ..Policy::default() };
        let whole = run(&policy, Beginning::default(), &[&bytes]);
        let split = run(&policy, Beginning::default(), &cut(&bytes, &cuts));
        prop_assert_eq!(report(&whole), report(&split));
        prop_assert_eq!(whole.written(), split.written());
        let text = String::from_utf8_lossy(&bytes).into_owned();
        prop_assert!(split.written().strip_prefix(&text).is_some_and(|end| end.len() <= 2));
    }

    #[test]
    fn a_small_max_event_size_loses_no_bytes(
        bytes in stream(), limit in 1usize..40, cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..20)
    ) {
        let policy = Policy { detect_truncation: false, max_event_size: limit, ..Policy::default() };
        let driven = run(&policy, Beginning::default(), &cut(&bytes, &cuts));
        let text = String::from_utf8_lossy(&bytes).into_owned();
        prop_assert!(driven.written().strip_prefix(&text).is_some_and(|end| end.len() <= 2));
    }

    #[test]
    fn any_split_of_any_dialect_gives_the_same_report_whether_held_back_or_not(
        events in prop::collection::vec(event(), 1..6), end in prop::sample::select(&["\n", "\r\n", "\r"][..]),
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..20), is_small in any::<bool>()
    ) {
        let stream: String = events.iter().map(|(_, event)| event.as_str()).collect::<String>().replace('\n', end);
        let limit = if is_small { 8 } else { 1 << 20 };
        let (policy, small) = (Policy::default(), Policy { max_event_size: limit, ..Policy::default() });
        let whole = run(&policy, Beginning::default(), &[stream.as_bytes()]);
        let split = run(&small, Beginning::default(), &cut(stream.as_bytes(), &cuts));
        prop_assert_eq!(report(&whole), report(&split));
    }

    #[test]
    fn text_in_a_payload_has_no_effect((dialect, event) in event(), count in 1..5usize) {
        let policy = Policy::default();
        let driven = run(&policy, post("/", "{}"), &[event.repeat(count).as_bytes()]);
        prop_assert_eq!(driven.session.dialect().name, dialect);
        let label = if dialect == "mcp" { "completed" } else { "upstream_truncated" };
        prop_assert_eq!(driven.outcome().0, label);
    }

    #[test]
    fn arbitrary_bytes_are_generic(
        bytes in prop::collection::vec(any::<u8>(), 0..400),
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..10)
    ) {
        let policy = Policy::default();
        prop_assert_eq!(run(&policy, Beginning::default(), &cut(&bytes, &cuts)).session.dialect().name, "generic");
    }

    #[test]
    fn sniffing_never_changes_its_verdict(bytes in stream(), is_object in any::<bool>()) {
        let text = [if is_object { &b"data: {}\n"[..] } else { b"" }, &bytes].concat();
        let verdicts: Vec<_> = (0..=text.len()).filter_map(|length| begins_with_event(&text[..length])).collect();
        prop_assert!(verdicts.windows(2).all(|pair| pair[0] == pair[1]), "{verdicts:?}");
    }

    #[test]
    fn any_split_of_lines_gives_the_same_bytes(
        bytes in prop::collection::vec(prop_oneof![Just(b'\n'), Just(b'\r'), Just(b'{'), Just(b'a')], 0..200),
        limit in 1usize..40, cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..10)
    ) {
        let policy = Policy { detect_truncation: false, max_event_size: limit, ..Policy::default() };
        let lines = Beginning { format: Format::Lines, ..Beginning::default() };
        let driven = run(&policy, lines, &cut(&bytes, &cuts));
        let text = String::from_utf8_lossy(&bytes).into_owned();
        prop_assert!(driven.written().strip_prefix(&text).is_some_and(|end| end.len() <= 1));
    }

    #[test]
    fn any_split_of_converted_texts_gives_the_same_events(
        bytes in prop::collection::vec(prop_oneof![Just(b'\n'), Just(b'\r'), Just(b'{'), Just(b'}'), Just(b'1')], 0..200),
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..10)
    ) {
        let policy = Policy { detect_truncation: false, ..Policy::default() };
        for unit in [Unit::Line, Unit::Body] {
            let converted = Beginning { conversion: Some(unit), ..Beginning::default() };
            let whole = run(&policy, converted.clone(), &[&bytes]);
            prop_assert_eq!(whole.written(), run(&policy, converted, &cut(&bytes, &cuts)).written());
        }
    }
}
