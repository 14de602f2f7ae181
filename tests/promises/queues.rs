//! `max_streams` and `queue`: a server carries no more streams than it may, and who comes then waits or is told when to come back.

use std::collections::HashMap;
use std::sync::Arc;

use rustix::process::Signal;
use serde_json::Value;

use crate::kit::{
    Authority, Backend, Client, LAST_CHUNK, Process, Sidestream, Step, Transport, Within, log_lines,
    stream_begun, until,
};

const ONE: &str = "max_streams: 1, queue: { size: 3 }";
const QUEUED: &str = r#"sidestream_queue_length{upstream="llm"}"#;

/// Answers each request with a stream that names it, and ends when it is told to.
async fn that_streams() -> Backend {
    Backend::script(|mut exchange| async move {
        while let Some(head) = exchange.request().await {
            let path = head.split(' ').nth(1).unwrap_or_default().to_owned();
            exchange.send(stream_begun(format!("data: {path}\n\n"))).await;
            exchange.wait().await;
            exchange.send(LAST_CHUNK).await;
        }
    })
    .await
}

fn slots(backend: &Backend) -> String {
    format!("sidestream_server_streams_active{{server=\"{}\",upstream=\"llm\"}}", backend.url)
}

/// Begins a request that is not answered yet.
async fn asks(proxy: &Sidestream, path: &str) -> Client {
    let mut client = proxy.client().await;
    client.send_get(path).await;
    client
}

/// Begins one that waits in the queue as this one.
async fn waits(proxy: &Sidestream, path: &str, number: f64) -> Client {
    let client = asks(proxy, path).await;
    proxy.reaches(QUEUED, number).await;
    client
}

async fn streams(proxy: &Sidestream, path: &str) -> Client {
    let mut client = asks(proxy, path).await;
    assert_eq!(client.response().await.status, 200);
    client.chunk().await;
    client
}

#[tokio::test]
async fn who_waits_is_served_in_the_order_of_coming() {
    let backend = that_streams().await;
    let proxy = Sidestream::before(&backend.url).upstream(ONE).start().await;
    let mut running = streams(&proxy, "/0").await;
    let mut waiting = Vec::new();
    for number in 1..=3 {
        waiting.push(waits(&proxy, &format!("/{number}"), f64::from(number)).await);
    }
    for (number, mut client) in (1..).zip(waiting) {
        backend.go_on();
        running.chunks().await;
        assert_eq!(client.response().await.status, 200);
        assert_eq!(client.chunk().await, Some(format!("data: /{number}\n\n").into_bytes()));
        assert_eq!(proxy.metric(&slots(&backend)).await, 1.0);
        running = client;
    }
    backend.go_on();
    running.chunks().await;
    proxy.reaches(&slots(&backend), 0.0).await;
    let served = r#"sidestream_queue_seconds_count{outcome="served",upstream="llm"}"#;
    assert_eq!(proxy.metric(served).await, 3.0);
}

