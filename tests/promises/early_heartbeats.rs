//! `early_heartbeat`: a stream begins before the backend answers, and the later response becomes part of it.

use serde_json::Value;

use crate::kit::{
    Backend, Client, LAST_CHUNK, STREAM_HEAD, Sidestream, Unreachable, Within, chunk, http2_with_window,
    stream_of,
};

const HEARTBEAT: &[u8] = b": heartbeat\n";
const EARLY: &str = "early_heartbeat: 100ms, heartbeat: 100ms";

/// A backend that sends this response when the test calls `go_on`.
async fn that_takes_its_time(response: impl Into<Vec<u8>>) -> Backend {
    let response = response.into();
    Backend::script(move |mut exchange| {
        let response = response.clone();
        async move {
            while exchange.request().await.is_some() {
                exchange.wait().await;
                exchange.send(&response).await;
            }
        }
    })
    .await
}

async fn ask(proxy: &Sidestream) -> Client {
    let mut client = proxy.client().await;
    let fields = "Host: test\r\nAccept: text/event-stream\r\nContent-Length: 0";
    client.send(format!("POST /v1/chat/completions HTTP/1.1\r\n{fields}\r\n\r\n")).await;
    client
}

/// Reads the response head and two heartbeats.
async fn begins(client: &mut Client) {
    let response = client.response().await;
    assert_eq!(response.status, 200);
    assert_eq!(response.field("content-type"), Some("text/event-stream"));
    assert_eq!(response.field("cache-control"), Some("no-cache, no-transform"));
    assert_eq!(client.chunk().await.as_deref(), Some(HEARTBEAT));
    assert_eq!(client.chunk().await.as_deref(), Some(HEARTBEAT));
}

/// Reads the rest of the stream, skipping heartbeats.
async fn rest(client: &mut Client) -> String {
    let stream = client.text().await;
    let heartbeat = String::from_utf8_lossy(HEARTBEAT);
    stream.trim_start_matches(&*heartbeat).to_owned()
}

/// Requests a stream, lets the backend answer after it has begun, and reads what follows the heartbeats.
async fn answered(proxy: &Sidestream, backend: &Backend) -> String {
    let mut client = ask(proxy).await;
    begins(&mut client).await;
    backend.go_on();
    rest(&mut client).await
}

/// Like [`answered`], but the backend does not answer.
async fn unanswered(proxy: &Sidestream) -> String {
    let mut client = ask(proxy).await;
    begins(&mut client).await;
    rest(&mut client).await
}

/// The data of the single error event in the stream.
fn error(stream: &str) -> Value {
    let data = stream.strip_prefix("event: error\ndata: ").and_then(|rest| rest.strip_suffix("\n\n"));
    serde_json::from_str(data.unwrap_or_else(|| panic!("one error event: {stream}"))).expect("JSON")
}

#[tokio::test]
async fn heartbeats_precede_the_response_head_and_the_stream_follows() {
    let stream = stream_of("id: 1\ndata: a\n\n");
    let backend = that_takes_its_time(stream).await;
    let proxy = Sidestream::with(&backend, EARLY).await;
    assert_eq!(answered(&proxy, &backend).await, "id: 1\ndata: a\n\n");
    proxy
        .reaches("sidestream_time_to_first_event_seconds_count{model=\"other\",route=\"default\"}", 1.0)
        .await;
    assert!(proxy.metric("sidestream_heartbeats_total{route=\"default\"}").await >= 2.0);
    assert!(
        proxy.metric("sidestream_time_to_first_event_seconds_sum{model=\"other\",route=\"default\"}").await
            >= 0.2
    );
}

