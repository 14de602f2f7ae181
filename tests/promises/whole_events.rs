//! Each write to the client contains whole events only, however the backend fragments them.

use std::sync::Arc;

use tokio::sync::Notify;

use crate::kit::{Backend, LAST_CHUNK, STREAM_HEAD, Sidestream, chunk, stream_of};
use crate::session::splits::{MIXED, ends_between_events};

#[tokio::test]
async fn a_split_at_any_byte_reaches_the_client_as_whole_events() {
    let backend = Backend::script(|mut exchange| async move {
        while let Some(head) = exchange.request().await {
            let at: usize = head.split(['/', ' ']).nth(2).and_then(|n| n.parse().ok()).expect("a path");
            exchange.send(STREAM_HEAD).await;
            if at > 0 {
                exchange.send(chunk(&MIXED[..at])).await;
            }
            if at < MIXED.len() {
                exchange.send(chunk(&MIXED[at..])).await;
            }
            exchange.send(LAST_CHUNK).await;
        }
    })
    .await;
    let proxy = Sidestream::in_front_of(&backend).await;
    let mut client = proxy.client().await;
    for at in 0..=MIXED.len() {
        assert_eq!(client.get(&format!("/{at}")).await.status, 200);
        let chunks = client.chunks().await;
        assert_eq!(chunks.concat(), MIXED, "split at {at}");
        for chunk in &chunks {
            let chunk = String::from_utf8_lossy(chunk);
            assert!(ends_between_events(&chunk), "split at {at}: {chunk:?}");
        }
    }
}

#[tokio::test]
async fn an_event_goes_out_as_soon_as_its_blank_line_is_read() {
    for event in ["data: a\n\n", "data: a\r\r", "data: a\r\n\r\n", "data: a\r\n\r"] {
        let backend = Backend::script(move |mut exchange| async move {
            exchange.request().await;
            exchange.send(STREAM_HEAD).await;
            exchange.send(chunk(event)).await;
            exchange.closed().await;
        })
        .await;
        let proxy = Sidestream::in_front_of(&backend).await;
        let mut client = proxy.client().await;
        client.get("/").await;
        assert_eq!(client.chunk().await.as_deref(), Some(event.as_bytes()));
    }
}

#[tokio::test]
async fn response_headers_go_out_before_the_first_event() {
    let backend = Backend::that_begins(STREAM_HEAD).await;
    let proxy = Sidestream::in_front_of(&backend).await;
    assert_eq!(proxy.client().await.get("/").await.status, 200);
}

#[tokio::test]
async fn an_event_larger_than_max_event_size_passes_unbuffered() {
    let seen = Arc::new(Notify::new());
    let client_saw = seen.clone();
    let backend = Backend::script(move |mut exchange| {
        let seen = seen.clone();
        async move {
            exchange.request().await;
            exchange.send(STREAM_HEAD).await;
            exchange.send(chunk("data: 0123456789")).await;
            seen.notified().await;
            exchange.send(chunk("abc\n\ndata: next\n\nda")).await;
            exchange.send(chunk("ta: b\n\n")).await;
            exchange.send(LAST_CHUNK).await;
        }
    })
    .await;
    let proxy = Sidestream::with(&backend, "max_event_size: 8B").await;
    let mut client = proxy.client().await;
    client.get("/").await;
    assert_eq!(client.chunk().await.as_deref(), Some(&b"data: 0123456789"[..]));
    client_saw.notify_one();
    assert_eq!(client.text().await, "abc\n\ndata: next\n\ndata: b\n\n");
}

#[tokio::test]
async fn a_missing_last_blank_line_is_completed_at_a_clean_end() {
    let backend = Backend::that_answers(stream_of("data: a\n\ndata: b\n")).await;
    let proxy = Sidestream::in_front_of(&backend).await;
    let mut client = proxy.client().await;
    client.get("/").await;
    assert_eq!(client.text().await, "data: a\n\ndata: b\n\n");
}
