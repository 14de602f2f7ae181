//! When a client leaves, the upstream connection is closed: in every phase, on a close and on a reset.

use crate::kit::{Backend, Client, STREAM_HEAD, Sidestream, Within, chunk, stream_begun, until};

/// How the client leaves.
#[derive(Clone, Copy, Debug)]
enum Leaving {
    Fin,
    Rst,
}

const BOTH: [Leaving; 2] = [Leaving::Fin, Leaving::Rst];

fn leave(client: Client, how: Leaving) {
    match how {
        Leaving::Fin => drop(client),
        Leaving::Rst => client.reset(),
    }
}

#[tokio::test]
async fn a_client_that_leaves_in_prefill_closes_the_upstream_connection() {
    for how in BOTH {
        let mut backend = Backend::that_never_answers().await;
        let proxy = Sidestream::in_front_of(&backend).await;
        let mut client = proxy.client().await;
        client.send_get("/v1/chat/completions").await;
        backend.saw_request().await;
        leave(client, how);
        backend.saw_close().await;
        let series = "sidestream_streams_total{outcome=\"client_gone\",route=\"default\"}";
        proxy.reaches(series, 1.0).await;
        proxy.reaches("sidestream_requests_total{route=\"default\",status=\"499\"}", 1.0).await;
        proxy.reaches("sidestream_cancel_propagation_seconds_count{phase=\"prefill\"}", 1.0).await;
        proxy.reaches("sidestream_streams_waiting{route=\"default\"}", 0.0).await;
    }
}

#[tokio::test]
async fn a_client_that_leaves_after_its_upload_in_prefill_closes_the_upstream_connection() {
    for how in BOTH {
        let mut backend = Backend::that_never_answers().await;
        let proxy = Sidestream::in_front_of(&backend).await;
        let mut client = proxy.client().await;
        client.send("POST / HTTP/1.1\r\nHost: test\r\nContent-Length: 5\r\n\r\nhello").await;
        backend.saw_request().await;
        leave(client, how);
        backend.saw_close().await;
    }
}

#[tokio::test]
async fn a_client_that_leaves_mid_stream_closes_the_upstream_connection() {
    for how in BOTH {
        let mut backend = Backend::script(|mut exchange| async move {
            exchange.request().await;
            exchange.send(stream_begun("data: x\n\n")).await;
            exchange.wait().await;
            while exchange.try_send(chunk("data: x\n\n")).await.is_ok() {}
            exchange.closed().await;
        })
        .await;
        let proxy = Sidestream::in_front_of(&backend).await;
        let mut client = proxy.client().await;
        client.get("/").await;
        client.chunk().await;
        leave(client, how);
        // Arriving events do not hide that the client has left.
        backend.go_on();
        backend.saw_close().await;
        proxy.reaches("sidestream_cancel_propagation_seconds_count{phase=\"streaming\"}", 1.0).await;
        proxy.reaches("sidestream_streams_active{route=\"default\"}", 0.0).await;
    }
}

#[tokio::test]
async fn a_client_that_leaves_a_silent_stream_closes_the_upstream_connection() {
    for how in BOTH {
        let mut backend = Backend::script(|mut exchange| async move {
            exchange.request().await;
            exchange.send(STREAM_HEAD).await;
            exchange.send(chunk("data: x\n\n")).await;
            exchange.closed().await;
        })
        .await;
        // Without heartbeats, so that a failing heartbeat write cannot be what detects the disconnect.
        let proxy = Sidestream::with(&backend, "heartbeat: off").await;
        let mut client = proxy.client().await;
        client.get("/").await;
        client.chunk().await;
        leave(client, how);
        backend.saw_close().await;
    }
}

#[tokio::test]
async fn a_client_that_leaves_during_another_response_closes_the_upstream_connection() {
    let mut backend = Backend::that_begins("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf").await;
    let proxy = Sidestream::in_front_of(&backend).await;
    let mut client = proxy.client().await;
    client.get("/").await;
    client.exactly(4).await;
    drop(client);
    backend.saw_close().await;
    proxy.reaches("sidestream_cancel_propagation_seconds_count{phase=\"body\"}", 1.0).await;
}

#[tokio::test]
async fn a_half_close_counts_as_leaving() {
    let mut backend = Backend::that_never_answers().await;
    let proxy = Sidestream::in_front_of(&backend).await;
    let mut client = proxy.client().await;
    client.send_get("/").await;
    backend.saw_request().await;
    client.half_close().await;
    backend.saw_close().await;
}

#[tokio::test]
async fn a_client_that_leaves_is_noticed_behind_pipelined_requests() {
    for answer in ["", STREAM_HEAD] {
        let mut backend = Backend::that_begins(answer).await;
        let proxy = Sidestream::in_front_of(&backend).await;
        let mut client = proxy.client().await;
        // More than sidestream reads ahead, but less than the socket buffers hold.
        client.send("GET / HTTP/1.1\r\nHost: test\r\n\r\n".repeat(4000)).await;
        backend.saw_request().await;
        client.half_close().await;
        backend.saw_close().await;
    }
}

