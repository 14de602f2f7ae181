//! Every timeout fires, reports its cause, and closes the upstream connection.

use std::time::Duration;

use tokio::time::Instant;

use crate::kit::{Backend, STREAM_HEAD, Sidestream, Unreachable, chunk, stream_begun};

#[tokio::test]
async fn no_header_within_the_first_event_timeout_is_a_504() {
    let mut backend = Backend::that_never_answers().await;
    let proxy = Sidestream::with(&backend, "first_event_timeout: 300ms").await;
    let mut client = proxy.client().await;
    let sent = Instant::now();
    client.send_get("/").await;
    assert_eq!(client.refusal().await, (504, "first_event_timeout".to_owned()));
    let took = sent.elapsed();
    assert!(took >= Duration::from_millis(300) && took < Duration::from_secs(3), "{took:?}");
    backend.saw_close().await;
    proxy.reaches("sidestream_streams_total{outcome=\"first_event_timeout\",route=\"default\"}", 1.0).await;
}

#[tokio::test]
async fn no_event_within_the_first_event_timeout_is_an_error_event() {
    let mut backend = Backend::script(|mut exchange| async move {
        exchange.request().await;
        exchange.send(STREAM_HEAD).await;
        exchange.send(chunk(": processing\n\n")).await;
        exchange.closed().await;
    })
    .await;
    // The idle timeout is shorter, but must not apply before the first event.
    let proxy = Sidestream::with(&backend, "first_event_timeout: 600ms, idle_timeout: 100ms").await;
    let mut client = proxy.client().await;
    client.get("/").await;
    let text = client.broken_text().await;
    assert!(text.starts_with(": processing\n\nevent: error\n"), "{text}");
    assert!(text.contains("\"code\":\"first_event_timeout\""), "{text}");
    backend.saw_close().await;
    let series = "sidestream_time_to_first_event_seconds_count{model=\"other\",route=\"default\"}";
    assert!(proxy.metric(series).await < 1.0, "a stream without events has no time to first event");
}

#[tokio::test]
async fn a_stream_that_outlives_max_duration_gets_an_error_event() {
    let mut backend = Backend::that_begins(stream_begun("data: x\n\n")).await;
    let proxy = Sidestream::with(&backend, "max_duration: 300ms").await;
    let mut client = proxy.client().await;
    let started = Instant::now();
    client.get("/").await;
    let text = client.broken_text().await;
    assert!(started.elapsed() >= Duration::from_millis(300), "{:?}", started.elapsed());
    assert!(text.starts_with("data: x\n\nevent: error\n"), "{text}");
    assert!(text.contains("\"code\":\"max_duration\""), "{text}");
    backend.saw_close().await;
}

#[tokio::test]
async fn no_header_within_max_duration_is_a_504() {
    let backend = Backend::that_never_answers().await;
    let proxy = Sidestream::with(&backend, "max_duration: 200ms").await;
    let mut client = proxy.client().await;
    client.send_get("/").await;
    assert_eq!(client.refusal().await, (504, "max_duration".to_owned()));
}

async fn in_front_of_nobody(unreachable: &Unreachable, connect_timeout: &str) -> Sidestream {
    let setup = Sidestream::before(format!("http://{}", unreachable.address));
    setup.upstream(format!("connect_timeout: {connect_timeout}")).start().await
}

#[tokio::test]
async fn no_connection_within_the_connect_timeout_is_a_504() {
    let unreachable = Unreachable::new().await;
    let proxy = in_front_of_nobody(&unreachable, "300ms").await;
    let mut client = proxy.client().await;
    client.send_get("/").await;
    assert_eq!(client.refusal().await, (504, "upstream_connect_timeout".to_owned()));
}

#[tokio::test]
async fn a_client_that_leaves_while_connecting_is_noticed() {
    let unreachable = Unreachable::new().await;
    let proxy = in_front_of_nobody(&unreachable, "1m").await;
    let mut client = proxy.client().await;
    client.send("POST / HTTP/1.1\r\nHost: test\r\nContent-Length: 5\r\n\r\nhello").await;
    proxy.reaches("sidestream_streams_waiting{route=\"default\"}", 1.0).await;
    drop(client);
    proxy.reaches("sidestream_cancel_propagation_seconds_count{phase=\"connecting\"}", 1.0).await;
}

#[tokio::test]
async fn an_idle_connection_is_closed_after_the_keepalive_timeout() {
    let backend = Backend::that_answers("HTTP/1.1 204 No Content\r\n\r\n").await;
    let proxy = Sidestream::before(&backend.url).listener("keepalive_timeout: 300ms").start().await;
    let mut client = proxy.client().await;
    client.get("/").await;
    assert!(client.is_closed().await);
}

#[tokio::test]
async fn a_body_that_does_not_begin_is_a_408_before_anything_was_sent_upstream() {
    let mut backend = Backend::that_never_answers().await;
    let proxy = Sidestream::with(&backend, "first_event_timeout: 100ms").await;
    let mut client = proxy.client().await;
    // The body decides about `Accept-Encoding`.
    let fields = "Accept-Encoding: gzip\r\nContent-Length: 10";
    client.send(format!("POST / HTTP/1.1\r\nHost: test\r\n{fields}\r\n\r\n")).await;
    assert_eq!(client.refusal().await, (408, "body_timeout".to_owned()));
    backend.saw_close().await;
}
