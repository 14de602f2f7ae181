//! HTTP/2: the streams of a connection do not affect each other, and DATA frames contain whole events.

use std::future::poll_fn;
use std::sync::Arc;

use bytes::Bytes;

use crate::kit::{
    Authority, Backend, Edge, LAST_CHUNK, STREAM_HEAD, Sidestream, Step, Transport, Within, chunk,
    http2_with_window, stream_begun, stream_of,
};

/// A client with this stream window.
async fn connect(proxy: &Sidestream, window: u32) -> h2::client::SendRequest<Bytes> {
    http2_with_window(proxy.client().await.into_io(), window).await
}

async fn get(client: &h2::client::SendRequest<Bytes>, path: &str) -> h2::RecvStream {
    let mut client = client.clone().ready().soon().await.expect("a connection");
    let request = http::Request::get(format!("http://test{path}")).body(()).expect("a request");
    let (response, _) = client.send_request(request, true).expect("a connection");
    response.soon().await.expect("a response").into_body()
}

async fn next(stream: &mut h2::RecvStream) -> Bytes {
    let data = stream.data().soon().await.expect("more").expect("a frame");
    let _ = stream.flow_control().release_capacity(data.len());
    data
}

#[tokio::test]
async fn a_response_without_a_body_ends_with_its_head() {
    // h2 rejects a body shorter than Content-Length, even an empty DATA frame.
    for answer in [
        "HTTP/1.1 304 Not Modified\r\nETag: \"a\"\r\nContent-Length: 99\r\n\r\n",
        "HTTP/1.1 204 No Content\r\n\r\n",
    ] {
        let backend = Backend::that_answers(answer).await;
        let proxy = Sidestream::in_front_of(&backend).await;
        let client = connect(&proxy, 1 << 16).await;
        for _ in 0..2 {
            assert!(get(&client, "/").await.is_end_stream());
        }
        assert_eq!(backend.connections(), 1);
    }
}

#[tokio::test]
async fn a_reset_cancels_only_its_own_stream() {
    for upstream in [Transport::Http1, Transport::Http2] {
        const STEPS: &[Step] = &[Step::StreamHead, Step::Send(b"data: 1\n\n"), Step::SeeCancel];
        let authority = Arc::new(Authority::new());
        let mut backend = Backend::speaking(upstream, &authority, STEPS).await;
        let edge = Edge::between(Transport::Http2, &authority, &backend, "heartbeat: 20ms").await;
        let mut client = edge.connect().await;
        let (mut stays, mut leaves) =
            (client.send("GET", "/", None).await, client.send("GET", "/", None).await);
        for exchange in [&mut stays, &mut leaves] {
            exchange.head().await;
            assert_eq!(exchange.piece().await, Ok(Some(b"data: 1\n\n".to_vec())));
        }
        drop(leaves);
        backend.saw_close().await;
        // The other stream and the connection continue.
        for _ in 0..2 {
            assert_eq!(stays.piece().await, Ok(Some(b": heartbeat\n".to_vec())));
        }
        let mut another = client.send("GET", "/", None).await;
        assert_eq!(another.head().await.0, 200);
        let gone = "sidestream_streams_total{outcome=\"client_gone\",route=\"default\"}";
        edge.proxy.reaches(gone, 1.0).await;
    }
}

#[tokio::test]
async fn a_stalled_stream_does_not_block_others() {
    let backend = Backend::script(|mut exchange| async move {
        let head = exchange.request().await.expect("a request");
        exchange.send(STREAM_HEAD).await;
        if head.starts_with("GET /flood") {
            let event = chunk(format!("data: {}\n\n", "x".repeat(1000)));
            while exchange.try_send(&event).await.is_ok() {}
        } else {
            exchange.send([chunk("data: 1\n\n"), LAST_CHUNK.into()].concat()).await;
        }
    })
    .await;
    let proxy = Sidestream::in_front_of(&backend).await;
    let client = connect(&proxy, 65_535).await;
    // These streams are not read.
    let mut stalled = Vec::new();
    for _ in 0..10 {
        stalled.push(get(&client, "/flood").await);
    }
    for _ in 0..20 {
        assert_eq!(next(&mut get(&client, "/").await).await, "data: 1\n\n");
    }
    // Each stream has data up to its window, and continues once it is read.
    for mut stream in stalled {
        let mut length = 0;
        while length < 200_000 {
            length += next(&mut stream).await.len();
        }
    }
}