#[tokio::test]
async fn a_reset_after_a_tolerated_half_close_counts_as_leaving() {
    for answer in ["", STREAM_HEAD] {
        let mut backend = Backend::that_begins(answer).await;
        let proxy = Sidestream::with(&backend, "half_close: tolerate").await;
        let mut client = proxy.client().await;
        client.send_get("/").await;
        backend.saw_request().await;
        client.half_close().await;
        proxy.catches_up().await;
        client.reset();
        backend.saw_close().await;
    }
}

#[tokio::test]
async fn a_half_closed_client_is_served_if_tolerated() {
    let backend = Backend::script(|mut exchange| async move {
        exchange.request().await;
        exchange.send(STREAM_HEAD).await;
        exchange.wait().await;
        exchange.send(chunk("data: x\n\n")).await;
        exchange.send("0\r\n\r\n").await;
    })
    .await;
    let proxy = Sidestream::with(&backend, "half_close: tolerate").await;
    let mut client = proxy.client().await;
    client.send_get("/").await;
    client.half_close().await;
    assert_eq!(client.response().await.status, 200);
    proxy.catches_up().await;
    backend.go_on();
    assert_eq!(client.text().await, "data: x\n\n");
}

#[tokio::test]
async fn a_cancelled_connection_is_never_reused() {
    let mut backend = Backend::script(|mut exchange| async move {
        exchange.request().await;
        if exchange.number == 0 {
            exchange.closed().await;
        } else {
            exchange.send("HTTP/1.1 204 No Content\r\n\r\n").await;
            exchange.closed().await;
        }
    })
    .await;
    let proxy = Sidestream::in_front_of(&backend).await;
    let mut client = proxy.client().await;
    client.send_get("/").await;
    backend.saw_request().await;
    drop(client);
    backend.saw_close().await;
    assert_eq!(proxy.client().await.get("/").await.status, 204);
    assert_eq!(backend.connections(), 2);
}

/// Sends bytes until all buffers on the path are full.
async fn fill(client: &mut Client) {
    let pause = std::time::Duration::from_millis(300);
    while let Ok(Ok(())) = tokio::time::timeout(pause, client.try_send([b'x'; 64 << 10])).await {}
}

#[tokio::test]
async fn a_reset_is_noticed_while_the_backend_does_not_read_the_upload() {
    let backend = Backend::script(|mut exchange| async move {
        exchange.request().await;
        std::future::pending().await
    })
    .await;
    let proxy = Sidestream::in_front_of(&backend).await;
    let mut client = proxy.client().await;
    client.send("POST / HTTP/1.1\r\nHost: test\r\nContent-Length: 1000000000\r\n\r\n").await;
    fill(&mut client).await;
    // A FIN would not be detected: it is behind data for which the proxy's receive window has no room.
    client.reset();
    proxy.reaches("sidestream_requests_total{route=\"default\",status=\"499\"}", 1.0).await;
    proxy.reaches("sidestream_connections_open", 0.0).await;
}

#[tokio::test]
async fn a_reset_mid_stream_is_noticed_with_an_unread_upload() {
    let backend = Backend::script(|mut exchange| async move {
        exchange.request().await;
        exchange.send(stream_begun("data: 1\n\n")).await;
        std::future::pending().await
    })
    .await;
    let proxy = Sidestream::in_front_of(&backend).await;
    let mut client = proxy.client().await;
    client.send("POST / HTTP/1.1\r\nHost: test\r\nContent-Length: 1000000000\r\n\r\n").await;
    assert_eq!(client.response().await.status, 200);
    fill(&mut client).await;
    client.reset();
    let gone = "sidestream_streams_total{outcome=\"client_gone\",route=\"default\"}";
    proxy.reaches(gone, 1.0).await;
    proxy.reaches("sidestream_connections_open", 0.0).await;
}

#[tokio::test]
async fn a_client_that_leaves_before_its_body_closes_the_upstream_connection() {
    for how in BOTH {
        let mut backend = Backend::that_never_answers().await;
        let proxy = Sidestream::in_front_of(&backend).await;
        let mut client = proxy.client().await;
        // The body decides about `Accept-Encoding`, so the head is not sent upstream before it.
        let fields = "Accept-Encoding: gzip\r\nContent-Length: 10";
        client.send(format!("POST / HTTP/1.1\r\nHost: test\r\n{fields}\r\n\r\n")).await;
        until(async || (backend.connections() > 0).then_some(())).soon().await;
        leave(client, how);
        backend.saw_close().await;
        proxy.reaches("sidestream_requests_total{route=\"default\",status=\"499\"}", 1.0).await;
    }
}
