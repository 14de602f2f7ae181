//! Streams of JSON texts, one a line: unbuffered, in whole lines, and broken ones end in an error that clients raise.

use serde_json::Value;

use crate::kit::{Backend, LAST_CHUNK, Sidestream, chunk};

const HEAD: &str =
    "HTTP/1.1 200 OK\r\nContent-Type: application/x-ndjson\r\nTransfer-Encoding: chunked\r\n\r\n";
const TOKEN: &str =
    "{\"model\":\"m\",\"message\":{\"role\":\"assistant\",\"content\":\"Hi\"},\"done\":false}\n";
const DONE: &str = "{\"model\":\"m\",\"message\":{\"content\":\"\"},\"done\":true,\"eval_count\":9}\n";

/// A backend that sends these chunks and then ends its response cleanly, or closes without that. Whether the chunks are read
/// together or not comes to the same.
async fn that_sends(chunks: &'static [&'static str], ends: bool) -> Backend {
    Backend::script(move |mut exchange| async move {
        exchange.request().await;
        exchange.send(HEAD).await;
        for text in chunks {
            exchange.send(chunk(text)).await;
        }
        if ends {
            exchange.send(LAST_CHUNK).await;
            exchange.closed().await;
        }
    })
    .await
}

#[tokio::test]
async fn lines_arrive_whole_and_as_they_come() {
    let backend = Backend::script(|mut exchange| async move {
        exchange.request().await;
        exchange.send(HEAD).await;
        for text in [TOKEN, "{\"model\":\"m\",\"do", "ne\":false}\r\n", DONE] {
            exchange.send(chunk(text)).await;
            if text.ends_with('\n') {
                exchange.wait().await;
            }
        }
        exchange.send(LAST_CHUNK).await;
    })
    .await;
    let proxy = Sidestream::in_front_of(&backend).await;
    let mut client = proxy.client().await;
    let response = client.get("/api/chat").await;
    assert_eq!(response.field("content-type"), Some("application/x-ndjson"));
    assert_eq!(response.field("x-accel-buffering"), Some("no"));
    for line in [TOKEN, "{\"model\":\"m\",\"done\":false}\r\n", DONE] {
        assert_eq!(client.chunk().await.as_deref(), Some(line.as_bytes()));
        backend.go_on();
    }
    assert_eq!(client.chunk().await, None);
    proxy.reaches("sidestream_streams_total{outcome=\"completed\",route=\"default\"}", 1.0).await;
    proxy.reaches("sidestream_events_total{route=\"default\"}", 3.0).await;
    proxy
        .reaches("sidestream_time_to_first_token_seconds_count{model=\"other\",route=\"default\"}", 1.0)
        .await;
}

#[tokio::test]
async fn a_broken_or_truncated_stream_of_lines_ends_in_the_error_that_ollamas_clients_raise() {
    for (ends, code) in [(false, "upstream_closed"), (true, "upstream_truncated")] {
        let backend = that_sends(&[TOKEN, "{\"model\":\"m\",\"mess"], ends).await;
        let proxy = Sidestream::in_front_of(&backend).await;
        let mut client = proxy.client().await;
        client.get("/api/chat").await;
        let stream = client.text().await;
        let line = stream.strip_prefix(TOKEN).expect("the whole line");
        let error: Value = serde_json::from_str(line).expect("one line of JSON");
        assert_eq!(error["code"], code);
        assert!(error["error"].as_str().is_some_and(|text| text.contains("before the answer was complete")));
        assert!(line.ends_with("}\n"));
    }
}

#[tokio::test]
async fn with_error_events_off_a_broken_stream_of_lines_is_broken_off() {
    let backend = that_sends(&[TOKEN, "{\"mo"], false).await;
    let proxy = Sidestream::with(&backend, "error_events: off").await;
    let mut client = proxy.client().await;
    client.get("/").await;
    assert_eq!(client.chunk().await.as_deref(), Some(TOKEN.as_bytes()));
    assert_eq!(client.chunk_or_end().await, Err("ended"));
}

#[tokio::test]
async fn a_last_line_without_its_line_end_is_completed_if_it_is_whole() {
    let backend = that_sends(&[TOKEN, "{\"model\":\"m\",\"done\":true}"], true).await;
    let proxy = Sidestream::in_front_of(&backend).await;
    let mut client = proxy.client().await;
    client.get("/").await;
    assert_eq!(client.text().await, format!("{TOKEN}{{\"model\":\"m\",\"done\":true}}\n"));
}

#[tokio::test]
async fn lines_of_no_dialect_may_end_anywhere() {
    let backend = that_sends(&["{\"a\":1}\n", "{\"a\":2}\n"], true).await;
    let proxy = Sidestream::in_front_of(&backend).await;
    let mut client = proxy.client().await;
    client.get("/").await;
    assert_eq!(client.text().await, "{\"a\":1}\n{\"a\":2}\n");
}

#[tokio::test]
async fn a_file_of_lines_passes_as_it_is() {
    let backend = Backend::that_answers(
        "HTTP/1.1 200 OK\r\nContent-Type: application/jsonl\r\nContent-Length: 9\r\n\r\n{\"a\":1}\n{",
    )
    .await;
    let proxy = Sidestream::in_front_of(&backend).await;
    let mut client = proxy.client().await;
    assert_eq!(client.get("/").await.field("content-length"), Some("9"));
    assert_eq!(client.exactly(9).await, b"{\"a\":1}\n{");
}

#[tokio::test]
async fn lines_become_events_where_that_is_asked_for() {
    let backend = that_sends(&[TOKEN, "{\"done\":false,", "\"model\":\"m\"}\n", DONE], true).await;
    let proxy = Sidestream::with(&backend, "ndjson_to_sse: true").await;
    let mut client = proxy.client().await;
    let response = client.get("/api/chat").await;
    assert_eq!(response.field("content-type"), Some("text/event-stream"));
    let chunks = client.chunks().await;
    assert!(chunks.iter().all(|chunk| chunk.ends_with(b"\n\n")), "{chunks:?}");
    let expected = format!("data: {TOKEN}\ndata: {{\"done\":false,\"model\":\"m\"}}\n\ndata: {DONE}\n");
    assert_eq!(String::from_utf8_lossy(&chunks.concat()), expected);

    let backend = that_sends(&[TOKEN, "{\"do"], false).await;
    let proxy = Sidestream::with(&backend, "ndjson_to_sse: true").await;
    let mut client = proxy.client().await;
    client.get("/api/chat").await;
    let stream = client.text().await;
    assert!(stream.starts_with(&format!("data: {TOKEN}\nevent: error\n")), "{stream}");
}
