//! Responses other than event streams pass unchanged, including all headers except hop-by-hop ones.

use crate::kit::{Backend, LAST_CHUNK, STREAM_HEAD, Sidestream, Within, chunk, stream_of, until};

/// Bytes that any text processing would change.
fn binary(length: usize) -> Vec<u8> {
    let mut state = 0x2545_f491_u32;
    let next = |_| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        state.to_be_bytes()[0]
    };
    (0..length).map(next).collect()
}

#[tokio::test]
async fn a_json_response_passes_with_its_headers() {
    let backend = Backend::that_answers(
        "HTTP/1.1 201 Created\r\nContent-Type: application/json\r\nSet-Cookie: a=1\r\nSet-Cookie: b=2\r\n\
         X-Odd-CASE: kept\r\nETag: \"x\"\r\nServer: uvicorn\r\nContent-Length: 13\r\nConnection: keep-alive, X-Hop\r\n\
         Keep-Alive: timeout=5\r\nX-Hop: gone\r\n\r\n{\"ok\": true}\n",
    )
    .await;
    let proxy = Sidestream::in_front_of(&backend).await;
    let mut client = proxy.client().await;
    let response = client.get("/").await;
    assert_eq!(response.status, 201);
    assert_eq!(response.fields("set-cookie"), ["a=1", "b=2"]);
    assert!(response.head.contains("\r\nX-Odd-CASE: kept\r\n"), "{}", response.head);
    assert_eq!(response.field("etag"), Some("\"x\""));
    assert_eq!(response.field("server"), Some("uvicorn"));
    assert!(response.fields("x-hop").is_empty() && response.fields("keep-alive").is_empty());
    assert!(response.fields("x-accel-buffering").is_empty(), "only event streams get that");
    assert_eq!(client.exactly(13).await, b"{\"ok\": true}\n");
}

