//! The process ends when its streams have ended. Streams that exceed the drain timeout are told the reason.

use std::time::Duration;

use tokio::net::TcpStream;
use tokio::time::Instant;

use crate::kit::{Backend, Client, Sidestream, Within, chunk, stream_begun, until};

async fn with_drain_timeout(backend: &Backend, timeout: &str) -> Sidestream {
    let server = format!("server: {{ drain_timeout: {timeout} }}");
    Sidestream::before(&backend.url).more(server).start().await
}

/// A backend that begins a stream on `/stream` and a body on `/body`, and does not answer otherwise.
async fn backend() -> Backend {
    Backend::script(|mut exchange| async move {
        let Some(head) = exchange.request().await else { return };
        if head.starts_with("GET /stream ") {
            exchange.send(stream_begun("data: 1\n\ndata: to")).await;
        }
        if head.starts_with("GET /body ") {
            exchange.send("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nab").await;
        }
        exchange.closed().await;
    })
    .await
}

#[tokio::test]
async fn exchanges_that_exceed_the_drain_timeout_end_with_an_error_event_a_status_or_a_break() {
    let mut backend = backend().await;
    let proxy = with_drain_timeout(&backend, "200ms").await;
    let (mut stream, mut body, mut waiting) =
        (proxy.client().await, proxy.client().await, proxy.client().await);
    stream.get("/stream").await;
    stream.chunk().await;
    body.get("/body").await;
    body.exactly(2).await;
    waiting.send_get("/prefill").await;
    for _ in 0..3 {
        backend.saw_request().await;
    }
    let stopped = proxy.stop();
    let error = String::from_utf8(stream.chunk().await.expect("an error event")).expect("UTF-8");
    assert!(error.starts_with("event: error\n") && error.contains("\"code\":\"shutting_down\""), "{error}");
    assert_eq!(stream.chunk_or_end().await, Err("ended"), "a stream of an unknown dialect ends with a break");
    let response = waiting.response().await;
    assert_eq!((response.status, response.field("retry-after")), (503, Some("1")));
    assert!(
        body.rest().await.is_ok_and(|rest| rest.is_empty()),
        "shorter than Content-Length, so the client sees a broken response"
    );
    for _ in 0..3 {
        backend.saw_close().await;
    }
    stopped.soon().await.expect("an end");
}

#[tokio::test]
async fn the_process_ends_with_its_last_stream() {
    let backend = Backend::script(|mut exchange| async move {
        exchange.request().await;
        exchange.send(stream_begun("data: 1\n\n")).await;
        exchange.wait().await;
        exchange.send(chunk("data: 2\n\n")).await;
        exchange.closed().await;
    })
    .await;
    let proxy = with_drain_timeout(&backend, "10m").await;
    let address = proxy.address;
    let mut client = proxy.client().await;
    client.get("/").await;
    client.chunk().await;
    let stopped = proxy.stop();
    until(async || TcpStream::connect(address).await.is_err().then_some(())).soon().await;
    // A stream that may continue is not notified.
    backend.go_on();
    assert_eq!(client.chunk().await.as_deref(), Some(&b"data: 2\n\n"[..]));
    assert!(!stopped.is_finished());
    let left = Instant::now();
    drop(client);
    stopped.soon().await.expect("an end");
    assert!(left.elapsed() < Duration::from_secs(5), "{:?}", left.elapsed());
}

#[tokio::test]
async fn requests_are_accepted_during_the_drain_delay_while_readyz_fails() {
    let backend = Backend::that_answers("HTTP/1.1 204 No Content\r\n\r\n").await;
    let server = "server: { drain_delay: 2s, drain_timeout: 10s }";
    let proxy = Sidestream::before(&backend.url).more(server).start().await;
    let (address, admin) = (proxy.address, proxy.admin);
    assert_eq!(proxy.ask_admin("/readyz").await.0, 200);
    let mut kept = proxy.client().await;
    assert_eq!(kept.get("/").await.status, 204);
    let stopped = proxy.stop();
    let is_ready = async || Client::connect(admin).await.get("/readyz").await.status;
    until(async || (is_ready().await == 503).then_some(())).soon().await;
    assert_eq!(Client::connect(address).await.get("/").await.status, 204);
    let response = kept.get("/").await;
    assert_eq!((response.status, response.field("connection")), (204, Some("close")));
    stopped.soon().await.expect("an end");
    assert!(TcpStream::connect(address).await.is_err());
}
