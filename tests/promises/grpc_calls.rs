//! gRPC calls pass from HTTP/2 to HTTP/2 with their fields and trailers, and both sides can send at any time.

use std::future::poll_fn;
use std::time::Duration;

use bytes::Bytes;
use h2::Reason;
use http::{HeaderMap, Response};
use serde_json::Value;
use tempfile::TempDir;
use tokio::sync::mpsc;

use crate::kit::{
    Backend, Call, GRPC, Http2Exchange, MESSAGE, Sidestream, Within, fields, finish, log_lines,
};

fn ok() -> HeaderMap {
    fields(&[("grpc-status", "0"), ("x-trailing", "yes"), ("x-trailing", "again"), ("x-raw-bin", "AP8=")])
}

/// A backend that answers each call with one message.
async fn that_answers() -> Backend {
    Backend::script_http2(|mut exchange| async move {
        exchange.body().await;
        let mut stream = exchange.begin(GRPC);
        stream.send_data(MESSAGE.into(), false).expect("a stream");
        stream.send_trailers(ok()).expect("a stream");
    })
    .await
}

#[tokio::test]
async fn a_call_passes_with_its_fields_and_trailers_regardless_of_stream_settings() {
    let (say, mut seen) = mpsc::unbounded_channel();
    let backend = Backend::script_http2(move |mut exchange: Http2Exchange| {
        let say = say.clone();
        async move {
            let body = exchange.body().await;
            let _ = say.send((exchange.request.headers().clone(), body));
            let mut stream = exchange.begin("application/grpc+proto");
            stream.send_data(MESSAGE.into(), false).expect("a stream");
            stream.send_trailers(ok()).expect("a stream");
        }
    })
    .await;
    let stream = "treat_as_event_stream: always, early_heartbeat: 1ms, coalesce: 50ms, on_disconnect: drain";
    let proxy = Sidestream::with(&backend, stream).await;
    let given = [
        ("grpc-timeout", "5S"),
        ("grpc-accept-encoding", "gzip"),
        ("accept-encoding", "gzip"),
        ("x-raw-bin", "AAE="),
    ];
    let mut call = Call::typed(&proxy, "application/grpc+proto", &given).await;
    call.upload.send_data(MESSAGE.into(), true).expect("a stream");
    let answer = call.answer().await;
    assert_eq!((&answer.body[..], &answer.trailers), (MESSAGE, &ok()));
    assert_eq!(answer.head.headers()["content-type"], "application/grpc+proto");
    let (head, body) = seen.recv().soon().await.expect("a backend");
    assert_eq!(body, MESSAGE);
    for (name, value) in given.iter().chain(&[("te", "trailers"), ("content-type", "application/grpc+proto")])
    {
        assert_eq!(head.get_all(*name).iter().collect::<Vec<_>>(), [value], "{name}");
    }
    for name in ["content-length", "connection", "transfer-encoding"] {
        assert!(!head.contains_key(name), "{name}");
    }
}

#[tokio::test]
async fn a_trailers_only_response_stays_trailers_only() {
    let backend = Backend::script_http2(|mut exchange| async move {
        let head = Response::builder().header("content-type", GRPC).header("grpc-status", "9");
        let head = head.header("grpc-message", "not%20now").body(()).expect("a head");
        exchange.respond.send_response(head, true).expect("a stream");
    })
    .await;
    let answer = Call::unary(&Sidestream::with(&backend, "").await).await;
    assert_eq!(answer.refusal(), (9, "not%20now".to_owned()));
    assert!(answer.trailers.is_empty() && answer.body.is_empty());
}

#[tokio::test]
async fn heads_pass_before_any_message_and_both_sides_send_freely() {
    let backend = Backend::script_http2(|mut exchange| async move {
        let mut stream = exchange.begin(GRPC);
        while let Some(Ok(data)) = exchange.request.body_mut().data().await {
            let _ = exchange.request.body_mut().flow_control().release_capacity(data.len());
            if !data.is_empty() {
                stream.send_data([b"to ", &data[..]].concat().into(), false).expect("a stream");
            }
        }
        stream.send_trailers(ok()).expect("a stream");
    })
    .await;
    let mut call = Call::begin(&Sidestream::with(&backend, "").await, &[]).await;
    let mut response = call.head().await;
    for question in ["one", "two", "three"] {
        call.upload.send_data(question.into(), false).expect("a stream");
        let answer = response.body_mut().data().soon().await.expect("an answer").expect("no reset");
        assert_eq!(answer, format!("to {question}"));
    }
    call.upload.send_data(Bytes::new(), true).expect("a stream");
    assert_eq!(finish(response).await.status().0, 0);
}