#[tokio::test]
async fn a_later_error_status_becomes_an_error_event_that_keeps_it() {
    for (status, class) in [
        ("429 Too Many Requests", "rate_limit_error"),
        ("500 Oops", "api_error"),
        ("401 No", "authentication_error"),
        ("403 No", "permission_error"),
        ("404 No", "not_found_error"),
        ("413 Large", "request_too_large"),
    ] {
        let response =
            format!("HTTP/1.1 {status}\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{{}}");
        let backend = that_takes_its_time(response).await;
        let proxy = Sidestream::with(&backend, EARLY).await;
        let error = error(&answered(&proxy, &backend).await);
        assert_eq!(error["code"], format!("upstream_status_{}", &status[..3]));
        assert_eq!((&error["error"]["type"], &error["error"]["message"]), (&class.into(), &error["message"]));
        proxy.reaches("sidestream_error_events_total{code=\"upstream_status\",route=\"default\"}", 1.0).await;
        proxy.reaches("sidestream_streams_total{outcome=\"upstream_error\",route=\"default\"}", 1.0).await;
        proxy.reaches("sidestream_requests_total{route=\"default\",status=\"200\"}", 1.0).await;
    }
}

#[tokio::test]
async fn a_backend_that_fails_after_early_heartbeats_leads_to_an_error_event() {
    let backend = that_takes_its_time("this is no HTTP\r\n\r\n").await;
    let proxy = Sidestream::with(&backend, EARLY).await;
    assert_eq!(error(&answered(&proxy, &backend).await)["code"], "upstream_invalid");

    let backend = Backend::that_never_answers().await;
    let proxy = Sidestream::with(&backend, &format!("{EARLY}, first_event_timeout: 2s")).await;
    assert_eq!(error(&unanswered(&proxy).await)["code"], "first_event_timeout");

    let unreachable = Unreachable::new().await;
    let setup = Sidestream::before(format!("http://{}", unreachable.address));
    let proxy = setup.upstream("connect_timeout: 350ms").stream(EARLY).start().await;
    assert_eq!(error(&unanswered(&proxy).await)["code"], "upstream_connect_timeout");
}

#[tokio::test]
async fn a_json_answer_becomes_an_event() {
    let response =
        "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 12\r\n\r\n{\r\n \"id\": 1}";
    let backend = that_takes_its_time(response).await;
    let proxy = Sidestream::with(&backend, EARLY).await;
    assert_eq!(answered(&proxy, &backend).await, "data: {\ndata:  \"id\": 1}\n\n");
}

#[tokio::test]
async fn the_body_of_a_request_can_ask_for_a_stream() {
    let backend = that_takes_its_time([STREAM_HEAD, LAST_CHUNK].concat()).await;
    let proxy = Sidestream::with(&backend, EARLY).await;
    let body = r#"{"stream":true}"#;
    let mut client = proxy.client().await;
    client.send(format!("POST / HTTP/1.1\r\nHost: t\r\nContent-Length: {}\r\n\r\n{body}", body.len())).await;
    begins(&mut client).await;
    backend.go_on();
    assert_eq!(rest(&mut client).await, "");
}

