//! A slow reader slows down its own backend connection and no other. A client that reads nothing is
//! disconnected.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::time::Instant;

use crate::kit::{
    Backend, Client, STREAM_HEAD, Sidestream, Within, chunk, http2_with_window, stands_still, stream_begun,
};

/// A backend that sends events as fast as they are accepted. On `/ticks` it sends one each time the test
/// calls `go_on`.
async fn that_pushes(pushed: Arc<AtomicU64>) -> Backend {
    Backend::script(move |mut exchange| {
        let pushed = pushed.clone();
        async move {
            let head = exchange.request().await.expect("a request");
            exchange.send(STREAM_HEAD).await;
            if head.contains("/ticks") {
                while exchange.try_send(chunk("data: tick\n\n")).await.is_ok() {
                    exchange.wait().await;
                }
                return;
            }
            let event = chunk(format!("data: {}\n\n", "x".repeat(8000)));
            while exchange.try_send(&event).await.is_ok() {
                pushed.fetch_add(event.len() as u64, Ordering::Relaxed);
            }
            exchange.closed().await;
        }
    })
    .await
}

#[tokio::test]
async fn a_client_that_stops_reading_stops_only_its_own_backend() {
    let pushed = Arc::new(AtomicU64::new(0));
    let backend = that_pushes(pushed.clone()).await;
    let proxy = Sidestream::with(&backend, "write_timeout: 1m").await;
    let mut slow = Client::connect_with_window(proxy.address, 16 * 1024).await;
    slow.send_get("/").await;
    slow.response().await;

    // Once the socket buffers are full, no more data moves.
    let stood_at = stands_still(|| pushed.load(Ordering::Relaxed)).soon().await;
    assert!(stood_at < 50_000_000, "{stood_at} bytes exceed the socket buffers");

    let mut other = proxy.client().await;
    other.get("/ticks").await;
    for _ in 0..20 {
        assert_eq!(
            other.chunk().within(Duration::from_secs(5)).await.as_deref(),
            Some(&b"data: tick\n\n"[..])
        );
        backend.go_on();
    }
    for _ in 0..2000 {
        slow.chunk().await;
    }
    assert!(pushed.load(Ordering::Relaxed) > stood_at, "the backend sends again once the client reads");
}

#[tokio::test]
async fn a_half_close_of_a_blocked_client_counts_as_leaving() {
    let pushed = Arc::new(AtomicU64::new(0));
    for (upload, write_timeout) in
        [("", "1m"), ("", "off"), ("GET /next HTTP/1.1\r\nHost: test\r\n\r\n", "1m")]
    {
        let mut backend = that_pushes(pushed.clone()).await;
        let proxy = Sidestream::with(&backend, &format!("write_timeout: {write_timeout}")).await;
        let mut slow = Client::connect_with_window(proxy.address, 16 * 1024).await;
        slow.send_get("/").await;
        slow.response().await;
        stands_still(|| pushed.load(Ordering::Relaxed)).soon().await;
        slow.send(upload).await;
        slow.half_close().await;
        backend.saw_close().await;
    }
}

#[tokio::test]
async fn a_client_that_reads_nothing_is_disconnected_after_the_write_timeout() {
    let mut backend = that_pushes(Arc::default()).await;
    let proxy = Sidestream::with(&backend, "write_timeout: 500ms").await;
    let mut slow = Client::connect_with_window(proxy.address, 16 * 1024).await;
    let started = Instant::now();
    slow.send_get("/").await;
    slow.response().await;
    backend.saw_close().await;
    assert!(started.elapsed() >= Duration::from_millis(500));
    proxy.reaches("sidestream_streams_total{outcome=\"slow_reader\",route=\"default\"}", 1.0).await;
}

#[tokio::test]
async fn a_client_that_reads_slowly_stays_connected() {
    let backend = that_pushes(Arc::default()).await;
    let proxy = Sidestream::with(&backend, "write_timeout: 600ms").await;
    let mut slow = Client::connect_with_window(proxy.address, 16 * 1024).await;
    slow.send_get("/").await;
    slow.response().await;
    let started = Instant::now();
    while started.elapsed() < Duration::from_millis(2500) {
        for _ in 0..8 {
            assert!(slow.chunk_or_end().await.is_ok());
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test]
async fn a_client_that_accepts_no_error_event_is_reset_and_the_failure_is_the_outcome() {
    let backend = Backend::script(|mut exchange| async move {
        exchange.request().await;
        exchange.send(stream_begun("data: 1\n\n")).await;
        exchange.wait().await;
        exchange.reset();
    })
    .await;
    let proxy = Sidestream::with(&backend, "write_timeout: 100ms").await;
    let mut client = http2_with_window(proxy.client().await.into_io(), 9).await;
    let request = http::Request::get("http://test/").body(()).expect("a request");
    let (response, _) = client.send_request(request, true).expect("a connection");
    let mut stream = response.soon().await.expect("a head").into_body();
    assert_eq!(stream.data().soon().await.expect("an event").expect("no reset"), "data: 1\n\n");
    backend.go_on();
    proxy.reaches("sidestream_streams_total{outcome=\"upstream_reset\",route=\"default\"}", 1.0).await;
    let error = stream.data().soon().await.expect("no clean end").expect_err("a reset");
    assert_eq!(error.reason(), Some(h2::Reason::CANCEL));
    let sent = "sidestream_error_events_total{code=\"upstream_reset\",route=\"default\"}";
    assert_eq!(proxy.metric(sent).await, 0.0, "it was not delivered");
}
