//! Backends over HTTP/2: uploads wait for the flow-control window, any request of HTTP/1.1 can be expressed, and
//! invalid answers are told apart.

use http::Response;

use crate::kit::{Backend, Connection, Sidestream};

/// The header of a frame (RFC 9113, 4.1), in bytes.
const FRAME_HEADER: usize = 9;

/// The type of a HEADERS frame (RFC 9113, 6.2).
const HEADERS: u8 = 1;

async fn refusal(server: &str) -> (u16, String) {
    let proxy = Sidestream::before(server).start().await;
    let mut client = proxy.client().await;
    client.send_get("/").await;
    client.refusal().await
}

#[tokio::test]
async fn an_upload_larger_than_the_window_arrives_whole() {
    let backend = Backend::script_http2(|mut exchange| async move {
        let head = Response::builder().header("x-length", exchange.body().await.len());
        exchange.respond.send_response(head.body(()).expect("a head"), true).expect("a stream");
    })
    .await;
    let proxy = Sidestream::with(&backend, "").await;
    let mut client = proxy.client().await;
    let body = "x".repeat(1 << 20);
    client.send(format!("POST / HTTP/1.1\r\nHost: test\r\nContent-Length: {}\r\n\r\n", body.len())).await;
    client.send(body).await;
    assert_eq!(client.response().await.field("x-length"), Some("1048576"));
}

#[tokio::test]
async fn an_early_answer_ends_an_upload_that_waits_for_the_window() {
    const WINDOW: usize = 65_535;
    let backend = Backend::script_http2(|mut exchange| async move {
        let mut read = 0;
        // Without released capacity, the backend gets no more than the first window.
        while read < WINDOW {
            read += exchange.request.body_mut().data().await.expect("more").expect("a frame").len();
        }
        let head = Response::builder().status(413).body(()).expect("a head");
        // h2 then resets the stream with NO_ERROR, because the request has not ended (RFC 9113, 8.1).
        exchange.respond.send_response(head, true).expect("a stream");
    })
    .await;
    let proxy = Sidestream::with(&backend, "").await;
    let mut client = proxy.client().await;
    client.send("POST / HTTP/1.1\r\nHost: test\r\nContent-Length: 150000\r\n\r\n").await;
    client.send("x".repeat(150_000)).await;
    assert_eq!(client.response().await.status, 413);
}

#[tokio::test]
async fn unusual_targets_and_hosts_of_http1_reach_the_backend() {
    let backend = Backend::script_http2(|mut exchange| async move {
        let uri = &exchange.request.uri();
        let path = uri.path_and_query().map_or("", |path| path.as_str());
        let host = uri.authority().map_or("", |authority| authority.as_str());
        let head = Response::builder().header("x-path", path).header("x-host", host);
        exchange.respond.send_response(head.body(()).expect("a head"), true).expect("a stream");
    })
    .await;
    let own = backend.address.to_string();
    let proxy = Sidestream::with(&backend, "").await;
    for (line, host, path, seen_host) in [
        (&b"GET /v1?a=%3C&b={}|[] HTTP/1.1"[..], Some("test"), "/v1?a=%3C&b={}|[]", "test"),
        // Bytes that no URI has are percent-encoded (RFC 3986, 2.1).
        (b"GET /<a>?q=\"<b>\" HTTP/1.1", Some("test"), "/%3Ca%3E?q=%22%3Cb%3E%22", "test"),
        (b"GET /caf\xe9/%zz HTTP/1.1", Some("test"), "/caf%E9/%zz", "test"),
        (b"OPTIONS * HTTP/1.1", Some("test"), "*", "test"),
        (b"GET //a HTTP/1.1", Some("[::1]:80"), "//a", "[::1]:80"),
        (b"GET / HTTP/1.1", Some("a_b-c:"), "/", "a_b-c:"),
        // A client that names no host asks for the server itself.
        (b"GET / HTTP/1.1", Some(""), "/", &own),
        (b"GET / HTTP/1.0", None, "/", &own),
    ] {
        let host = host.map_or_else(String::new, |host| format!("Host: {host}\r\n"));
        let mut client = proxy.client().await;
        client.send([line, b"\r\n", host.as_bytes(), b"\r\n"].concat()).await;
        let response = client.response().await;
        let line = String::from_utf8_lossy(line);
        assert_eq!(response.status, 200, "{line} {host}");
        assert_eq!(
            (response.field("x-path"), response.field("x-host")),
            (Some(path), Some(seen_host)),
            "{line}"
        );
    }
}

/// Reads the connection preface, and frames up to the head of a request.
async fn reads_request(connection: &mut Connection) {
    connection.until(b"\r\n\r\nSM\r\n\r\n").await.expect("a preface");
    loop {
        let header = connection.exactly(FRAME_HEADER).await.expect("a frame");
        let length = usize::from(header[1]) << 8 | usize::from(header[2]);
        connection.exactly(length).await.expect("a frame");
        if header[3] == HEADERS {
            return;
        }
    }
}

#[tokio::test]
async fn an_invalid_answer_is_a_502() {
    let backend = Backend::script(|mut exchange| async move {
        // Empty SETTINGS.
        exchange.send([0, 0, 0, 4, 0, 0, 0, 0, 0]).await;
        reads_request(&mut exchange.connection).await;
        // A head with index 0, which does not exist (RFC 7541, 6.1).
        exchange.send([0, 0, 1, HEADERS, 5, 0, 0, 0, 1, 0x80]).await;
        exchange.closed().await;
    })
    .await;
    assert_eq!(
        refusal(&format!("h2://{}", backend.address)).await,
        (502, "upstream_invalid".to_owned()),
        "not HPACK"
    );

    let backend = Backend::script_http2(|mut exchange| async move {
        let head = Response::builder().header("content-length", "5").header("content-length", "6");
        let head = head.body(()).expect("a head");
        let mut stream = exchange.respond.send_response(head, false).expect("a stream");
        exchange.reset(Some(&mut stream)).await;
    })
    .await;
    assert_eq!(refusal(&backend.url).await, (502, "upstream_invalid".to_owned()), "two lengths");
}