#[tokio::test]
async fn who_finds_the_queue_full_is_told_when_to_come_back() {
    let backend = that_streams().await;
    for keys in ["max_streams: 1, queue: { size: 1 }", "max_streams: 1"] {
        let proxy = Sidestream::before(&backend.url).upstream(keys).start().await;
        let _running = streams(&proxy, "/").await;
        let _waiting = if keys.contains("queue") { Some(waits(&proxy, "/", 1.0).await) } else { None };
        let mut client = asks(&proxy, "/").await;
        let response = client.response().await;
        assert_eq!(response.status, 503);
        let after: u32 = response.field("retry-after").and_then(|after| after.parse().ok()).expect("seconds");
        assert!((1..=60).contains(&after), "{after}");
        let body = String::from_utf8(client.body_of(&response).await).expect("UTF-8");
        assert!(body.contains(r#""code":"queue_full""#), "{body}");
        assert!(!body.contains("wait"), "there may be no queue: {body}");
        let rejected = r#"sidestream_queue_rejected_total{reason="full",upstream="llm"}"#;
        assert_eq!(proxy.metric(rejected).await, 1.0);
    }
}

#[tokio::test]
async fn who_waits_for_too_long_is_told_so() {
    let backend = that_streams().await;
    let folder = tempfile::TempDir::new().expect("a folder");
    let log = folder.path().join("access.log");
    let keys = "max_streams: 1, queue: { size: 1, timeout: 200ms }";
    let proxy = Sidestream::before(&backend.url).upstream(keys).access_log(&log).start().await;
    let _running = streams(&proxy, "/").await;
    assert_eq!(asks(&proxy, "/").await.refusal().await, (503, "queue_timeout".to_owned()));
    let lines = log_lines(&log, 1).await;
    assert!(lines[0]["queue_time"].as_f64().is_some_and(|waited| waited >= 0.2), "{}", lines[0]);
    assert_eq!((&lines[0]["outcome"], &lines[0]["error.cause"]), (&"shed".into(), &Value::Null));
    assert_eq!(lines[0]["upstream.attempts"], 0);
}

#[tokio::test]
async fn a_client_that_leaves_the_queue_is_gone_from_it() {
    let mut backend = that_streams().await;
    let proxy = Sidestream::before(&backend.url).upstream(ONE).start().await;
    let _running = streams(&proxy, "/running").await;
    backend.saw_request().await;
    let large =
        format!("POST / HTTP/1.1\r\nHost: test\r\nContent-Length: 300000\r\n\r\n{}", "x".repeat(100_000));
    for request in [
        "GET / HTTP/1.1\r\nHost: test\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: test\r\nContent-Length: 2\r\n\r\n{}",
        &large,
    ] {
        for leaves in [drop::<Client>, Client::reset] {
            let mut client = proxy.client().await;
            client.send(request).await;
            proxy.reaches(QUEUED, 1.0).await;
            leaves(client);
            proxy.reaches(QUEUED, 0.0).await;
        }
    }
    let gone = r#"sidestream_cancel_propagation_seconds_count{phase="queued"}"#;
    proxy.reaches(gone, 6.0).await;
    // None of them has come to the backend, and the next one does.
    let mut client = waits(&proxy, "/next", 1.0).await;
    backend.go_on();
    client.response().await;
    assert!(backend.saw_request().await.starts_with("GET /next"));
}

#[tokio::test]
async fn a_body_that_was_not_read_in_the_queue_arrives_whole() {
    let backend = Backend::script(|mut exchange| async move {
        while let Some(head) = exchange.request().await {
            let body = exchange.connection.body_of(&head).await.expect("a whole body");
            exchange.wait().await;
            let length = body.len().to_string();
            exchange
                .send(format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{length}", length.len()))
                .await;
        }
    })
    .await;
    let proxy = Sidestream::before(&backend.url).upstream(ONE).start().await;
    let mut first = asks(&proxy, "/").await;
    proxy.reaches(&slots(&backend), 1.0).await;
    let mut second = proxy.client().await;
    second.send("POST / HTTP/1.1\r\nHost: test\r\nContent-Length: 500000\r\n\r\n").await;
    proxy.reaches(QUEUED, 1.0).await;
    let sending = async {
        for _ in 0..50 {
            second.send("x".repeat(10_000)).await;
        }
        second
    };
    let sending = tokio::spawn(sending);
    backend.go_on();
    assert_eq!(first.response().await.status, 200);
    let mut second = sending.await.expect("no panic");
    backend.go_on();
    let response = second.response().await;
    assert_eq!(second.body_of(&response).await, b"500000");
}

/// Answers its first request with this as soon as it is told to, and all others at once and well.
async fn that_begins_badly(status: &'static str) -> Backend {
    Backend::script(move |mut exchange| async move {
        let mut is_first = exchange.number == 0;
        while exchange.request().await.is_some() {
            let status = if is_first { status } else { "200 OK" };
            if std::mem::take(&mut is_first) {
                exchange.wait().await;
            }
            exchange.send(format!("HTTP/1.1 {status}\r\nContent-Length: 0\r\n\r\n")).await;
        }
    })
    .await
}

#[tokio::test]
async fn an_answer_in_hand_does_not_wait_for_the_slot_of_another_server() {
    for (status, on) in [
        ("429 Too Many Requests", "429"),
        ("503 Service Unavailable", "503"),
        ("500 Internal Server Error", "5xx"),
    ] {
        let backends = [that_begins_badly(status).await, that_begins_badly(status).await];
        let keys = format!("max_streams: 1, queue: {{ size: 9, timeout: 1h }}, failover: {{ on: ['{on}'] }}");
        let proxy = Sidestream::before_all(&backends).upstream(keys).start().await;
        let first = [asks(&proxy, "/").await, asks(&proxy, "/").await];
        for backend in &backends {
            proxy.reaches(&slots(backend), 1.0).await;
        }
        let mut waiting = Vec::new();
        for number in 1..=6 {
            waiting.push(waits(&proxy, "/", f64::from(number)).await);
        }
        backends.iter().for_each(Backend::go_on);
        for mut client in first {
            assert!(status.starts_with(&client.response().await.status.to_string()), "{status}");
        }
        for mut client in waiting {
            assert_eq!(client.response().await.status, 200, "{status}");
        }
    }
}

#[tokio::test]
async fn a_websocket_and_an_answer_that_is_read_on_hold_their_slots() {
    let backend = Backend::that_echoes().await;
    let proxy = Sidestream::before(&backend.url).upstream(ONE).start().await;
    let socket = proxy.websocket().await;
    let _waiting = waits(&proxy, "/", 1.0).await;
    drop(socket);
    proxy.reaches(QUEUED, 0.0).await;

    let backend = that_streams().await;
    let setup = Sidestream::before(&backend.url).upstream(ONE).stream("on_disconnect: drain");
    let proxy = setup.start().await;
    drop(streams(&proxy, "/").await);
    let mut waiting = waits(&proxy, "/", 1.0).await;
    backend.go_on();
    assert_eq!(waiting.response().await.status, 200);
}

#[tokio::test]
async fn who_waits_is_told_at_the_end_of_the_process() {
    let backend = that_streams().await;
    let mut process = Process::in_front_of(&backend, "").await;
    process.configure_upstream(&backend, ONE);
    process.signal(Signal::HUP);
    process.logs("was read again").await;
    let mut running = process.client().await;
    running.get("/").await;
    running.chunk().await;
    let mut waiting = process.client().await;
    waiting.send_get("/").await;
    let admin = process.addresses[1];
    let is_queued = async || {
        let mut client = Client::connect(admin).await;
        let response = client.get("/metrics").await;
        let body = String::from_utf8(client.body_of(&response).await).expect("UTF-8");
        body.contains(&format!("{QUEUED} 1\n")).then_some(())
    };
    until(is_queued).soon().await;
    process.signal(Signal::TERM);
    assert_eq!(waiting.refusal().await, (503, "shutting_down".to_owned()));
    backend.go_on();
    running.chunks().await;
    assert!(process.ended().await.success());
}

#[tokio::test]
async fn who_waits_for_an_event_stream_is_told_the_place() {
    let backend = that_streams().await;
    let stream = "early_heartbeat: 50ms, heartbeat: 50ms";
    let proxy = Sidestream::before(&backend.url).upstream(ONE).stream(stream).start().await;
    let _running = streams(&proxy, "/").await;
    let _first = waits(&proxy, "/", 1.0).await;
    let mut second = proxy.client().await;
    let body = r#"{"stream":true}"#;
    let head = format!("POST / HTTP/1.1\r\nHost: test\r\nContent-Length: {}\r\n\r\n{body}", body.len());
    second.send(head).await;
    assert_eq!(second.response().await.status, 200);
    assert_eq!(second.chunk().await.as_deref(), Some(&b": queued 2\n"[..]));
    backend.go_on();
    let moved_up = async { while second.chunk().await.as_deref() != Some(b": queued 1\n") {} };
    moved_up.soon().await;
    backend.go_on();
    let served = async { while second.chunk().await.as_deref() != Some(b"data: /\n\n") {} };
    served.soon().await;
}

#[tokio::test]
async fn values_of_a_field_take_turns() {
    let backend = that_streams().await;
    let keys = "max_streams: 1, queue: { size: 9, fairness: 'header:x-tenant' }";
    let proxy = Sidestream::before(&backend.url).upstream(keys).start().await;
    let mut running = streams(&proxy, "/0").await;
    let mut waiting = HashMap::new();
    for (number, (path, tenant)) in
        (1..).zip([("/a1", "a"), ("/a2", "a"), ("/a3", "a"), ("/b1", "b"), ("/b2", "b")])
    {
        let mut client = proxy.client().await;
        client.send(format!("GET {path} HTTP/1.1\r\nHost: test\r\nX-Tenant: {tenant}\r\n\r\n")).await;
        proxy.reaches(QUEUED, f64::from(number)).await;
        waiting.insert(path, client);
    }
    for path in ["/a1", "/b1", "/a2", "/b2", "/a3"] {
        backend.go_on();
        running.chunks().await;
        let mut client = waiting.remove(path).expect("each once");
        client.response().await;
        assert_eq!(client.chunk().await, Some(format!("data: {path}\n\n").into_bytes()));
        running = client;
    }
}

#[tokio::test]
async fn a_stream_of_http2_holds_and_frees_a_slot_like_any_other() {
    let authority = Arc::new(Authority::new());
    const STEPS: &[Step] = &[Step::StreamHead, Step::Send(b"data: 1\n\n"), Step::SeeCancel];
    let mut backend = Backend::speaking(Transport::Http2, &authority, STEPS).await;
    let proxy = Sidestream::before(&backend.url).upstream("max_streams: 1, queue: { size: 2 }").start().await;
    for _ in 0..3 {
        let running = streams(&proxy, "/").await;
        let waiting = waits(&proxy, "/", 1.0).await;
        drop(waiting);
        proxy.reaches(QUEUED, 0.0).await;
        drop(running);
        backend.saw_close().await;
        proxy.reaches(&slots(&backend), 0.0).await;
    }
}

#[tokio::test]
async fn a_malformed_body_in_the_queue_is_rejected() {
    let backend = that_streams().await;
    // Early heartbeats need the start of the body, so it is read in the queue.
    let proxy = Sidestream::before(&backend.url).upstream(ONE).stream("early_heartbeat: 1m").start().await;
    let _running = streams(&proxy, "/").await;
    let mut client = proxy.client().await;
    client.send("POST / HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chunked\r\n\r\n").await;
    proxy.reaches(QUEUED, 1.0).await;
    client.send("no size\r\n").await;
    assert_eq!(client.refusal().await, (400, "malformed_body".to_owned()));
    proxy.reaches(QUEUED, 0.0).await;
}

/// A sidestream whose next request fails to connect and then waits for the other server, whose only slot is
/// taken by the returned client.
async fn where_the_other_server_is_busy(timeout: &str) -> (Sidestream, [Backend; 2], Client) {
    let backends = [Backend::that_is_down().await, that_streams().await];
    let keys = format!("max_streams: 1, queue: {{ size: 9, timeout: {timeout} }}, outlier_detection: off");
    let setup = Sidestream::before_all(&backends).upstream(format!("{keys}, connect_timeout: 200ms"));
    let proxy = setup.start().await;
    let running = streams(&proxy, "/").await;
    (proxy, backends, running)
}

#[tokio::test]
async fn the_failure_of_the_first_server_stands_if_no_other_one_is_free_in_time() {
    let (proxy, _backends, _running) = where_the_other_server_is_busy("200ms").await;
    let mut client = asks(&proxy, "/").await;
    assert_eq!(client.refusal().await, (502, "upstream_connect_failed".to_owned()));
}

#[tokio::test]
async fn a_request_that_waits_for_another_server_ends_with_its_client_or_the_process() {
    let (proxy, [_down, busy], mut running) = where_the_other_server_is_busy("1h").await;
    drop(waits(&proxy, "/", 1.0).await);
    proxy.reaches(QUEUED, 0.0).await;
    proxy.reaches(r#"sidestream_cancel_propagation_seconds_count{phase="queued"}"#, 1.0).await;
    let mut waiting = waits(&proxy, "/", 1.0).await;
    let stopped = proxy.stop();
    assert_eq!(waiting.refusal().await, (503, "shutting_down".to_owned()));
    busy.go_on();
    running.chunks().await;
    drop((running, waiting));
    stopped.soon().await.expect("a server that stops");
}
