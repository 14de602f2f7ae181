//! Failed gRPC calls end with a status that states the reason: that of the backend, or one of sidestream's.

use bytes::Bytes;
use h2::Reason;
use serde_json::Value;
use tempfile::TempDir;
use tokio::sync::mpsc;

use crate::kit::{Backend, Call, GRPC, Http2Exchange, MESSAGE, Sidestream, Within, finish, log_lines};

/// The point at which a backend fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    BeforeHead,
    InMessage,
}

/// A backend that reaches `place` in each call. Once the request has ended, it resets the call with `code`,
/// or stays silent.
async fn that_breaks(place: Place, code: Option<u32>) -> Backend {
    Backend::script_http2(move |mut exchange| async move {
        let mut stream = (place == Place::InMessage).then(|| exchange.begin(GRPC));
        if let Some(stream) = &mut stream {
            stream.send_data(Bytes::from_static(&MESSAGE[..7]), false).expect("a stream");
        }
        exchange.body().await;
        match (code, &mut stream) {
            (Some(code), Some(stream)) => stream.send_reset(code.into()),
            (Some(code), None) => exchange.respond.send_reset(code.into()),
            (None, stream) => drop(exchange.reset(stream.as_mut()).await),
        }
    })
    .await
}

#[tokio::test]
async fn a_reset_by_the_backend_gives_the_same_status_as_without_a_proxy() {
    for (code, status) in [(0, 13), (1, 13), (2, 13), (3, 13), (7, 14), (8, 1), (9, 13), (11, 8), (12, 7)] {
        for place in [Place::BeforeHead, Place::InMessage] {
            let backend = that_breaks(place, Some(code)).await;
            let proxy = Sidestream::with(&backend, "").await;
            let (answer, body) = match place {
                Place::BeforeHead => (Call::unary(&proxy).await, &b""[..]),
                // A reset discards data in transit, so the client reads the data first.
                Place::InMessage => (Call::that_listens(&proxy).await, &MESSAGE[..7]),
            };
            let (seen, message) = answer.status();
            assert_eq!(seen, status, "reset with {code} {place:?}");
            assert!(message.contains("reset"), "{message}");
            assert_eq!((answer.is_head_alone, &answer.body[..]), (place == Place::BeforeHead, body));
        }
    }
}

#[tokio::test]
async fn a_lost_connection_makes_a_call_unavailable() {
    for place in [Place::BeforeHead, Place::InMessage] {
        let (say, mut seen) = mpsc::unbounded_channel();
        let mut backend = Backend::script_http2(move |mut exchange: Http2Exchange| {
            let say = say.clone();
            async move {
                exchange.body().await;
                let mut stream = (place == Place::InMessage).then(|| exchange.begin(GRPC));
                if let Some(stream) = &mut stream {
                    stream.send_data(Bytes::from_static(&MESSAGE[..7]), false).expect("a stream");
                }
                let _ = say.send(());
                exchange.reset(stream.as_mut()).await;
            }
        })
        .await;
        let proxy = Sidestream::with(&backend, "").await;
        let mut call = Call::begin(&proxy, &[]).await;
        call.upload.send_data(MESSAGE.into(), true).expect("a stream");
        seen.recv().soon().await.expect("a backend");
        let answer = match place {
            Place::BeforeHead => {
                backend.dies().await;
                call.answer().await
            }
            Place::InMessage => {
                let response = call.head().await;
                backend.dies().await;
                finish(response).await
            }
        };
        assert_eq!(answer.status().0, 14, "{place:?}");
    }
}

#[tokio::test]
async fn a_call_that_sidestream_ends_gets_a_status_with_the_reason() {
    for (keys, place, status, words) in [
        ("first_event_timeout: 300ms", Place::BeforeHead, 4, "did not begin to answer"),
        ("max_duration: 300ms", Place::BeforeHead, 4, "longer than the maximum duration"),
        ("idle_timeout: 300ms", Place::InMessage, 4, "idle timeout"),
        ("max_duration: 300ms", Place::InMessage, 4, "within the maximum duration"),
    ] {
        let backend = that_breaks(place, None).await;
        let answer = Call::unary(&Sidestream::with(&backend, keys).await).await;
        let (seen, message) = answer.status();
        assert_eq!(seen, status, "{keys} {place:?}");
        assert!(message.contains(words), "{message}");
    }
}

#[tokio::test]
async fn a_rejected_call_gets_a_grpc_status() {
    let backend = that_breaks(Place::BeforeHead, None).await;
    let routes = "routes: [{ match: { path: /other }, upstream: llm }]";
    let no_one = "h2://127.0.0.1:1";
    let long = "x".repeat(70_000);
    for (server, keys, add, status, words) in [
        (no_one, "", None, 14, "could not be reached"),
        (&backend.url, routes, None, 12, "No route"),
        (&backend.url, "limits: { max_request_body: 4 }", None, 8, "request body is larger than allowed"),
        (&backend.url, "", Some(("x-long", &long[..])), 8, "larger than the configured limit"),
        ("http://127.0.0.1:1", "", None, 12, "write h2:// or h2s://"),
        ("unix:/nowhere", "", None, 12, "Unix sockets"),
    ] {
        let proxy = Sidestream::before(server).upstream("connect_timeout: 300ms").more(keys).start().await;
        let mut call = Call::begin(&proxy, add.as_slice()).await;
        call.upload.send_data(MESSAGE.into(), true).expect("a stream");
        let (seen, message) = call.answer().await.refusal();
        assert_eq!(seen, status, "{server} {keys}");
        assert!(message.contains(words), "{message}");
    }
}

