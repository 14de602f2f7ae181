//! `coalesce`: at most one write in a window while events keep coming; nothing that matters waits.

use std::time::Duration;

use tokio::time::Instant;

use crate::kit::{Backend, LAST_CHUNK, STREAM_HEAD, Sidestream, chunk, stream_begun};

/// Longer than any test waits for what must not wait for it.
const LONG: &str = "coalesce: 10m, heartbeat: off";

#[tokio::test]
async fn an_event_that_follows_another_is_written_when_the_window_is_over() {
    const EVENTS: u32 = 3;
    const WINDOW: Duration = Duration::from_millis(200);
    let backend = Backend::script(|mut exchange| async move {
        exchange.request().await;
        exchange.send(STREAM_HEAD).await;
        for number in 0..EVENTS {
            exchange.send(chunk(format!("data: {number}\n\n"))).await;
            exchange.wait().await;
        }
        exchange.send(LAST_CHUNK).await;
    })
    .await;
    let proxy = Sidestream::with(&backend, &format!("coalesce: {WINDOW:?}")).await;
    let mut client = proxy.client().await;
    let started = Instant::now();
    client.get("/").await;
    for number in 0..EVENTS {
        assert_eq!(client.chunk().await, Some(format!("data: {number}\n\n").into_bytes()));
        assert!(started.elapsed() >= WINDOW * number, "{number} after {:?}", started.elapsed());
        backend.go_on();
    }
    assert_eq!(client.chunk().await, None);
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
            exchange.send(stream_begun(chat)).await;
            exchange.wait().await;
            exchange.send(chunk(chat)).await;
            exchange.send(chunk(last)).await;
            exchange.wait().await;
            exchange.send([chunk(rest.to_owned() + ": end\n\n"), LAST_CHUNK.into()].concat()).await;
        })
        .await;
        let proxy = Sidestream::with(&backend, LONG).await;
        let mut client = proxy.client().await;
        client.get("/").await;
        assert_eq!(client.chunk().await.as_deref(), Some(chat.as_bytes()));
        backend.go_on();
        assert_eq!(client.chunk().await, Some(format!("{chat}{last}").into_bytes()));
        backend.go_on();
        assert_eq!(client.text().await, format!("{rest}: end\n\n"));
    }
}

#[tokio::test]
async fn a_break_sends_what_waits_and_then_the_error_event() {
    let backend = Backend::script(|mut exchange| async move {
        exchange.request().await;
        exchange.send(stream_begun("data: 1\n\n")).await;
        exchange.wait().await;
        exchange.send(chunk("data: 2\n\ndata: to")).await;
    })
    .await;
    let proxy = Sidestream::with(&backend, LONG).await;
    let mut client = proxy.client().await;
    client.get("/").await;
    assert_eq!(client.chunk().await.as_deref(), Some(&b"data: 1\n\n"[..]));
    backend.go_on();
    let rest = client.broken_text().await;
    assert!(rest.starts_with("data: 2\n\nevent: error\n"), "{rest}");
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
