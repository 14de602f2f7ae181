//! Connections are reused on both sides, and a request is resent only where that is safe.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Notify;

use crate::kit::{Backend, Sidestream, Within, stream_of};

const NO_CONTENT: &str = "HTTP/1.1 204 No Content\r\n\r\n";

#[tokio::test]
async fn streams_and_other_responses_share_one_connection_on_each_side() {
    let backend = Backend::script(|mut exchange| async move {
        while let Some(head) = exchange.request().await {
            if head.starts_with("POST") {
                exchange.body(5).await;
            }
            if head.contains("/stream") {
                exchange.send(stream_of("data: a\n\n")).await;
            } else {
                exchange.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").await;
            }
        }
    })
    .await;
    let proxy = Sidestream::in_front_of(&backend).await;
    let mut client = proxy.client().await;
    for _ in 0..5 {
        client.get("/stream").await;
        assert_eq!(client.text().await, "data: a\n\n");
        client.send("POST / HTTP/1.1\r\nHost: test\r\nContent-Length: 5\r\n\r\nhello").await;
        client.response().await;
        assert_eq!(client.exactly(2).await, b"ok");
    }
    assert_eq!(backend.connections(), 1);
}

#[tokio::test]
async fn a_client_may_pipeline_a_request_during_a_stream() {
    let backend = Backend::that_answers(stream_of("data: a\n\n")).await;
    let proxy = Sidestream::in_front_of(&backend).await;
    let mut client = proxy.client().await;
    client.send("GET /1 HTTP/1.1\r\nHost: test\r\n\r\nGET /2 HTTP/1.1\r\nHost: test\r\n\r\n").await;
    for _ in 0..2 {
        assert_eq!(client.response().await.status, 200);
        assert_eq!(client.text().await, "data: a\n\n");
    }
}

/// A backend whose first connection answers one request and closes on the next. Other connections work.
async fn that_dies_on_reuse() -> Backend {
    Backend::script(|mut exchange| async move {
        while let Some(head) = exchange.request().await {
            if exchange.number == 0 && !head.contains("/warm-up") {
                return;
            }
            exchange.send(NO_CONTENT).await;
        }
    })
    .await
}

#[tokio::test]
async fn an_idempotent_request_on_a_dead_pooled_connection_is_resent() {
    let backend = that_dies_on_reuse().await;
    let proxy = Sidestream::in_front_of(&backend).await;
    let mut client = proxy.client().await;
    assert_eq!(client.get("/warm-up").await.status, 204);
    assert_eq!(client.get("/again").await.status, 204);
    assert_eq!(backend.connections(), 2);
}

#[tokio::test]
async fn an_idempotent_request_is_resent_with_its_body() {
    let backend = Backend::script(|mut exchange| async move {
        while let Some(head) = exchange.request().await {
            if head.starts_with("PUT") {
                let body = exchange.body(5).await;
                if exchange.number == 0 {
                    return;
                }
                exchange.send("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n").await;
                exchange.send(body).await;
            } else {
                exchange.send(NO_CONTENT).await;
            }
        }
    })
    .await;
    let proxy = Sidestream::in_front_of(&backend).await;
    let mut client = proxy.client().await;
    assert_eq!(client.get("/warm-up").await.status, 204);
    client.send("PUT / HTTP/1.1\r\nHost: test\r\nContent-Length: 5\r\n\r\nhello").await;
    assert_eq!(client.response().await.status, 200);
    assert_eq!(client.exactly(5).await, b"hello");
}

#[tokio::test]
async fn a_post_on_a_dead_pooled_connection_is_not_resent() {
    let backend = that_dies_on_reuse().await;
    let proxy = Sidestream::in_front_of(&backend).await;
    let mut client = proxy.client().await;
    assert_eq!(client.get("/warm-up").await.status, 204);
    client.send("POST / HTTP/1.1\r\nHost: test\r\nContent-Length: 5\r\n\r\nhello").await;
    assert_eq!(client.response().await.status, 502);
    assert_eq!(backend.connections(), 1);
}

#[tokio::test]
async fn a_request_on_a_new_connection_that_dies_is_not_resent() {
    let backend = Backend::script(|mut exchange| async move {
        exchange.request().await;
    })
    .await;
    let proxy = Sidestream::in_front_of(&backend).await;
    assert_eq!(proxy.client().await.get("/").await.status, 502);
    assert_eq!(backend.connections(), 1);
}

#[tokio::test]
async fn a_post_never_uses_a_pooled_connection_that_the_backend_has_closed() {
    let closed = Arc::new(Notify::new());
    let tell = closed.clone();
    let backend = Backend::script(move |mut exchange| {
        let tell = tell.clone();
        async move {
            exchange.request().await;
            exchange.send(NO_CONTENT).await;
            // Closed while idle, as uvicorn does after five seconds.
            drop(exchange);
            tell.notify_one();
        }
    })
    .await;
    let proxy = Sidestream::in_front_of(&backend).await;
    let mut client = proxy.client().await;
    for _ in 0..20 {
        client.send("POST / HTTP/1.1\r\nHost: test\r\nContent-Length: 0\r\n\r\n").await;
        assert_eq!(client.response().await.status, 204);
        // The FIN must have arrived to be noticed.
        closed.notified().soon().await;
        proxy.catches_up().await;
    }
    assert_eq!(backend.connections(), 20);
}

/// Sends two requests of one client with a pause between them. Returns the number of upstream connections
/// used.
async fn connections_for_two(response: String, upstream: &str, pause: Duration) -> usize {
    let backend = Backend::that_answers(response).await;
    let proxy = Sidestream::before(&backend.url).upstream(upstream).start().await;
    let mut client = proxy.client().await;
    let first = client.get("/").await;
    client.body_of(&first).await;
    tokio::time::sleep(pause).await;
    let second = client.get("/").await;
    client.body_of(&second).await;
    backend.connections()
}

#[tokio::test]
async fn a_connection_is_pooled_no_longer_than_the_backends_keep_alive_timeout() {
    let response = |field: &str| format!("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n{field}\r\nok");
    let (now, later) = (Duration::ZERO, Duration::from_millis(900));
    for (field, pause, connections) in [
        ("Keep-Alive: timeout=60\r\n", now, 1),
        ("Keep-Alive: timeout=60\r\n", later, 1),
        ("Keep-Alive: timeout=1, max=100\r\n", later, 2),
        ("Keep-Alive: max=100, Timeout = 1\r\n", later, 2),
        ("Keep-Alive: timeout=0\r\n", now, 2),
        ("Keep-Alive: timeout=soon\r\n", later, 1),
    ] {
        let counted = connections_for_two(response(field), "keepalive_idle: 1m", pause).await;
        assert_eq!(counted, connections, "{field} {pause:?}");
    }
}

#[tokio::test]
async fn a_connection_is_reused_after_a_truncated_but_cleanly_framed_response() {
    let event = "data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"cut\"}}]}\n\n";
    let backend = Backend::that_answers(stream_of(event)).await;
    let proxy = Sidestream::in_front_of(&backend).await;
    for _ in 0..3 {
        let mut client = proxy.client().await;
        client.get("/v1/chat/completions").await;
        let text = client.text().await;
        assert!(text.contains("upstream_truncated"), "{text}");
    }
    assert_eq!(backend.connections(), 1);
}
