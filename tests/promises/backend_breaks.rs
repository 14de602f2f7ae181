//! A backend that breaks mid-stream leads to a typed error event after the last whole event, and the client
//! never sees a complete response. Before the response head, it leads to an error status.

use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::kit::{
    Backend, Client, Exchange, STREAM_HEAD, Sidestream, Within, chunk, head_length, stream_begun, stream_of,
};

const WHOLE: &str = concat!(
    "data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"one\"}}]}\n\n",
    "data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"two\"}}]}\n\n",
);
/// Events of no known dialect.
const UNKNOWN: &str = "data: one\n\ndata: two\n\n";

/// A backend that sends two whole events and half of one, and then runs `breaks`.
async fn that_breaks<F, Fut>(breaks: F) -> Backend
where
    F: Fn(Exchange) -> Fut + Send + Sync + Clone + 'static,
    Fut: Future<Output = ()> + Send + 'static,
{
    Backend::script(move |mut exchange| {
        let breaks = breaks.clone();
        async move {
            exchange.request().await;
            exchange.send(STREAM_HEAD).await;
            exchange.send(chunk(format!("{WHOLE}data: ha"))).await;
            breaks(exchange).await;
        }
    })
    .await
}

/// Reads a stream to its proper end. Returns the code of its error event.
async fn error_code(proxy: &Sidestream) -> String {
    let mut client = proxy.client().await;
    assert_eq!(client.get("/").await.status, 200);
    let code = error_event(&client.text().await);
    // After a proper end, the connection can carry another request.
    client.send_get("/").await;
    assert_eq!(client.response().await.status, 200);
    code
}

fn error_event(stream: &str) -> String {
    error_event_after(WHOLE, stream)
}

fn error_event_after(whole: &str, stream: &str) -> String {
    let event = stream.strip_prefix(whole).expect("the whole events first, and no partial event after them");
    let data = event.strip_prefix("event: error\ndata: ").expect("an error event");
    let data: Value = serde_json::from_str(data.strip_suffix("\n\n").expect("one event")).expect("JSON");
    assert_eq!(data["sequence_number"], 2);
    assert_eq!(data["code"], data["error"]["code"]);
    data["code"].as_str().expect("a code").to_owned()
}

#[tokio::test]
async fn a_reset_becomes_an_error_event() {
    let backend = that_breaks(|exchange| async move {
        exchange.wait().await;
        exchange.reset();
    })
    .await;
    let proxy = Sidestream::in_front_of(&backend).await;
    let mut client = proxy.client().await;
    client.get("/").await;
    assert_eq!(client.chunk().await.as_deref(), Some(WHOLE.as_bytes()));
    // A reset discards data in transit, so the test waits for the events before it.
    backend.go_on();
    assert_eq!(error_event_after("", &client.text().await), "upstream_reset");
    // After a proper end, the connection can carry another request.
    assert_eq!(client.get("/").await.status, 200);
    let series = "sidestream_error_events_total{code=\"upstream_reset\",route=\"default\"}";
    assert!(proxy.metric(series).await >= 1.0);
    let series = "sidestream_streams_total{outcome=\"upstream_reset\",route=\"default\"}";
    assert!(proxy.metric(series).await >= 1.0);
}

#[tokio::test]
async fn a_close_between_chunks_becomes_an_error_event() {
    let backend = that_breaks(|exchange| async { drop(exchange) }).await;
    let proxy = Sidestream::in_front_of(&backend).await;
    assert_eq!(error_code(&proxy).await, "upstream_closed");
}

#[tokio::test]
async fn a_close_inside_a_chunk_becomes_an_error_event() {
    let backend = that_breaks(|mut exchange| async move { exchange.send("ff\r\nlf\n\nda").await }).await;
    let proxy = Sidestream::in_front_of(&backend).await;
    let mut client = proxy.client().await;
    client.get("/").await;
    let stream = client.text().await.replace("data: half\n\n", "");
    assert!(stream.contains("\"code\":\"upstream_closed\""), "{stream}");
}

#[tokio::test]
async fn a_garbage_chunk_header_becomes_an_error_event() {
    let backend = that_breaks(|mut exchange| async move {
        exchange.send("this is no chunk size\r\n").await;
        exchange.closed().await;
    })
    .await;
    let proxy = Sidestream::in_front_of(&backend).await;
    assert_eq!(error_code(&proxy).await, "upstream_invalid");
}

