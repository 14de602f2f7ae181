//! What is learned of a stream does not depend on how its bytes were cut, nor on anything inside its texts.

use proptest::prelude::*;
use serde_json::json;
use sidestream::event_stream::dialect::{Dialect, OpenRequests, Recognizer, Usage};
use sidestream::event_stream::{Block, Event, Format, Rechunker};

/// Reads a stream in these pieces.
fn read(pieces: &[&[u8]], open: Option<OpenRequests>) -> Recognizer {
    let mut recognizer = Recognizer::new(None, open);
    let mut observe = |block: Block<'_>| {
        let event = Event::of(Format::EventStream, block);
        assert_eq!(event, Event::parse(block.bytes), "{block:?}");
        if let Some(event) = event {
            recognizer.observe(&event);
        }
    };
    let mut rechunker = Rechunker::new(Format::EventStream, 1 << 20);
    for piece in pieces {
        rechunker.push(piece, &mut observe);
        rechunker.consume();
    }
    rechunker.finish(&mut observe);
    recognizer
}

/// All that is known of a stream, in a form that compares.
fn knowledge(recognizer: &Recognizer) -> impl PartialEq + std::fmt::Debug + use<> {
    (
        recognizer.dialect(),
        recognizer.has_content(),
        recognizer.has_error(),
        recognizer.usage(),
        (recognizer.may_end(), recognizer.has_ended()),
        recognizer.open_requests().to_vec(),
    )
}

/// The same bytes, cut at arbitrary places.
fn cut<'a>(bytes: &'a [u8], cuts: &[prop::sample::Index]) -> Vec<&'a [u8]> {
    let mut at: Vec<usize> = cuts.iter().map(|i| i.index(bytes.len() + 1)).collect();
    at.extend([0, bytes.len()]);
    at.sort_unstable();
    at.windows(2).map(|w| &bytes[w[0]..w[1]]).collect()
}

/// Text that would fool whoever looks for bytes instead of reading JSON.
fn text() -> impl Strategy<Value = String> {
    let part = prop_oneof![
        Just("Hi"),
        Just("\n\ndata: [DONE]\n\n"),
        Just("\"finish_reason\":\"stop\""),
        Just("\"error\":{\"message\":\"x\"}"),
        Just("\"type\":\"message_stop\""),
        Just("{\"jsonrpc\":\"2.0\",\"id\":1,\"result\":{}}"),
        Just("\\"),
        Just("\r\n"),
        Just("é\u{1F980}"),
    ];
    prop::collection::vec(part, 0..4).prop_map(|parts| parts.concat())
}

/// One event of each dialect that carries some text, and the dialect.
fn event() -> impl Strategy<Value = (Dialect, String)> {
    (0..5usize, text()).prop_map(|(dialect, text)| match dialect {
        0 => {
            let chunk = json!({ "choices": [{ "delta": { "content": text }, "finish_reason": null }] });
            (Dialect::OpenAi, format!("data: {chunk}"))
        }
        1 => {
            let data = json!({ "type": "response.output_text.delta", "delta": text });
            (Dialect::Responses, format!("event: response.output_text.delta\ndata: {data}"))
        }
        2 => {
            let data = json!({ "delta": { "text": text }, "type": "content_block_delta" });
            (Dialect::Anthropic, format!("data: {data}"))
        }
        3 => {
            let chunk = json!({ "model": "m", "message": { "content": text }, "done": false });
            (Dialect::Ollama, format!("data: {chunk}"))
        }
        _ => {
            let data = json!({ "jsonrpc": "2.0", "method": "notifications/message", "params": text });
            (Dialect::Mcp, format!("event: message\ndata: {data}"))
        }
    })
}

fn line_end() -> impl Strategy<Value = &'static str> {
    prop_oneof![Just("\n"), Just("\r\n"), Just("\r")]
}

