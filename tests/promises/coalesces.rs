//! `coalesce`: at most one write in a window while events keep coming; nothing that matters waits.

use std::time::Duration;

use tokio::time::{Instant, sleep};

use crate::support::{Backend, LAST_CHUNK, STREAM_HEAD, Sidestream, chunk};

/// Longer than any test waits for what must not wait for it.
const LONG: &str = "coalesce: 10m";

#[tokio::test]
async fn events_that_keep_coming_are_written_together_in_order_and_unchanged() {
    const EVENTS: usize = 100;
    let backend = Backend::script(|mut exchange| async move {
        exchange.request().await;
        exchange.send(STREAM_HEAD).await;
        for number in 0..EVENTS {
            exchange.send(chunk(format!("data: {number}\n\n"))).await;
            sleep(Duration::from_millis(5)).await;
        }
        exchange.send(LAST_CHUNK).await;
        exchange.closed().await;
    })
    .await;
    let proxy = Sidestream::with(&backend, "coalesce: 100ms").await;
    let mut client = proxy.client().await;
    client.get("/").await;
    let started = Instant::now();
    let chunks = client.chunks().await;
    let windows = started.elapsed().as_millis() / 100 + 1;
    let expected: String = (0..EVENTS).map(|number| format!("data: {number}\n\n")).collect();
    assert_eq!(String::from_utf8_lossy(&chunks.concat()), expected);
    assert_eq!(chunks[0], b"data: 0\n\n");
    // The first and the last write are none of a window's.
    assert!((3..=windows + 2).contains(&(chunks.len() as u128)), "{} in {windows} windows", chunks.len());
}

#[tokio::test]
async fn the_first_event_the_terminal_event_and_the_end_do_not_wait() {
    let chat = "data: {\"choices\":[{\"delta\":{\"content\":\"Hi\"}}]}\n\n";
    for (last, rest) in [
        ("data: [DONE]\n\n", ""),
        ("data: {\"error\":{\"message\":\"m\"}}\n\n", ""),
        ("data: {\"choices\":[{\"delta\":{},\"finish_reason\":\"stop\"}]}\n\n", "data: [DONE]\n\n"),
    ] {
        let backend = Backend::script(move |mut exchange| async move {
            exchange.request().await;
            exchange.send([STREAM_HEAD.as_bytes(), &chunk(chat)].concat()).await;
            // The client asks for the next events when it has the first.
            exchange.request().await;
            exchange.send(chunk(chat)).await;
            sleep(Duration::from_millis(20)).await;
            exchange.send(chunk(last)).await;
            exchange.request().await;
            exchange.send([chunk(rest.to_owned() + ": end\n\n"), LAST_CHUNK.into()].concat()).await;
            exchange.closed().await;
        })
        .await;
        let proxy = Sidestream::with(&backend, LONG).await;
        let mut client = proxy.client().await;
        client.send("POST / HTTP/1.1\r\nHost: test\r\nContent-Length: 8\r\n\r\n").await;
        client.response().await;
        assert_eq!(client.chunk().await.as_deref(), Some(chat.as_bytes()));
        client.send("\r\n\r\n").await;
        assert_eq!(client.chunk().await, Some(format!("{chat}{last}").into_bytes()));
        client.send("\r\n\r\n").await;
        assert_eq!(client.text().await, format!("{rest}: end\n\n"));
    }
}

#[tokio::test]
async fn a_break_sends_what_waits_and_then_the_error_event() {
    let backend = Backend::script(|mut exchange| async move {
        exchange.request().await;
        exchange.send([STREAM_HEAD.as_bytes(), &chunk("data: 1\n\n")].concat()).await;
        sleep(Duration::from_millis(20)).await;
        exchange.send(chunk("data: 2\n\ndata: to")).await;
    })
    .await;
    let proxy = Sidestream::with(&backend, LONG).await;
    let mut client = proxy.client().await;
    client.get("/").await;
    let stream = client.broken_text().await;
    assert!(stream.starts_with("data: 1\n\ndata: 2\n\nevent: error\n"), "{stream}");
}

#[tokio::test]
async fn what_waits_is_bounded() {
    let backend = Backend::script(|mut exchange| async move {
        exchange.request().await;
        exchange.send(STREAM_HEAD).await;
        loop {
            let event = format!("data: {}\n\n", "x".repeat(1000));
            if exchange.try_send(chunk(event)).await.is_err() {
                break;
            }
        }
    })
    .await;
    let proxy = Sidestream::with(&backend, LONG).await;
    let mut client = proxy.client().await;
    client.get("/").await;
    for _ in 0..20 {
        let chunk = client.chunk().await.expect("a stream without end");
        assert!(chunk.len() < 200 * 1024, "{}", chunk.len());
    }
}