#[tokio::test]
async fn a_short_content_length_becomes_an_error_event() {
    let backend = Backend::script(|mut exchange| async move {
        exchange.request().await;
        let head = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nContent-Length: 1000\r\n\r\n";
        exchange.send(format!("{head}{WHOLE}data: ha")).await;
    })
    .await;
    let proxy = Sidestream::in_front_of(&backend).await;
    assert_eq!(error_code(&proxy).await, "upstream_closed");
}

#[tokio::test]
async fn a_stall_becomes_an_error_event() {
    let mut backend = that_breaks(|mut exchange| async move { exchange.closed().await }).await;
    let proxy = Sidestream::with(&backend, "idle_timeout: 200ms").await;
    assert_eq!(error_code(&proxy).await, "idle_timeout");
    backend.saw_close().await;
}

#[tokio::test]
async fn events_read_together_with_the_break_precede_the_error_event() {
    // All in one packet: the events before the invalid data must not be lost.
    let backend = Backend::script(|mut exchange| async move {
        exchange.request().await;
        let body = [&chunk(WHOLE)[..], &chunk("data: ha"), b"garbage\r\n"].concat();
        exchange.send([STREAM_HEAD.as_bytes(), &body].concat()).await;
        exchange.closed().await;
    })
    .await;
    let proxy = Sidestream::in_front_of(&backend).await;
    assert_eq!(error_code(&proxy).await, "upstream_invalid");
}

#[tokio::test]
async fn an_http_1_0_client_gets_the_error_event_too() {
    let backend = that_breaks(|exchange| async { drop(exchange) }).await;
    let proxy = Sidestream::in_front_of(&backend).await;
    let mut client = proxy.client().await;
    client.send("GET / HTTP/1.0\r\n\r\n").await;
    client.response().await;
    let body = String::from_utf8(client.rest().await.expect("a clean end")).expect("UTF-8");
    assert_eq!(error_event(&body), "upstream_closed");
}

#[tokio::test]
async fn a_stream_of_unknown_dialect_ends_with_an_error_event_and_a_break() {
    let backend = Backend::script(|mut exchange| async move {
        exchange.request().await;
        exchange.send(STREAM_HEAD).await;
        exchange.send(chunk(format!("{UNKNOWN}data: ha"))).await;
    })
    .await;
    let proxy = Sidestream::in_front_of(&backend).await;
    let mut client = proxy.client().await;
    client.get("/").await;
    assert_eq!(error_event_after(UNKNOWN, &client.broken_text().await), "upstream_closed");

    // If the body ends with the connection, the break must be a reset. The error event arrives before it.
    let mut client = proxy.client().await;
    client.send("GET / HTTP/1.0\r\n\r\n").await;
    client.response().await;
    let body = client.until_reset().await;
    assert_eq!(error_event_after(UNKNOWN, &body), "upstream_closed");
}

#[tokio::test]
async fn with_error_events_off_the_connection_breaks_instead() {
    let backend = that_breaks(|exchange| async { drop(exchange) }).await;
    let proxy = Sidestream::with(&backend, "error_events: off").await;
    let mut client = proxy.client().await;
    client.get("/").await;
    assert_eq!(client.chunk().await.as_deref(), Some(WHOLE.as_bytes()));
    assert_eq!(client.chunk_or_end().await, Err("ended"));

    // If the body ends with the connection, the break must be a reset.
    let mut client = proxy.client().await;
    client.send("GET / HTTP/1.0\r\n\r\n").await;
    client.response().await;
    assert!(client.rest().await.is_err(), "a clean end would look like a complete response");
}

#[tokio::test]
async fn a_partly_sent_event_is_broken_off() {
    let backend = that_breaks(|exchange| async { drop(exchange) }).await;
    let proxy = Sidestream::with(&backend, "max_event_size: 4B").await;
    let mut client = proxy.client().await;
    client.get("/").await;
    assert_eq!(client.chunk().await, Some(format!("{WHOLE}data: ha").into_bytes()));
    assert_eq!(client.chunk_or_end().await, Err("ended"));
}

#[tokio::test]
async fn a_body_other_than_a_stream_is_broken_off() {
    let backend = Backend::script(|mut exchange| async move {
        exchange.request().await;
        exchange.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n").await;
    })
    .await;
    let proxy = Sidestream::in_front_of(&backend).await;
    let mut client = proxy.client().await;
    client.get("/").await;
    assert_eq!(client.chunk().await.as_deref(), Some(&b"half"[..]));
    assert_eq!(client.chunk_or_end().await, Err("ended"));
}

