//! `on_disconnect: drain`: the response to a client that left is read to its end, so that the backend can
//! finish.

use crate::kit::{
    Backend, LAST_CHUNK, STREAM_HEAD, Sidestream, Within, chunk, http2_with_window, stream_begun,
};

const DRAIN: &str = "on_disconnect: drain";

fn outcome(outcome: &str) -> String {
    format!("sidestream_streams_total{{outcome=\"{outcome}\",route=\"default\"}}")
}

/// A backend that begins its response, if `begins` is set, and continues when the test calls `go_on`.
async fn that_waits(begins: bool, end: &'static str) -> Backend {
    Backend::script(move |mut exchange| async move {
        exchange.request().await;
        if begins {
            exchange.send(stream_begun("data: 1\n\n")).await;
        }
        exchange.wait().await;
        if !begins {
            exchange.send(STREAM_HEAD).await;
        }
        exchange.send([chunk("data: 2\n\n"), end.into()].concat()).await;
        exchange.request().await;
        exchange.closed().await;
    })
    .await
}

#[tokio::test]
async fn a_stream_is_read_to_its_end_after_its_client_left() {
    for begins in [true, false] {
        let mut backend = that_waits(begins, LAST_CHUNK).await;
        let proxy = Sidestream::with(&backend, DRAIN).await;
        let mut client = proxy.client().await;
        client.send_get("/").await;
        backend.saw_request().await;
        if begins {
            client.response().await;
            client.chunk().await;
        }
        drop(client);
        proxy.catches_up().await;
        backend.go_on();
        proxy.reaches(&outcome("drained"), 1.0).await;
        assert!(proxy.metric(&outcome("client_gone")).await < 1.0);
        proxy.reaches("sidestream_streams_active{route=\"default\"}", 0.0).await;
        proxy.reaches("sidestream_streams_waiting{route=\"default\"}", 0.0).await;
        // Discarded events do not count as delivered.
        let delivered = if begins { 1.0 } else { 0.0 };
        proxy.reaches("sidestream_events_total{route=\"default\"}", delivered).await;
        let status = if begins { 200 } else { 499 };
        proxy
            .reaches(&format!("sidestream_requests_total{{route=\"default\",status=\"{status}\"}}"), 1.0)
            .await;
        // The upstream connection can carry another request.
        proxy.client().await.send_get("/").await;
        backend.saw_request().await;
        assert_eq!(backend.connections(), 1);
    }
}

#[tokio::test]
async fn draining_ends_after_drain_timeout() {
    let mut backend = Backend::that_begins(stream_begun("data: 1\n\n")).await;
    let proxy = Sidestream::with(&backend, "on_disconnect: drain, drain_timeout: 100ms").await;
    let mut client = proxy.client().await;
    client.get("/").await;
    client.chunk().await;
    drop(client);
    backend.saw_close().await;
    proxy.reaches(&outcome("client_gone"), 1.0).await;
    assert!(proxy.metric(&outcome("drained")).await < 1.0);
}

#[tokio::test]
async fn a_failure_after_the_client_left_does_not_count_as_an_error() {
    let mut backend = that_waits(true, "garbage\r\n").await;
    let proxy = Sidestream::with(&backend, DRAIN).await;
    let mut client = proxy.client().await;
    client.get("/").await;
    client.chunk().await;
    drop(client);
    proxy.catches_up().await;
    backend.go_on();
    backend.saw_close().await;
    proxy.reaches(&outcome("client_gone"), 1.0).await;
    let errors = proxy.scrape().await;
    assert!(!errors.lines().any(|l| l.starts_with("sidestream_error_events_total") && !l.ends_with(" 0")));
}

#[tokio::test]
async fn an_incomplete_request_is_cancelled_when_its_client_leaves() {
    let mut backend = Backend::that_never_answers().await;
    let proxy = Sidestream::with(&backend, DRAIN).await;
    let mut client = proxy.client().await;
    client.send("POST / HTTP/1.1\r\nHost: test\r\nContent-Length: 100\r\n\r\nhello").await;
    backend.saw_request().await;
    drop(client);
    backend.saw_close().await;
    proxy.reaches(&outcome("client_gone"), 1.0).await;
}

#[tokio::test]
async fn other_responses_are_read_to_their_end_too() {
    let mut backend = Backend::script(|mut exchange| async move {
        while exchange.request().await.is_some() {
            exchange.send("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nab").await;
            exchange.wait().await;
            exchange.send("cd").await;
        }
    })
    .await;
    let proxy = Sidestream::with(&backend, DRAIN).await;
    let mut client = proxy.client().await;
    client.get("/").await;
    client.exactly(2).await;
    drop(client);
    proxy.catches_up().await;
    backend.go_on();
    proxy.reaches("sidestream_requests_total{route=\"default\",status=\"200\"}", 1.0).await;
    proxy.client().await.send_get("/").await;
    backend.saw_request().await;
    backend.saw_request().await;
    assert_eq!(backend.connections(), 1);
}

#[tokio::test]
async fn a_client_that_leaves_during_the_last_write_keeps_the_upstream_connection() {
    let mut backend = that_waits(true, LAST_CHUNK).await;
    let proxy = Sidestream::with(&backend, DRAIN).await;
    // A window for the first event only, so that the last write blocks.
    let mut client = http2_with_window(proxy.client().await.into_io(), 9).await;
    let request = http::Request::get("http://test/").body(()).expect("a request");
    let (response, mut upload) = client.send_request(request, true).expect("a connection");
    let mut stream = response.soon().await.expect("a head").into_body();
    assert_eq!(stream.data().soon().await.expect("an event").expect("no reset"), "data: 1\n\n");
    backend.go_on();
    for _ in 0..10 {
        proxy.catches_up().await;
    }
    upload.send_reset(h2::Reason::CANCEL);
    proxy.reaches(&outcome("drained"), 1.0).await;
    backend.saw_request().await;
    proxy.client().await.send_get("/").await;
    backend.saw_request().await;
    assert_eq!(backend.connections(), 1);
}
