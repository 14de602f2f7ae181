//! Silence carries heartbeats, which tear nothing and feed no timer of the backend's.

use std::time::Duration;

use tokio::time::Instant;

use crate::support::{Backend, LAST_CHUNK, STREAM_HEAD, Sidestream, chunk};

const HEARTBEAT: &[u8] = b": heartbeat\n";

#[tokio::test]
async fn a_silent_stream_gets_heartbeats_until_the_idle_timeout_fires_at_its_time() {
    let backend = Backend::script(|mut exchange| async move {
        exchange.request().await;
        exchange.send(STREAM_HEAD).await;
        exchange.send(chunk("data: a\n\nid: 7\ndata: torn")).await;
        exchange.closed().await;
    })
    .await;
    let proxy = Sidestream::with(&backend, "heartbeat: 200ms, idle_timeout: 1100ms").await;
    let mut client = proxy.client().await;
    client.get("/").await;
    assert_eq!(client.chunk().await.as_deref(), Some(&b"data: a\n\n"[..]));
    let silent_since = Instant::now();
    let mut heartbeats = 0;
    let last = loop {
        let chunk = client.chunk().await.expect("an error event before the break");
        if chunk != HEARTBEAT {
            break chunk;
        }
        heartbeats += 1;
    };
    let silence = silent_since.elapsed();
    assert!(last.starts_with(b"event: error\n"));
    assert_eq!(client.chunk_or_end().await, Err("ended"));
    // By order of magnitude: the machine may be busy.
    assert!((2..=5).contains(&heartbeats), "{heartbeats} heartbeats");
    assert!(silence >= Duration::from_millis(1000) && silence < Duration::from_secs(5), "{silence:?}");
    proxy.reaches("sidestream_heartbeats_total{route=\"default\"}", f64::from(heartbeats)).await;
}

#[tokio::test]
async fn heartbeats_come_before_the_first_event_too_and_are_no_event() {
    let backend = Backend::script(|mut exchange| async move {
        exchange.request().await;
        exchange.send(STREAM_HEAD).await;
        exchange.closed().await;
    })
    .await;
    let proxy = Sidestream::with(&backend, "heartbeat: 50ms").await;
    let mut client = proxy.client().await;
    client.get("/").await;
    for _ in 0..3 {
        assert_eq!(client.chunk().await.as_deref(), Some(HEARTBEAT));
    }
    assert!(
        proxy.metric("sidestream_time_to_first_event_seconds_count{model=\"other\",route=\"default\"}").await
            < 1.0
    );
    assert!(proxy.metric("sidestream_events_total{route=\"default\"}").await < 1.0);
    assert!(proxy.metric("sidestream_streams_waiting{route=\"default\"}").await > 0.0);
}

#[tokio::test]
async fn a_heartbeat_never_stands_inside_an_event() {
    // Half an event is held back while heartbeats go out; then it arrives whole.
    let backend = Backend::script(|mut exchange| async move {
        exchange.request().await;
        exchange.send(STREAM_HEAD).await;
        exchange.send(chunk("data: first half ")).await;
        tokio::time::sleep(Duration::from_millis(300)).await;
        exchange.send(chunk("second half\n\n")).await;
        exchange.send(LAST_CHUNK).await;
    })
    .await;
    let proxy = Sidestream::with(&backend, "heartbeat: 50ms").await;
    let mut client = proxy.client().await;
    client.get("/").await;
    let chunks = client.chunks().await;
    let (heartbeats, events): (Vec<_>, Vec<_>) = chunks.into_iter().partition(|c| c == HEARTBEAT);
    assert!(!heartbeats.is_empty());
    assert_eq!(events, [b"data: first half second half\n\n"]);
}

#[tokio::test]
async fn no_heartbeat_stands_inside_an_event_that_passes_unheld() {
    let backend = Backend::script(|mut exchange| async move {
        exchange.request().await;
        exchange.send(STREAM_HEAD).await;
        exchange.send(chunk("data: 0123456789")).await;
        tokio::time::sleep(Duration::from_millis(300)).await;
        exchange.send(chunk("\n\n")).await;
        exchange.send(LAST_CHUNK).await;
    })
    .await;
    let proxy = Sidestream::with(&backend, "heartbeat: 50ms, max_event_size: 8B").await;
    let mut client = proxy.client().await;
    client.get("/").await;
    assert_eq!(client.text().await, "data: 0123456789\n\n");
}

#[tokio::test]
async fn a_heartbeat_after_a_bare_cr_leaves_room_for_its_lf() {
    // Without that, the LF would end a blank line after the comment.
    let backend = Backend::script(|mut exchange| async move {
        exchange.request().await;
        exchange.send(STREAM_HEAD).await;
        exchange.send(chunk("data: a\r\n\r")).await;
        tokio::time::sleep(Duration::from_millis(300)).await;
        exchange.send(chunk("\ndata: b\r\n\r\n")).await;
        exchange.send(LAST_CHUNK).await;
    })
    .await;
    let proxy = Sidestream::with(&backend, "heartbeat: 100ms").await;
    let mut client = proxy.client().await;
    client.get("/").await;
    let text = client.text().await;
    assert!(text.contains(": heartbeat\r"), "{text:?}");
    assert_eq!(text.replace(": heartbeat\r", ""), "data: a\r\n\r\ndata: b\r\n\r\n");
}

#[tokio::test]
async fn other_responses_get_no_heartbeat() {
    let backend = Backend::script(|mut exchange| async move {
        exchange.request().await;
        exchange.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n").await;
        tokio::time::sleep(Duration::from_millis(200)).await;
        exchange.send("1\r\nb\r\n0\r\n\r\n").await;
    })
    .await;
    let proxy = Sidestream::with(&backend, "heartbeat: 20ms").await;
    let mut client = proxy.client().await;
    client.get("/").await;
    assert_eq!(client.text().await, "ab");
}