#[tokio::test]
async fn an_unread_upload_does_not_block_others() {
    let mut backend = Backend::script(|mut exchange| async move {
        let head = exchange.request().await.expect("a request");
        if head.starts_with("POST /stuck") {
            // The backend does not read the body.
            std::future::pending::<()>().await;
        }
        exchange.body_until(b"\r\n0\r\n\r\n").await;
        exchange.send("HTTP/1.1 204 No Content\r\n\r\n").await;
    })
    .await;
    let proxy = Sidestream::in_front_of(&backend).await;
    let client = connect(&proxy, 65_535).await;
    let mut uploads = Vec::new();
    for path in ["/stuck", "/"] {
        let mut client = client.clone().ready().await.expect("a connection");
        let request = http::Request::post(format!("http://test{path}")).body(()).expect("a request");
        let (response, mut upload) = client.send_request(request, false).expect("a connection");
        backend.saw_request().await;
        if path == "/stuck" {
            // More than all windows and buffers accept.
            upload.send_data(vec![0; 20 << 20].into(), true).expect("a stream");
            uploads.push((response, upload));
            continue;
        }
        for _ in 0..100 {
            upload.send_data(vec![0; 10_000].into(), false).expect("a stream");
        }
        upload.send_data(Bytes::new(), true).expect("a stream");
        assert_eq!(response.soon().await.expect("a response").status(), 204);
    }
}

#[tokio::test]
async fn frames_hold_whole_events() {
    let event = format!("data: {}\r\n\r\n", "x".repeat(993));
    let events = event.repeat(500);
    let backend = Backend::that_answers(stream_of(&events)).await;
    let proxy = Sidestream::in_front_of(&backend).await;
    // A window that is often too small for a whole frame.
    let mut stream = get(&connect(&proxy, 40_000).await, "/").await;
    let (mut received, mut frames) = (Vec::new(), 0);
    while let Some(data) = stream.data().soon().await {
        let data = data.expect("a frame");
        assert!(data.is_empty() || data.ends_with(b"\r\n\r\n"), "a partial event of {} bytes", data.len());
        let _ = stream.flow_control().release_capacity(data.len());
        frames += 1;
        received.extend_from_slice(&data);
    }
    assert!(received == events.as_bytes());
    assert!(frames < 50, "{frames} frames");
}

#[tokio::test]
async fn an_event_larger_than_the_window_arrives() {
    let event = format!("data: {}\n\n", "x".repeat(50_000));
    let backend = Backend::that_answers(stream_of(&event)).await;
    let proxy = Sidestream::in_front_of(&backend).await;
    let mut stream = get(&connect(&proxy, 10_000).await, "/").await;
    let mut received = Vec::new();
    while let Some(data) = stream.data().soon().await {
        let data = data.expect("a frame");
        let _ = stream.flow_control().release_capacity(data.len());
        received.extend_from_slice(&data);
    }
    assert!(received == event.as_bytes());
}

#[tokio::test]
async fn a_client_whose_window_stays_closed_is_reset_after_write_timeout() {
    let mut backend = Backend::that_begins(stream_begun("data: 1\n\n".repeat(1000))).await;
    let proxy = Sidestream::with(&backend, "write_timeout: 100ms").await;
    let client = connect(&proxy, 1000).await;
    let mut stream = get(&client, "/").await;
    backend.saw_close().await;
    let slow = "sidestream_streams_total{outcome=\"slow_reader\",route=\"default\"}";
    proxy.reaches(slow, 1.0).await;
    let error = async {
        loop {
            if let Some(Err(error)) = stream.data().await {
                return error;
            }
        }
    };
    assert_eq!(error.soon().await.reason(), Some(h2::Reason::CANCEL));
}