#[tokio::test]
async fn a_call_to_an_http1_backend_is_rejected_and_not_sent() {
    let folder = TempDir::new().expect("a folder");
    let log = folder.path().join("access.log");
    let backend = Backend::that_answers("HTTP/1.1 204 No Content\r\n\r\n").await;
    let proxy = Sidestream::before(&backend.url).access_log(&log).start().await;
    assert_eq!(Call::unary(&proxy).await.refusal().0, 12);
    assert_eq!(backend.connections(), 0);
    let line = &log_lines(&log, 1).await[0];
    for (field, value) in [
        ("kind", Value::from("refused")),
        ("error.type", "grpc_needs_http2".into()),
        ("rpc.grpc.status_code", 12.into()),
        ("http.route", "default".into()),
    ] {
        assert_eq!(line[field], value, "{field} in {line}");
    }
    // gRPC-Web puts the trailers into the body, so it works over any HTTP version.
    for content_type in ["application/grpc-web", "application/grpc-web+proto", "application/grpc-web-text"] {
        let mut call = Call::typed(&proxy, content_type, &[]).await;
        call.upload.send_data(MESSAGE.into(), true).expect("a stream");
        assert_eq!(call.head().await.status(), 204, "{content_type}");
    }
}

#[tokio::test]
async fn a_call_over_http1_is_rejected_with_a_grpc_status() {
    let backend = that_breaks(Place::BeforeHead, None).await;
    let proxy = Sidestream::with(&backend, "").await;
    let mut client = proxy.client().await;
    for _ in 0..2 {
        client
            .send("POST / HTTP/1.1\r\nHost: test\r\nContent-Type: application/grpc+proto\r\nContent-Length: 2\r\n\r\nhi")
            .await;
        let response = client.response().await;
        assert_eq!(response.status, 200);
        for (name, value) in [
            ("content-type", GRPC),
            ("content-length", "0"),
            ("grpc-status", "12"),
            ("grpc-message", "gRPC needs HTTP/2, and this request came over HTTP/1.1."),
        ] {
            assert_eq!(response.field(name), Some(value), "{name}");
        }
    }
    assert_eq!(backend.connections(), 0);
}

#[tokio::test]
async fn a_call_that_its_client_resets_is_cancelled_in_every_phase() {
    for place in [Place::BeforeHead, Place::InMessage] {
        let (say, mut seen) = mpsc::unbounded_channel();
        let backend = Backend::script_http2(move |mut exchange: Http2Exchange| {
            let say = say.clone();
            async move {
                exchange.body().await;
                let mut stream = (place == Place::InMessage).then(|| exchange.begin(GRPC));
                let _ = say.send(None);
                let reason = exchange.reset(stream.as_mut()).await;
                let _ = say.send(reason);
            }
        })
        .await;
        let proxy = Sidestream::with(&backend, "on_disconnect: drain").await;
        let mut call = Call::begin(&proxy, &[]).await;
        call.upload.send_data(MESSAGE.into(), true).expect("a stream");
        assert_eq!(seen.recv().soon().await, Some(None));
        call.upload.send_reset(Reason::CANCEL);
        assert_eq!(seen.recv().soon().await, Some(Some(Reason::CANCEL)), "{place:?}");
    }
}

#[tokio::test]
async fn a_call_that_exceeds_the_shutdown_is_unavailable() {
    let backend = that_breaks(Place::InMessage, None).await;
    let proxy = Sidestream::before(&backend.url).more("server: { drain_timeout: 100ms }").start().await;
    let mut call = Call::begin(&proxy, &[]).await;
    call.upload.send_data(MESSAGE.into(), true).expect("a stream");
    let response = call.head().await;
    let stopped = proxy.stop();
    let (status, message) = finish(response).await.status();
    assert_eq!(status, 14);
    assert!(message.contains("shutting down"), "{message}");
    stopped.soon().await.expect("a server that stops");
}

#[tokio::test]
async fn a_request_body_over_the_limit_ends_the_call_with_a_status() {
    let backend = Backend::script_http2(|mut exchange| async move {
        let _stream = exchange.begin(GRPC);
        exchange.body().await;
    })
    .await;
    let proxy = Sidestream::before(&backend.url).more("limits: { max_request_body: 15 }").start().await;
    let mut call = Call::begin(&proxy, &[]).await;
    let response = call.head().await;
    for _ in 0..2 {
        call.upload.send_data(MESSAGE.into(), false).expect("a stream");
    }
    let (status, message) = finish(response).await.status();
    assert_eq!(status, 8);
    assert!(message.contains("request body is larger than allowed"), "{message}");
}