#[tokio::test]
async fn an_early_response_is_complete_and_stops_the_client_without_an_error() {
    let folder = TempDir::new().expect("a folder");
    let log = folder.path().join("access.log");
    let backend = Backend::script_http2(|mut exchange| async move {
        let mut stream = exchange.begin(GRPC);
        stream.send_data(MESSAGE.into(), false).expect("a stream");
        // At this end, h2 sends the trailers and then resets the stream with NO_ERROR.
        stream.send_trailers(ok()).expect("a stream");
    })
    .await;
    let proxy = Sidestream::before(&backend.url).access_log(&log).start().await;
    let mut call = Call::begin(&proxy, &[]).await;
    call.upload.send_data(MESSAGE.into(), false).expect("a stream");
    let answer = call.answer().await;
    assert_eq!((answer.status().0, &answer.body[..]), (0, MESSAGE));
    let reset = poll_fn(|cx| call.upload.poll_reset(cx)).soon().await;
    assert_eq!(reset.expect("a connection"), Reason::NO_ERROR);
    let line = &log_lines(&log, 1).await[0];
    for (field, value) in [
        ("outcome", Value::from("completed")),
        ("kind", "other".into()),
        ("rpc.grpc.status_code", 0.into()),
        ("http.response.status_code", 200.into()),
    ] {
        assert_eq!(line[field], value, "{field} in {line}");
    }
}

#[tokio::test]
async fn data_from_either_side_postpones_the_timeouts_of_a_call() {
    let backend = Backend::script_http2(|mut exchange| async move {
        let _stream = exchange.begin(GRPC);
        exchange.body().await;
    })
    .await;
    let proxy = Sidestream::with(&backend, "idle_timeout: 2s").await;
    let mut call = Call::begin(&proxy, &[]).await;
    let mut response = call.head().await;
    // Longer than the idle timeout of the backend.
    for _ in 0..10 {
        call.upload.send_data(MESSAGE.into(), false).expect("a stream");
        let said = tokio::time::timeout(Duration::from_millis(300), response.body_mut().data()).await;
        assert!(said.is_err(), "{said:?}");
    }
    assert_eq!(finish(response).await.status().0, 4);
    // The client has not ended its request. The reset tells it that no more is needed.
    let reset = poll_fn(|cx| call.upload.poll_reset(cx)).soon().await;
    assert_eq!(reset.expect("a connection"), Reason::NO_ERROR);
}

#[tokio::test]
async fn an_unprocessed_call_is_resent_over_another_connection() {
    for content_type in [GRPC, "application/json"] {
        let backend = Backend::script_http2(|mut exchange| async move {
            if exchange.number == 0 {
                return exchange.respond.send_reset(Reason::REFUSED_STREAM);
            }
            let body = exchange.body().await;
            let mut stream = exchange.begin("text/plain");
            stream.send_data(body.into(), true).expect("a stream");
        })
        .await;
        let proxy = Sidestream::with(&backend, "").await;
        let mut call = Call::typed(&proxy, content_type, &[]).await;
        call.upload.send_data(MESSAGE.into(), true).expect("a stream");
        assert_eq!(call.answer().await.body, MESSAGE, "{content_type}");
        assert_eq!(backend.connections(), 2);
    }
}

#[tokio::test]
async fn calls_use_separate_connections() {
    let backend = that_answers().await;
    let proxy = Sidestream::with(&backend, "").await;
    for content_type in [GRPC, "application/json", GRPC, "application/json"] {
        let mut call = Call::typed(&proxy, content_type, &[]).await;
        call.upload.send_data(MESSAGE.into(), true).expect("a stream");
        assert_eq!(call.answer().await.body, MESSAGE);
    }
    assert_eq!(backend.connections(), 2);
}

#[tokio::test]
async fn a_connection_with_calls_gets_no_pings() {
    const EMPTY_SETTINGS: [u8; 9] = [0, 0, 0, 4, 0, 0, 0, 0, 0];
    // RFC 9113, 6.2 and 6.7.
    const HEADERS: u8 = 1;
    const PING: u8 = 6;
    let (say, mut seen) = mpsc::unbounded_channel();
    let backend = Backend::script(move |mut exchange| {
        let say = say.clone();
        async move {
            exchange.connection.exactly(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".len()).await;
            exchange.send(EMPTY_SETTINGS).await;
            while let Some(head) = exchange.connection.exactly(9).await {
                let length = usize::from(head[0]) << 16 | usize::from(head[1]) << 8 | usize::from(head[2]);
                exchange.connection.exactly(length).await;
                let _ = say.send((exchange.number, head[3]));
            }
        }
    })
    .await;
    let server = format!("h2://{}", backend.address);
    let proxy = Sidestream::before(server).upstream("http2_ping: 1s").start().await;
    let mut open = Vec::new();
    for (number, content_type) in [GRPC, "application/json"].into_iter().enumerate() {
        open.push(Call::typed(&proxy, content_type, &[]).await);
        while seen.recv().soon().await != Some((number, HEADERS)) {}
    }
    // The connection of the other request is pinged, although it was opened later.
    loop {
        let (number, kind) = seen.recv().soon().await.expect("a backend");
        assert_ne!((number, kind), (0, PING));
        if (number, kind) == (1, PING) {
            return;
        }
    }
}

#[tokio::test]
async fn a_response_without_messages_keeps_its_trailers() {
    let backend = Backend::script_http2(|mut exchange| async move {
        exchange.body().await;
        let mut stream = exchange.begin(GRPC);
        stream.send_trailers(ok()).expect("a stream");
    })
    .await;
    let answer = Call::unary(&Sidestream::with(&backend, "").await).await;
    assert!(!answer.is_head_alone && answer.body.is_empty(), "{answer:?}");
    assert_eq!(answer.status().0, 0);
}
