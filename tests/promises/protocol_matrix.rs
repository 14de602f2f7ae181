//! The main promises hold for every combination of client and backend protocols.

use std::net::{IpAddr, Ipv6Addr, TcpListener};
use std::sync::Arc;

use crate::kit::{Authority, Backend, Edge, Sidestream, Step, Transport};

/// Runs a test for every combination, and names the combination on failure.
pub async fn on_every_combination(
    steps: &'static [Step],
    stream: &str,
    story: impl AsyncFn(Transport, Transport, &Edge, &mut Backend),
) {
    let authority = Arc::new(Authority::new());
    for upstream in Transport::ALL {
        for downstream in Transport::ALL {
            println!("{downstream:?} to {upstream:?}");
            let mut backend = Backend::speaking(upstream, &authority, steps).await;
            let edge = Edge::between(downstream, &authority, &backend, stream).await;
            story(downstream, upstream, &edge, &mut backend).await;
        }
    }
}

#[tokio::test]
async fn events_arrive_whole_and_without_delay() {
    const STEPS: &[Step] = &[
        Step::StreamHead,
        Step::Wait,
        Step::Send(b"data: on"),
        Step::Send(b"e\r\n\r"),
        Step::Send(b"\ndata: two\n\nda"),
        Step::Wait,
        Step::Send(b"ta: three\n\n"),
        Step::End,
    ];
    on_every_combination(STEPS, "", async |downstream, _, edge, backend| {
        let mut client = edge.connect().await;
        let mut exchange = client.send("GET", "/", None).await;
        let (status, head) = exchange.head().await;
        assert_eq!(status, 200);
        assert!(
            head.contains("content-type: text/event-stream\n") && head.contains("x-accel-buffering: no\n")
        );
        assert_eq!(head.contains("transfer-encoding"), !downstream.is_http2(), "{head}");
        backend.go_on();
        let mut events = Vec::new();
        while events.len() < b"data: one\r\n\r\ndata: two\n\n".len() {
            let piece = exchange.piece().await.expect("a stream").expect("more events");
            assert!(piece.ends_with(b"\n\n") || piece.ends_with(b"\r\n\r\n"), "{piece:?}");
            events.extend(piece);
        }
        assert_eq!(events, b"data: one\r\n\r\ndata: two\n\n");
        backend.go_on();
        assert_eq!(exchange.pieces().await, Ok(vec![b"data: three\n\n".to_vec()]));
    })
    .await;
}

#[tokio::test]
async fn a_backend_is_reached_at_any_address_of_this_machine() {
    for address in [IpAddr::from([127, 0, 0, 2]), Ipv6Addr::LOCALHOST.into()] {
        if TcpListener::bind((address, 0)).is_err() {
            eprintln!("not tested: this system has no {address}");
            continue;
        }
        let backend = Backend::script_at((address, 0), |mut exchange| async move {
            exchange.request().await;
            exchange.send("HTTP/1.1 204 No Content\r\n\r\n").await;
        })
        .await;
        let proxy = Sidestream::in_front_of(&backend).await;
        assert_eq!(proxy.client().await.get("/").await.status, 204, "{address}");
    }
}

#[tokio::test]
async fn a_client_that_leaves_in_prefill_frees_the_backend() {
    on_every_combination(&[Step::SeeCancel], "", async |_, _, edge, backend| {
        let mut client = edge.connect().await;
        let exchange = client.send("POST", "/", Some(b"{}")).await;
        backend.saw_request().await;
        drop(exchange);
        backend.saw_close().await;
    })
    .await;
}

#[tokio::test]
async fn a_client_that_leaves_in_a_stream_frees_the_backend() {
    const STEPS: &[Step] = &[Step::StreamHead, Step::Send(b"data: 1\n\n"), Step::SeeCancel];
    on_every_combination(STEPS, "", async |_, _, edge, backend| {
        let mut client = edge.connect().await;
        let mut exchange = client.send("GET", "/", None).await;
        exchange.head().await;
        exchange.piece().await.expect("an event");
        drop(exchange);
        backend.saw_close().await;
        edge.proxy.reaches("sidestream_streams_total{outcome=\"client_gone\",route=\"default\"}", 1.0).await;
    })
    .await;
}

