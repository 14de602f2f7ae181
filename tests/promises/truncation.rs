//! A clean end of the HTTP body is not the end of an answer: without the dialect's terminal event it is an error.

use std::sync::Arc;

use crate::kit::{Backend, Exchange, STREAM_HEAD, Sidestream, chunk, stream_of};

const CHAT: &str = concat!(
    "data: {\"choices\":[{\"index\":0,\"delta\":{\"role\":\"assistant\"},\"finish_reason\":null}]}\n\n",
    "data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"Hi\"},\"finish_reason\":null}]}\n\n",
);
const RESPONSES: &str = concat!(
    "event: response.created\ndata: {\"type\":\"response.created\",\"sequence_number\":0}\n\n",
    "event: response.output_text.delta\n",
    "data: {\"type\":\"response.output_text.delta\",\"sequence_number\":1,\"delta\":\"Hi\"}\n\n",
);
const ANTHROPIC: &str = concat!(
    "event: message_start\ndata: {\"type\":\"message_start\",\"message\":{\"usage\":{\"input_tokens\":3}}}\n\n",
    "event: ping\ndata: {\"type\":\"ping\"}\n\n",
    "event: content_block_delta\ndata: {\"type\":\"content_block_delta\",\"delta\":{\"text\":\"Hi\"}}\n\n",
);
/// How a whole answer may go on from there.
const ENDS: [(&str, &str); 8] = [
    (CHAT, "data: [DONE]\n\n"),
    (CHAT, "data: {\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\"}]}\n\n"),
    (
        CHAT,
        "data: {\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"length\"}]}\n\ndata: [DONE]\n\n",
    ),
    (RESPONSES, "event: response.completed\ndata: {\"type\":\"response.completed\"}\n\n"),
    (RESPONSES, "data: {\"sequence_number\":2,\"type\":\"response.incomplete\"}\n\n"),
    (ANTHROPIC, "event: message_stop\ndata: {\"type\":\"message_stop\"}\n\n"),
    (ANTHROPIC, "data: {\"type\":\"message_stop\"}\n\n"),
    ("data: any\n\n", "event: thing\ndata: [1]\n\n"),
];

/// The framings in which a body can end cleanly.
#[derive(Clone, Copy, Debug)]
enum Framing {
    Chunked,
    ContentLength,
    /// HTTP/1.0: the close ends the body.
    Close,
}

const FRAMINGS: [Framing; 3] = [Framing::Chunked, Framing::ContentLength, Framing::Close];

impl Framing {
    fn response(self, body: &str) -> Vec<u8> {
        let kind = "Content-Type: text/event-stream";
        match self {
            Self::Chunked => stream_of(body),
            Self::ContentLength => {
                format!("HTTP/1.1 200 OK\r\n{kind}\r\nContent-Length: {}\r\n\r\n{body}", body.len()).into()
            }
            Self::Close => format!("HTTP/1.0 200 OK\r\n{kind}\r\n\r\n{body}").into(),
        }
    }
}

/// A backend that answers with this body, and ends cleanly.
async fn that_ends(framing: Framing, body: &str) -> Backend {
    let response = Arc::new(framing.response(body));
    Backend::script(move |mut exchange: Exchange| {
        let response = response.clone();
        async move {
            exchange.request().await;
            exchange.send(response.as_slice()).await;
        }
    })
    .await
}

async fn read(proxy: &Sidestream) -> String {
    let mut client = proxy.client().await;
    assert_eq!(client.get("/").await.status, 200);
    client.text().await
}

/// The code of the error event after these bytes, and nothing else after them.
fn error_after(stream: &str, before: &str) -> String {
    let event = stream.strip_prefix(before).expect("the events that came first");
    let data = event.strip_prefix("event: error\ndata: ").and_then(|e| e.strip_suffix("\n\n"));
    let data: serde_json::Value = serde_json::from_str(data.expect("one error event")).expect("JSON");
    data["error"]["code"].as_str().expect("a code").to_owned()
}

fn outcome(label: &str) -> String {
    format!("sidestream_streams_total{{outcome=\"{label}\",route=\"default\"}}")
}

#[tokio::test]
async fn a_clean_end_without_the_terminal_event_is_an_error_in_every_framing() {
    for framing in FRAMINGS {
        for begun in [CHAT, RESPONSES, ANTHROPIC] {
            let backend = that_ends(framing, begun).await;
            let proxy = Sidestream::in_front_of(&backend).await;
            let stream = read(&proxy).await;
            assert_eq!(error_after(&stream, begun), "upstream_truncated", "{framing:?}");
            proxy.reaches(&outcome("upstream_truncated"), 1.0).await;
        }
    }
}

