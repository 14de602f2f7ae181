//! Every rejected request gets a JSON body with the reason, an access log line and a count.

use serde_json::Value;
use tempfile::TempDir;

use crate::kit::{Backend, Client, Sidestream, Within, http2, until};

const CHUNKED: &str = "POST / HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chunked\r\n\r\n";

/// Rejected requests, with the status and the code of the reply.
fn refused() -> Vec<(String, u16, &'static str)> {
    let long = "x".repeat(70_000);
    let head = |line: &str, fields: &str| format!("{line} HTTP/1.1\r\nHost: test\r\n{fields}\r\n");
    vec![
        (head("GET / x", ""), 400, "malformed_head"),
        (head("GET /\u{1}", ""), 400, "malformed_head"),
        (head("GET /", "X : y\r\n"), 400, "malformed_head"),
        (head("GET /", "Host: other\r\n"), 400, "malformed_head"),
        (head("GET /", "Connection: Upgrade, host\r\nUpgrade: websocket\r\n"), 400, "malformed_head"),
        ("\x16\x03\x01".to_owned(), 400, "malformed_head"),
        (format!("{CHUNKED}zz\r\n"), 400, "malformed_body"),
        (format!("{CHUNKED}5\r\nhello\n"), 400, "malformed_body"),
        (head("CONNECT test:443", ""), 405, "method_not_allowed"),
        ("GET / HTTP/1.1\r\nHost: te".to_owned(), 408, "header_timeout"),
        (head("POST /", "Content-Length: 2000\r\n"), 413, "body_too_large"),
        (format!("{CHUNKED}7d0\r\n{}\r\n", "x".repeat(2000)), 413, "body_too_large"),
        (head("POST /", "Content-Length: 10\r\n") + "hello", 408, "body_timeout"),
        (format!("GET /{long}"), 414, "target_too_long"),
        (head("GET /", &format!("X: {long}\r\n")), 431, "header_too_large"),
        (head("GET /", &"X: y\r\n".repeat(300)), 431, "header_too_large"),
        (head("POST /", "Transfer-Encoding: gzip, chunked\r\n"), 501, "unknown_transfer_coding"),
    ]
}

async fn proxy(backend: &Backend, folder: &TempDir) -> Sidestream {
    Sidestream::before(&backend.url)
        .listener("header_timeout: 300ms")
        .stream("first_event_timeout: 500ms")
        .access_log(&folder.path().join("access.log"))
        .more("limits: { max_request_body: 1KiB }")
        .start()
        .await
}

/// Waits for access log line `number`.
async fn line(folder: &TempDir, number: usize) -> Value {
    let look = async || {
        let log = std::fs::read_to_string(folder.path().join("access.log")).unwrap_or_default();
        let line = log.split_inclusive('\n').filter(|line| line.ends_with('\n')).nth(number)?;
        Some(serde_json::from_str(line).expect("JSON"))
    };
    until(look).soon().await
}

#[tokio::test]
async fn every_rejection_has_a_body_a_log_line_and_a_count_and_ends_its_connection() {
    let (backend, folder) = (Backend::that_never_answers().await, TempDir::new().expect("a folder"));
    let proxy = proxy(&backend, &folder).await;
    for (number, (request, status, code)) in refused().into_iter().enumerate() {
        let metric = |route| format!("sidestream_requests_total{{route=\"{route}\",status=\"{status}\"}}");
        let before = proxy.metric(&metric("none")).await + proxy.metric(&metric("default")).await;
        let mut client = proxy.client().await;
        // The reply may arrive before the request was sent completely.
        let _ = client.try_send(&request).await;
        let response = client.response().await;
        let shown = &request[..request.len().min(60)];
        assert_eq!(response.status, status, "{shown:?}");
        assert_eq!(
            (response.field("connection"), response.field("server")),
            (Some("close"), None),
            "{shown:?}"
        );
        let body: Value = serde_json::from_slice(&client.body_of(&response).await).expect("JSON");
        assert_eq!(body["error"]["code"], code, "{shown:?}");
        drop(client);
        let line = line(&folder, number).await;
        assert_eq!(line["http.response.status_code"], status, "{shown:?}: {line}");
        assert_eq!(
            (&line["kind"], &line["error.type"]),
            (&"refused".into(), &code.into()),
            "{shown:?}: {line}"
        );
        let after = proxy.metric(&metric("none")).await + proxy.metric(&metric("default")).await;
        assert_eq!(after, before + 1.0, "{shown:?}");
    }
}

