//! Backends that call their event streams something else.

use crate::kit::{Backend, Exchange, LAST_CHUNK, Sidestream, chunk};

fn head(content_type: &str) -> String {
    format!("HTTP/1.1 200 OK\r\nContent-Type: {content_type}\r\nTransfer-Encoding: chunked\r\n\r\n")
}

/// A backend that sends this body under this name, each piece in a chunk of its own. Whether they are read together or not comes
/// to the same.
async fn that_sends(content_type: &'static str, pieces: &'static [&'static str]) -> Backend {
    Backend::script(move |mut exchange: Exchange| async move {
        exchange.request().await;
        exchange.send(head(content_type)).await;
        for piece in pieces {
            exchange.send(chunk(piece)).await;
        }
        exchange.send(LAST_CHUNK).await;
        exchange.closed().await;
    })
    .await
}

/// A backend that sends an event and half of another one, and the rest when it is told to.
async fn that_tears(content_type: &'static str) -> Backend {
    Backend::script(move |mut exchange: Exchange| async move {
        exchange.request().await;
        exchange.send([head(content_type).as_bytes(), &chunk("data: a\n\nda")].concat()).await;
        exchange.wait().await;
        exchange.send([&chunk("ta: b\n\n")[..], LAST_CHUNK.as_bytes()].concat()).await;
    })
    .await
}

/// Asks for a stream.
const ASK: &str = "GET / HTTP/1.1\r\nHost: t\r\nAccept: text/event-stream\r\n\r\n";

#[tokio::test]
async fn plain_text_that_is_an_event_stream_beyond_doubt_is_one_if_it_was_asked_for() {
    for pieces in [
        &["data: a\n\nda", "ta: b\n\n"][..],
        &["da", "ta: a\n\nda", "ta: b\n\n"],
        &["data: {\"a\":1}\n", "\nda", "ta: b\n\n"],
        &[": hi\ndata: a\n\nda", "ta: b\n\n"],
        &["\u{feff}event: x\ndata: a\n\nda", "ta: b\n\n"],
    ] {
        let backend = that_sends("text/plain; charset=utf-8", pieces).await;
        let proxy = Sidestream::in_front_of(&backend).await;
        let mut client = proxy.client().await;
        client.send(ASK).await;
        assert_eq!(client.response().await.field("content-type"), Some("text/event-stream"));
        let chunks = client.chunks().await;
        assert!(chunks.iter().all(|chunk| chunk.ends_with(b"\n\n")), "{chunks:?}");
        assert_eq!(String::from_utf8_lossy(&chunks.concat()), pieces.concat());
        proxy.reaches("sidestream_streams_total{outcome=\"completed\",route=\"default\"}", 1.0).await;
    }
}

#[tokio::test]
async fn other_text_passes_as_it_is() {
    for pieces in [
        &["dat", "e: today\n\nda"][..],
        &["Hello.\n\ndata: x"],
        &["d"],
        &[],
        &[":tada: done\n", "data: {}\n\n"],
        &["data:\n", "  key: value\n\nmore: 1\n"],
        &["event: login user=a\n", "event: logout\n", "1 more\n"],
    ] {
        let backend = that_sends("text/plain", pieces).await;
        let proxy = Sidestream::in_front_of(&backend).await;
        let mut client = proxy.client().await;
        client.send(ASK).await;
        assert_eq!(client.response().await.field("content-type"), Some("text/plain"));
        assert_eq!(client.text().await, pieces.concat());
    }
    // Nobody has asked for a stream.
    let backend = that_sends("text/plain", &["data: {}\n\n"]).await;
    let proxy = Sidestream::in_front_of(&backend).await;
    let mut client = proxy.client().await;
    assert_eq!(client.get("/").await.field("content-type"), Some("text/plain"));
    assert_eq!(client.text().await, "data: {}\n\n");
}

#[tokio::test]
async fn plain_text_is_held_no_longer_than_it_takes_to_tell() {
    // What stays in doubt passes after a moment.
    for begin in ["data: {}\n", "Hello", "data:"] {
        let backend = Backend::script(move |mut exchange| async move {
            exchange.request().await;
            exchange.send(head("text/plain")).await;
            exchange.send(chunk(begin)).await;
            exchange.closed().await;
        })
        .await;
        let proxy = Sidestream::in_front_of(&backend).await;
        let mut client = proxy.client().await;
        client.send(ASK).await;
        assert_eq!(client.response().await.status, 200);
    }
}

#[tokio::test]
async fn a_client_that_leaves_while_plain_text_is_looked_at_frees_the_backend() {
    let mut backend = Backend::script(|mut exchange| async move {
        exchange.request().await;
        exchange.send(head("text/plain")).await;
        exchange.send(chunk("da")).await;
        exchange.closed().await;
    })
    .await;
    let proxy = Sidestream::in_front_of(&backend).await;
    let mut client = proxy.client().await;
    client.send(ASK).await;
    backend.saw_request().await;
    drop(client);
    backend.saw_close().await;
    proxy.reaches("sidestream_streams_total{outcome=\"client_gone\",route=\"default\"}", 1.0).await;
}

#[tokio::test]
async fn a_backend_that_breaks_while_its_plain_text_is_looked_at_is_a_502() {
    let backend = Backend::script(|mut exchange| async move {
        exchange.request().await;
        exchange.send(head("text/plain")).await;
        exchange.send(chunk("da")).await;
    })
    .await;
    let proxy = Sidestream::in_front_of(&backend).await;
    let mut client = proxy.client().await;
    client.send(ASK).await;
    assert_eq!(client.response().await.status, 502);
}

#[tokio::test]
async fn always_takes_any_success_for_an_event_stream() {
    let backend = that_tears("application/octet-stream").await;
    let proxy = Sidestream::with(&backend, "treat_as_event_stream: always").await;
    let mut client = proxy.client().await;
    assert_eq!(client.get("/").await.field("content-type"), Some("text/event-stream"));
    assert_eq!(client.chunk().await.as_deref(), Some(&b"data: a\n\n"[..]));
    backend.go_on();
    assert_eq!(client.chunks().await, [b"data: b\n\n"]);

    let error = "HTTP/1.1 404 Not Found\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}";
    let backend = Backend::that_answers(error).await;
    let proxy = Sidestream::with(&backend, "treat_as_event_stream: always").await;
    let mut client = proxy.client().await;
    assert_eq!(client.get("/").await.field("content-type"), Some("application/json"));
    assert_eq!(client.exactly(2).await, b"{}");
}

#[tokio::test]
async fn never_lets_event_streams_pass_as_they_come() {
    let backend = that_tears("text/event-stream").await;
    let proxy = Sidestream::with(&backend, "treat_as_event_stream: never").await;
    let mut client = proxy.client().await;
    assert!(client.get("/").await.fields("x-accel-buffering").is_empty());
    assert_eq!(client.chunk().await.as_deref(), Some(&b"data: a\n\nda"[..]));
    backend.go_on();
    assert_eq!(client.text().await, "ta: b\n\n");
}