#[tokio::test]
async fn a_backend_that_breaks_ends_the_stream_with_an_error_event() {
    const STEPS: &[Step] = &[Step::StreamHead, Step::Send(b"data: 1\n\ndata: to"), Step::Wait, Step::Break];
    on_every_combination(STEPS, "", async |_, _, edge, backend| {
        let mut client = edge.connect().await;
        let mut exchange = client.send("GET", "/", None).await;
        exchange.head().await;
        assert_eq!(exchange.piece().await, Ok(Some(b"data: 1\n\n".to_vec())));
        backend.go_on();
        let error = exchange
            .pieces()
            .await
            .expect_err("a break, since nobody knows who raises on the event")
            .concat();
        let error = String::from_utf8(error).expect("UTF-8");
        assert!(error.starts_with("event: error\ndata: {\"type\":\"error\""), "{error}");
        assert!(error.contains("\"code\":\"upstream_"), "{error}");
    })
    .await;
}

#[tokio::test]
async fn error_events_off_breaks_the_stream() {
    const STEPS: &[Step] = &[Step::StreamHead, Step::Send(b"data: 1\n\ndata: to"), Step::Wait, Step::Break];
    on_every_combination(STEPS, "error_events: off", async |_, _, edge, backend| {
        let mut client = edge.connect().await;
        let mut exchange = client.send("GET", "/", None).await;
        exchange.head().await;
        assert_eq!(exchange.piece().await, Ok(Some(b"data: 1\n\n".to_vec())));
        backend.go_on();
        assert_eq!(exchange.pieces().await, Err(vec![]));
    })
    .await;
}

#[tokio::test]
async fn a_backend_that_breaks_before_its_response_leads_to_a_status() {
    on_every_combination(&[Step::Break], "", async |_, _, edge, _| {
        let mut client = edge.connect().await;
        let mut exchange = client.send("POST", "/", Some(b"{}")).await;
        let (status, head) = exchange.head().await;
        assert_eq!(status, 502, "{head}");
        let body = exchange.pieces().await.expect("a body").concat();
        assert!(String::from_utf8_lossy(&body).contains("\"code\":\"upstream_"), "{body:?}");
    })
    .await;
}

#[tokio::test]
async fn heartbeats_fill_silence() {
    const STEPS: &[Step] =
        &[Step::StreamHead, Step::Send(b"data: 1\n\n"), Step::Wait, Step::Send(b"data: 2\n\n"), Step::End];
    on_every_combination(STEPS, "heartbeat: 20ms", async |_, _, edge, backend| {
        let mut client = edge.connect().await;
        let mut exchange = client.send("GET", "/", None).await;
        exchange.head().await;
        assert_eq!(exchange.piece().await, Ok(Some(b"data: 1\n\n".to_vec())));
        assert_eq!(exchange.piece().await, Ok(Some(b": heartbeat\n".to_vec())));
        backend.go_on();
        let rest = exchange.pieces().await.expect("a clean end").concat();
        assert!(rest.ends_with(b"data: 2\n\n"), "{rest:?}");
    })
    .await;
}

#[tokio::test]
async fn other_bodies_pass_in_both_directions() {
    const LENGTH: usize = 300_000;
    const STEPS: &[Step] = &[Step::LengthHead(LENGTH), Step::Echo, Step::End];
    let body: Vec<u8> = (0..LENGTH).map(|n| (n % 251) as u8).collect();
    on_every_combination(STEPS, "", async |_, _, edge, backend| {
        let mut client = edge.connect().await;
        let mut exchange = client.send("POST", "/path?query=%20", Some(&body)).await;
        let request = backend.saw_request().await;
        assert!(request.starts_with("POST /path?query=%20\n"), "{request}");
        assert!(request.contains("host: example.org\n"), "{request}");
        let (status, head) = exchange.head().await;
        assert!(status == 200 && head.contains("x-kept: yes\n"), "{head}");
        assert_eq!(exchange.pieces().await.expect("a body").concat(), body);
    })
    .await;
}

#[tokio::test]
async fn a_truncated_body_is_broken_off() {
    const STEPS: &[Step] = &[Step::LengthHead(10), Step::Send(b"abc"), Step::Wait, Step::Break];
    on_every_combination(STEPS, "", async |_, _, edge, backend| {
        let mut client = edge.connect().await;
        let mut exchange = client.send("GET", "/", None).await;
        exchange.head().await;
        assert_eq!(exchange.piece().await, Ok(Some(b"abc".to_vec())));
        backend.go_on();
        assert_eq!(exchange.piece().await, Err(()));
    })
    .await;
}