#[tokio::test]
async fn a_rejection_over_http2_has_the_same_body() {
    let (backend, folder) = (Backend::that_never_answers().await, TempDir::new().expect("a folder"));
    let proxy = proxy(&backend, &folder).await;
    let client = http2(proxy.client().await.into_io()).await;
    for (number, (field, value, status, code)) in [
        ("host", "other".to_owned(), 400, "malformed_head"),
        ("content-length", "2000".to_owned(), 413, "body_too_large"),
        ("x", "x".repeat(70_000), 431, "header_too_large"),
    ]
    .into_iter()
    .enumerate()
    {
        let mut client = client.clone().ready().await.expect("a connection");
        let request = http::Request::post("http://test/").header(field, value).body(()).expect("a request");
        let (response, _body) = client.send_request(request, false).expect("a stream");
        let (head, mut body) = response.soon().await.expect("a response").into_parts();
        assert_eq!(head.status, status);
        let body = body.data().soon().await.expect("a body").expect("a frame");
        let body: Value = serde_json::from_slice(&body).expect("JSON");
        assert_eq!(body["error"]["code"], code);
        assert_eq!(line(&folder, number).await["error.type"], code);
    }
    assert_eq!(backend.connections(), 0);
}

#[tokio::test]
async fn the_admin_address_rejects_requests_in_the_same_way() {
    let backend = Backend::that_never_answers().await;
    let proxy = Sidestream::in_front_of(&backend).await;
    let mut client = Client::connect(proxy.admin).await;
    client.send("GET / x HTTP/1.1\r\nHost: test\r\n\r\n").await;
    let response = client.response().await;
    assert_eq!((response.status, response.field("server")), (400, None));
    assert!(String::from_utf8_lossy(&client.rest().await.expect("a close")).contains("malformed_head"));
}

#[tokio::test]
async fn a_request_with_max_forwards_0_is_answered_by_the_proxy() {
    let mut backend = Backend::that_answers("HTTP/1.1 204 No Content\r\n\r\n").await;
    let proxy = Sidestream::in_front_of(&backend).await;
    let mut client = proxy.client().await;
    client.send("TRACE /a HTTP/1.1\r\nHost: test\r\nMax-Forwards: 0\r\nAuthorization: secret\r\n\r\n").await;
    let response = client.response().await;
    assert_eq!((response.status, response.field("content-type")), (200, Some("message/http")));
    let shown = String::from_utf8(client.body_of(&response).await).expect("ASCII");
    assert_eq!(shown, "TRACE /a HTTP/1.1\r\nHost: test\r\nMax-Forwards: 0\r\n");
    client.send("OPTIONS * HTTP/1.1\r\nHost: test\r\nMax-Forwards: 0\r\n\r\n").await;
    assert_eq!(client.response().await.status, 200);
    assert_eq!(backend.connections(), 0);
    // With hops left, OPTIONS and TRACE decrement the value; other methods leave it unchanged.
    for (method, left) in [("OPTIONS", "4"), ("TRACE", "4"), ("GET", "5")] {
        client.send(format!("{method} / HTTP/1.1\r\nHost: test\r\nMax-Forwards: 5\r\n\r\n")).await;
        assert!(backend.saw_request().await.contains(&format!("Max-Forwards: {left}\r\n")), "{method}");
        assert_eq!(client.response().await.status, 204);
    }
}