#[tokio::test]
async fn a_request_is_translated_to_http1() {
    let mut backend = Backend::that_answers("HTTP/1.1 204 No Content\r\n\r\n").await;
    let proxy = Sidestream::in_front_of(&backend).await;
    let client = connect(&proxy, 65_535).await;
    let request = http::Request::get("http://example.org/path?q")
        .header("cookie", "a=1")
        .header("cookie", "b=2")
        .header("te", "trailers")
        .header("x-kept", "yes")
        .body(())
        .expect("a request");
    let (response, _) =
        client.clone().ready().await.expect("a connection").send_request(request, true).expect("sent");
    assert_eq!(response.soon().await.expect("a response").status(), 204);
    let head = backend.saw_request().await.to_lowercase();
    assert!(head.starts_with("get /path?q http/1.1\r\n"), "{head}");
    for field in ["host: example.org", "cookie: a=1; b=2", "x-kept: yes", "te: trailers", "connection: te"] {
        assert!(head.contains(&format!("\r\n{field}\r\n")), "{field} is missing in {head}");
    }
    for gone in ["transfer-encoding", "content-length", "upgrade"] {
        assert!(!head.contains(gone), "{gone} is in {head}");
    }
}

#[tokio::test]
async fn an_upload_that_ends_with_an_empty_frame_ends_once() {
    let mut backend = Backend::script(|mut exchange| async move {
        for _ in 0..2 {
            exchange.request().await.expect("a request");
            let body = exchange.body_until(b"\r\n0\r\n\r\n").await;
            assert_eq!(body, b"2\r\n{}\r\n0\r\n\r\n");
            exchange.send("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").await;
        }
        exchange.closed().await;
    })
    .await;
    let proxy = Sidestream::in_front_of(&backend).await;
    let client = connect(&proxy, 65_535).await;
    for _ in 0..2 {
        let request = http::Request::post("http://test/").body(()).expect("a request");
        let mut client = client.clone().ready().await.expect("a connection");
        let (response, mut upload) = client.send_request(request, false).expect("sent");
        upload.send_data("{}".into(), false).expect("a stream");
        backend.saw_request().await;
        upload.send_data(Bytes::new(), true).expect("a stream");
        assert_eq!(response.soon().await.expect("a response").status(), 200);
    }
    assert_eq!(backend.connections(), 1);
}

#[tokio::test]
async fn streams_share_an_upstream_connection_and_are_cancelled_separately() {
    const STEPS: &[Step] = &[Step::StreamHead, Step::Send(b"data: 1\n\n"), Step::SeeCancel];
    let authority = Arc::new(Authority::new());
    let mut backend = Backend::speaking(Transport::Http2, &authority, STEPS).await;
    let edge = Edge::between(Transport::Http1, &authority, &backend, "heartbeat: 20ms").await;
    let (mut first, mut second) = (edge.connect().await, edge.connect().await);
    let (mut stays, mut leaves) = (first.send("GET", "/", None).await, second.send("GET", "/", None).await);
    for exchange in [&mut stays, &mut leaves] {
        exchange.head().await;
        assert_eq!(exchange.piece().await, Ok(Some(b"data: 1\n\n".to_vec())));
    }
    drop(leaves);
    backend.saw_close().await;
    for _ in 0..2 {
        assert_eq!(stays.piece().await, Ok(Some(b": heartbeat\n".to_vec())));
    }
}

#[tokio::test]
async fn an_unprocessed_request_is_resent() {
    // The backend refuses all but the first stream of each connection.
    let backend = Backend::script(|exchange| async move {
        let io = exchange.connection.into_io();
        let mut connection = h2::server::handshake(io).await.expect("a handshake");
        let mut count = 0;
        while let Some(Ok((_, mut respond))) = connection.accept().await {
            count += 1;
            if count > 1 {
                respond.send_reset(h2::Reason::REFUSED_STREAM);
            } else {
                let head = http::Response::builder().status(204).body(()).expect("a head");
                respond.send_response(head, true).expect("a stream");
            }
        }
    })
    .await;
    let proxy = Sidestream::before(format!("h2://{}", backend.address)).start().await;
    let mut client = proxy.client().await;
    for _ in 0..3 {
        client.send("POST / HTTP/1.1\r\nHost: test\r\nContent-Length: 2\r\n\r\n{}").await;
        assert_eq!(client.response().await.status, 204);
    }
}