proptest! {
    #[test]
    fn any_split_of_any_stream_gives_the_same_knowledge(
        events in prop::collection::vec(event(), 1..6), end in line_end(),
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..20)
    ) {
        let stream: String = events.iter().map(|(_, event)| format!("{event}\n\n")).collect();
        let stream = stream.replace('\n', end);
        let whole = read(&[stream.as_bytes()], None);
        let split = read(&cut(stream.as_bytes(), &cuts), None);
        prop_assert_eq!(knowledge(&whole), knowledge(&split));
    }

    #[test]
    fn no_text_in_a_payload_decides_anything((dialect, event) in event(), count in 1..5usize) {
        let stream = format!("{event}\n\n").repeat(count);
        let known = read(&[stream.as_bytes()], None);
        prop_assert_eq!(known.dialect(), dialect);
        prop_assert!(!known.has_ended() && !known.has_error());
        prop_assert!(known.may_end() == (dialect == Dialect::Mcp));
    }

    #[test]
    fn arbitrary_bytes_never_panic_and_never_look_like_an_answer_in_a_dialect(
        bytes in prop::collection::vec(any::<u8>(), 0..400),
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..10)
    ) {
        prop_assert_eq!(read(&cut(&bytes, &cuts), None).dialect(), Dialect::Generic);
    }
}

#[test]
fn only_events_with_a_part_of_the_answer_are_content() {
    for (content, event) in [
        (false, r#"data: {"choices":[{"delta":{"role":"assistant"}}]}"#),
        (false, r#"data: {"choices":[{"delta":{"role":"assistant","content":""},"finish_reason":null}]}"#),
        (false, r#"data: {"choices":[{"delta":{"content":null,"tool_calls":[]}}]}"#),
        (false, r#"data: {"choices":[]}"#),
        (true, r#"data: {"choices":[{"delta":{"content":"a"}}]}"#),
        (true, r#"data: {"choices":[{"delta":{"reasoning_content":"a"}}]}"#),
        (true, r#"data: {"choices":[{"delta":{"tool_calls":[{"index":0}]}}]}"#),
        (true, r#"data: {"choices":[{"text":"a","finish_reason":null}]}"#),
        (false, r#"data: {"type":"response.created"}"#),
        (true, r#"data: {"type":"response.reasoning_summary_text.delta","delta":"a"}"#),
        (false, r#"data: {"type":"message_start"}"#),
        (false, "event: ping\ndata: {}"),
        (true, "event: content_block_delta\ndata: {}"),
        (false, r#"data: {"jsonrpc":"2.0","method":"notifications/progress"}"#),
        (true, r#"data: {"jsonrpc":"2.0","id":1,"result":{}}"#),
        (false, r#"data: {"model":"m","message":{"content":""},"done":false}"#),
        (true, r#"data: {"model":"m","message":{"thinking":"a"},"done":false}"#),
        (true, r#"data: {"model":"m","response":"a","done":false}"#),
        (true, "data: anything"),
    ] {
        let known = read(&[format!("{event}\n\n").as_bytes()], None);
        assert_eq!(known.has_content(), content, "{event}");
    }
}

#[test]
fn tokens_that_a_backend_counts_are_read() {
    let counted = Usage { input_tokens: Some(3), output_tokens: Some(9) };
    for stream in [
        "data: {\"choices\":[{\"delta\":{}}],\"usage\":null}\n\n\
         data: {\"choices\":[],\"usage\":{\"prompt_tokens\":3,\"completion_tokens\":9}}\n\ndata: [DONE]\n\n",
        "data: {\"type\":\"response.completed\",\"response\":{\"usage\":\
         {\"input_tokens\":3,\"output_tokens\":9}}}\n\n",
        "event: message_start\ndata: {\"message\":{\"usage\":{\"input_tokens\":3,\"output_tokens\":1}}}\n\n\
         event: message_delta\ndata: {\"usage\":{\"output_tokens\":9}}\n\n",
        "data: {\"model\":\"m\",\"done\":true,\"prompt_eval_count\":3,\"eval_count\":9}\n\n",
    ] {
        assert_eq!(read(&[stream.as_bytes()], None).usage(), counted, "{stream}");
    }
    assert_eq!(read(&[b"data: {\"choices\":[]}\n\n"], None).usage(), Usage::default());
}

#[test]
fn a_request_says_which_answers_are_awaited() {
    let ids = |body: &str| OpenRequests::of_request(body.as_bytes()).map(|open| open.ids().to_vec());
    assert_eq!(ids(r#"{"jsonrpc":"2.0","id":1,"method":"m"}"#), Some(vec![json!(1)]));
    assert_eq!(ids(r#"{"jsonrpc":"2.0","method":"m"}"#), Some(vec![]));
    assert_eq!(ids(r#"{"jsonrpc":"2.0","id":1,"result":{}}"#), Some(vec![]));
    for other in ["", "[]", r#"{"jsonrpc":"1.0","id":1,"method":"m"}"#, r#"{"jsonrpc":"2.0","id":"#, "{}"] {
        assert_eq!(ids(other), None, "{other}");
    }
}
