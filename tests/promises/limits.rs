//! Limits on clients: body size, connections, and time for a request head.

use std::time::Duration;

use tokio::time::Instant;

use crate::kit::{Backend, Client, LAST_CHUNK, Sidestream, Within, chunk, stream_begun};

async fn with_limits(backend: &Backend, listener: &str, limits: &str) -> Sidestream {
    let limits = format!("limits: {{ {limits} }}");
    Sidestream::before(&backend.url).listener(listener).more(limits).start().await
}

#[tokio::test]
async fn a_content_length_over_the_limit_is_rejected_before_the_backend_is_contacted() {
    let backend = Backend::that_answers("HTTP/1.1 204 No Content\r\n\r\n").await;
    let proxy = with_limits(&backend, "", "max_request_body: 1KiB").await;
    let mut client = proxy.client().await;
    client
        .send("POST / HTTP/1.1\r\nHost: test\r\nContent-Length: 1025\r\nExpect: 100-continue\r\n\r\n")
        .await;
    let response = client.response().await;
    assert_eq!(response.status, 413);
    assert_eq!(backend.connections(), 0);
    let mut client = proxy.client().await;
    client
        .send([&b"POST / HTTP/1.1\r\nHost: test\r\nContent-Length: 1024\r\n\r\n"[..], &[b'x'; 1024]].concat())
        .await;
    assert_eq!(client.response().await.status, 204);
}

#[tokio::test]
async fn a_body_that_becomes_too_large_is_rejected_and_the_upstream_connection_closed() {
    let mut backend = Backend::that_never_answers().await;
    let proxy = with_limits(&backend, "", "max_request_body: 1KiB").await;
    let mut client = proxy.client().await;
    client.send("POST / HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chunked\r\n\r\n").await;
    client.send(chunk([b'x'; 1000])).await;
    backend.saw_request().await;
    client.send([chunk([b'x'; 1000]), LAST_CHUNK.into()].concat()).await;
    assert_eq!(client.response().await.status, 413);
    backend.saw_close().await;
}

#[tokio::test]
async fn connections_beyond_the_limit_get_a_503_and_the_others_are_served() {
    let backend = Backend::that_begins(stream_begun("data: 1\n\n")).await;
    let proxy = with_limits(&backend, "", "max_connections: 2").await;
    let mut streams = Vec::new();
    for _ in 0..2 {
        let mut client = proxy.client().await;
        client.get("/").await;
        client.chunk().await;
        streams.push(client);
    }
    let mut refused = proxy.client().await;
    let response = refused.response().await;
    assert_eq!((response.status, response.field("retry-after")), (503, Some("1")));
    proxy.reaches("sidestream_connections_refused_total", 1.0).await;
    proxy.reaches("sidestream_connections_open", 2.0).await;
    streams.pop();
    proxy.reaches("sidestream_connections_open", 1.0).await;
    assert_eq!(proxy.client().await.get("/").await.status, 200);
}

#[tokio::test]
async fn header_timeout_limits_the_total_time_of_a_slow_head() {
    let backend = Backend::that_never_answers().await;
    let proxy = with_limits(&backend, "header_timeout: 300ms", "max_connections: off").await;
    for begin in ["GET / HTTP/1.1\r\n", "PRI * HTTP/2.0\r\n", ""] {
        let started = Instant::now();
        let mut client = proxy.client().await;
        client.send(begin).await;
        let drip = async {
            // Writing to a closed connection fails at this byte or the next one.
            while client.try_send("X").await.is_ok() {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        drip.soon().await;
        assert!(started.elapsed() >= Duration::from_millis(300), "{begin:?}");
    }
    assert_eq!(backend.connections(), 0);
}

#[tokio::test]
async fn an_http2_connection_without_a_request_is_closed_after_header_timeout() {
    let backend = Backend::that_never_answers().await;
    let proxy = with_limits(&backend, "header_timeout: 300ms", "max_connections: off").await;
    let tcp = proxy.client().await.into_io();
    let (_client, connection) = h2::client::handshake(tcp).await.expect("a handshake");
    connection.soon().await.expect("a close that is no error");
}

#[tokio::test]
async fn client_limits_do_not_apply_to_the_admin_address() {
    let backend = Backend::that_never_answers().await;
    let proxy = with_limits(&backend, "", "max_connections: 1").await;
    // Admin connections do not count against the limit for clients.
    let _one = proxy.client().await;
    let mut admin = Client::connect(proxy.admin).await;
    assert_eq!(admin.get("/healthz").await.status, 200);
}