#[tokio::test]
async fn a_whole_answer_passes_untouched_in_every_framing() {
    for framing in FRAMINGS {
        for (begun, end) in ENDS {
            let whole = format!("{begun}{end}");
            let backend = that_ends(framing, &whole).await;
            let proxy = Sidestream::in_front_of(&backend).await;
            assert_eq!(read(&proxy).await, whole, "{framing:?}");
            proxy.reaches(&outcome("completed"), 1.0).await;
        }
    }
}

#[tokio::test]
async fn text_that_looks_like_an_end_is_not_taken_for_one() {
    for text in [
        r#"data: {"choices":[{"index":0,"delta":{"content":"\"finish_reason\":\"stop\""},"finish_reason":null}]}"#,
        r#"data: {"choices":[{"index":0,"delta":{"content":"data: [DONE]\n\n"},"finish_reason":null}]}"#,
        r#"data: {"choices":[{"index":0,"delta":{"tool_calls":[{"finish_reason":"stop"}]},"finish_reason":null}]}"#,
        r#": data: [DONE]"#,
        "id: [DONE]",
    ] {
        let begun = format!("{CHAT}{text}\n\n");
        let backend = that_ends(Framing::Chunked, &begun).await;
        let proxy = Sidestream::in_front_of(&backend).await;
        assert_eq!(error_after(&read(&proxy).await, &begun), "upstream_truncated", "{text}");
    }
}

#[tokio::test]
async fn the_incomplete_event_of_a_truncated_stream_is_dropped() {
    let backend = that_ends(Framing::Chunked, &format!("{CHAT}data: {{\"cho")).await;
    let proxy = Sidestream::in_front_of(&backend).await;
    assert_eq!(error_after(&read(&proxy).await, CHAT), "upstream_truncated");
}

#[tokio::test]
async fn a_last_event_whose_blank_line_is_missing_still_ends_the_answer() {
    let backend = that_ends(Framing::Close, &format!("{CHAT}data: [DONE]\n")).await;
    let proxy = Sidestream::in_front_of(&backend).await;
    assert_eq!(read(&proxy).await, format!("{CHAT}data: [DONE]\n\n"));
}

#[tokio::test]
async fn detection_can_be_turned_off() {
    let backend = that_ends(Framing::Chunked, CHAT).await;
    let proxy = Sidestream::with(&backend, "detect_truncation: off").await;
    assert_eq!(read(&proxy).await, CHAT);
}

#[tokio::test]
async fn a_pinned_dialect_is_not_learned() {
    // Nothing in this stream says what it speaks.
    let backend = that_ends(Framing::Chunked, "data: any\n\n").await;
    let proxy = Sidestream::with(&backend, "dialect: openai").await;
    assert_eq!(error_after(&read(&proxy).await, "data: any\n\n"), "upstream_truncated");
    let backend = that_ends(Framing::Chunked, CHAT).await;
    let proxy = Sidestream::with(&backend, "dialect: generic").await;
    assert_eq!(read(&proxy).await, CHAT);
}

#[tokio::test]
async fn a_backends_own_error_passes_untouched_and_is_told_apart() {
    for (begun, error) in [
        (CHAT, "data: {\"error\":{\"message\":\"CUDA out of memory\",\"code\":500}}\n\n"),
        (RESPONSES, "event: response.failed\ndata: {\"type\":\"response.failed\",\"response\":{}}\n\n"),
        (RESPONSES, "event: error\ndata: {\"type\":\"error\",\"code\":\"x\",\"message\":\"m\"}\n\n"),
        (ANTHROPIC, "event: error\ndata: {\"type\":\"error\",\"error\":{\"type\":\"overloaded_error\"}}\n\n"),
        ("", "data: {\"error\":{\"message\":\"no such model\"}}\n\n"),
    ] {
        let whole = format!("{begun}{error}");
        let backend = that_ends(Framing::Chunked, &whole).await;
        let proxy = Sidestream::in_front_of(&backend).await;
        assert_eq!(read(&proxy).await, whole);
        proxy.reaches(&outcome("upstream_error"), 1.0).await;
    }
}

#[tokio::test]
async fn a_break_after_the_last_word_breaks_nothing() {
    for (whole, label) in [
        (format!("{CHAT}data: [DONE]\n\n"), "completed"),
        (format!("{ANTHROPIC}event: message_stop\ndata: {{}}\n\n"), "completed"),
        (format!("{CHAT}data: {{\"error\":{{\"message\":\"m\"}}}}\n\n"), "upstream_error"),
    ] {
        let body = chunk(&whole);
        let backend = Backend::script(move |mut exchange| {
            let body = body.clone();
            async move {
                exchange.request().await;
                exchange.send([STREAM_HEAD.as_bytes(), &body, b"garbage\r\n"].concat()).await;
                exchange.closed().await;
            }
        })
        .await;
        let proxy = Sidestream::in_front_of(&backend).await;
        assert_eq!(read(&proxy).await, whole);
        proxy.reaches(&outcome(label), 1.0).await;
    }
}