/// Sends a request. Returns the status and the error code of the local reply.
async fn refused(client: &mut Client) -> (u16, String) {
    client.send_get("/").await;
    client.refusal().await
}

#[tokio::test]
async fn before_the_header_a_broken_backend_is_a_502() {
    type Breaking = fn(Exchange) -> std::pin::Pin<Box<dyn Future<Output = ()> + Send>>;
    let cases: [(&str, Breaking); 3] = [
        ("upstream_closed", |exchange| Box::pin(async { drop(exchange) })),
        ("upstream_reset", |exchange| Box::pin(async { exchange.reset() })),
        ("upstream_invalid", |mut exchange| {
            Box::pin(async move {
                exchange.send("SSH-2.0-OpenSSH_9.2\r\n\r\n").await;
                exchange.closed().await;
            })
        }),
    ];
    for (code, breaks) in cases {
        let backend = Backend::script(move |mut exchange| async move {
            exchange.request().await;
            breaks(exchange).await;
        })
        .await;
        let proxy = Sidestream::in_front_of(&backend).await;
        let mut client = proxy.client().await;
        assert_eq!(refused(&mut client).await, (502, code.to_owned()));
        assert_eq!(
            refused(&mut client).await,
            (502, code.to_owned()),
            "the client's connection stays usable"
        );
    }
}

#[tokio::test]
async fn a_backend_that_cannot_be_reached_is_a_502() {
    let down = Backend::that_is_down().await;
    let proxy = Sidestream::in_front_of(&down).await;
    let mut client = proxy.client().await;
    assert_eq!(refused(&mut client).await, (502, "upstream_connect_failed".to_owned()));
}

#[tokio::test]
async fn a_backend_that_was_killed_serves_again_when_it_is_back() {
    let mut backend = Backend::that_begins(stream_begun(UNKNOWN)).await;
    let proxy = Sidestream::in_front_of(&backend).await;
    let mut client = proxy.client().await;
    client.get("/").await;
    client.chunk().await;
    backend.dies().await;
    let rest = client.broken_text().await;
    assert!(rest.contains("\"code\":\"upstream_"), "{rest}");
    backend.comes_back().await;
    assert_eq!(proxy.client().await.get("/").await.status, 200);
}

#[tokio::test]
async fn an_error_of_the_backend_passes_untouched() {
    let response = "HTTP/1.1 429 Too Many Requests\r\nRetry-After: 7\r\nContent-Length: 4\r\n\r\nslow";
    let backend = Backend::that_answers(response).await;
    let proxy = Sidestream::in_front_of(&backend).await;
    let mut client = proxy.client().await;
    let response = client.get("/").await;
    assert_eq!((response.status, response.field("retry-after")), (429, Some("7")));
    assert_eq!(client.exactly(4).await, b"slow");
}

#[tokio::test]
async fn a_clean_end_is_no_error() {
    let backend = Backend::that_answers(stream_of(UNKNOWN)).await;
    let proxy = Sidestream::in_front_of(&backend).await;
    let mut client = proxy.client().await;
    client.get("/").await;
    assert_eq!(client.text().await, UNKNOWN);
}

#[tokio::test]
async fn a_backend_that_stops_reading_an_upload_can_still_answer() {
    // Whether the buffers on the path are full when it stops.
    for is_blocked in [false, true] {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("backend.sock");
        let listener = tokio::net::UnixListener::bind(&path).expect("a socket");
        let proxy = Sidestream::before(format!("unix:{}", path.display())).start().await;
        let mut client = proxy.client().await;
        client.send("POST / HTTP/1.1\r\nHost: test\r\nContent-Length: 100000000\r\n\r\n").await;
        let (mut connection, _) = listener.accept().soon().await.expect("a connection");
        let mut head = Vec::new();
        while head_length(&head).is_none() {
            connection.read_buf(&mut head).soon().await.expect("a request");
        }
        let pause = std::time::Duration::from_millis(300);
        while is_blocked
            && let Ok(Ok(())) = tokio::time::timeout(pause, client.try_send([b'x'; 64 << 10])).await
        {}
        // Only a Unix socket reports this to the sender.
        rustix::net::shutdown(&connection, rustix::net::Shutdown::Read).expect("a connection");
        if !is_blocked {
            // More than all buffers on the path hold, so sidestream has discarded some of it.
            client.send(vec![b'x'; 20 << 20]).await;
        }
        connection.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").await.expect("a connection");
        let response = client.response().await;
        assert_eq!(response.status, 200, "is_blocked: {is_blocked}");
        assert_eq!(client.body_of(&response).await, b"ok");
    }
}
