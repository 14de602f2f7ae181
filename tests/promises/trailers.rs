//! Trailers are forwarded only to clients that accept them.

use crate::kit::{Backend, Sidestream, Within, fields, http2};

const HEAD: &str = "HTTP/1.1 200 OK\r\nTrailer: X-Sum\r\nTransfer-Encoding: chunked\r\n\r\n";
const BODY: &str = "4\r\nbody\r\n0\r\n";
const TRAILERS: &str = "X-Sum: 1\r\nX-Empty: \r\n";
const TAKES: &str = "TE: trailers\r\nConnection: TE\r\n";

fn get(path: &str, fields: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: test\r\n{fields}\r\n")
}

async fn that_answers(trailers: &str) -> Backend {
    Backend::that_answers([HEAD, BODY, trailers, "\r\n"].concat()).await
}

#[tokio::test]
async fn trailers_pass_to_a_client_that_accepts_them() {
    let mut backend = that_answers(TRAILERS).await;
    let proxy = Sidestream::in_front_of(&backend).await;
    let mut client = proxy.client().await;
    for fields in [TAKES, "TE: deflate;q=0.5, Trailers\r\nConnection: TE\r\n"] {
        client.send(get("/", fields)).await;
        assert_eq!(client.response().await.field("trailer"), Some("X-Sum"));
        let wire = [BODY, TRAILERS, "\r\n"].concat();
        assert_eq!(String::from_utf8_lossy(&client.exactly(wire.len()).await), wire);
        let request = backend.saw_request().await;
        assert!(
            request.contains("\r\nTE: trailers\r\n") && request.contains("\r\nConnection: TE\r\n"),
            "{request}"
        );
        assert!(!request.contains("deflate"), "{request}");
    }
    assert_eq!(backend.connections(), 1);
}

#[tokio::test]
async fn a_client_that_accepts_no_trailers_gets_no_trailers_and_no_trailer_field() {
    let mut backend = that_answers(TRAILERS).await;
    let proxy = Sidestream::in_front_of(&backend).await;
    let mut client = proxy.client().await;
    for fields in ["", "TE: deflate\r\nConnection: TE\r\n", "TE: x-trailers\r\n"] {
        client.send(get("/", fields)).await;
        assert!(client.response().await.fields("trailer").is_empty());
        assert_eq!(client.text().await, "body");
        let request = backend.saw_request().await;
        assert!(!request.contains("\r\nTE:"), "{request}");
    }
    assert_eq!(backend.connections(), 1, "the upstream connection stays usable");
}

#[tokio::test]
async fn http_1_0_has_no_trailers() {
    let backend = that_answers(TRAILERS).await;
    let mut client = Sidestream::in_front_of(&backend).await.client().await;
    client.send("GET / HTTP/1.0\r\nHost: test\r\nTE: trailers\r\n\r\n").await;
    assert!(client.response().await.fields("trailer").is_empty());
    assert_eq!(client.exactly(4).await, b"body");
    assert!(client.rest().await.expect("an orderly end").is_empty());
}

#[tokio::test]
async fn trailers_of_an_event_stream_pass_byte_by_byte() {
    let backend = Backend::script(|mut exchange| async move {
        exchange.request().await;
        let head = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n";
        exchange.send(head).await;
        for byte in ["b\r\ndata: one\n\n\r\n0\r\n", TRAILERS, "\r\n"].concat().bytes() {
            exchange.send([byte]).await;
            tokio::task::yield_now().await;
        }
        exchange.closed().await;
    })
    .await;
    let mut client = Sidestream::in_front_of(&backend).await.client().await;
    client.send(get("/", TAKES)).await;
    client.response().await;
    let wire = ["b\r\ndata: one\n\n\r\n0\r\n", TRAILERS, "\r\n"].concat();
    assert_eq!(String::from_utf8_lossy(&client.exactly(wire.len()).await), wire);
}

#[tokio::test]
async fn framing_and_routing_fields_are_removed_from_trailers() {
    let forbidden = "Content-Length: 5\r\nTransfer-Encoding: chunked\r\nConnection: close, X-Hop\r\nX-Hop: y\r\nHost: other\r\n\
                     TE: trailers\r\nTrailer: X\r\nUpgrade: h2c\r\nKeep-Alive: timeout=5\r\n";
    let backend = that_answers(&[forbidden, TRAILERS].concat()).await;
    let mut client = Sidestream::in_front_of(&backend).await.client().await;
    client.send(get("/", TAKES)).await;
    client.response().await;
    let wire = [BODY, TRAILERS, "\r\n"].concat();
    assert_eq!(String::from_utf8_lossy(&client.exactly(wire.len()).await), wire);
}

#[tokio::test]
async fn trailers_pass_between_http_versions() {
    let sent = fields(&[("x-sum", "1"), ("x-sum", "2")]);
    let backend = Backend::script_http2(|mut exchange| async move {
        assert_eq!(exchange.request.headers()["te"], "trailers");
        let mut stream = exchange.begin("text/plain");
        stream.send_data("body".into(), false).expect("a stream");
        stream.send_trailers(fields(&[("x-sum", "1"), ("x-sum", "2")])).expect("a stream");
    })
    .await;
    let one = that_answers("X-Sum: 1\r\nx-sum: 2\r\n").await;
    for server in [backend.url.clone(), one.url.clone()] {
        let proxy = Sidestream::before(&server).start().await;
        let mut client = proxy.client().await;
        client.send(get("/", TAKES)).await;
        client.response().await;
        let wire = [BODY, "x-sum: 1\r\nx-sum: 2\r\n\r\n"].concat();
        let seen = client.exactly(wire.len()).await;
        assert_eq!(String::from_utf8_lossy(&seen).to_lowercase(), wire, "{server}");

        let request =
            http::Request::get("http://test/").header("te", "trailers").body(()).expect("a request");
        let (response, _) =
            http2(proxy.client().await.into_io()).await.send_request(request, true).expect("a connection");
        let mut stream = response.soon().await.expect("a response").into_body();
        assert_eq!(stream.data().soon().await.expect("a frame").expect("no reset"), "body");
        assert!(stream.data().soon().await.is_none_or(|data| data.is_ok_and(|data| data.is_empty())));
        assert_eq!(stream.trailers().soon().await.expect("no reset").expect("trailers"), sent, "{server}");
    }
}