#[tokio::test]
async fn other_requests_keep_their_status() {
    let backend = that_takes_its_time("HTTP/1.1 429 Slow Down\r\nContent-Length: 0\r\n\r\n").await;
    let proxy = Sidestream::with(&backend, EARLY).await;
    let mut clients = Vec::new();
    for (path, body) in [
        ("/", r#"{"stream":false}"#),
        ("/", r#"{"prompt":"\"stream\":true"}"#),
        // Ollama's clients expect JSON lines.
        ("/api/chat", r#"{"stream":true}"#),
    ] {
        let mut client = proxy.client().await;
        let length = body.len();
        client
            .send(format!("POST {path} HTTP/1.1\r\nHost: t\r\nContent-Length: {length}\r\n\r\n{body}"))
            .await;
        clients.push(client);
    }
    // By the time a later stream has received its heartbeats, these requests would have received theirs.
    begins(&mut ask(&proxy).await).await;
    for client in &mut clients {
        backend.go_on();
        assert_eq!(client.response().await.status, 429);
    }
    // A backend that answers in time keeps its status.
    let backend = Backend::that_answers("HTTP/1.1 429 Slow Down\r\nContent-Length: 0\r\n\r\n").await;
    let proxy = Sidestream::with(&backend, "early_heartbeat: 20s").await;
    assert_eq!(ask(&proxy).await.response().await.status, 429);
}

#[tokio::test]
async fn a_client_that_leaves_after_an_early_heartbeat_frees_the_backend() {
    let mut backend = Backend::that_never_answers().await;
    let proxy = Sidestream::with(&backend, EARLY).await;
    let mut client = ask(&proxy).await;
    assert_eq!(client.response().await.status, 200);
    assert_eq!(client.chunk().await.as_deref(), Some(HEARTBEAT));
    drop(client);
    backend.saw_close().await;
    proxy.reaches("sidestream_streams_total{outcome=\"client_gone\",route=\"default\"}", 1.0).await;
}

#[tokio::test]
async fn json_lines_become_events() {
    let lines = chunk("{\"a\":1}\n{\"a\":2}\n");
    let head = "HTTP/1.1 200 OK\r\nContent-Type: application/x-ndjson\r\nTransfer-Encoding: chunked\r\n\r\n";
    let backend = that_takes_its_time([head.as_bytes(), &lines, LAST_CHUNK.as_bytes()].concat()).await;
    let proxy = Sidestream::with(&backend, EARLY).await;
    assert_eq!(answered(&proxy, &backend).await, "data: {\"a\":1}\n\ndata: {\"a\":2}\n\n");
}

#[tokio::test]
async fn an_answer_that_cannot_become_events_leads_to_an_error_event() {
    for field in ["Content-Type: text/html", "Content-Type: text/event-stream\r\nContent-Encoding: compress"]
    {
        let backend =
            that_takes_its_time(format!("HTTP/1.1 200 OK\r\n{field}\r\nContent-Length: 2\r\n\r\nhi")).await;
        let proxy = Sidestream::with(&backend, EARLY).await;
        assert_eq!(error(&answered(&proxy, &backend).await)["code"], "upstream_invalid", "{field}");
    }
}

/// Requests a stream over HTTP/2 with a window of no byte. Returns how the response was reset.
async fn accepts_nothing(proxy: &Sidestream) -> Option<h2::Reason> {
    let mut client = http2_with_window(proxy.client().await.into_io(), 0).await;
    let request = http::Request::post("http://test/").header("accept", "text/event-stream");
    let (response, _) = client.send_request(request.body(()).expect("a request"), true).expect("sent");
    let mut stream = response.soon().await.expect("a head").into_body();
    stream.data().soon().await.expect("no clean end").expect_err("a reset").reason()
}

#[tokio::test]
async fn a_client_that_accepts_no_heartbeat_is_disconnected_in_every_phase() {
    const KEYS: &str = "early_heartbeat: 50ms, heartbeat: 50ms, write_timeout: 100ms";
    let slow = "sidestream_streams_total{outcome=\"slow_reader\",route=\"default\"}";

    let unreachable = Unreachable::new().await;
    let setup = Sidestream::before(format!("http://{}", unreachable.address)).stream(KEYS);
    let proxy = setup.upstream("connect_timeout: 1m").start().await;
    assert_eq!(accepts_nothing(&proxy).await, Some(h2::Reason::CANCEL), "while connecting");
    proxy.reaches(slow, 1.0).await;

    let mut backend = Backend::that_never_answers().await;
    let proxy = Sidestream::with(&backend, KEYS).await;
    assert_eq!(accepts_nothing(&proxy).await, Some(h2::Reason::CANCEL), "in prefill");
    backend.saw_close().await;
    proxy.reaches(slow, 1.0).await;

    let setup = Sidestream::before(&backend.url).upstream("max_streams: 1, queue: { size: 1 }");
    let proxy = setup.stream(KEYS).start().await;
    let mut running = proxy.client().await;
    running.send_get("/").await;
    backend.saw_request().await;
    assert_eq!(accepts_nothing(&proxy).await, Some(h2::Reason::CANCEL), "in the queue");
    proxy.reaches(slow, 1.0).await;
}