#[tokio::test]
async fn five_megabytes_pass_byte_for_byte_both_ways() {
    let blob = binary(5_000_000);
    let echo = Backend::script(|mut exchange| async move {
        exchange.request().await;
        let body = exchange.body(5_000_000).await;
        exchange.send(format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", body.len())).await;
        exchange.send(body).await;
        exchange.closed().await;
    })
    .await;
    let proxy = Sidestream::in_front_of(&echo).await;
    let mut client = proxy.client().await;
    client.send("POST / HTTP/1.1\r\nHost: test\r\nContent-Length: 5000000\r\n\r\n").await;
    client.send(&blob).await;
    assert_eq!(client.response().await.field("content-length"), Some("5000000"));
    assert!(client.exactly(5_000_000).await == blob);
}

#[tokio::test]
async fn sending_in_both_directions_at_once_does_not_deadlock() {
    // The backend sends each piece back before it reads the next one. The client reads only after it has sent
    // many.
    const PIECES: usize = 400;
    const PIECE: usize = 16 * 1024;
    let backend = Backend::script(|mut exchange| async move {
        exchange.request().await;
        exchange.send(format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", PIECES * PIECE)).await;
        for _ in 0..PIECES {
            let piece = exchange.body(PIECE).await;
            exchange.send(piece).await;
        }
        exchange.closed().await;
    })
    .await;
    let proxy = Sidestream::in_front_of(&backend).await;
    let mut client = proxy.client().await;
    let blob = binary(PIECES * PIECE);
    client.send(format!("POST / HTTP/1.1\r\nHost: test\r\nContent-Length: {}\r\n\r\n", blob.len())).await;
    let (mut back, sent) = (Vec::new(), blob.clone());
    let (mut read, mut write) = tokio::io::split(client.into_io());
    let sending = async { tokio::io::AsyncWriteExt::write_all(&mut write, &sent).await.expect("a reader") };
    let reading = async {
        while back.len() < sent.len() {
            let n = tokio::io::AsyncReadExt::read_buf(&mut read, &mut back).await.expect("a writer");
            assert_ne!(n, 0, "the response ended early");
        }
    };
    tokio::join!(sending.soon(), reading.soon());
    let body_at = back.windows(4).position(|w| w == b"\r\n\r\n").expect("a head") + 4;
    while back.len() < body_at + blob.len() {
        let n = tokio::io::AsyncReadExt::read_buf(&mut read, &mut back).soon().await.expect("a writer");
        assert_ne!(n, 0, "the response ended early");
    }
    assert!(back[body_at..] == blob);
}

#[tokio::test]
async fn fields_for_reconnecting_pass_in_both_directions() {
    const STREAM: &str = "retry: 10\nid: 7\ndata: a\n\nid\ndata: b\n\nid: 8\n\n";
    let mut backend = Backend::that_answers(stream_of(STREAM)).await;
    let proxy = Sidestream::in_front_of(&backend).await;
    for method in ["GET", "POST"] {
        let mut client = proxy.client().await;
        client
            .send(format!(
                "{method} / HTTP/1.1\r\nHost: test\r\nLast-Event-ID: 6\r\nContent-Length: 0\r\n\r\n"
            ))
            .await;
        client.response().await;
        assert_eq!(client.text().await, STREAM);
        assert!(backend.saw_request().await.to_lowercase().contains("\r\nlast-event-id: 6\r\n"));
    }
}

#[tokio::test]
async fn a_chunked_upload_is_streamed() {
    let backend = Backend::script(|mut exchange| async move {
        let head = exchange.request().await.expect("a request");
        assert!(head.to_lowercase().contains("transfer-encoding: chunked"), "{head}");
        // The first piece must arrive before the client sends the second one.
        exchange.body_until(b"first\r\n").await;
        exchange.send("HTTP/1.1 100 Continue\r\n\r\n").await;
        exchange.body_until(b"second\r\n0\r\n\r\n").await;
        exchange.send("HTTP/1.1 204 No Content\r\n\r\n").await;
        exchange.closed().await;
    })
    .await;
    let proxy = Sidestream::in_front_of(&backend).await;
    let mut client = proxy.client().await;
    client.send("POST / HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chunked\r\n\r\n").await;
    client.send(chunk("first")).await;
    assert_eq!(client.response().await.status, 100);
    client.send(chunk("second")).await;
    client.send(LAST_CHUNK).await;
    assert_eq!(client.response().await.status, 204);
}

#[tokio::test]
async fn responses_without_a_body_have_none() {
    let cases = [
        ("GET", "HTTP/1.1 204 No Content\r\n\r\n", 204),
        ("GET", "HTTP/1.1 304 Not Modified\r\nETag: \"a\"\r\nContent-Length: 99\r\n\r\n", 304),
        ("HEAD", "HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n", 200),
        ("HEAD", "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n", 200),
    ];
    for (method, answer, status) in cases {
        let backend = Backend::that_answers(answer).await;
        let proxy = Sidestream::in_front_of(&backend).await;
        let mut client = proxy.client().await;
        for _ in 0..2 {
            client.send(format!("{method} / HTTP/1.1\r\nHost: test\r\n\r\n")).await;
            let response = client.response().await;
            assert_eq!(response.status, status);
            assert!(response.fields("transfer-encoding").is_empty(), "{}", response.head);
            if answer.contains("Content-Length") {
                assert_eq!(response.field("content-length"), Some("99"));
            }
        }
        assert_eq!(backend.connections(), 1);
    }
}

#[tokio::test]
async fn informational_responses_pass() {
    let backend = Backend::that_answers(
        "HTTP/1.1 103 Early Hints\r\nLink: </a.css>\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
    )
    .await;
    let proxy = Sidestream::in_front_of(&backend).await;
    let mut client = proxy.client().await;
    let hints = client.get("/").await;
    assert_eq!((hints.status, hints.field("link")), (103, Some("</a.css>")));
    assert_eq!(client.response().await.status, 200);
    assert_eq!(client.exactly(2).await, b"ok");

    let mut old = proxy.client().await;
    old.send("GET / HTTP/1.0\r\n\r\n").await;
    assert_eq!(old.response().await.status, 200, "HTTP/1.0 has no informational responses");
}

#[tokio::test]
async fn expect_100_continue_is_answered_by_the_backend() {
    let backend = Backend::script(|mut exchange| async move {
        let head = exchange.request().await.expect("a request");
        assert!(head.to_lowercase().contains("expect: 100-continue"), "{head}");
        exchange.send("HTTP/1.1 100 Continue\r\n\r\n").await;
        let body = exchange.body(5).await;
        exchange.send("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n").await;
        exchange.send(body).await;
        exchange.closed().await;
    })
    .await;
    let proxy = Sidestream::in_front_of(&backend).await;
    let mut client = proxy.client().await;
    client.send("PUT / HTTP/1.1\r\nHost: test\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n").await;
    assert_eq!(client.response().await.status, 100);
    client.send("hello").await;
    assert_eq!(client.response().await.status, 200);
    assert_eq!(client.exactly(5).await, b"hello");
}

#[tokio::test]
async fn an_early_response_arrives_while_the_upload_still_runs() {
    let backend = Backend::script(|mut exchange| async move {
        exchange.request().await;
        exchange
            .send("HTTP/1.1 413 Content Too Large\r\nConnection: close\r\nContent-Length: 3\r\n\r\nbig")
            .await;
    })
    .await;
    let proxy = Sidestream::in_front_of(&backend).await;
    let mut client = proxy.client().await;
    client.send("POST / HTTP/1.1\r\nHost: test\r\nContent-Length: 1000000\r\n\r\n").await;
    client.send(vec![b'x'; 100_000]).await;
    assert_eq!(client.response().await.status, 413);
    assert_eq!(client.exactly(3).await, b"big");
    // The data of a client that keeps sending is drained. The client gets no reset and can reuse its
    // connection.
    client.send(vec![b'x'; 900_000]).await;
    client.send_get("/").await;
    assert_eq!(client.response().await.status, 413);
}

#[tokio::test]
async fn a_stream_gets_the_headers_that_keep_it_unbuffered() {
    let cases = [
        ("", "no-cache, no-transform"),
        ("Cache-Control: no-store\r\n", "no-store, no-cache, no-transform"),
        ("Cache-Control: No-Cache\r\n", "No-Cache, no-transform"),
    ];
    for (field, expected) in cases {
        let head =
            format!("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nContent-Length: 9\r\n{field}\r\n");
        let backend = Backend::that_answers(format!("{head}data: a\n\n")).await;
        let proxy = Sidestream::in_front_of(&backend).await;
        let mut client = proxy.client().await;
        let response = client.get("/").await;
        assert_eq!(response.field("x-accel-buffering"), Some("no"));
        assert_eq!(response.field("cache-control"), Some(expected));
        assert_eq!(response.field("transfer-encoding"), Some("chunked"));
        assert!(response.fields("content-length").is_empty());
        assert_eq!(response.field("connection"), Some("keep-alive"));
        assert_eq!(client.text().await, "data: a\n\n");
    }
}

#[tokio::test]
async fn a_stream_in_an_unknown_coding_passes_unchanged() {
    for (kind, coding) in [
        ("text/event-stream", "rot13"),
        ("text/event-stream", "gzip, br"),
        ("application/json", "gzip"),
        ("text/plain", "gzip"),
    ] {
        let head = format!("HTTP/1.1 200 OK\r\nContent-Type: {kind}\r\nContent-Encoding: {coding}\r\n");
        let backend = Backend::that_answers(format!("{head}Content-Length: 4\r\n\r\n\x1f\n\n\x01")).await;
        let proxy = Sidestream::in_front_of(&backend).await;
        let mut client = proxy.client().await;
        assert_eq!(client.get("/").await.field("content-encoding"), Some(coding));
        assert_eq!(client.exactly(4).await, b"\x1f\n\n\x01");
    }
}

#[tokio::test]
async fn an_http_1_0_client_gets_bodies_that_end_with_the_connection() {
    let backend = Backend::that_answers(stream_of("data: a\n\n")).await;
    let proxy = Sidestream::in_front_of(&backend).await;
    for request in ["GET / HTTP/1.0\r\n\r\n", "GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n"] {
        let mut client = proxy.client().await;
        client.send(request).await;
        let response = client.response().await;
        assert!(response.fields("transfer-encoding").is_empty());
        assert_eq!(response.field("connection"), Some("close"), "{request}");
        assert_eq!(client.rest().await.expect("a clean end"), b"data: a\n\n");
    }
}

#[tokio::test]
async fn a_folded_line_from_the_backend_becomes_spaces() {
    let backend =
        Backend::that_answers("HTTP/1.1 200 OK\r\nX-Fold: a\r\n\tb\r\nContent-Length: 2\r\n\r\nok").await;
    let proxy = Sidestream::in_front_of(&backend).await;
    let mut client = proxy.client().await;
    let response = client.get("/").await;
    assert_eq!((response.status, response.field("x-fold")), (200, Some("a  \tb")));
    assert_eq!(client.exactly(2).await, b"ok");
}

#[tokio::test]
async fn a_body_that_ends_with_the_backend_connection_becomes_chunked() {
    let backend = Backend::script(|mut exchange| async move {
        exchange.request().await;
        exchange.send("HTTP/1.0 200 OK\r\nContent-Type: text/event-stream\r\n\r\ndata: a\n\n").await;
    })
    .await;
    let proxy = Sidestream::in_front_of(&backend).await;
    let mut client = proxy.client().await;
    client.get("/").await;
    assert_eq!(client.text().await, "data: a\n\n");
}

#[tokio::test]
async fn the_request_reaches_the_backend_as_a_proxy_must_send_it() {
    let mut backend = Backend::that_answers("HTTP/1.1 204 No Content\r\n\r\n").await;
    let proxy = Sidestream::in_front_of(&backend).await;
    let mut client = proxy.client().await;
    client
        .send(
            "GET /a/../b?c=%20d HTTP/1.1\r\nHost: example.org\r\nAuthorization: Bearer x\r\nX-Odd-CASE: kept\r\n\
             Connection: X-Hop, keep-alive\r\nX-Hop: gone\r\nTE: trailers\r\nX-Forwarded-For: 10.0.0.1\r\n\
             X-Forwarded-Proto: https\r\nForwarded: for=10.0.0.1\r\nX-Real-IP: 10.0.0.1\r\nX-Request-Id: mine\r\n\r\n",
        )
        .await;
    assert_eq!(client.response().await.status, 204);
    let request = backend.saw_request().await;
    assert!(request.starts_with("GET /a/../b?c=%20d HTTP/1.1\r\n"), "{request}");
    for field in [
        "Host: example.org",
        "Authorization: Bearer x",
        "X-Odd-CASE: kept",
        "X-Forwarded-For: 127.0.0.1",
        "X-Forwarded-Proto: http",
        "X-Forwarded-Host: example.org",
        "X-Request-Id: mine",
        "TE: trailers",
        "Connection: TE",
    ] {
        assert!(request.contains(&format!("\r\n{field}\r\n")), "{field} is missing in {request}");
    }
    for gone in ["X-Hop", "Connection: X-Hop", "Forwarded:", "X-Real-IP"] {
        assert!(!request.contains(&format!("\r\n{gone}")), "{gone} is still in {request}");
    }
}

#[tokio::test]
async fn a_websocket_passes() {
    let backend = Backend::script(|mut exchange| async move {
        let head = exchange.request().await.expect("a request");
        assert!(head.to_lowercase().contains("upgrade: websocket"), "{head}");
        assert!(head.contains("X-Forwarded-For: 127.0.0.1"), "{head}");
        let accept = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n";
        exchange.send(accept).await;
        let ping = exchange.body(4).await;
        exchange.send(ping).await;
        exchange.closed().await;
    })
    .await;
    let proxy = Sidestream::in_front_of(&backend).await;
    let mut client = proxy.client().await;
    client
        .send(
            "GET /ws HTTP/1.1\r\nHost: test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
             Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n",
        )
        .await;
    assert_eq!(client.response().await.status, 101);
    client.send("ping").await;
    assert_eq!(client.exactly(4).await, b"ping");
}

#[tokio::test]
async fn a_request_that_no_route_matches_is_a_404() {
    let mut backend = Backend::that_answers("HTTP/1.1 204 No Content\r\n\r\n").await;
    let routes = "routes: [{ match: { path: /v1/, host: a.test, method: POST }, upstream: llm }]";
    let proxy = Sidestream::before(&backend.url).more(routes).start().await;
    let mut client = proxy.client().await;
    for head in ["GET /v1/x HTTP/1.1\r\nHost: a.test", "POST /v2 HTTP/1.1\r\nHost: a.test"] {
        client.send(format!("{head}\r\nContent-Length: 2\r\n\r\nhi")).await;
        let response = client.response().await;
        assert_eq!(response.status, 404);
        client.body_of(&response).await;
    }
    client.send("POST /v1/x HTTP/1.1\r\nHost: A.test:8080\r\nContent-Length: 0\r\n\r\n").await;
    assert_eq!(client.response().await.status, 204);
    backend.saw_request().await;
    assert!(proxy.metric("sidestream_requests_total{route=\"none\",status=\"404\"}").await > 1.0);
}

#[tokio::test]
async fn a_head_beyond_the_limit_is_a_431() {
    let backend = Backend::that_never_answers().await;
    let proxy = Sidestream::in_front_of(&backend).await;
    let mut client = proxy.client().await;
    let long = "x".repeat(70_000);
    client.send(format!("GET / HTTP/1.1\r\nHost: test\r\nX-Long: {long}\r\n\r\n")).await;
    assert_eq!(client.response().await.status, 431);
}

#[tokio::test]
async fn open_streams_continue_to_their_end_during_shutdown() {
    let backend = Backend::script(|mut exchange| async move {
        exchange.request().await;
        exchange.send(STREAM_HEAD).await;
        exchange.send(chunk("data: a\n\n")).await;
        exchange.wait().await;
        exchange.send(chunk("data: b\n\n")).await;
        exchange.send(LAST_CHUNK).await;
    })
    .await;
    let proxy = Sidestream::in_front_of(&backend).await;
    let address = proxy.address;
    let mut client = proxy.client().await;
    client.get("/").await;
    client.chunk().await;
    let stopped = proxy.stop();
    let is_refused = async || tokio::net::TcpStream::connect(address).await.is_err().then_some(());
    until(is_refused).soon().await;
    backend.go_on();
    assert_eq!(client.text().await, "data: b\n\n");
    stopped.soon().await.expect("a server that ends with its last stream");
}