#[tokio::test]
async fn a_backend_with_one_stream_per_connection_gets_several_connections() {
    let backend = Backend::script(|exchange| async move {
        let mut settings = h2::server::Builder::new();
        let io = exchange.connection.into_io();
        let connection = settings.max_concurrent_streams(1).handshake::<_, Bytes>(io).await;
        let mut connection = connection.expect("a handshake");
        let mut streams = Vec::new();
        while let Some(Ok((_, mut respond))) = connection.accept().await {
            let head = http::Response::builder().header("content-type", "text/event-stream").body(());
            let mut stream = respond.send_response(head.expect("a head"), false).expect("a stream");
            stream.send_data("data: 1\n\n".into(), false).expect("a stream");
            streams.push(stream);
        }
    })
    .await;
    let proxy = Sidestream::before(format!("h2://{}", backend.address)).start().await;
    let mut streams = Vec::new();
    for _ in 0..5 {
        let mut client = proxy.client().await;
        assert_eq!(client.get("/").await.status, 200);
        assert_eq!(client.chunk().await.as_deref(), Some(&b"data: 1\n\n"[..]));
        streams.push(client);
    }
}

#[tokio::test]
async fn an_idle_connection_is_closed_with_goaway() {
    let backend = Backend::that_answers("HTTP/1.1 204 No Content\r\n\r\n").await;
    let proxy = Sidestream::before(&backend.url).listener("keepalive_timeout: 100ms").start().await;
    let tcp = proxy.client().await.into_io();
    let (client, connection) = h2::client::handshake(tcp).await.expect("a handshake");
    let ended = tokio::spawn(connection);
    drop(get(&client, "/").await);
    ended.soon().await.expect("no panic").expect("GOAWAY without an error");
}

#[tokio::test]
async fn an_open_stream_keeps_its_connection_during_shutdown() {
    const STEPS: &[Step] =
        &[Step::StreamHead, Step::Send(b"data: 1\n\n"), Step::Wait, Step::Send(b"data: 2\n\n"), Step::End];
    let authority = Arc::new(Authority::new());
    let backend = Backend::speaking(Transport::Http1, &authority, STEPS).await;
    let edge = Edge::between(Transport::Http2, &authority, &backend, "").await;
    let mut client = edge.connect().await;
    let mut exchange = client.send("GET", "/", None).await;
    exchange.head().await;
    exchange.piece().await.expect("an event");
    let stopped = edge.proxy.stop();
    // The listener is closed, but the open stream continues.
    backend.go_on();
    assert_eq!(exchange.pieces().await, Ok(vec![b"data: 2\n\n".to_vec()]));
    stopped.soon().await.expect("an end");
}

#[tokio::test]
async fn http2_off_serves_http1_only() {
    let backend = Backend::that_answers("HTTP/1.1 204 No Content\r\n\r\n").await;
    let proxy = Sidestream::before(&backend.url).listener("http2: false").start().await;
    let tcp = proxy.client().await.into_io();
    let (mut client, connection) = h2::client::handshake(tcp).await.expect("a handshake");
    let ended = tokio::spawn(connection);
    let _ = poll_fn(|cx| client.poll_ready(cx)).soon().await;
    assert!(ended.soon().await.expect("no panic").is_err());
    assert_eq!(proxy.client().await.get("/").await.status, 204);
}

#[tokio::test]
async fn an_early_response_disturbs_neither_its_upload_nor_other_streams() {
    let backend = Backend::script(|mut exchange| async move {
        let head = exchange.request().await.expect("a request");
        if head.starts_with("POST") {
            return exchange
                .send("HTTP/1.1 429 Too Many\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
                .await;
        }
        exchange.send(STREAM_HEAD).await;
        loop {
            exchange.send(chunk("data: 1\n\n")).await;
            exchange.wait().await;
        }
    })
    .await;
    let proxy = Sidestream::in_front_of(&backend).await;
    let client = connect(&proxy, 65535).await;
    let mut stream = get(&client, "/stream").await;
    for _ in 0..40 {
        let mut client = client.clone().ready().soon().await.expect("a connection");
        let request = http::Request::post("http://test/early").body(()).expect("a request");
        let (response, mut upload) = client.send_request(request, false).expect("a connection");
        assert_eq!(response.soon().await.expect("a response").status(), 429);
        // Together more stray frames than h2 tolerates before it closes a connection.
        for _ in 0..40 {
            upload.send_data(Bytes::from_static(b"late"), false).expect("a stream that takes it");
        }
        upload.send_data(Bytes::new(), true).expect("a stream that takes it");
        next(&mut stream).await;
        backend.go_on();
    }
}
