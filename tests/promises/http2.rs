//! HTTP/2: streams of one connection do not disturb each other, and frames hold whole events.

use std::future::poll_fn;
use std::sync::Arc;

use bytes::Bytes;

use crate::kit::{
    Authority, Backend, Edge, LAST_CHUNK, STREAM_HEAD, Sidestream, Step, Transport, Within, chunk,
    stream_begun, stream_of,
};

/// A client with settings of its own.
async fn connect(proxy: &Sidestream, window: u32) -> h2::client::SendRequest<Bytes> {
    let tcp = proxy.client().await.into_io();
    let mut settings = h2::client::Builder::new();
    settings.initial_window_size(window).initial_connection_window_size(1 << 20);
    let (client, connection) = settings.handshake(tcp).await.expect("a handshake");
    tokio::spawn(connection);
    client
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
    // h2 refuses to read a body shorter than Content-Length, and an empty DATA frame is one.
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
async fn a_reset_cancels_its_own_stream_and_no_other() {
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
        // It goes on, and so does its connection.
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
async fn a_stalled_stream_holds_up_no_other() {
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
    // Nobody reads these.
    let mut stalled = Vec::new();
    for _ in 0..10 {
        stalled.push(get(&client, "/flood").await);
    }
    for _ in 0..20 {
        assert_eq!(next(&mut get(&client, "/").await).await, "data: 1\n\n");
    }
    // Each has what its window takes, and is read on when it is.
    for mut stream in stalled {
        let mut length = 0;
        while length < 200_000 {
            length += next(&mut stream).await.len();
        }
    }
}

#[tokio::test]
async fn an_upload_that_is_not_read_holds_up_no_other() {
    let mut backend = Backend::script(|mut exchange| async move {
        let head = exchange.request().await.expect("a request");
        if head.starts_with("POST /stuck") {
            // It reads nothing of the body.
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
            // As much as is taken, and more.
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
async fn frames_hold_whole_events_however_many_are_there() {
    let event = format!("data: {}\r\n\r\n", "x".repeat(993));
    let events = event.repeat(500);
    let backend = Backend::that_answers(stream_of(&events)).await;
    let proxy = Sidestream::in_front_of(&backend).await;
    // A window that many a frame does not fit at first.
    let mut stream = get(&connect(&proxy, 40_000).await, "/").await;
    let (mut received, mut frames) = (Vec::new(), 0);
    while let Some(data) = stream.data().soon().await {
        let data = data.expect("a frame");
        assert!(data.is_empty() || data.ends_with(b"\r\n\r\n"), "a torn event of {} bytes", data.len());
        let _ = stream.flow_control().release_capacity(data.len());
        frames += 1;
        received.extend_from_slice(&data);
    }
    assert!(received == events.as_bytes());
    assert!(frames < 50, "{frames} frames");
}

#[tokio::test]
async fn an_event_that_no_window_takes_arrives_all_the_same() {
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
async fn a_client_whose_window_stays_shut_is_cut_after_write_timeout() {
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
async fn a_request_becomes_one_of_http1() {
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
async fn an_upload_that_ends_in_an_empty_frame_ends_once() {
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
async fn streams_share_an_upstream_connection_and_cancel_alone() {
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
async fn a_request_that_the_backend_has_not_looked_at_is_sent_again() {
    // It refuses every stream but the first of each connection.
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
async fn a_backend_that_takes_one_stream_a_connection_gets_several_connections() {
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
async fn an_idle_connection_is_closed_with_a_word() {
    let backend = Backend::that_answers("HTTP/1.1 204 No Content\r\n\r\n").await;
    let proxy = Sidestream::before(&backend.url).listener("keepalive_timeout: 100ms").start().await;
    let tcp = proxy.client().await.into_io();
    let (client, connection) = h2::client::handshake(tcp).await.expect("a handshake");
    let ended = tokio::spawn(connection);
    drop(get(&client, "/").await);
    ended.soon().await.expect("no panic").expect("GOAWAY without an error");
}

#[tokio::test]
async fn a_stream_that_runs_keeps_its_connection_when_the_process_stops() {
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
    // Nobody is let in any more, but what runs does.
    backend.go_on();
    assert_eq!(exchange.pieces().await, Ok(vec![b"data: 2\n\n".to_vec()]));
    stopped.soon().await.expect("an end");
}

#[tokio::test]
async fn connections_without_http2_are_served_http1_only() {
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
async fn an_answer_that_comes_before_the_end_of_its_request_disturbs_neither_it_nor_other_streams() {
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
        // As many frames as a connection would be closed for, were each of them one too many.
        for _ in 0..40 {
            upload.send_data(Bytes::from_static(b"late"), false).expect("a stream that takes it");
        }
        upload.send_data(Bytes::new(), true).expect("a stream that takes it");
        next(&mut stream).await;
        backend.go_on();
    }
}
